"""A plain feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_dropout, check_size


class MLP(Encoder):
    """Dense layers on the pixels of a reduced image. It shows what a network learns without convolutions.

    This is the "basic neural network" of Ransom et al., github.com/Alexandria-Ransom/Galaxy_DECALS_10,
    without its last layer. It has two layers of 2,053, the mean of the 4,096 pixels of its 64 px grey images
    and its 10 classes. It reached accuracy 0.36 on ten equal classes of Galaxy10, and 0.41 with convolutions.

    It learns with a `body_lr_factor` of 0.1. A step of 0.001 in each of thousands of weights moves a sum by
    more than one, and softmax and sigmoid never come back from there.

    Args:
        channels: The channels of the images.
        size: The side of the images in pixels, `pixels` or more.
        pixels: The side in pixels that images are reduced to, by pixel area.
        hidden: The widths of the dense layers, each followed by a ReLU.
        dropout: The share of features dropped in training after each layer; the source drops nothing.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        pixels: int = 32,
        hidden: tuple[int, ...] = (2053, 2053),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if pixels < 1:
            raise ValueError(f"pixels is {pixels}; it must be 1 or more")
        check_size(f"mlp with pixels={pixels}", size, pixels)
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden is {list(hidden)}; it must hold at least one width, each 1 or more")
        check_dropout(dropout)
        self.pixels = pixels
        layers: list[nn.Module] = []
        width = channels * pixels**2
        for wide in hidden:
            layers += [nn.Linear(width, wide), nn.ReLU(), nn.Dropout(dropout)]
            width = wide
        self.layers = nn.Sequential(*layers)
        self.num_features = width

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, width of the last layer)."""
        reduced = F.interpolate(images, size=(self.pixels, self.pixels), mode="area")
        return self.layers(reduced.flatten(1))
