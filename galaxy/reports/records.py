"""The records of runs: what their folders say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from galaxy.config.check import leaves
from galaxy.config.overrides import is_within, key_of
from galaxy.reports.predictions import Saved, read_predictions, read_questions, saved_score
from galaxy.runs.folder import RESUMABLE_SETTINGS, RunFolder
from galaxy.runs.result import Result
from galaxy.system.errors import UserError

# These groups do not make one run better than another: one says where metrics go, the other names the jobs.
NOT_COMPARED = ("logger", "sweep")

# Runs that differ in nothing but these are replicates of one setting.
SEEDS = ("seed", "model.seed")

BASELINE_NAMES = {
    "mean": "mean of the training labels",
    "center_pixel": "line through the central pixel",
    "noise_floor": "noise floor (a perfect model)",
}


@dataclass(frozen=True)
class Record:
    """What a run folder says.

    Attributes:
        run: The folder.
        result: Its result.
        choices: The option of each group.
        values: The value of each key, as text.
        given: The overrides of its command line, as text.
        fingerprint: The fingerprint of its validation galaxies, or with folds that of all galaxies and their
            folds; None if the run has not read its data.
        galaxies: The number of these galaxies.
        ignored: The groups and keys that do not change the result of its model.
        scores: The metrics that `score` has read from its predictions.
    """

    run: RunFolder
    result: Result
    choices: dict[str, str]
    values: dict[str, str]
    given: dict[str, str]
    fingerprint: str | None = None
    galaxies: int | None = None
    ignored: tuple[str, ...] = ()
    scores: dict[str, Saved] = field(default_factory=dict, repr=False, compare=False)

    def ignores(self, key: str) -> bool:
        """Whether a key or a group does not change the result of the run's model."""
        return is_within(key, self.ignored)

    def setting(self, key: str) -> str:
        """Returns the value of a key, or the option of a group; "-" if the run has neither."""
        return self.values.get(key) or self.choices.get(key) or self.given.get(key) or "-"

    def score(self, metric: str) -> Saved:
        """Scores the saved predictions of the validation split; the file is read once."""
        if metric not in self.scores:
            self.scores[metric] = saved_score(metric, lambda: self.predictions("val"), self.questions)
        return self.scores[metric]

    @property
    def folds(self) -> int | None:
        """The number of folds, of which the run tests one; None without folds."""
        folds = self.values.get("data.folds", "null")
        return int(folds) if folds.isdecimal() else None

    @property
    def parts(self) -> tuple[Record, ...]:
        """The runs that the record is of: this one."""
        return (self,)

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that its result is of."""
        return [self.run.path]

    @property
    def state(self) -> str:
        """What became of the run."""
        return self.result.status

    def predictions(self, split: str) -> pd.DataFrame:
        """Returns the saved predictions of a split, in the order of the ids; see `read_predictions`."""
        return read_predictions(self.run, split)

    def questions(self) -> dict[str, list[int]]:
        """Returns the columns of each question in the predictions, by its key; see `read_questions`."""
        return read_questions(self.run)

    @property
    def trained(self) -> bool:
        """Whether the run has trained, or may still do so; that of a damaged folder is not known.

        A mistake in the settings, or Ctrl-C, ends a run before its first epoch is over, without a checkpoint.
        """
        if self.result.status not in ("failed", "interrupted") or not self.values:
            return True
        return self.result.epochs > 0 or any(self.run.checkpoints.glob("*.ckpt"))

    @property
    def seeded(self) -> bool:
        """Whether another seed gives another model, as of each network; most fitted models have none."""
        return not self.ignores("seed")

    @property
    def seeds(self) -> tuple[str, ...]:
        """The value of each of `SEEDS`, which tell the replicates of a setting apart."""
        return tuple(self.setting(key) for key in SEEDS)

    @property
    def seed_text(self) -> str:
        """The seed, and that of its model where this is another one."""
        seed, of_model = self.seeds
        return seed if of_model in ("-", "null", seed) else f"{seed}, model.seed={of_model}"

    @property
    def objective(self) -> str | None:
        """The metric that the run is judged by."""
        judged = self.result.objective
        return self.values.get("objective.metric") if judged is None else judged["metric"]

    def same_but_for_its_seed(self) -> tuple[tuple[str, str], ...]:
        """Returns all that decides about the result, but the seed and the fold.

        Runs that share it are replicates, or folds of one. What the model ignores does not decide.
        A damaged folder is like no other run.
        """
        if not self.values:
            return (("run", str(self.run.path)),)
        left_out = (*SEEDS, "data.fold", *RESUMABLE_SETTINGS)
        return tuple(
            sorted(
                (key, value)
                for key, value in {**self.choices, **self.values}.items()
                if key not in left_out and not key.startswith(NOT_COMPARED) and not self.ignores(key)
            )
        )


def read_record(run: RunFolder) -> Record:
    """Reads the folder of a run. One damaged folder must not hide the others, so its fault is its result."""
    try:
        return _read(run)
    except UserError as error:
        message = str(error)
    except RecursionError:
        message = f"{run.config_file} is damaged: it is nested too deeply"
    return Record(run, Result(status="failed", error=message), {}, {}, {})


def _read(run: RunFolder) -> Record:
    choices = {
        group: str(option)
        for group, option in run.choices().items()
        # Experiments and sweeps are collections of settings, not settings of a run.
        if not group.startswith(("hydra/", "experiment", *NOT_COMPARED)) and "@" not in group
    }
    given = {}
    for override in run.overrides():
        given[key_of(override)] = "null" if override.startswith("~") else override.partition("=")[2]
    result, config = run.result(), run.config()
    if result.status == "running" and run.was_killed:
        result = replace(result, status="interrupted")
    model = config.get("model")
    ignored = model.get("ignores") if isinstance(model, dict) else None
    return Record(
        run,
        result,
        choices,
        {key: _word(value) for key, value in leaves(config)},
        given,
        *_validated_on(run.meta().get("data")),
        tuple(map(str, ignored)) if isinstance(ignored, list) else (),
    )


def _validated_on(data: Any) -> tuple[str | None, int | None]:
    """Returns the fingerprint of the galaxies that a run is compared on, and their number."""
    match data:
        case {"fingerprints": {"folds": str(fingerprint)}, "galaxies": int(galaxies)}:
            return fingerprint, galaxies
        case {"fingerprints": {"val": str(fingerprint)}, "val": int(galaxies)}:
            return fingerprint, galaxies
    return None, None


def _word(value: Any) -> str:
    """Returns a value as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
