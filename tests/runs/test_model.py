"""A trained model in Python: the numbers of the command line, for images in any form."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from astropy.io import fits

import galaxy
from galaxy.runs.folder import RunFolder
from galaxy.runs.model import TrainedModel
from galaxy.runs.result import Result
from galaxy.system.errors import UserError
from tests.conftest import PROJECT, Command

Train = Callable[..., Path]


@pytest.fixture
def train(command: Command, quick: list[str], tmp_path: Path) -> Train:
    def run(*options: str) -> Path:
        folder = tmp_path / "-".join(options).replace("/", "_")
        short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
        assert command("train.py", *quick, *short, *options, f"hydra.run.dir={folder}") == 0
        return folder

    return run


@pytest.fixture
def images(survey: Path) -> list[Path]:
    return sorted((survey / "images_training_rev1").iterdir())


def assert_as_evaluated(run: Path, images: list[Path]) -> None:
    """Compares with what the run itself has predicted."""
    recorded = pd.read_parquet(run / "predictions.parquet")
    model = galaxy.load(run)
    by_id = {int(path.stem): path for path in images}
    table = model.predict([by_id[i] for i in recorded["id"]])
    assert table["id"].tolist() == recorded["id"].tolist()
    assert table.columns.tolist() == [name for name in recorded if not name.startswith("true/")]
    columns = list(model.labels.columns)
    np.testing.assert_allclose(table[columns], recorded[columns], atol=1e-6)


@pytest.mark.parametrize("crop", ["center64", "roi64", "contour106"])
def test_predictions_are_those_of_the_run(crop: str, train: Train, images: list[Path]) -> None:
    assert_as_evaluated(train(f"crop={crop}"), images)


@pytest.mark.parametrize("model", ["mean", "knn"])
def test_models_that_are_fitted_in_one_go_predict_too(model: str, train: Train, images: list[Path]) -> None:
    run = train(f"model={model}", "target=question1", "loss=cross_entropy")
    assert_as_evaluated(run, images)
    loaded = galaxy.load(run)
    assert loaded.task is None
    assert loaded.predict(images[:3]).columns[:2].tolist() == ["id", "class"]
    with pytest.raises(UserError, match="fitted in one go, so it has no features"):
        loaded.features(images)


def test_evaluate_and_predict_agree_on_other_images(
    command: Command, train: Train, images: list[Path], tmp_path: Path
) -> None:
    """Pictures of several sizes in sub-folders, and FITS files of bands that the data of the run name."""
    folder = tmp_path / "mine"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, path in enumerate(images[:3]):
        shutil.copy(path, folder / "deeper" / f"field {number}.jpg")
    cv2.imwrite(str(folder / "grey.png"), rng.integers(0, 255, (90, 70), dtype=np.uint8))
    fits.writeto(folder / "ngc1300.fits", rng.normal(0, 1, (3, 40, 40)).astype(np.float32))
    run = train()
    data = ["data=folder", f"data.root={folder}", f"data.cache={tmp_path}/cache"]
    for tta in (1, 8):
        assert command("evaluate.py", f"run={run}", *data, f"tta={tta}", f"out={tmp_path}/{tta}") == 0
        evaluated = pd.read_parquet(tmp_path / str(tta) / "predictions.parquet")
        table = galaxy.load(run).predict(folder, tta=tta)
        assert table["id"].tolist() == evaluated["id"].tolist()
        fractions = list(table)[1:]
        np.testing.assert_allclose(table[fractions], evaluated[fractions], atol=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A network that has learned nothing, of frames of 64 pixels."""
    from galaxy.images.crops.center import CenterCrop
    from galaxy.learning.task import GalaxyTask
    from galaxy.models.deep_cnn import DeepCNN
    from galaxy.surveys.kaggle import LABELS

    torch.manual_seed(0)
    task = GalaxyTask(DeepCNN(channels=3, size=32), LABELS)
    return TrainedModel(task, LABELS, CenterCrop(32), frame=(64, 64))


def test_every_form_of_an_image_gives_the_same_prediction(
    model: TrainedModel, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for path in images[:3]:  # PNGs, because decoders of JPEGs may differ by a grey level
        files.append(tmp_path / f"{path.stem}.png")
        PIL.Image.open(path).convert("RGB").save(files[-1])
    arrays = [np.asarray(PIL.Image.open(file)) for file in files]
    pictures = [PIL.Image.open(file).convert("RGBA") for file in files]
    monkeypatch.setenv("HOME", str(tmp_path))
    by_file = model.predict(files)
    assert by_file["id"].tolist() == [int(path.stem) for path in files]
    forms: list[Any] = [
        arrays,
        np.stack(arrays),
        tuple(pictures),
        [str(files[0]), arrays[1], pictures[2]],
        (array for array in arrays),
        pd.Series([f"~/{file.name}" for file in files]),
        tmp_path,
    ]
    for images_given in forms:
        table = model.predict(images_given, batch_size=2)
        np.testing.assert_allclose(table.iloc[:, 1:], by_file.iloc[:, 1:], atol=1e-6)
    assert model.predict(np.stack(arrays))["id"].tolist() == [0, 1, 2]
    assert model.predict([files[0], arrays[1]])["id"].tolist() == [by_file["id"][0], 1]
    assert [len(model.predict(one)) for one in (arrays[0], files[0], pictures[0])] == [1, 1, 1]
    grey = arrays[0][..., 0]
    np.testing.assert_array_equal(model.predict(grey), model.predict(np.dstack([grey] * 3)))


def test_names_that_are_no_numbers_stay_text(model: TrainedModel, tmp_path: Path) -> None:
    names = ["ngc 1300.v2.jpg", "007.png", "M31.tiff"]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.full((64, 64, 3), 9, np.uint8))
    assert model.predict([tmp_path / name for name in names])["id"].tolist() == ["ngc 1300.v2", "007", "M31"]


