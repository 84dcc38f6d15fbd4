"""Speidell's network for the Kaggle challenge."""

from __future__ import annotations

from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_dropout, check_size, check_widths

_SIDE = 15  # side in pixels of the map that reaches the dense layers: a 64 px image after both pools


class SmallCNN(Encoder):
    """Two convolutions and two wide dense layers: RMSE 0.11025 on 64 px regions of interest.

    Speidell, "Galaxy Zoo Challenge - Image Classification with PyTorch" (jayspeidell.github.io, project 7),
    without its last layer. His text gives that layer a sigmoid and his code gives it none; `head=linear` is
    his code. As in the code, the 9x9 convolution is padded by 2 and dropout comes before the activation.

    His first dense layer is an eighth as wide as its input (21,600 features at 64 px), and the second a
    quarter as wide as the first. The same formula makes 10^9 weights at 128 px. Other sizes are therefore
    max-pooled to the 15 x 15 map of 64 px images, so the dense layers have the article's 60 million weights
    at every size.

    It learns with a `body_lr_factor` of 0.1. A step of 0.001 in each of 21,600 weights moves a sum by ten,
    and softmax and sigmoid never come back from there; a tenth of the step learns. The article's linear head
    recovers from full steps.

    Args:
        channels: The channels of the images.
        size: The side of the images in pixels, 8 or more.
        filters: The numbers of filters of the first and the second convolution.
        dropout: The share of the dense features that is dropped in training.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        filters: tuple[int, int] = (64, 96),
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        check_size("small_cnn", size, 8)
        check_dropout(dropout)
        check_widths("filters", *filters)
        first, second = filters
        # 64 -> 60 -> 30 -> 30 -> 15
        side = (size - 4) // 2 // 2
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=9, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=5, padding=2),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),
            # Pooling is left out where it changes nothing: its gradient has no deterministic kernel on GPUs.
            nn.Identity() if side == _SIDE else nn.AdaptiveMaxPool2d(_SIDE),
        )
        flat = second * _SIDE**2
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, flat // 8),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(flat // 8, flat // 8 // 4),
            nn.Dropout(dropout),
            nn.ReLU(),
        )
        self.num_features = flat // 8 // 4

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, 675)."""
        return self.dense(self.convolutions(images))
