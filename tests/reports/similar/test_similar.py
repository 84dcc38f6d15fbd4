"""Embeddings, the nearest galaxies and the oddest, through the command line and for made-up features."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import galaxy
from galaxy.reports.similar.distances import Neighbourhood
from tests.conftest import Command

IDS = np.arange(200)


def test_the_nearest_are_those_of_the_same_kind_and_the_lonely_one_is_the_oddest() -> None:
    rng = np.random.default_rng(0)
    kinds = IDS % 4
    features = rng.normal(size=(4, 30))[kinds] * 10 + rng.normal(size=(200, 30))
    features[17] += 100
    near = Neighbourhood(features.astype(np.float32), IDS)
    assert near.oddities.argmax() == 17
    assert np.median(near.oddities) == pytest.approx(1)
    for place in (0, 1, 2, 3):
        nearest, distances = near.nearest(place, 11)
        assert set(kinds[nearest]) == {kinds[place]}
        assert place not in nearest
        assert (np.diff(distances) >= 0).all()
        again, zero = near.nearest_to(features[place].astype(np.float32), 12)
        assert again.tolist() == [place, *nearest.tolist()]
        assert zero[0] == pytest.approx(0, abs=1e-4)


def test_features_that_never_change_do_not_count() -> None:
    features = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    constant = np.concatenate([features, np.full((200, 3), 7, np.float32)], axis=1)
    np.testing.assert_allclose(
        Neighbourhood(features, IDS).oddities, Neighbourhood(constant, IDS).oddities, rtol=1e-4
    )
    with pytest.raises(ValueError, match="all galaxies have the same features"):
        Neighbourhood(constant[:, 5:], IDS)
    with pytest.raises(ValueError, match="too few to compare"):
        Neighbourhood(features[:10], IDS[:10])


@pytest.fixture
def run(command: Command, quick: list[str], tmp_path: Path) -> Callable[[str], str]:
    def train(model: str) -> str:
        folder = tmp_path / model
        short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", f"model={model}"]
        assert command("train.py", *quick, *short, f"hydra.run.dir={folder}") == 0
        return f"run={folder}"

    return train


def test_embeddings_are_the_features_of_the_model(
    command: Command,
    run: Callable[[str], str],
    survey: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, out = run("deep_cnn"), tmp_path / "out"
    again = ["evaluate.py", given, "split=all", f"out={out}", "accelerator=cpu"]
    assert command(*again, "similar=[100003,100010]") == 0
    assert "similar.html" in capsys.readouterr().out
    table = pd.read_parquet(out / "embeddings.parquet")
    assert sorted(table["id"]) == sorted(int(f.stem) for f in (survey / "images_training_rev1").iterdir())
    image = survey / "images_training_rev1" / f"{table['id'][0]}.jpg"
    features = galaxy.load(tmp_path / "deep_cnn").features(image)
    np.testing.assert_allclose(table.drop(columns="id").iloc[0], features[0], atol=1e-5)
    oddities = pd.read_csv(out / "oddities.csv")
    assert oddities["oddity"].is_monotonic_decreasing
    assert set(oddities["id"]) == set(table["id"])
    page = (out / "similar.html").read_text()
    assert page.index("Nearest to 100003") < page.index("Nearest to 100010") < page.index("The oddest")
    assert page.count("<img") == 2 * 12 + 48

    written = (out / "predictions.parquet").stat().st_mtime_ns
    assert command(*again, "similar=[100004]") == 1
    assert "similar: no galaxy called 100004 is among the 80 evaluated ones" in capsys.readouterr().err
    assert (out / "predictions.parquet").stat().st_mtime_ns == written
    assert command(*again) == 0
    assert not (out / "similar.html").exists()  # an evaluation takes the place of an earlier one


def test_models_without_features_are_refused_before_anything_is_predicted(
    command: Command, run: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = run("mean"), tmp_path / "out"
    assert command("evaluate.py", given, f"out={out}", "embeddings=true") == 1
    assert "fitted in one go, so it has no features" in capsys.readouterr().err
    assert not out.exists()
