"""Puts the runs of the folds together: over all folds each galaxy validates once, so they are one result.

A metric is that of the predictions of all folds, and not the mean over the folds: the RMSE of all galaxies is
not the mean of the RMSEs of their parts, and the F1 of a part may lack a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galaxy.reports.records import Record
from galaxy.reports.scores import arrays, value
from galaxy.runs.result import Result
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class FoldsRecord(Record):
    """The runs of the folds of one setting and one seed.

    `run` is the first of them. `result` has the metrics of all galaxies once every fold is done; its epochs,
    seconds, parameters and images per second are those of the typical fold.

    Attributes:
        parts: The runs, those that failed or were repeated too.
        missing: What is missing before this is a result, in words; None if nothing is.
    """

    parts: tuple[Record, ...] = ()
    missing: str | None = None

    @property
    def folders(self) -> list[Path]:
        """The folders of the finished runs, in the order of the folds."""
        return [part.run.path for part in _finished(self.parts).values()]

    @property
    def state(self) -> str:
        """What became of the folds."""
        return "done" if self.missing is None else f"seed {self.seed_text}: {self.missing}"

    def predictions(self, split: str) -> pd.DataFrame:
        """Returns the predictions of all folds, in the order of the ids.

        Raises:
            UserError: A file is missing or damaged, or the folds do not have each galaxy once.
        """
        return _together([part.predictions(split) for part in _finished(self.parts).values()], self.galaxies)

    def spread_of_folds(self, metric: str) -> float | None:
        """Returns the standard deviation of a metric over the folds; None if not all of them have it."""
        values = [part.result.metrics.get(metric) for part in _finished(self.parts).values()]
        known = [value for value in values if value is not None]
        return float(np.std(known, ddof=1)) if len(known) == self.folds else None


def with_folds_together(records: Sequence[Record]) -> list[Record]:
    """Returns the records, with one record in place of the runs of the folds of a setting and a seed."""
    kinds: dict[object, list[Record]] = {}
    for place, record in enumerate(records):
        key = (record.same_but_for_its_seed(), record.seeds)
        kinds.setdefault(place if record.folds is None else key, []).append(record)
    found: list[Record] = []
    for members in kinds.values():
        # The data may have changed between two runs. A run that failed early does not know its data.
        fingerprints = dict.fromkeys(record.fingerprint for record in members)
        if members[0].folds is None:
            found += members
        elif len(fingerprints.keys() - {None}) < 2:
            found.append(_of_folds(members))
        else:
            found += [_of_folds([r for r in members if r.fingerprint == one]) for one in fingerprints]
    return found


def _of_folds(parts: Sequence[Record]) -> FoldsRecord:
    """Makes the record of the runs of the folds of one setting and one seed."""
    finished = _finished(parts)
    known = (part for part in parts if part.fingerprint is not None)
    first = [*finished.values(), *known, *parts][0]
    record = FoldsRecord(
        first.run,
        Result(status="running"),
        first.choices,
        {key: value for key, value in first.values.items() if key != "data.fold"},
        {key: value for key, value in first.given.items() if key != "data.fold"},
        first.fingerprint,
        first.galaxies,
        first.ignored,
        parts=tuple(parts),
    )
    labels = next((part.result.labels for part in parts if part.result.labels), None)
    objective = next((part.result.objective for part in parts if part.result.objective), None)
    if objective is not None:
        objective = {**objective, "value": None}
    empty = Result("running", labels=labels, objective=objective)
    assert record.folds is not None
    if len(finished) < record.folds:
        others = [part for part in parts if part.setting("data.fold") not in finished]
        last = {part.setting("data.fold"): part.result.status for part in others}
        states = list(last.values())
        counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        words = ", ".join([f"{len(finished)} of {record.folds} folds done", *counts])
        status = states[0] if states else "running"  # no run of a fold has been begun yet
        return replace(record, result=replace(empty, status=status), missing=words)
    try:
        return replace(record, result=_result(record, list(finished.values()), empty))
    except UserError as error:
        words = "the saved predictions of a fold are missing or damaged"  # a path is too long for a table
        words = str(error) if isinstance(error, _IncompleteError) else words
        return replace(record, result=replace(empty, status="failed", error=str(error)), missing=words)


def _finished(parts: Sequence[Record]) -> dict[str, Record]:
    """Returns the last finished run of each fold, in the order of the folds."""
    done = {part.setting("data.fold"): part for part in parts if part.result.status == "done"}
    return dict(sorted(done.items(), key=lambda item: int(item[0])))


class _IncompleteError(UserError):
    """The predictions of the folds are not those of each galaxy once."""


def _together(tables: Sequence[pd.DataFrame], galaxies: int | None) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True).sort_values("id", ignore_index=True)
    if table["id"].duplicated().any() or len(table) != galaxies:
        raise _IncompleteError("the saved predictions of the folds are not those of each galaxy once")
    return table


def _result(record: FoldsRecord, parts: Sequence[Record], empty: Result) -> Result:
    """Scores the predictions of all folds; errors as for `FoldsRecord.predictions`."""
    metrics: dict[str, float] = {}
    known: dict[str, list[int]] = {}
    for split in ("val", "test"):
        tables = [part.predictions(split) for part in parts]
        table, questions = _together(tables, record.galaxies), record.questions()
        known[split] = [_known(table) for table in tables]
        predicted, true = arrays(table)
        for name, pooled in _pooled([part.result.metrics for part in parts], known, split).items():
            found = value(name.partition("/")[2], predicted, true, questions)
            metrics[name] = pooled if found is None else found
    every = [part.result.baselines for part in parts]
    baselines = {
        name: {
            metric: figure
            for split in known
            for metric, figure in _pooled([each[name] for each in every], known, split).items()
        }
        for name in every[0]
        if all(name in each for each in every)
    }
    objective = empty.objective
    if objective is not None:
        name = objective["metric"]
        judged = [part.result.objective or {"value": None} for part in parts]
        values = [{name: found["value"]} for found in judged if found["value"] is not None]
        common = _pooled(values, known, "val") if len(values) == len(parts) else {}
        objective = {**objective, "value": metrics.get(name, common.get(name))}
    speeds = [p.result.images_per_second for p in parts if p.result.images_per_second is not None]
    return replace(
        empty,
        status="done",
        metrics=metrics,
        baselines=baselines,
        epochs=round(float(np.median([part.result.epochs for part in parts]))),
        seconds=float(np.median([part.result.seconds for part in parts])),
        images_per_second=float(np.median(speeds)) if speeds else None,
        parameters=parts[0].result.parameters,
        objective=objective,
    )


def _known(table: pd.DataFrame) -> int:
    """Counts the known targets."""
    return int(table[[name for name in table if str(name).startswith("true/")]].notna().to_numpy().sum())


def _pooled(
    every: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[int]], split: str
) -> dict[str, float]:
    """Puts the metrics together that all folds have of a split.

    That is exact for the RMSE and for means over known targets. Others, such as the loss and the weighted
    RMSE, become means over the folds. A metric that a fold lacks is left out.

    Args:
        every: The metrics of each fold.
        known: The number of known targets of each fold, by the split.
        split: The split.
    """
    pooled = {}
    for name in every[0]:
        values = [metrics[name] for metrics in every if metrics.get(name) is not None]
        if not name.startswith(f"{split}/") or len(values) < len(every):
            continue
        if "rmse" in name:
            pooled[name] = math.sqrt(np.average(np.square(values), weights=known[split]))
        else:
            pooled[name] = float(np.average(values, weights=known[split]))
    return pooled
