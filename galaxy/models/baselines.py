"""What can be predicted without looking closely: the bar that a network has to clear.

Linear regressions on a few numbers of each image, fitted in closed form in one pass over the training
batches. Speidell's figures on the Kaggle data: 0.1639 for the mean, 0.1599 for the average colour and 0.1564
for the central pixel.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from galaxy.labels.labels import Labels
from galaxy.models.fitted import Fitted
from galaxy.models.output import Output


class ClosedForm(Fitted):
    """Least squares with an intercept, by the normal equations of all batches.

    A linear regression predicts the same whether its images are normalised or not. The sums and the solution
    are float64.

    Args:
        inputs: F, how many numbers `features` takes from an image.
        labels: What its K targets are.
    """

    coefficients: Tensor

    def __init__(self, inputs: int, labels: Labels) -> None:
        super().__init__()
        shape = (1 + inputs, labels.questions.size)
        self.register_buffer("coefficients", torch.zeros(shape, dtype=torch.float64))

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F)."""

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Solves the normal equations; where features repeat each other, by the smallest coefficients."""
        rows, columns = self.coefficients.shape
        gram = self.coefficients.new_zeros(rows, rows)
        moments = self.coefficients.new_zeros(rows, columns)
        for images, targets in batches:
            design = self._design(images)
            gram += design.T @ design
            moments += design.T @ targets.double()
        # The tolerance lies above the rounding of the sums, so that three equal channels count as one, and
        # far below the spread of any real feature.
        self.coefficients.copy_(torch.linalg.pinv(gram, rtol=1e-12, hermitian=True) @ moments)

    def forward(self, images: Tensor) -> Output:
        """(B, C, H, W) to an output of (B, K) float32; a regression has no logits of its own."""
        fractions = (self._design(images) @ self.coefficients).float()
        return Output(fractions, fractions)

    def _design(self, images: Tensor) -> Tensor:
        features = self.features(images).double()
        return torch.cat([features.new_ones(len(features), 1), features], dim=1)


class Mean(ClosedForm):
    """The training set's mean fractions for every galaxy; no image is looked at.

    Args:
        labels: What the targets are.
    """

    def __init__(self, labels: Labels) -> None:
        super().__init__(0, labels)

    def features(self, images: Tensor) -> Tensor:
        """Nothing: (B, 0)."""
        return images.new_empty(len(images), 0)


class CenterPixel(ClosedForm):
    """Linear regression on the central pixel: Speidell's, not Kaggle's benchmark of that name (0.16194).

    Args:
        channels: Channels of the images.
        labels: What the targets are.
    """

    def __init__(self, channels: int, labels: Labels) -> None:
        super().__init__(channels, labels)

    def features(self, images: Tensor) -> Tensor:
        """The pixel below and right of the centre: (B, C)."""
        return images[:, :, images.shape[2] // 2, images.shape[3] // 2]


class AverageColor(ClosedForm):
    """Linear regression on the mean of each channel over the image (Speidell).

    Args:
        channels: Channels of the images.
        labels: What the targets are.
    """

    def __init__(self, channels: int, labels: Labels) -> None:
        super().__init__(channels, labels)

    def features(self, images: Tensor) -> Tensor:
        """The mean colour: (B, C)."""
        return images.mean(dim=(2, 3))
