"""Sirressi's network for the Kaggle challenge."""

from __future__ import annotations

from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_size, check_widths, keras_initialised


class SirressiCNN(Encoder):
    """Two convolutions and a dense layer, published for the central 212 px: RMSE 0.22 with the Huber loss.

    Sirressi, "The Galaxy Zoo Challenge", project report, Stockholm University 2020, sections 4.2 and 5,
    without its last layer. The report names 10 filters of 7x7, a pool of 4, "smaller filters 5x5", a pool of
    2 and 128 neurons in tensorflow.keras. It says neither how many 5x5 filters there are (10 here, as in the
    first convolution) nor which activations (ReLU here). Convolutions are not padded and weights start as in
    Keras.

    Args:
        channels: The channels of the images.
        size: The side of the images in pixels, 30 or more.
        filters: The numbers of filters of the first and the second convolution.
        dense: The width of the dense layer.
    """

    def __init__(
        self, channels: int, size: int, filters: tuple[int, int] = (10, 10), dense: int = 128
    ) -> None:
        super().__init__()
        check_size("sirressi_cnn", size, 30)
        check_widths("filters", *filters)
        check_widths("dense", dense)
        first, second = filters
        side = ((size - 6) // 4 - 4) // 2  # 212 -> 206 -> 51 -> 47 -> 23
        self.layers = nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=7),
            nn.ReLU(),
            nn.MaxPool2d(4),
            nn.Conv2d(first, second, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * side**2, dense),
            nn.ReLU(),
        )
        self.layers.apply(keras_initialised)
        self.num_features = dense

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, dense)."""
        return self.layers(images)
