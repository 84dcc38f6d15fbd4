"""Every command of README.md does what it says, on a tiny survey."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from galaxy.labels.tree import GALAXY_ZOO_2
from tests.conftest import PROJECT, Command

BLOCKS = re.findall(r"```bash\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
# make runs these tests, TensorBoard serves until it is stopped, and downloads have tests of their own.
RUNNABLE = [command for command in COMMANDS if command.startswith("python ") and ".fetch " not in command]
SWEEPS = [command for command in RUNNABLE if "train.py -m " in command or "sweep=" in command]


def test_the_readme_has_the_commands() -> None:
    programs = {command.split()[1] for command in RUNNABLE}
    assert {"train.py", "evaluate.py", "-m"} <= programs
    assert set(COMMANDS) - set(RUNNABLE) == {
        "make train",
        "make test",
        "tensorboard --logdir runs",
        "python -m galaxy.surveys.fetch gz2",
    }


def write_kaggle(root: Path, survey: Path) -> None:
    root.mkdir(parents=True)
    (root / "training_solutions_rev1.csv").write_bytes((survey / "training_solutions_rev1.csv").read_bytes())
    for name in ("images_training_rev1", "images_test_rev1"):
        (root / name).symlink_to(survey / "images_training_rev1")


def write_gz2(root: Path, survey: Path) -> None:
    """The same galaxies with conditional fractions."""
    root.mkdir()
    table = pd.read_csv(survey / "training_solutions_rev1.csv")
    fractions, _ = GALAXY_ZOO_2.conditional(table[list(GALAXY_ZOO_2.kaggle_columns)].to_numpy())
    labels = pd.DataFrame(fractions, columns=list(GALAXY_ZOO_2.hart16_columns("debiased")))
    labels.insert(0, "dr7objid", table["GalaxyID"])
    labels.to_csv(root / "gz2_hart16.csv", index=False)
    mapping = pd.DataFrame({"objid": table["GalaxyID"], "sample": "original", "asset_id": table["GalaxyID"]})
    mapping.to_csv(root / "gz2_filename_mapping.csv", index=False)
    (root / "images").symlink_to(survey / "images_training_rev1")


def write_galaxy10(root: Path, survey: Path) -> None:
    root.mkdir()
    rng = np.random.default_rng(0)
    with h5py.File(root / "Galaxy10_DECals.h5", "w") as file:
        file["images"] = rng.integers(0, 256, (80, 256, 256, 3), dtype=np.uint8)
        file["ans"] = (np.arange(80) % 10).astype(np.uint8)


def write_own(root: Path, survey: Path) -> None:
    root.mkdir()
    table = pd.read_csv(survey / "training_solutions_rev1.csv")
    smooth = table["Class1.1"]
    own = pd.DataFrame({"name": table["GalaxyID"], "smooth": smooth, "disk": table["Class1.2"]})
    own["morphology"] = np.where(smooth > 0.5, "elliptical", "spiral")
    own.to_csv(root / "labels.csv", index=False)
    (root / "images").symlink_to(survey / "images_training_rev1")


@pytest.fixture
def ready(
    command: Command, quick: list[str], survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder to work in, with one finished run, every survey and ImageNet's weights."""
    monkeypatch.chdir(tmp_path)
    assert command("train.py", *quick, "trainer.max_epochs=1", "hydra.run.dir=runs/first") == 0
    sweep = ["-m", "model=mean", "hydra.sweep.dir=runs/mine"]
    assert command("train.py", *sweep, *(o for o in quick if not o.startswith("model="))) == 0
    for write in (write_kaggle, write_gz2, write_galaxy10, write_own):
        write(tmp_path / "data" / write.__name__.removeprefix("write_"), survey)
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), folder / Path(weights.url).name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def arguments_of(line: str, folder: Path, quick: list[str]) -> list[str]:
    """The words of a command, with its blanks filled in and the training made short."""
    words = [
        word.replace("=DIR", f"={folder}/data/own").replace("=RUN", f"={folder}/runs/first")
        for word in shlex.split(line)
    ]
    resumed = any(word.startswith("resume=") for word in words)
    if words[1] == "train.py" and not resumed and not any(word.startswith("--") for word in words):
        words += [o for o in quick if not o.startswith(("data=", "data.root", "crop=", "model="))]
        words += ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
        if not any(word.startswith("data=") for word in words):
            words += [f"data.root={folder}/simulated", "data.catalog.count=60", "data.catalog.workers=1"]
    return words


def call(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs `python PROGRAM ...` or `python -m MODULE ...` in this process."""
    try:
        if words[1] == "-m":
            monkeypatch.setattr(sys, "argv", words[2:])
            monkeypatch.delitem(sys.modules, words[2], raising=False)
            runpy.run_module(words[2], run_name="__main__")
        else:
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(str(PROJECT / words[1]), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow) if line in SWEEPS else line for line in RUNNABLE]
)
def test_command_runs(line: str, ready: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(arguments_of(line, ready, quick), monkeypatch) == 0
    if "part=test" in line:
        submissions = list((ready / "runs" / "first").rglob("submission.csv"))
        assert len(submissions) == 1
        assert submissions[0].read_text().startswith(f"GalaxyID,{GALAXY_ZOO_2.kaggle_columns[0]},")
