"""What every survey's catalog knows of its targets."""

from pathlib import Path

import numpy as np

from galaxy.surveys import Catalog


def test_a_target_of_weight_0_is_unknown() -> None:
    targets = np.array([[0.25, 0.0], [1.0, 0.5]], np.float32)
    catalog = Catalog("mine", np.arange(2), (Path("0.jpg"), Path("1.jpg")), targets=targets)
    assert catalog.known_targets is targets
    weights = np.array([[1.0, 0.0], [0.5, 1.0]], np.float32)
    catalog = Catalog("mine", np.arange(2), catalog.images, targets=targets, weights=weights)
    expected = np.array([[0.25, np.nan], [1.0, 0.5]], np.float32)
    np.testing.assert_array_equal(catalog.known_targets, expected)
    assert catalog.known_targets.dtype == np.float32
    assert Catalog("mine", np.arange(1), (Path("0.jpg"),)).known_targets is None
