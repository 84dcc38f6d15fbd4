"""Every command of README.md and docs/ does what it says, on a tiny survey.

A comment before a block of commands makes an exception: `<!-- not run -->` where a command downloads or
serves, `<!-- compose only -->` where it needs a machine that tests do not have.
"""

import doctest
import importlib
import logging
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS, hart16_columns
from tests.config.test_every_option import composed
from tests.conftest import PROJECT, Command
from tests.docs.pages import FILES, OWN, PAGES
from tests.helpers.own_package import install

BLOCKS = re.compile(r"(?:<!-- (not run|compose only) -->\n)?```bash\n(.*?)```", re.DOTALL)
TRAIN = (["galaxy", "train"], ["python", "train.py"])


def commands(mark: str, pages: Iterable[str] = PAGES) -> list[str]:
    """The commands of pages under a mark, each once."""
    lines = [
        line.partition(" #")[0].strip()
        for page in pages
        for found, block in BLOCKS.findall(PAGES[page])
        for line in block.splitlines()
        if found == mark
    ]
    return list(dict.fromkeys(line for line in lines if line))


RUN = [line for line in commands("", [page for page in PAGES if page not in OWN]) if "tiny_cnn" not in line]
WORKED = [line for line in commands("") if "tiny_cnn" in line]
# Sweeps, pages about surveys, and trainings that the pages in docs/ alone show.
FIRST = commands("", [page for page in PAGES if page == "README.md" or page.startswith("docs/guides/")])
SLOW = [
    line
    for line in RUN
    if "train -m " in line
    or "sweep=" in line
    or "out=exploration" in line
    or (line.startswith("galaxy train ") and line not in FIRST)
]

