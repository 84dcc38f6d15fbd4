"""The run folder: the contract between training and everything that reads its results.

| file | what it holds |
| --- | --- |
| config.yaml | the whole configuration, resolved |
| overrides.yaml | what the command line changed |
| meta.json | command, seed, code version, package versions, hardware, fingerprint of the data |
| metrics.csv | the metrics as they were logged |
| result.json | status, final metrics, baselines, time: see `Result` |
| predictions.parquet | the test split: id, target and prediction of each answer |
| confusion.csv, confusion.png | of classes: how many test galaxies of each were taken for which |
| splits.parquet | which galaxy is in which split |
| checkpoints/ | best.ckpt and last.ckpt |
| events.out.tfevents.* | TensorBoard |
| train.log | what was said |
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from galaxy.config.overrides import quoted
from galaxy.system.errors import UserError, listing
from galaxy.system.files import write_json, write_text

log = logging.getLogger(__name__)

# The settings of the data that decide which galaxies a run never learned from.
SPLIT_SETTINGS = ("val_fraction", "test_fraction", "split_seed", "stratify", "split_file")

# Settings that leave a run's results as they are, and so may change when it is resumed.
FREE = (
    "data.root",
    "data.cache",
    "data.residence",
    "data.workers",
    "data.catalog.workers",
    "trainer.enable_progress_bar",
)

# What the data of a run may call: the folder may be somebody else's.
READERS = r"galaxy\.data\.datamodule\.GalaxyDataModule|galaxy\.surveys(\.\w+)+\.read_\w+"

Status = Literal["running", "done", "failed", "diverged", "interrupted"]


@dataclass
class Result:
    """What `result.json` says.

    Attributes:
        status: How the run ended.
        metrics: "val/rmse", "test/rmse", "test/rmse/q01" ..., "test/r2" of the best checkpoint. RMSE is the
            global one over N x K. Of classes "test/accuracy", "test/balanced_accuracy" and "test/f1" too.
        baselines: Test RMSE of predicting the training mean ("mean_rmse"), of a linear regression on the
            central pixel ("center_pixel_rmse") and, for simulated galaxies, of the probabilities that the
            votes were drawn from ("noise_floor_rmse"); of classes the accuracies as well. In the file they
            are "baseline/mean_rmse" and so on.
        labels: What the targets, and so every RMSE here, mean.
        epochs: Epochs trained.
        seconds: From start to end.
        images_per_second: Training speed, validation not counted, of an epoch in the middle: the first one
            may also compile the network.
        checkpoint: The best checkpoint, relative to the run folder.
        error: What went wrong, if anything did.
    """

    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    labels: str | None = None
    epochs: int = 0
    seconds: float = 0.0
    images_per_second: float | None = None
    checkpoint: str | None = None
    error: str | None = None


class RunFolder:
    """One run's folder.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.overrides_file = path / "overrides.yaml"
        self.meta_file = path / "meta.json"
        self.result_file = path / "result.json"
        self.predictions_file = path / "predictions.parquet"
        self.splits_file = path / "splits.parquet"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    @classmethod
    def of(cls, checkpoint: Path) -> RunFolder:
        """The folder of the run that a checkpoint lies in, if it lies in one."""
        return cls(checkpoint.absolute().parent.parent)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other programs from running in this folder at the same time.

        Raises:
            UserError: One does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"another program is running in {self.path}: give another hydra.run.dir"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def begin(
        self, config: dict[str, Any], overrides: list[str], choices: dict[str, str], resume: bool
    ) -> None:
        """Writes down what will be run, or finds that it is what was begun here before.

        A run that failed before its first checkpoint makes room for another.

        Args:
            config: The whole configuration.
            overrides: What the command line changed.
            choices: The option taken in each group.
            resume: Whether a run that was begun may go on.

        Raises:
            UserError: The folder holds a run that is not to be resumed, or one of another configuration.
        """
        if self._holds_nothing():
            log.warning(
                "the run in %s failed before its first checkpoint: this one takes its place", self.path
            )
            self.overrides_file.unlink(missing_ok=True)
            # What says that it failed last, so that a program that is killed here can be run again.
            for file in (*self.path.glob("events.out.tfevents.*"), self.result_file):
                file.unlink()
        if not self.overrides_file.exists():  # it is written last
            write_text(self.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
            write_json(self.meta_file, {**_meta(config), "choices": choices})
            # Last, for `find_runs` takes a folder that has it for a run.
            write_text(self.overrides_file, yaml.safe_dump(overrides, allow_unicode=True))
            return
        if not resume:
            raise UserError(
                f"{self.path} already holds a run: resume=auto goes on with it; or give another "
                "hydra.run.dir, or delete the folder"
            )
        differing = list(_differences(self.config(), config))
        if differing:
            raise UserError(
                f"{self.path} holds a run of another configuration, which cannot be resumed by this one:\n"
                f"{listing(differing)}"
            )
        if self.result().status != "done":
            again = _meta(config)
            resumed = [*self.meta().get("resumed", []), {key: again[key] for key in ("command", "commit")}]
            self.add_meta(resumed=resumed)
            self.result_file.unlink(missing_ok=True)  # it is running again

    def _holds_nothing(self) -> bool:
        """Whether the run here failed before its first checkpoint, most often for a wrong setting."""
        failed = self.result().status in ("failed", "diverged")
        return failed and not any(self.checkpoints.glob("*.ckpt"))

    def meta(self) -> dict[str, Any]:
        """What `meta.json` says."""
        values: dict[str, Any] = _parsed(self.meta_file, dict)
        return values

    def add_meta(self, **values: Any) -> None:
        """Adds what became known later, such as the fingerprint of the data."""
        write_json(self.meta_file, {**self.meta(), **values})

    def write_result(self, result: Result) -> None:
        """Writes result.json."""
        values = asdict(result)
        for name, value in values.pop("baselines").items():
            values[f"baseline/{name}"] = value
        write_json(self.result_file, values)

    def config(self) -> dict[str, Any]:
        """The configuration of the run.

        Raises:
            UserError: This is not a run folder.
        """
        if not self.config_file.exists():
            raise UserError(f"{self.path} is not a run folder: it has no config.yaml")
        config: dict[str, Any] = _parsed(self.config_file, dict)
        return config

    def split_settings(self) -> dict[str, Any]:
        """The settings of the data under which each galaxy goes where it went in this run."""
        data: Any = self.config().get("data")
        missing = set(SPLIT_SETTINGS) - set(data if isinstance(data, dict) else ())
        if missing:
            raise UserError(f"{self.config_file} is damaged: data lacks {', '.join(sorted(missing))}")
        settings = {key: data[key] for key in SPLIT_SETTINGS}
        if self.splits_file.exists():
            settings["split_file"] = str(self.splits_file.absolute())
        return settings

    def choices(self) -> dict[str, str]:
        """The option taken in each group of the configuration."""
        choices = self.meta().get("choices")
        if not isinstance(choices, dict):
            raise UserError(f"{self.meta_file} is damaged: it lacks the choices")
        return choices

    def overrides(self) -> list[str]:
        """What the command line of the run changed."""
        overrides: list[str] = _parsed(self.overrides_file, list)
        if not all(isinstance(override, str) for override in overrides):
            raise UserError(f"{self.overrides_file} is damaged: it holds something else than text")
        return overrides

    def result(self) -> Result:
        """How the run ended; "running" while there is no result yet."""
        if not self.result_file.exists():
            return Result(status="running")
        values = _parsed(self.result_file, dict)
        baselines = {}
        for key in [key for key in values if key.startswith("baseline/")]:
            baselines[key.removeprefix("baseline/")] = values.pop(key)
        try:
            result = Result(**values, baselines=baselines)
            figures = [result.epochs, result.seconds, result.images_per_second]
            figures += [*result.metrics.values(), *baselines.values()]
            sum(figure for figure in figures if figure is not None)  # which refuses what is no number
        except (TypeError, AttributeError) as error:
            raise UserError(f"{self.result_file} is not the result of a run: {error}") from None
        return result


def find_runs(folder: Path) -> list[RunFolder]:
    """Every run at or below a folder, in the order of their names.

    Raises:
        UserError: The folder is missing or holds no run.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    runs = [RunFolder(file.parent) for file in sorted(folder.rglob("overrides.yaml"))]
    if not runs:
        raise UserError(f"there is no run in {folder} (a run folder has an overrides.yaml)")
    return runs


def _parsed(path: Path, kind: type) -> Any:
    """The content of a JSON or YAML file that a run has written."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds no {kind.__name__}")
    return content