def test_features_are_what_the_head_predicts_from(model: TrainedModel, images: list[Path]) -> None:
    features = model.features(images[:5], batch_size=2)
    assert features.dtype == np.float32
    assert model.task is not None
    with torch.inference_mode():
        fractions = model.task.head(torch.from_numpy(features)).fractions
    np.testing.assert_allclose(fractions, model.predict(images[:5]).iloc[:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((64, 64, 3)), r"^images is an array of float64; .*\(255 \* x\)"),
        (np.zeros((64, 64), np.uint16), "^images is an array of uint16"),
        (np.zeros((3, 64, 64), np.uint8), r"^images is an array of shape \(3, 64, 64\)"),
        (np.zeros((2, 3, 64, 64), np.uint8), r"^images\[0\] is an array of shape \(3, 64, 64\)"),
        (np.zeros((64, 64, 4), np.uint8), r"^images is an array of shape \(64, 64, 4\)"),
        ([np.zeros((64, 64), np.uint8), np.zeros((9, 7), np.uint8)], r"images\[1\]: has 7 x 9 pixels"),
        (np.zeros((0, 64, 3), np.uint8), "images: has 64 x 0 pixels"),
        ([], "^images is empty"),
        (np.zeros((0, 64, 64, 3), np.uint8), "^images is empty"),
        (7, "^images is int; give a file"),
        ([None], r"^images\[0\] is NoneType; give a file"),
        (torch.zeros(1, 3, 64, 64), "^images is Tensor; give a file"),
        (PIL.Image.new("I;16", (64, 64)), "^images is a PIL image of mode I;16"),
        (["a.jpg", "b.toml"], r"(?s)2 image\(s\).*a.jpg: cannot be read.*b.toml: cannot be read"),
    ],
)
def test_what_is_no_image_is_named(model: TrainedModel, given: Any, said: str) -> None:
    with pytest.raises((ValueError, UserError), match=said):
        model.predict(given)


def test_wrong_parameters_and_empty_folders_are_named(model: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"No image in {tmp_path}"):
        model.predict(tmp_path)
    with pytest.raises(ValueError, match=r"^tta is 3; "):
        model.predict(tmp_path, tta=3)
    with pytest.raises(ValueError, match=r"^batch_size is 0; "):
        model.features(np.zeros((64, 64), np.uint8), batch_size=0)


def test_images_that_were_cropped_before_are_warned_of(
    model: TrainedModel, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    whole = np.asarray(PIL.Image.open(images[0]))
    model.predict([whole, images[1]])
    assert not caplog.records
    model.predict([whole, whole[16:-16, 16:-16]])
    assert "1 of 2 images, such as images[1], are not 64 x 64 pixels" in caplog.text


def test_a_checkpoint_is_loaded_from_anywhere(
    train: Train, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train()
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(RunFolder(run).best, tmp_path / "mine.ckpt")
    model = galaxy.load("~/mine.ckpt")
    assert model.questions.size == len(model.labels.columns) == 37
    assert model.config["seed"] == 0
    assert model.frame == (64, 64)
    assert model.task is not None
    assert not model.task.training
    assert "DeepCNN, 37 fractions, CenterCrop(32)" in repr(model)
    pd.testing.assert_frame_equal(model.predict(images[:2]), galaxy.load(str(run)).predict(images[:2]))


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        galaxy.load(tmp_path)
    with pytest.raises(UserError, match="there is no checkpoint"):
        galaxy.load(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="there is no such folder"):
        galaxy.load(tmp_path / "x")


def test_a_sweep_and_the_latest_run_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"run=latest: no run below .* has finished"):
        galaxy.load("latest")
    for number in range(2):
        run = RunFolder(tmp_path / "runs" / str(number))
        run.begin({"seed": 0}, [], {}, resume=False)
        run.write_result(Result(status="done", metrics={"val/rmse": 0.1 * number}))
    with pytest.raises(UserError, match=r"holds 2 runs, .* the best by val/rmse is run=runs/0"):
        galaxy.load("runs")
    with pytest.raises(UserError, match=r"runs/1 has no checkpoint best.ckpt \(the run: done\)"):
        galaxy.load("latest")


def test_importing_galaxy_imports_nothing_heavy() -> None:
    code = "import galaxy, sys; assert not {'torch', 'numpy', 'hydra', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, capture_output=True)
