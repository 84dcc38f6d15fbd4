"""`galaxy export`: the file gives the numbers of the run, and says what there is to know about it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import Tensor

import galaxy
from galaxy.cli.export import main
from galaxy.labels.labels import class_labels
from galaxy.learning.task import GalaxyTask
from galaxy.models import Encoder
from galaxy.models.dieleman import Dieleman
from galaxy.runs import onnx_file
from galaxy.runs.folder import RunFolder
from galaxy.runs.result import Result
from galaxy.system.errors import UserError
from tests.conftest import Command

Train = Callable[..., Path]


@pytest.fixture
def train(command: Command, quick: list[str], tmp_path: Path) -> Train:
    def run(*options: str) -> Path:
        short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
        folder = tmp_path / "run"
        assert command("train.py", *quick, *short, *options, f"hydra.run.dir={folder}") == 0
        return folder

    return run


def test_the_printed_lines_predict_as_the_run_does_and_the_file_is_written_once(
    train: Train, survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("data.limit=40")
    file = run.parent / "galaxy.onnx"
    capsys.readouterr()
    assert main([str(run), "--onnx", str(file)]) == 0
    shown = capsys.readouterr().out
    worst = [float(number) for number in re.findall(r"to (\d.*?) on", shown)]
    assert len(worst) == 2
    assert max(worst) < 1e-5
    image = min((survey / "images_training_rev1").iterdir())
    code = shown[shown.index("import json") :].replace("GALAXY.jpg", str(image))
    exec(code, {})
    printed = json.loads(capsys.readouterr().out.replace("'", '"'))
    expected = galaxy.load(run).predict(image).iloc[0].drop("id").to_dict()
    assert printed == pytest.approx(expected, abs=1e-3)

    session = onnxruntime.InferenceSession(file)
    about = session.get_modelmeta().custom_metadata_map
    table = pd.read_parquet(run / "predictions.parquet")
    assert json.loads(about["columns"]) == [name for name in table if "Class" in name and "true" not in name]
    assert json.loads(about["labels"])["meaning"] == "cumulative"
    assert json.loads(about["crop"]) == {"name": "CenterCrop", "size": 32, "channels": 3, "fraction": 0.5}
    assert (about["run"], about["galaxy_version"]) == ("run", galaxy.__version__)
    before = file.read_bytes()
    assert b"/galaxy/" not in before  # no folder of this machine
    assert main([str(run), "--onnx", str(file)]) == 1
    assert capsys.readouterr().err == f"{file} exists: remove it, or give another name\n"
    assert file.read_bytes() == before
    assert main([str(run), "--onnx", str(run.parent / "galaxy.pt")]) == 1
    assert "must end in .onnx" in capsys.readouterr().err
    RunFolder(run).write_result(Result(status="interrupted"))
    assert main([str(run), "--onnx", str(run.parent / "other.onnx")]) == 1
    assert f"{run} is not done (interrupted)" in capsys.readouterr().err


def test_a_model_that_is_fitted_in_one_go_is_refused_in_one_line(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("model=mean")
    capsys.readouterr()
    assert main([str(run), "--onnx", str(run.parent / "mean.onnx")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("fitted in one go: only networks can be written as ONNX")
    assert not (run.parent / "mean.onnx").exists()


def test_a_missing_package_is_named(
    train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("model=mean")
    capsys.readouterr()
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnx" else name)
    assert main([str(run), "--onnx", str(run.parent / "mean.onnx")]) == 1
    assert capsys.readouterr().err == "--onnx needs onnx: pip install 'galaxy-morphology[onnx]'\n"


LABELS = class_labels(("elliptical", "spiral"), "Which kind of galaxy is it?")


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 106])
def test_the_network_of_2014_is_translated_for_any_number_of_images(size: int) -> None:
    task = GalaxyTask(Dieleman(3, size, filters=(4, 4, 4, 4), dense=(8, 8)), LABELS).eval()
    content = onnx_file._translated(task, (3, size, size)).SerializeToString()
    for count in (1, 3):
        images = torch.rand(count, 3, size, size)
        (found,) = onnxruntime.InferenceSession(content).run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, task(images).fractions.detach(), atol=1e-5)


class OfOneSize(Encoder):
    """Reads the number of images as a plain number."""

    num_features = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)).reshape(len(images), -1)


def test_a_network_that_takes_batches_of_one_size_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"write images\.shape\[0\] in place of len"):
        onnx_file._translated(GalaxyTask(OfOneSize(), LABELS), (3, 16, 16))