# The modules whose docstrings have examples.
EXAMPLES = [
    ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((PROJECT / "galaxy").rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


def test_the_pages_show_every_command() -> None:
    words = [line.split() for line in RUN]
    shown = {word[1] for word in words if word[0] == "galaxy"}
    assert shown == {"train", "evaluate", "explore", "compare", "cache", "export"}
    assert {word[1] for word in words if word[0] == "python"} == {"evaluate.py"}
    assert {word[0] for word in words} == {"galaxy", "python"}


def test_only_downloads_and_the_commands_of_others_are_not_run() -> None:
    programs = {" ".join(line.split()[:2]) for line in commands("not run")}
    others = {"make train", "make test", "source .venv/bin/activate", "pip install", "tensorboard --logdir"}
    others |= {"make demo", "galaxy demo", "docker build", "docker run", "curl --data-binary", "curl -F"}
    others |= {
        "curl http://127.0.0.1:8000/api/about",
        "curl 'http://127.0.0.1:8000/api/random?class=Class4.1'",
    }
    others |= {
        "optuna-dashboard runs/search/study.journal",
        "torchrun --nproc-per-node=4",
        "torchrun --nnodes=2",
    }
    assert programs == {"galaxy fetch", *others}


def write_kaggle(root: Path, survey: Path) -> None:
    root.mkdir(parents=True)
    (root / "training_solutions_rev1.csv").write_bytes((survey / "training_solutions_rev1.csv").read_bytes())
    for name in ("images_training_rev1", "images_test_rev1"):
        (root / name).symlink_to(survey / "images_training_rev1")


def write_gz2(root: Path, survey: Path) -> None:
    """The same galaxies with conditional fractions."""
    root.mkdir()
    table = pd.read_csv(survey / "training_solutions_rev1.csv")
    fractions, _ = GALAXY_ZOO_2.conditional(table[list(KAGGLE_COLUMNS)].to_numpy())
    labels = pd.DataFrame(fractions, columns=list(hart16_columns("debiased")))
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
    own[["ra", "dec", "redshift"]] = np.random.default_rng(0).uniform(0, 1, (len(own), 3))
    own["n_smooth"], own["n_disk"] = (40 * smooth).round().astype(int), 40 - (40 * smooth).round().astype(int)
    own.to_csv(root / "labels.csv", index=False)
    (root / "images").symlink_to(survey / "images_training_rev1")


def write_classes(root: Path, survey: Path) -> None:
    """A folder for each class."""
    for number, path in enumerate(sorted((survey / "images_training_rev1").iterdir())):
        place = root / ("spiral", "elliptical")[number % 2] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `ready` copies or links; the first test fills it."""
    return tmp_path_factory.mktemp("prepared") / "work"


@pytest.fixture
def ready(
    prepared: Path,
    command: Command,
    quick: list[str],
    survey: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder to work in: a run, a sweep, every survey and ImageNet's weights."""
    if not prepared.exists():
        fill(prepared, command, quick, survey, monkeypatch)
    folder = tmp_path / "work"
    shutil.copytree(prepared / "runs", folder / "runs")
    (folder / "data").mkdir()
    for data in (prepared / "data").iterdir():
        (folder / "data" / data.name).symlink_to(data)
    (folder / "cache").symlink_to(cache)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TORCH_HOME", str(prepared / "torch"))
    return folder


def fill(
    folder: Path, command: Command, quick: list[str], survey: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert command("train.py", *quick, "trainer.max_epochs=1", "hydra.run.dir=runs/first") == 0
    sweep = ["-m", "model=mean", "hydra.sweep.dir=runs/mine"]
    assert command("train.py", *sweep, *(o for o in quick if not o.startswith("model="))) == 0
    for write in (write_kaggle, write_gz2, write_galaxy10, write_own, write_classes):
        write(folder / "data" / write.__name__.removeprefix("write_"), survey)
    weights = folder / "torch" / "hub" / "checkpoints"
    weights.mkdir(parents=True)
    name = Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name
    torch.save(torchvision.models.resnet18().state_dict(), weights / name)


def filled(line: str, folder: Path) -> list[str]:
    """The words of a command, with its blanks filled in."""
    return [
        word.replace("=DIR", f"={folder}/data/own")
        .replace("=CLASSES", f"={folder}/data/classes")
        .replace("=RUN", f"={folder}/runs/first")
        for word in shlex.split(line)
    ]


def shortened(words: list[str], quick: list[str], simulated: Path) -> list[str]:
    """A command whose training, if it trains, takes a second or two."""
    if words[:2] not in TRAIN or any(word.startswith(("resume=", "like=", "--")) for word in words):
        return words
    words = [*words, *(o for o in quick if not o.startswith(("data=", "data.root", "crop=", "model=")))]
    words += ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
    if not any(word.startswith(("data=", "experiment=")) for word in words):
        words += [f"data.root={simulated}", "data.catalog.count=60", "data.catalog.workers=1"]
    if not any(word.startswith(("model", "experiment=", "callbacks=")) for word in words):
        words.append("model=deep_cnn")  # the default has many more weights
    if "model=small_cnn" in words:
        words.append("model.filters=[4,4]")  # it has 60 million weights
    if "sweep=search" in words:
        words.append("hydra.sweeper.n_trials=2")
    return words


def call(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs `galaxy ...` or `python PROGRAM ...` in this process; returns the exit status."""
    try:
        if words[0] == "galaxy":
            monkeypatch.setattr(sys, "argv", words)
            monkeypatch.delitem(sys.modules, f"galaxy.cli.{words[1]}", raising=False)  # runpy warns of it
            runpy.run_module("galaxy", run_name="__main__")
        else:
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(str(PROJECT / words[1]), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow) if line in SLOW else line for line in RUN]
)
def test_command_runs(
    line: str, ready: Path, prepared: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shortened(filled(line, ready), quick, prepared.parent / "simulated")
    if "resume=runs/search" in line:
        words += ["hydra.sweeper.n_trials=3"]
        begun = ["galaxy", "train", "sweep=search", "hydra.sweep.dir=runs/search"]
        assert call(shortened(begun, quick, prepared.parent / "simulated"), monkeypatch) == 0
    if "resume=latest" in line:  # a run that was killed before it was scored
        (ready / "runs" / "first" / "result.json").unlink()
    assert call(words, monkeypatch) == 0
    if "part=test" in line:
        submissions = list((ready / "runs" / "first").rglob("submission.csv"))
        assert len(submissions) == 1
        assert submissions[0].read_text().startswith(f"GalaxyID,{KAGGLE_COLUMNS[0]},")


# Python that the guides show, all of a page one after the other.
PYTHON = {
    name: re.findall(r"```python\n(.*?)```", FILES.sub("", text), re.DOTALL) for name, text in PAGES.items()
}
GUIDES = [name for name in PYTHON if name.startswith("docs/guides/") and PYTHON[name]]


@pytest.mark.filterwarnings("ignore")  # Lightning's, about a trainer without workers or with few batches
@pytest.mark.parametrize("page", GUIDES)
def test_the_python_of_a_guide_runs(page: str, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = [line for _, block in BLOCKS.findall(PAGES[page]) for line in block.splitlines()]
    for line in evaluations:
        if line.startswith("galaxy evaluate") and " out=" in line:
            assert call(filled(line, ready), monkeypatch) == 0
    names = {"RUN": str(ready / "runs" / "first"), "DIR": str(ready / "data" / "own")}
    source = re.sub(r'"(RUN|DIR)', lambda blank: f'"{names[blank[1]]}', "\n".join(PYTHON[page]))
    exec(compile(source, page, "exec"), {})  # a mistake in it is an exception


@pytest.mark.parametrize("page", OWN)
def test_a_guide_to_code_of_ones_own_works(
    page: str,
    ready: Path,
    prepared: Path,
    quick: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path, content in FILES.findall(PAGES[page]):
        (ready / path).parent.mkdir(parents=True, exist_ok=True)
        (ready / path).write_text(content, encoding="utf-8")
    if (ready / "pyproject.toml").exists():
        project = tomllib.loads((ready / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        (package,) = project["entry-points"]["galaxy.plugins"].values()
        install(ready, package, project["name"])
        monkeypatch.syspath_prepend(ready)
    for line in commands("", [page]):
        if line.startswith("export PYTHONPATH="):
            monkeypatch.syspath_prepend(ready / line.partition("=")[2])
            continue
        options = [word for word in shlex.split(line) if word.startswith("--")]
        words = filled(line.replace("--config-dir mine/conf", ""), ready)
        words = shortened(words, quick, prepared.parent / "simulated")
        folder = ["--config-dir", "mine/conf"] if options else []
        assert call([*words[:2], *folder, *words[2:]], monkeypatch) == 0, capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_of_a_module_are_right(
    module: str, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # earlier commands log to the standard output
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("line", commands("compose only"))
@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/submitit_slurm' is validated")  # see quieten_hydra
def test_command_composes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galaxy.config.launcher.shutil.which", lambda name: name)  # as on a cluster
    words = shlex.split(line)
    assert words[:2] in TRAIN
    # Of a sweep, its first job.
    composed(*(word.partition(",")[0] if "-m" in words else word for word in words[2:] if word != "-m"))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the code with the worked example in it."""
    for name in ("galaxy", "conf"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, content in FILES.findall(PAGES["docs/house.md"]):
        (tmp_path / path).write_text(content, encoding="utf-8")
    return tmp_path


def call_in(house: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs `galaxy ...` of a copy of the code, in a process of its own."""
    command = [sys.executable, "-m", *words]
    environment = os.environ | {"PYTHONPATH": str(house)}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("line", WORKED)
def test_the_worked_example_runs(line: str, house: Path, quick: list[str]) -> None:
    done = call_in(house, shortened(shlex.split(line), quick, house / "simulated"))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_mistake_in_the_worked_example_names_its_key(house: Path, quick: list[str]) -> None:
    line = "galaxy train model=tiny_cnn model.width=0"
    done = call_in(house, shortened(shlex.split(line), quick, house / "simulated"))
    assert done.returncode == 1
    assert "model.width is 0; it must be 1 or more" in done.stderr
