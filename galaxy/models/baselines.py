"""What can be predicted without looking closely: the bar that a network has to clear.

Linear regressions on a few numbers of each image, fitted in closed form in one pass over the training batches.
Speidell's figures on the Kaggle data: 0.1639 for the mean, 0.1599 for the average colour and 0.1564 for the
central pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy.models.fitted import Fitted


class ClosedForm(Fitted):
    """Least squares with an intercept: `accumulate` every training batch, `solve`, then predict.

    A linear regression predicts the same whether its images are normalised or not. The sums and the solution
    are float64 buffers, so that a checkpoint carries them.

    Args:
        channels: Channels of the images.
        size: Their side in pixels.
    """

    gram: Tensor  # (1 + F, 1 + F), F the number of features
    moments: Tensor  # (1 + F, K)
    coefficients: Tensor  # (1 + F, K)

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.channels = channels
        self.size = size
        for name in ("gram", "moments", "coefficients"):
            self.register_buffer(name, torch.empty(0, 0, dtype=torch.float64))

    def features(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) to (B, F)."""
        raise NotImplementedError

    @torch.no_grad()
    def accumulate(self, images: Tensor, targets: Tensor) -> None:
        """Adds a batch to the normal equations.

        Args:
            images: (B, channels, size, size) float32.
            targets: (B, K) float32.
        """
        design = self._design(images)
        gram, moments = design.T @ design, design.T @ targets.double()
        first = self.gram.numel() == 0
        self.gram = gram if first else self.gram + gram
        self.moments = moments if first else self.moments + moments

    @torch.no_grad()
    def solve(self) -> None:
        """Solves the normal equations; where features repeat each other, by the smallest coefficients."""
        # The tolerance lies above the rounding of the sums, so that three equal channels count as one, and
        # far below the spread of any real feature.
        self.coefficients = torch.linalg.pinv(self.gram, rtol=1e-12, hermitian=True) @ self.moments

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) to fractions (B, K) float32."""
        return (self._design(images) @ self.coefficients).float()

    def _design(self, images: Tensor) -> Tensor:
        features = self.features(images).double()
        return torch.cat([features.new_ones(len(features), 1), features], dim=1)


class Mean(ClosedForm):
    """The training set's mean fractions for every galaxy; no image is looked at."""

    def features(self, images: Tensor) -> Tensor:
        """Nothing: (B, 0)."""
        return images.new_empty(len(images), 0)


class CenterPixel(ClosedForm):
    """Linear regression on the central pixel: Speidell's, not Kaggle's benchmark of that name (0.16194)."""

    def features(self, images: Tensor) -> Tensor:
        """The pixel below and right of the centre: (B, channels)."""
        return images[:, :, self.size // 2, self.size // 2]


class AverageColor(ClosedForm):
    """Linear regression on the mean of each channel over the image (Speidell)."""

    def features(self, images: Tensor) -> Tensor:
        """The mean colour: (B, channels)."""
        return images.mean(dim=(2, 3))
