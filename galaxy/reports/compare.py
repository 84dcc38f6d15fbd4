"""Compares the settings of runs, by their folders: which is best, and how sure that is.

Everything is decided on the validation split. The test split is looked at for the chosen setting only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galaxy.config.objective import Direction, direction
from galaxy.reports.folds import with_folds_together
from galaxy.reports.naming import group_titles, setting_texts
from galaxy.reports.records import SEEDS, Record
from galaxy.reports.statistics import Comparison, Difference, Setting, compare, runs_needed
from galaxy.system.errors import UserError, meant

# The share of the metric by which runs of one setting typically differ, where no setting has two runs: what
# default trainings on 2,000 simulated galaxies showed.
TYPICAL_SPREAD = 0.01

Verdict = Literal["best", "alike", "worse", "unknown"]


@dataclass(frozen=True)
class Row:
    """A setting: the runs that differ in their seed only. With folds, the runs of all folds stand for one.

    Attributes:
        settings: What tells it from the other settings.
        records: All its runs, also those that failed.
        counted: The finished runs that are compared, one for each seed.
        values: The metric of each of these, in the same order.
        difference: How it differs from the best setting; None without values.
        verdict: Whether it is the best, cannot be told from it, is worse, or has too few runs to tell.
    """

    settings: str
    records: tuple[Record, ...]
    counted: tuple[Record, ...]
    values: NDArray[np.float64]
    difference: Difference | None = None
    verdict: Verdict = "unknown"

    @property
    def mean(self) -> float | None:
        """The mean of the values; None without any."""
        return float(self.values.mean()) if len(self.values) else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the values; None of fewer than two."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    def typical(self, name: Literal["epochs", "seconds", "images_per_second", "parameters"]) -> float | None:
        """Returns the median of a figure over the runs that are compared."""
        figures = [getattr(record.result, name) for record in self.counted]
        known = [figure for figure in figures if figure is not None]
        return float(np.median(known)) if known else None

    def test(self, metric: str) -> NDArray[np.float64]:
        """Returns a metric of the test split, of those runs that have it."""
        found = [record.result.metrics.get(metric) for record in self.counted]
        return np.array([value for value in found if value is not None])


@dataclass(frozen=True)
class Group:
    """Settings that were validated on the same galaxies.

    Attributes:
        title: The data, the labels and, where it matters, the galaxies.
        metric: What they are compared by, such as "val/rmse".
        mode: Whether less or more of it is better.
        galaxies: The number of validation galaxies; None if no run has read its data.
        rows: The settings, the best first, and last those without any finished run.
        detectable: The difference that these runs would show with a chance of 80 %; None if unknown.
        settling: The number of runs of each setting that would tell the second from the best; None if they
            are told, or no number of runs would.
        paired: Whether the saved predictions tell the metric, so that galaxies can be paired.
        problems: Why predictions of runs could not be read, a line for each file.
        baselines: The metrics of simple predictors on the same galaxies, by their names.
    """

    title: str
    metric: str
    mode: Direction
    galaxies: int | None
    rows: tuple[Row, ...]
    detectable: float | None
    settling: int | None
    paired: bool
    baselines: dict[str, dict[str, float]]
    problems: tuple[str, ...] = ()

    @property
    def best(self) -> Row | None:
        """The setting with the best mean; None if no run has finished."""
        return self.rows[0] if self.rows and len(self.rows[0].values) else None

    @property
    def folds(self) -> int | None:
        """The number of folds; None without folds."""
        return self.rows[0].records[0].folds if self.rows else None

    @property
    def repeated(self) -> bool:
        """Whether any setting has several runs."""
        return any(len(row.values) > 1 for row in self.rows)

    @property
    def test_metric(self) -> str | None:
        """The same metric of the test split; None for one that only validation has."""
        split, _, name = self.metric.partition("/")
        return f"test/{name}" if split == "val" else None


def compare_runs(records: Sequence[Record], by: str | None = None) -> list[Group]:
    """Compares runs in groups; see `galaxy.reports.naming.group_titles`.

    Args:
        records: The runs.
        by: The metric to compare by; None for the objective of the runs.

    Raises:
        UserError: No run has the metric, or nobody knows whether less or more of it is better.
    """
    records = with_folds_together(records)
    if by is not None:
        _check_known(records, by)
    titles = group_titles(records, by)
    groups = []
    for title in sorted(dict.fromkeys(titles)):
        members = [record for record, of in zip(records, titles, strict=True) if of == title]
        groups.append(_group(title, members, by))
    return groups


def _check_known(records: Sequence[Record], by: str) -> None:
    if any(_value(record, by) is not None for record in records):
        return
    known = sorted({name for record in records for name in record.result.metrics if name.startswith("val/")})
    raise UserError(
        f"no run has the metric {by}{meant(by, known)}\nThere are: {', '.join(known) or 'none yet'}"
    )


def _compared_by(records: Sequence[Record], by: str | None) -> tuple[str, Direction]:
    """The metric by which some runs are compared, and whether less or more of it is better."""
    objectives = [record.result.objective for record in records if record.result.objective]
    metric = by or (objectives[0]["metric"] if objectives else "val/rmse")
    if (better := direction(metric)) is not None:
        return metric, better
    for objective in objectives:
        if objective["metric"] == metric:
            return metric, objective["mode"]
    if metric.startswith("test/"):
        raise UserError(
            f"settings are compared on the validation split, not by {metric}: compare by "
            f"val/{metric.removeprefix('test/')}, and --test shows the test split of every setting"
        )
    raise UserError(f"nobody has said whether less or more of {metric} is better: compare by another metric")


def _group(title: str, records: Sequence[Record], by: str | None) -> Group:
    metric, better = _compared_by(records, by)
    kinds: dict[object, list[Record]] = {}
    for record in records:
        kinds.setdefault(record.same_but_for_its_seed(), []).append(record)
    texts = setting_texts([members[0] for members in kinds.values()], hidden=SEEDS)
    rows = [_row(text, members, metric) for text, members in zip(texts, kinds.values(), strict=True)]
    measured = [row for row in rows if len(row.values)]
    others = [row for row in rows if not len(row.values)]
    galaxies = next((record.galaxies for record in records if record.galaxies is not None), None)
    baselines = _common([record.result.baselines for record in records if record.result.baselines])
    if not measured:
        return Group(title, metric, better, galaxies, tuple(others), None, None, True, baselines)
    settings = [_setting(row, metric) for row in measured]
    found = compare(settings, larger_is_better=better == "max")
    judged = [
        Row(row.settings, row.records, row.counted, row.values, difference, _verdict(found, index))
        for index, (row, difference) in enumerate(zip(measured, found.differences, strict=True))
    ]
    order = sorted(
        range(len(judged)), key=lambda index: (index != found.best, found.differences[index].value)
    )
    ordered = tuple(judged[index] for index in order)
    settling = _settling(ordered, [settings[index] for index in order])
    paired = all(setting.influence is not None for setting in settings)
    problems = [record.score(metric).problem for row in ordered for record in row.counted]
    return Group(
        title,
        metric,
        better,
        galaxies,
        (*ordered, *others),
        found.detectable,
        settling,
        paired,
        baselines,
        tuple(problem for problem in problems if problem is not None),
    )


def _common(every: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The metrics of simple predictors that are the same in all runs: some depend on the crop."""
    if not every:
        return {}
    found = {
        name: {
            metric: value
            for metric, value in metrics.items()
            if all(
                math.isclose(value, one.get(name, {}).get(metric, math.nan), rel_tol=1e-6) for one in every
            )
        }
        for name, metrics in every[0].items()
    }
    return {name: metrics for name, metrics in found.items() if metrics}


