"""A tiny survey in Kaggle's layout, and the real command line, called in this process for its speed."""

import math
import os
import pickle
import runpy
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

# Each of pytest's workers has a core; more threads would wait for each other. Before anything starts them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from numpy.typing import NDArray

from galaxy.config.composition import Composer
from galaxy.data.cache import CachedImages
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS


def _gpus() -> str:
    """What CUDA_VISIBLE_DEVICES says or would say; empty where there is no GPU."""
    numbers = ",".join(map(str, range(torch.cuda.device_count())))
    return os.environ.get("CUDA_VISIBLE_DEVICES", numbers) if numbers else ""


# Tests are of the CPU, whose sums are the same each time; test_gpu.py starts programs that see these. The
# workers of pytest-xdist read this file after their parent, whose variables they have.
GPUS = os.environ.setdefault("GALAXY_TEST_GPUS", _gpus())
os.environ["CUDA_VISIBLE_DEVICES"] = ""

Command = Callable[..., int]
PROJECT = Path(__file__).parent.parent


def write_survey(root: Path, count: int = 80, side: int = 64, seed: int = 0) -> Path:
    """Writes `count` galaxies whose answers can be read off the picture: roundness, brightness, colour."""
    rng = np.random.default_rng(seed)
    folder = root / "images_training_rev1"
    folder.mkdir(parents=True)
    ids = 100_003 + 7 * np.arange(count)
    y, x = np.mgrid[:side, :side] - side / 2
    rows = []
    for i in ids:
        smooth, axis_ratio = rng.uniform(0, 1), rng.uniform(0.3, 1)
        shape = np.exp(-(x**2 + (y / axis_ratio) ** 2) / (2 * (side / 8) ** 2))
        colour = np.array([200, 150, 100]) * smooth + np.array([80, 120, 220]) * (1 - smooth)
        image = shape[..., None] * colour + rng.normal(12, 3, (side, side, 3))
        cv2.imwrite(str(folder / f"{i}.jpg"), image.clip(0, 255).astype(np.uint8))
        conditional = np.concatenate([rng.dirichlet(np.full(len(q.answers), 2.0)) for q in GALAXY_ZOO_2])
        conditional[:3] = smooth * 0.9, (1 - smooth) * 0.9, 0.1
        conditional[15:18] = axis_ratio, 1 - axis_ratio, 0
        rows.append(GALAXY_ZOO_2.cumulative(conditional))
    table = pd.DataFrame(rows, columns=list(KAGGLE_COLUMNS)).round(9)
    table.insert(0, "GalaxyID", ids)
    table.to_csv(root / "training_solutions_rev1.csv", index=False)
    return root


def pixels_of(cached: CachedImages) -> NDArray[np.uint8]:
    """(N, size, size, channels) uint8."""
    shards = [np.fromfile(path, np.uint8) for path in cached.shards]
    size = math.prod(cached.crop_shape)
    rows = zip(cached.shard.tolist(), cached.row.tolist(), strict=True)
    return np.stack([shards[shard][row * size :][:size].reshape(cached.crop_shape) for shard, row in rows])


@pytest.fixture(scope="session", autouse=True)
def _each_option_is_parsed_once() -> Iterator[None]:
    """Hydra would parse the same fifty files twice in each command, in a third of the time of most."""
    Plugins.instance()  # This registers the sources of files.
    source = SourcesRegistry.instance().resolve("file")
    load = source.load_config
    parsed: dict[tuple[Any, ...], bytes] = {}

    def load_once(self: Any, config_path: str) -> Any:
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.exists():
            return load(self, config_path)
        key = (self.provider, *state_of(file))
        if key not in parsed:
            parsed[key] = pickle.dumps(load(self, config_path))
        return pickle.loads(parsed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_config", load_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _equal_choices_are_checked_together() -> Iterator[None]:
    """The check composes the chosen options once for all jobs of a sweep; here for all commands."""
    begin = Composer.__init__
    composed: dict[tuple[Any, ...], dict[tuple[str, ...], bytes]] = {}

    def begin_with_earlier(self: Composer, *arguments: Any) -> None:
        begin(self, *arguments)
        folders = [source.path for source in self.loader.get_sources() if source.scheme() == "file"]
        files = [state_of(file) for folder in folders for file in sorted(Path(folder).rglob("*.yaml"))]
        self._composed = composed.setdefault((self.config_name, *folders, *files), {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Composer, "__init__", begin_with_earlier)
        yield


def state_of(file: Path) -> tuple[Any, ...]:
    """What changes when a file does."""
    state = file.stat()
    return file, state.st_ino, state.st_size, state.st_mtime_ns


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty galaxies, 64 x 64 pixels."""
    return write_survey(tmp_path_factory.mktemp("survey") / "kaggle")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image cache that the tests of one process share, as the jobs of a sweep would."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Calls `train.py` or `evaluate.py` as the shell would; returns the exit status."""
    return partial(run_program, monkeypatch)


def run_program(patch: pytest.MonkeyPatch, program: str, *arguments: str) -> int:
    """Calls a program as the fixture `command` does."""
    patch.setattr(sys, "argv", [str(PROJECT / program), *arguments])
    try:
        runpy.run_path(str(PROJECT / program), run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


@pytest.fixture
def quick(survey: Path, cache: Path) -> list[str]:
    """Overrides that make a run take a second or two."""
    return quick_settings(survey, cache)


def quick_settings(survey: Path, cache: Path) -> list[str]:
    """Returns what the fixture `quick` does."""
    return [
        "data=kaggle",
        f"data.root={survey}",
        f"data.cache={cache}",
        "data.batch_size=16",
        "data.val_fraction=0.2",
        "data.test_fraction=0.2",
        "crop=center64",
        "crop.size=32",
        "model=deep_cnn",
        "trainer=cpu",
        "trainer.precision=32-true",
        "trainer.max_epochs=2",
        "trainer.enable_progress_bar=false",
        "pictures=0",
    ]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the first test that needs it makes, for the other tests of its process to read."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def finished(command: Command, quick: list[str], shared: Path) -> Path:
    """A finished run of the settings `quick`. A test that changes it copies it first."""
    run = shared / "run"
    if not run.exists():
        assert command("train.py", *quick, f"hydra.run.dir={run}") == 0
    return run
