"""The learning curves of a run, from its metrics.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from galaxy.runs.folder import RunFolder

# The value of a metric at the end of each epoch, counted from 1.
Curve = dict[int, float]


def read_curves(run: RunFolder, metrics: Sequence[str]) -> dict[str, Curve]:
    """Reads how metrics went, epoch by epoch.

    The file may be in the middle of being written: a line without an end is left out.

    Returns:
        The curve of each metric; empty for one that the run has not logged.
    """
    curves: dict[str, Curve] = {metric: {} for metric in metrics}
    try:
        text = (run.path / "metrics.csv").read_text(encoding="utf-8", errors="replace")
    except OSError:  # fitted models log nothing, and a run that has just begun has not logged yet
        return curves
    whole, _, _ = text.rpartition("\n")
    try:
        header, *rows = csv.reader(whole.splitlines()) if whole else [[]]
    except csv.Error:  # the file is damaged
        return curves
    if "epoch" not in header:
        return curves
    epoch = header.index("epoch")
    for metric in metrics:
        if metric in header:
            place = header.index(metric)
            for row in rows:
                _add(curves[metric], row, epoch, place)
    return curves


def _add(curve: Curve, row: list[str], epoch: int, place: int) -> None:
    if len(row) > max(epoch, place) and row[epoch] and row[place]:
        try:
            curve[int(float(row[epoch])) + 1] = float(row[place])
        except (ValueError, OverflowError):  # the line is damaged
            return