def _row(settings: str, records: Sequence[Record], metric: str) -> Row:
    """Takes one run of each seed, the last by its name: a run that was repeated is no other run."""
    counted: dict[tuple[str, ...], Record] = {}
    for record in records:
        if _value(record, metric) is not None:
            # A model without randomness is the same with each seed.
            counted[record.seeds if record.seeded else ()] = record
    values = np.array([_value(record, metric) for record in counted.values()], dtype=np.float64)
    return Row(settings, tuple(records), tuple(counted.values()), values)


def _value(record: Record, metric: str) -> float | None:
    """Returns a metric of a run that is done; None if it has none, or one that is no number."""
    if record.result.status != "done":
        return None
    objective = record.result.objective
    value = record.result.metrics.get(metric)
    if value is None and objective is not None and objective["metric"] == metric:
        value = objective["value"]
    return value if value is not None and np.isfinite(value) else None


def _setting(row: Row, metric: str) -> Setting:
    """Reads how much each galaxy decides, from the saved predictions."""
    scores = [record.score(metric).score for record in row.counted]
    known = [found.influence for found in scores if found is not None]
    same = len({len(influence) for influence in known}) == 1 and len(known) == len(scores)
    seeded = any(record.seeded for record in row.counted)
    return Setting(row.values, np.mean(known, axis=0) if same else None, seeded)


def _verdict(found: Comparison, index: int) -> Verdict:
    difference = found.differences[index]
    if index == found.best:
        return "best"
    if difference.low is None:
        return "unknown"
    return "worse" if difference.worse else "alike"


def _settling(rows: Sequence[Row], settings: Sequence[Setting]) -> int | None:
    """Counts the runs that would tell the second setting from the best one."""
    if len(rows) < 2 or rows[1].verdict == "worse":
        return None
    difference = rows[1].difference
    if difference is None or difference.value == 0:
        return None
    best, second = settings[:2]
    spreads = [setting.spread for setting in settings if setting.spread]
    # The folds of a seed are trainings of their own, so their common value scatters less than that of one.
    typical = TYPICAL_SPREAD * abs(best.mean) / math.sqrt(rows[0].records[0].folds or 1)
    spread = float(np.sqrt(np.mean(np.square(spreads)))) if spreads else typical
    galaxies = 0.0
    if best.influence is not None and second.influence is not None:
        galaxies = float(np.sqrt(np.square(best.influence - second.influence).sum()))
    return runs_needed(difference.value, len(settings), spread, galaxies)


def best_folders(row: Row, mode: Direction) -> list[Path]:
    """Returns the folder of the best of the runs of a setting; with folds, those of all folds of a seed."""
    place = row.values.argmin() if mode == "min" else row.values.argmax()
    return row.counted[int(place)].folders
