"""The records of runs: what their folders say, in which settings they differ, and a table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from galaxy.config.check import leaves
from galaxy.config.overrides import is_within, key_of
from galaxy.reports.predictions import Saved, read_predictions, read_questions, saved_score
from galaxy.runs.folder import RESUMABLE_SETTINGS, Result, RunFolder
from galaxy.system.errors import UserError
from galaxy.system.files import replacing

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


def run_table(records: Sequence[Record]) -> pd.DataFrame:
    """Returns one row for each run, in groups whose errors compare; see `group_titles`.

    In each group the best objective comes first. Runs without one come last.

    Returns:
        The columns are every option and value in which the runs differ; all metrics and baselines; epochs,
        seconds, images_per_second and parameters; objective, best and mode (the metric of the objective, its
        value and direction); labels (the meaning of the targets), status, error and run (the folder); group;
        and settings, a text that tells the runs of a group apart.
    """
    figures = pd.DataFrame([_figures(record) for record in records])
    table = pd.concat([_differing(records), figures], axis=1)
    table["group"] = group_titles(records)
    table["settings"] = ""
    for rows in table.groupby("group").groups.values():
        table.loc[rows, "settings"] = setting_texts([records[row] for row in rows])
    best = pd.to_numeric(table["best"])
    table["rank"] = best.where(table["mode"] != "max", -best)
    table = table.sort_values(["group", "rank"], na_position="last", kind="stable", ignore_index=True)
    return table.drop(columns="rank")


def write_run_table(table: pd.DataFrame, path: Path) -> None:
    """Writes the whole table as CSV."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


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
    config = run.config()
    model = config.get("model")
    ignored = model.get("ignores") if isinstance(model, dict) else None
    return Record(
        run,
        run.result(),
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


def _figures(record: Record) -> dict[str, Any]:
    result = record.result
    objective: dict[str, Any] = {"metric": None, "value": None, "mode": None, **(result.objective or {})}
    baselines = {
        f"baseline/{name}/{metric}": value
        for name, metrics in result.baselines.items()
        for metric, value in metrics.items()
    }
    return {
        "val/rmse": None,  # the column exists even if all runs of a sweep failed
        "test/rmse": None,
        "test/accuracy": None,
        **result.metrics,
        **baselines,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "parameters": result.parameters,
        "objective": objective["metric"],
        "best": objective["value"],
        "mode": objective["mode"],
        "labels": result.labels,
        "status": result.status,
        "error": result.error,
        "run": str(record.run.path),
    }


def group_titles(records: Sequence[Record], by: str | None = None) -> list[str]:
    """Returns, for each run, a title that it shares with the runs whose errors compare with its own.

    Errors compare on the same validation galaxies, with labels of one meaning, by one objective. Where two
    groups are of the same data, the titles say what makes their validation galaxies differ.

    Args:
        records: The runs.
        by: The metric to compare by; None for the objective of each run.
    """
    named = _data_and_labels(records)
    alike: dict[str, list[Record]] = {}
    for title, record in zip(named, records, strict=True):
        alike.setdefault(title, []).append(record)
    splits = {title: _split_texts(group) for title, group in alike.items()}
    objectives = {title: {record.objective for record in group} - {None} for title, group in alike.items()}
    titles = []
    for title, record in zip(named, records, strict=True):
        several = by is None and len(objectives[title]) > 1
        judged = f"by {record.objective or '-'}" if several else ""
        titles.append("; ".join(filter(None, [title, splits[title].get(record.fingerprint), judged])))
    return titles


def _split_texts(records: Sequence[Record]) -> dict[str | None, str]:
    """Says of each fingerprint what makes its validation galaxies others; nothing where there is only one."""
    known = {record.fingerprint: record for record in records if record.fingerprint is not None}
    if len(known) < 2:
        return {}
    keys = [key for key in records[0].values if key.startswith("data.") and key not in RESUMABLE_SETTINGS]
    keys = [key for key in keys if key != "data.fold"]  # a fold validates no galaxies of its own
    keys = [key for key in keys if len({record.setting(key) for record in known.values()}) > 1]
    texts: dict[str | None, str] = {None: "validated on unknown galaxies"}
    for fingerprint, record in known.items():
        settings = [f"{key}={record.setting(key)}" for key in keys]
        which = ", ".join([f"{record.galaxies:,} galaxies", *settings, f"fingerprint {fingerprint[:8]}"])
        texts[fingerprint] = f"validated on {which}"
    return texts


def _data_and_labels(records: Sequence[Record]) -> list[str]:
    """Returns, for each run, the data and labels that its errors are on, and the folder if it matters."""
    surveys = [
        (
            record.choices.get("data", "-"),
            str(Path(record.values.get("data.root", "")).expanduser().resolve()),
        )
        for record in records
    ]
    known: dict[tuple[str, str], set[str]] = {survey: set() for survey in surveys}
    for survey, record in zip(surveys, records, strict=True):
        known[survey] |= {record.result.labels} if record.result.labels else set()
    folders = Counter(data for data, _ in known)
    groups = []
    for (data, root), record in zip(surveys, records, strict=True):
        labels = record.result.labels
        # A run that failed before it read its labels is put with the others of its data, if they agree.
        if labels is None and len(known[data, root]) == 1:
            labels = next(iter(known[data, root]))
        name = f"{data} at {root}" if folders[data] > 1 else data
        groups.append("labels: unknown" if labels is None else f"data: {name}; labels: {labels}")
    return groups


def setting_texts(records: Sequence[Record], hidden: tuple[str, ...] = ()) -> list[str]:
    """Returns a text that tells each run of a group from the others, by options and command-line settings.

    Settings that are hidden are left out, and so are those that the model of a run ignores.

    If nothing else tells two runs apart, settings that leave the results as they are (such as the residence
    of the images) are named too, and then the folder.
    """
    keys = _chosen(records)
    differing = _varying(records, hidden)
    decisive = deciding_settings(records, hidden)
    lines = _lines(records, decisive, keys)
    alike = Counter(lines)
    longer = _lines(records, differing, keys)
    lines = [long if alike[line] > 1 else line for line, long in zip(lines, longer, strict=True)]
    alike = Counter(lines)
    return [
        line
        if line and alike[line] == 1 and (hidden or len(records) > 1)
        else f"{line} {record.run.path}".strip()
        for line, record in zip(lines, records, strict=True)
    ]


def deciding_settings(records: Sequence[Record], hidden: tuple[str, ...] = ()) -> list[str]:
    """Returns the options and command-line settings that tell runs apart and may change their results."""
    # Runs with unknown labels may be on any data.
    return [key for key in _varying(records, hidden) if key not in RESUMABLE_SETTINGS or key == "data.root"]


def _chosen(records: Sequence[Record]) -> list[str]:
    """Returns the groups of options, and the settings of command lines."""
    options = [key for record in records for key in record.choices]
    return list(dict.fromkeys([*options, *(key for record in records for key in record.given)]))


def _varying(records: Sequence[Record], hidden: tuple[str, ...]) -> list[str]:
    return [
        key
        for key in _chosen(records)
        if not key.startswith(NOT_COMPARED)
        and key not in hidden
        and len({record.setting(key) for record in records if not record.ignores(key)}) > 1
    ]


def _lines(records: Sequence[Record], differing: list[str], keys: list[str]) -> list[str]:
    """Returns the settings of each run, with keys as short as they can be without becoming ambiguous."""
    known = {*keys, *(key for record in records for key in record.values)}
    if "model" in differing or not differing:
        differing = ["model", *(key for key in differing if key != "model")]
    names = {key: _shortest(key, known) for key in differing}
    return [
        " ".join(
            f"{names[key]}={record.setting(key)}"
            for key in differing
            if (key in record.choices or key in record.given or key in record.values)
            and not record.ignores(key)
        )
        for record in records
    ]


def _shortest(key: str, keys: set[str]) -> str:
    """Returns the shortest end of a dotted key that no other key ends with."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if not any(other == end or other.endswith(f".{end}") for other in keys - {key}):
            return end
    return key


def _differing(records: Sequence[Record]) -> pd.DataFrame:
    """Returns the options and values in which the runs differ; the model if they differ in nothing.

    If runs took different options of a group, the values below it follow from those options. Of such values
    only those that a command line set are shown.
    """
    choices = pd.DataFrame([record.choices for record in records])
    values = pd.DataFrame([record.values for record in records])

    def differs(frame: pd.DataFrame, name: str) -> bool:
        reading = [not record.ignores(name) for record in records]
        return frame.loc[reading, name].nunique(dropna=False) > 1

    differing = [name for name in map(str, choices) if differs(choices, name)]
    explained = tuple(f"{name}." for name in (*differing, *NOT_COMPARED))
    given = {key for record in records for key in record.given}
    differing_values = [
        name
        for name in map(str, values)
        if (name in given or not name.startswith(explained)) and differs(values, name)
    ]
    # `model.size`, for example, is a copy of `crop.size`, and the option of the crop tells it already.
    followed = {(_leaf(name), tuple(values[name])) for name in map(str, values) if name.startswith(explained)}
    differing_values = [
        name
        for name in differing_values
        if name in given or (_leaf(name), tuple(values[name])) not in followed
    ]
    table = pd.concat([choices[differing], values[differing_values]], axis=1)
    for name in table:
        table.loc[[record.ignores(str(name)) for record in records], name] = None
    # Of a run that cannot be read not even the model is known.
    return table if len(table.columns) else choices.reindex(columns=["model"])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _word(value: Any) -> str:
    """Returns a value as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
