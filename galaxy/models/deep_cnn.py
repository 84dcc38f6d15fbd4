"""The Keras network of the GZ2 morphology project."""

from __future__ import annotations

from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_dropout, check_size, check_widths, keras_initialised


class DeepCNN(Encoder):
    """Three convolutions and two dense layers, published for 106 px grey images.

    Aaronson, Schoenrock and Stone, github.com/zachaa/Galaxy_Morphology_Classification, without its last layer
    (`head=sigmoid` is theirs). It reached RMSE 0.2265 on the labels of Hart et al. (2016). Convolutions are
    not padded and weights start as in Keras.

    Args:
        channels: The channels of the images.
        size: The side of the images in pixels, 22 or more.
        filters: The numbers of filters of the three 3x3 convolutions.
        dense: The widths of the two dense layers.
        dropout: The share of features dropped in training, after the convolutions and after the first dense
            layer.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        filters: tuple[int, int, int] = (32, 64, 128),
        dense: tuple[int, int] = (128, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_size("deep_cnn", size, 22)
        check_dropout(dropout)
        check_widths("filters", *filters)
        check_widths("dense", *dense)
        layers: list[nn.Module] = []
        side, width = size, channels
        for filters_here in filters:
            layers += [nn.Conv2d(width, filters_here, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2)]
            side, width = (side - 2) // 2, filters_here  # 106 -> 52 -> 25 -> 11
        self.layers = nn.Sequential(
            *layers,
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(width * side**2, dense[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(dense[0], dense[1]),
            nn.ReLU(),
        )
        self.layers.apply(keras_initialised)
        self.num_features = dense[1]

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, 64)."""
        return self.layers(images)