def _differences(recorded: Any, given: Any, key: str = "") -> Iterator[str]:
    """A line for each value that two configurations do not share."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for name in dict.fromkeys([*recorded, *given]):
            where = f"{key}.{name}" if key else name
            yield from _differences(recorded.get(name), given.get(name), where)
    elif recorded != given and key not in FREE:
        yield f"{key} was {json.dumps(recorded)} and is {json.dumps(given)}"


def _meta(config: dict[str, Any]) -> dict[str, Any]:
    packages = ("galaxy", "torch", "torchvision", "lightning", "hydra-core", "opencv-python-headless")
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "seed": config["seed"],
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": _gpu()},
    }


def _gpu() -> str | None:
    import torch  # noqa: PLC0415  compare and report read runs without it

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed copy, or no git
    return done.stdout.strip()


def with_inherited_data(arguments: list[str]) -> list[str]:
    """The command line of an evaluation with the data of its run, or at least the run's splits.

    They are put before the overrides, which then go before them: `+data={...}`, all that the run recorded,
    whatever has become of the file it came from; or, where the command line chooses the data itself,
    `data.key=value` for each setting of the splits, lest it tests on what was trained on. Nothing is put if
    the checkpoint lies outside a run folder.

    Args:
        arguments: The command line, which names a run or a checkpoint in a run folder.

    Raises:
        UserError: The data that the run recorded would call code of somebody else's, or several runs are
            named.
    """
    given = {key: value.strip("'\"") for key, _, value in (part.partition("=") for part in arguments)}
    if "run" in given:
        run = RunFolder(Path(given["run"]))
        if "," in given["run"] and not run.path.exists():
            raise UserError(
                f"run={given['run']} names several runs: evaluate one at a time, for each has its own data"
            )
    elif "checkpoint" in given:
        run = RunFolder.of(Path(given["checkpoint"]))
    else:
        return arguments
    if not run.overrides_file.exists():
        return arguments
    splits = run.split_settings()
    if "data" in given:
        inherited = [f"data.{key}={quoted(value)}" for key, value in splits.items()]
    else:
        data = run.config()["data"] | splits
        for called in _called(data):
            if not re.fullmatch(READERS, called):
                raise UserError(
                    f"{run.config_file} would call {called} to read the data, which is not a reader of this "
                    "project: give the data yourself, with data=... (and the --config-dir that has them)"
                )
        inherited = [f"+data={quoted(data)}"]
    # Options such as --config-dir stay in front: the parser takes the overrides in one piece only.
    first = next(i for i, argument in enumerate(arguments) if argument.startswith(("run=", "checkpoint=")))
    while first and "=" in arguments[first - 1] and not arguments[first - 1].startswith("-"):
        first -= 1
    return [*arguments[:first], *inherited, *arguments[first:]]


def _called(value: Any) -> Iterator[str]:
    """All that Hydra would call to build a value, and interpolations, which could grow into more of it."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        for item in value.values():
            yield from _called(item)
    elif isinstance(value, list):
        for item in value:
            yield from _called(item)
    elif isinstance(value, str) and "${" in value:
        yield value
