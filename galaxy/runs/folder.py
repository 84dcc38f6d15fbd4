"""The run folder: the contract between training and everything that reads its results.

| file | what it holds |
| --- | --- |
| config.yaml | the whole configuration, resolved |
| overrides.yaml | what the command line changed |
| meta.json | format, command, seed, versions, hardware, fingerprints of the data, starting weights, loggers |
| metrics.csv, hparams.yaml | the metrics as they were logged, and the choices that runs are compared by |
| result.json | status, final metrics, baselines, time: see `Result` |
| predictions.parquet | the test split: id, prediction and target of each answer |
| predictions_val.parquet | the same of the validation split |
| columns.csv | the question and the answer of each column of the predictions, in words |
| confusion.csv, confusion.png | of classes: how many test galaxies of each class were taken for which |
| splits.parquet | which galaxy is in which split, and which ones the starting weights were trained on |
| checkpoints/ | best.ckpt and last.ckpt |
| evaluation/ | what `evaluate.py` found |
| events.out.tfevents.*, wandb/ | TensorBoard; Weights & Biases |
| train.log | the messages of the program |
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from filelock import Timeout

from galaxy.config.overrides import key_of
from galaxy.config.trust import trust_arguments
from galaxy.runs.new_run import fits, new_run_command
from galaxy.runs.provenance import provenance
from galaxy.runs.result import Result, check_types
from galaxy.system.errors import UserError, listing
from galaxy.system.files import is_locked, locked, write_json, write_text

log = logging.getLogger(__name__)

# A comparison reads hundreds of these files, and the parser in C needs a tenth of the time.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# This number is raised with each change of the folder.
FORMAT = 1

# The file for the number of jobs, in the folder of a sweep.
_SWEEP_JOBS = "sweep.json"
_LOCK = ".lock"  # in the folder of a run, and of a sweep

# These settings of the data decide which galaxies a run never learns from.
SPLIT_SETTINGS = ("val_fraction", "test_fraction", "split_seed", "stratify", "split_file", "folds", "fold")

# Predicting builds these parts of a configuration, so every checkpoint has them.
PREDICTING = ("target", "crop", "augment", "model", "head", "loss")

# These settings leave a run's results as they are, so they may change when it is resumed.
RESUMABLE_SETTINGS = (
    "data.root",
    "data.cache",
    "data.residence",
    "data.workers",
    "data.catalog.workers",
    "trainer.enable_progress_bar",
    "pictures",
)


class FolderInUseError(UserError):
    """Another program is at work in a run folder."""


class RunFolder:
    """One run's folder.

    Args:
        path: The folder. It need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.overrides_file = path / "overrides.yaml"
        self.meta_file = path / "meta.json"
        self.result_file = path / "result.json"
        self.splits_file = path / "splits.parquet"
        self.predictions_files = {
            "val": path / "predictions_val.parquet",
            "test": path / "predictions.parquet",
        }
        self.columns_file = path / "columns.csv"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    @classmethod
    def of(cls, checkpoint: Path) -> RunFolder:
        """Returns the folder of the run that a checkpoint lies in, if it lies in one."""
        return cls(checkpoint.absolute().parent.parent)

    @property
    def begun(self) -> bool:
        """Whether a run was begun here. `overrides.yaml` is the last file that the beginning writes."""
        return self.overrides_file.exists()

    @property
    def _lock(self) -> Path:
        return self.path / _LOCK

    @property
    def was_killed(self) -> bool:
        """Whether the program that claimed the folder is gone; false where nobody can say."""
        return is_locked(self._lock) is False

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other programs from running in this folder at the same time.

        Raises:
            FolderInUseError: Another program runs here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self._lock, wait=False):
                yield
        except Timeout:
            raise FolderInUseError(
                f"another program is running in {self.path}: give another hydra.run.dir"
            ) from None

    def begin(
        self, config: dict[str, Any], overrides: list[str], choices: dict[str, str], resume: bool
    ) -> None:
        """Writes down what will be run, or checks that it is what was begun here before.

        A run that failed before its first checkpoint makes room for another.

        Args:
            config: The whole configuration.
            overrides: What the command line changed.
            choices: The option taken in each group.
            resume: Whether a run that was begun may go on.

        Raises:
            UserError: The folder holds a run that is not to be resumed, or one of another configuration.
        """
        if self._failed_before_first_checkpoint():
            log.warning(
                "the run in %s failed before its first checkpoint: this one takes its place", self.path
            )
            self.overrides_file.unlink(missing_ok=True)
            # result.json goes last: if the program is killed here, the folder still says that the run failed.
            for file in (*self.events(), self.result_file):
                file.unlink()
        if not self.begun:
            self.splits_file.unlink(missing_ok=True)  # a failed run may have left it, and it is written once
            write_text(self.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
            write_json(self.meta_file, {"format": FORMAT, **provenance(config), "choices": choices})
            write_text(self.overrides_file, yaml.safe_dump(overrides, allow_unicode=True))
            return
        if not resume:
            raise UserError(
                f"{self.path} already holds a run: resume=auto goes on with it; or give another "
                "hydra.run.dir, or delete the folder"
            )
        if differing := list(differences(self.config(), config)):
            raise UserError(
                f"{self.path} holds a run of another configuration, which cannot be resumed by this one:\n"
                f"{listing(differing)}\n{self._way_on(config, overrides)}"
            )
        if not self.result().finished:
            again = provenance(config)
            resumed = [*self.meta().get("resumed", []), {key: again[key] for key in ("command", "commit")}]
            self.add_meta(resumed=resumed)
            self.result_file.unlink(missing_ok=True)  # the run is running again

    def _way_on(self, config: dict[str, Any], overrides: list[str]) -> str:
        """Says the command of a new run, which starts from the weights of this one if it can."""
        recorded, own = self.config(), self.overrides()
        if recorded["data"]["root"] == config["data"]["root"]:  # a resumed command line gives it again
            overrides = [o for o in overrides if key_of(o) != "data.root" or o in own]
        from_weights = self.best.exists() and fits(recorded, config, SPLIT_SETTINGS)
        how = "start from its weights" if from_weights else "begin with its settings"
        # The configuration that was given has been composed here, so its code was typed or is trusted.
        command = new_run_command(self.path, own, overrides, from_weights, trust_arguments(config))
        return f"A new run can {how}:\n  {command}"

    def _failed_before_first_checkpoint(self) -> bool:
        failed = self.result().status in ("failed", "diverged")
        return failed and not any(self.checkpoints.glob("*.ckpt"))

    def events(self) -> list[Path]:
        """Lists the files that TensorBoard reads."""
        return sorted(self.path.glob("events.out.tfevents.*"))

    def meta(self) -> dict[str, Any]:
        """Returns what `meta.json` says.

        Raises:
            UserError: The folder has another format than this version of Galaxy reads.
        """
        values: dict[str, Any] = _parsed(self.meta_file, dict)
        if values.get("format") != FORMAT:
            raise UserError(
                f"{self.path} is a run folder of format {values.get('format', 'none')} "
                f"({self.meta_file.name}); this version of Galaxy reads format {FORMAT}: train the model "
                "again"
            )
        return values

    def add_meta(self, **values: Any) -> None:
        """Adds what became known later, such as the fingerprints of the data."""
        write_json(self.meta_file, {**self.meta(), **values})

    def record_data(self, description: dict[str, Any]) -> None:
        """Writes down which data the run is on, or checks that they are those it was begun on.

        Args:
            description: See `galaxy.data.datamodule.GalaxyDataModule.description`.

        Raises:
            UserError: The run was begun on other galaxies, labels, splits or pixels.
        """
        before = self.meta().get("data", description)
        if before["fingerprint"] != description["fingerprint"]:
            raise UserError(
                f"the data have changed since {self.path} was begun: {before['galaxies']:,} galaxies then, "
                f"{description['galaxies']:,} now; a run cannot be resumed on other data\n"
                f"{self._way_on(self.config(), self.overrides())}"
            )
        self.add_meta(data=description)

    def check_data(self, description: dict[str, Any]) -> None:
        """Checks that a further process of the run has the data that the first one has recorded.

        Raises:
            UserError: It has others.
        """
        if self.meta()["data"]["fingerprint"] != description["fingerprint"]:
            raise UserError(
                "the data on this machine differ from those of the first process: all machines need the same"
            )

    def record_weights(self, description: dict[str, Any]) -> None:
        """Writes down which weights the run starts from, or checks that they are those it was begun with.

        Args:
            description: See `galaxy.runs.weights.StartingWeights.description`.

        Raises:
            UserError: The file of the weights has changed.
        """
        before = self.meta().get("weights", description)
        if before["sha256"] != description["sha256"]:
            raise UserError(
                f"model.weights={description['source']} has changed since {self.path} was begun, which has "
                "no checkpoint of its own to go on from: start a new run"
            )
        self.add_meta(weights=description)

    def record_machine(self, **values: str | int) -> None:
        """Writes down what `auto` has meant on this machine, or checks that it still means the same.

        Args:
            values: The precision and the number of processes.

        Raises:
            UserError: The run was begun with another value.
        """
        for name, value in values.items():
            before = self.meta().get(name, value)
            if before != value and name == "processes":
                raise UserError(
                    f"{self.path} was begun by {before} process{'es' * (before != 1)} and would go on with "
                    f"{value}: start it with {before} (trainer.devices, or torchrun or srun)"
                )
            if before != value:
                raise UserError(
                    f"{self.path} was begun with {name} {before}, and here it would go on with {value}: "
                    "resume it on machines like the first ones"
                )
        self.add_meta(**values)

    def write_result(self, result: Result) -> None:
        """Writes result.json."""
        write_json(self.result_file, asdict(result))

    def config(self) -> dict[str, Any]:
        """Returns the configuration of the run.

        Raises:
            UserError: This is not a run folder.
        """
        if not self.config_file.exists():
            raise UserError(f"{self.path} is not a run folder: it has no config.yaml")
        if self.begun:
            self.meta()  # this refuses a folder of another format
        config: dict[str, Any] = _parsed(self.config_file, dict)
        return config

    def best_checkpoint(self) -> Path:
        """Returns the best checkpoint of the run.

        Raises:
            UserError: This is not a run folder, or the run has no such checkpoint.
        """
        self.config()  # this says so if the folder is not a run folder
        if not self.best.exists():
            raise UserError(
                f"{self.path} has no checkpoint {self.best.name} (the run: {self.result().status})"
            )
        return self.best

    def split_settings(self) -> dict[str, Any]:
        """Returns the settings of the data that send each galaxy to the split that it had in this run.

        Raises:
            UserError: One is missing, or is no plain value.
        """
        data: Any = self.config().get("data")
        missing = set(SPLIT_SETTINGS) - set(data if isinstance(data, dict) else ())
        if missing:
            raise UserError(f"{self.config_file} is damaged: data lacks {', '.join(sorted(missing))}")
        settings = {key: data[key] for key in SPLIT_SETTINGS}
        for key, value in settings.items():
            # A command line takes these over, so none of them may become a node with a `_target_`.
            if not isinstance(value, bool | int | float | str | None) or "${" in str(value):
                raise UserError(
                    f"{self.config_file} is damaged: data.{key} is {value!r}, and it must be a number, true, "
                    "false, null or a plain text"
                )
        if self.splits_file.exists():
            settings["split_file"] = str(self.splits_file.absolute())
        return settings

    def choices(self) -> dict[str, str]:
        """Returns the option taken in each group of the configuration."""
        choices = self.meta().get("choices")
        if not isinstance(choices, dict):
            raise UserError(f"{self.meta_file} is damaged: it lacks the choices")
        return choices

    def overrides(self) -> list[str]:
        """Returns what the command line of the run changed."""
        overrides: list[str] = _parsed(self.overrides_file, list)
        if not all(isinstance(override, str) for override in overrides):
            raise UserError(f"{self.overrides_file} is damaged: it holds something else than text")
        return overrides

    def result(self) -> Result:
        """Returns how the run ended; the status is "running" while there is no result yet."""
        if not self.result_file.exists():
            return Result(status="running")
        if self.begun:
            self.meta()  # this refuses a folder of another format
        try:
            values = _parsed(self.result_file, dict)
        except UserError as error:
            raise UserError(f"{error}; {self._how_to_mend_the_result()}") from None
        try:
            result = Result(**values)
            check_types(result)
        except (TypeError, AttributeError, KeyError) as error:
            raise UserError(
                f"{self.result_file} is not the result of a run: {error}; {self._how_to_mend_the_result()}"
            ) from None
        return result

    def _how_to_mend_the_result(self) -> str:
        return f"delete the file, and resume={self.path} writes it again"


def find_runs(folder: Path) -> list[RunFolder]:
    """Returns every run at or below a folder, in the order of their names.

    Raises:
        UserError: The folder is missing or holds no run.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    runs = [RunFolder(file.parent) for file in sorted(folder.rglob("overrides.yaml"))]
    if not runs:
        raise UserError(f"there is no run in {folder} (a run folder has an overrides.yaml)")
    return runs


@contextmanager
def sweeping(folder: Path) -> Iterator[None]:
    """Shows others that a program runs the sweep in a folder; several may."""
    with ExitStack() as stack:
        with suppress(Timeout):  # Another program shows it.
            stack.enter_context(locked(folder / _LOCK, wait=False))
        yield


def is_swept(folder: Path) -> bool:
    """Whether a program runs the sweep in a folder; false where nobody can say."""
    return is_locked(folder / _LOCK) is True


def write_planned(folder: Path, jobs: int) -> None:
    """Writes down how many jobs of the sweep in a folder have begun or will begin."""
    write_json(folder / _SWEEP_JOBS, {"planned": jobs})


def read_planned(folder: Path) -> int | None:
    """Returns what `write_planned` has written; None if the folder holds no such file."""
    try:
        planned = json.loads((folder / _SWEEP_JOBS).read_text(encoding="utf-8"))["planned"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return planned if isinstance(planned, int) else None


def _parsed(path: Path, kind: type) -> Any:
    """Returns the content of a JSON or YAML file that a run has written."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, _YAML)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds no {kind.__name__}")
    return content


def differences(recorded: Any, given: Any, key: str = "") -> Iterator[str]:
    """Yields a line for each value that two configurations, or two nodes called `key`, do not share."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for name in dict.fromkeys([*recorded, *given]):
            where = f"{key}.{name}" if key else name
            yield from differences(recorded.get(name), given.get(name), where)
    elif recorded != given and key not in RESUMABLE_SETTINGS:
        yield f"{key} was {json.dumps(recorded)} and is {json.dumps(given)}"
