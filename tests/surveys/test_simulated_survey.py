"""The simulated survey as a catalog."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.simulated.crowd import vote_fractions
from galaxy.surveys.simulated.survey import read_simulated
from galaxy.system.errors import UserError


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    read_simulated(root, "error", count=8)
    return root


@pytest.fixture
def root(written, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def survey(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.is_dir())


def read(root: Path, on_bad: str = "error") -> Catalog:
    return read_simulated(root, on_bad, count=8)


def test_reads_votes_and_probabilities_beside_the_labels(written):
    catalog = read(written)
    assert catalog.name == "simulated"
    assert catalog.labels is not None
    assert catalog.labels.meaning == "cumulative"
    assert len(catalog) == len(set(catalog.ids.tolist())) == 8
    assert all(path.is_file() for path in catalog.images)
    for values in (catalog.targets, catalog.counts, catalog.expected):
        assert values.shape == (8, 37)
        assert values.dtype == np.float32
    np.testing.assert_array_equal(catalog.counts[:, GALAXY_ZOO_2.slices[0]].sum(1), 45)
    np.testing.assert_allclose(catalog.targets, vote_fractions(catalog.counts), atol=1e-6)
    assert np.abs(GALAXY_ZOO_2.residuals(catalog.expected)).max() < 1e-6
    assert 0.01 < np.sqrt(np.square(catalog.targets - catalog.expected).mean()) < 0.08


def test_damaged_survey_is_named_or_skipped_with_its_votes(root):
    whole = read(root)
    whole.images[2].unlink()
    with pytest.raises(UserError, match=str(whole.ids[2])):
        read(root)
    catalog = read(root, "skip")
    kept = np.delete(np.arange(8), 2)
    assert catalog.skipped
    np.testing.assert_array_equal(catalog.ids, whole.ids[kept])
    np.testing.assert_array_equal(catalog.targets, whole.targets[kept])
    np.testing.assert_array_equal(catalog.counts, whole.counts[kept])
    np.testing.assert_array_equal(catalog.expected, whole.expected[kept])


@pytest.mark.parametrize("name", ["votes.csv", "probabilities.csv"])
def test_damaged_tables_are_named(root, name):
    path = survey(root) / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))  # a galaxy is missing
    with pytest.raises(UserError, match=rf"(?s){name}.*Delete the folder"):
        read(root)
    path.unlink()
    with pytest.raises(UserError, match=rf"(?s){name}.*Delete the folder"):
        read(root)


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("seed", -1), ("volunteers", 0), ("workers", 0)])
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"^{name} is {value}"):
        read_simulated(tmp_path / "new", "error", **{name: value})
    assert not (tmp_path / "new").exists()


def test_does_not_need_torch():
    code = "import sys, galaxy.surveys.simulated.survey; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
