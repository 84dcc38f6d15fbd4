"""Baselines: what can be predicted without looking closely. A network has to be better.

They are linear regressions on a few numbers of each image, fitted in closed form in one pass over the
training batches. On the Kaggle data Speidell reached RMSE 0.1639 with the mean, 0.1599 with the average
colour and 0.1564 with the central pixel.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from galaxy.labels.labels import Labels
from galaxy.models.fitted import Fitted
from galaxy.models.heads.head import Output


class ClosedForm(Fitted):
    """Least squares with an intercept, solved by the normal equations summed over all batches.

    The images need not be normalised, because a linear regression predicts the same either way. The sums and
    the solution are float64.

    Args:
        inputs: The number F of values that `features` takes from an image.
        labels: The labels that the K targets hold.
    """

    coefficients: Tensor

    def __init__(self, inputs: int, labels: Labels) -> None:
        super().__init__()
        shape = (1 + inputs, labels.questions.size)
        self.register_buffer("coefficients", torch.zeros(shape, dtype=torch.float64))

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Takes F numbers from each image: (B, C, H, W) to (B, F)."""

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Solves the normal equations of each column over the galaxies whose target is known.

        Redundant features get the smallest coefficients that fit.
        """
        rows, columns = self.coefficients.shape
        gram = self.coefficients.new_zeros(columns, rows, rows)
        moments = self.coefficients.new_zeros(columns, rows, 1)
        for images, targets in batches:
            design, known = self._design(images), (~targets.isnan()).double()
            gram += torch.einsum("bk,bi,bj->kij", known, design, design)
            moments += torch.einsum("bi,bk->ki", design, targets.double().nan_to_num(0.0))[..., None]
        # The tolerance is larger than the rounding of the sums, so that three equal channels count as one,
        # and far smaller than the spread of any real feature.
        solution = torch.linalg.pinv(gram, rtol=1e-12, hermitian=True) @ moments
        self.coefficients.copy_(solution[..., 0].T)

    def forward(self, images: Tensor) -> Output:
        """Predicts (B, K) float32 from images (B, C, H, W); a regression has no logits of its own."""
        fractions = (self._design(images) @ self.coefficients).float()
        return Output(fractions, fractions)

    def _design(self, images: Tensor) -> Tensor:
        features = self.features(images).double()
        return torch.cat([features.new_ones(len(features), 1), features], dim=1)


class Mean(ClosedForm):
    """Predicts the mean fractions of the training set for every galaxy, without looking at an image.

    Args:
        labels: The labels that the targets hold.
    """

    def __init__(self, labels: Labels) -> None:
        super().__init__(0, labels)

    def features(self, images: Tensor) -> Tensor:
        """Takes nothing: (B, 0)."""
        return images.new_empty(len(images), 0)


class CenterPixel(ClosedForm):
    """Linear regression on the central pixel, as Speidell's. Kaggle's benchmark of that name got 0.16194.

    Args:
        channels: The channels of the images.
        labels: The labels that the targets hold.
    """

    def __init__(self, channels: int, labels: Labels) -> None:
        super().__init__(channels, labels)

    def features(self, images: Tensor) -> Tensor:
        """Takes the pixel below and right of the centre: (B, C)."""
        return images[:, :, images.shape[2] // 2, images.shape[3] // 2]


class AverageColor(ClosedForm):
    """Linear regression on the mean of each channel over the image (Speidell).

    Args:
        channels: The channels of the images.
        labels: The labels that the targets hold.
    """

    def __init__(self, channels: int, labels: Labels) -> None:
        super().__init__(channels, labels)

    def features(self, images: Tensor) -> Tensor:
        """Takes the mean colour: (B, C)."""
        return images.mean(dim=(2, 3))
