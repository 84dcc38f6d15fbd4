"""Baselines fitted in closed form."""

import numpy as np
import pytest
import torch

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels
from galaxy.models.baselines import AverageColor, CenterPixel, ClosedForm, Mean

LABELS = Labels(GALAXY_ZOO_2, KAGGLE_COLUMNS, "cumulative")
K = GALAXY_ZOO_2.size


def example(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, channels, 16, 16, generator=generator) ** 3
    # Labels that depend on the pixels, so that the fit is more than the mean.
    mixing = torch.rand(channels, K, generator=generator)
    targets = images[:, :, 8, 8] @ mixing + images.mean((2, 3)) @ mixing
    return images, targets + 0.1 * torch.rand(200, K, generator=generator)


def fitted(model: ClosedForm, images: torch.Tensor, targets: torch.Tensor) -> ClosedForm:
    model.fit(zip(images.split(64), targets.split(64), strict=True))
    return model


def lstsq(features: np.ndarray, targets: torch.Tensor) -> np.ndarray:
    design = np.column_stack([np.ones(len(features)), features.astype(np.float64)])
    coefficients, *_ = np.linalg.lstsq(design, targets.double().numpy(), rcond=None)
    return design @ coefficients


@pytest.mark.parametrize("channels", [1, 3])
def test_baselines_are_least_squares(channels: int) -> None:
    images, targets = example(channels)
    pixels = images.numpy()
    for model, features in (
        (Mean(LABELS), np.empty((200, 0))),
        (CenterPixel(channels, LABELS), pixels[:, :, 8, 8]),
        (AverageColor(channels, LABELS), pixels.mean((2, 3), dtype=np.float64)),
    ):
        found = fitted(model, images, targets)(images).fractions
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), lstsq(features, targets), atol=1e-6)


def test_the_mean_is_the_mean() -> None:
    images, targets = example()
    found = fitted(Mean(LABELS), images, targets)(images[:2]).fractions
    torch.testing.assert_close(found, targets.mean(0).expand(2, K))


def test_normalisation_changes_no_prediction() -> None:
    images, targets = example()
    normalised = (images - 0.25) / 0.01
    plain = fitted(AverageColor(3, LABELS), images, targets)(images).fractions
    other = fitted(AverageColor(3, LABELS), normalised, targets)(normalised).fractions
    torch.testing.assert_close(plain, other, rtol=0, atol=1e-6)


def test_grey_images_in_three_channels_are_fitted_too() -> None:
    images, targets = example(channels=1)
    found = fitted(CenterPixel(3, LABELS), images.expand(-1, 3, -1, -1), targets)
    expected = fitted(CenterPixel(1, LABELS), images, targets)(images).fractions
    torch.testing.assert_close(found(images.expand(-1, 3, -1, -1)).fractions, expected, rtol=0, atol=1e-6)
    assert found.coefficients.abs().max() < 10


def test_the_fit_travels_in_the_state_dict() -> None:
    images, targets = example()
    model = fitted(AverageColor(3, LABELS), images, targets)
    copy = AverageColor(3, LABELS)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(images).fractions, model(images).fractions)


def test_unknown_targets_are_left_out_of_each_columns_fit() -> None:
    images, targets = example()
    unknown = torch.rand(200, K, generator=torch.Generator().manual_seed(1)) < 0.3
    model = fitted(CenterPixel(3, LABELS), images, targets.masked_fill(unknown, torch.nan))
    predicted = model(images).fractions.numpy()
    features = images[:, :, 8, 8].numpy()
    for column in (0, 17, K - 1):
        rows = ~unknown[:, column].numpy()
        design = np.column_stack([np.ones(200), features.astype(np.float64)])
        solution, *_ = np.linalg.lstsq(design[rows], targets[rows, column].double().numpy(), rcond=None)
        np.testing.assert_allclose(predicted[:, column], design @ solution, atol=1e-5)
