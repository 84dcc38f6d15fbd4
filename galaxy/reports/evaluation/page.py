"""Writes the page of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from galaxy.labels.tree import Question
from galaxy.reports.evaluation.cards import cards, truth
from galaxy.reports.evaluation.confusion import CONFIDENT, Accuracy, Confusion
from galaxy.reports.evaluation.contents import Report
from galaxy.reports.evaluation.errors import LEVEL as SURE
from galaxy.reports.evaluation.errors import root_mean_square
from galaxy.reports.evaluation.intervals import (
    LEVEL,
    Coverage,
    coverage_of_intervals,
    coverage_of_sets,
    sets_of,
)
from galaxy.reports.evaluation.pictures import density_picture
from galaxy.reports.evaluation.probe import REMEMBERED, VIEWS
from galaxy.reports.evaluation.properties import BINS, Trend
from galaxy.reports.evaluation.sample import asked_where
from galaxy.reports.evaluation.scaling import (
    Disobedience,
    Reliability,
    disobedience,
    on_tree,
    reliability,
)
from galaxy.reports.evaluation.unusual import NEIGHBOUR, USUAL
from galaxy.reports.evaluation.words import estimate, overall_coverage, sentences, sums_of
from galaxy.reports.page import charts
from galaxy.reports.page.charts import Chart
from galaxy.reports.page.environment import environment
from galaxy.runs.evaluation_files import CALIBRATED, CALIBRATION
from galaxy.system.files import write_text

BASELINES = {"mean": "training mean", "center_pixel": "central pixel"}


@dataclass(frozen=True)
class ErrorRow:
    """A row of the table of errors: a question and its cells."""

    question: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ConfusionTable:
    """A confusion matrix: each cell is a number, and its share of the row."""

    confusion: Confusion
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


@dataclass(frozen=True)
class Scaled:
    """What the scaling of a question does: its temperature, and figures before and after it."""

    question: str
    temperature: float
    gaps: tuple[float, float]
    errors: tuple[float, float]


@dataclass(frozen=True)
class Tree:
    """How far predictions are from the tree, and the RMSE before and after they were put onto it."""

    away: Disobedience
    errors: tuple[float, float]


def write_page(path: Path, report: Report) -> None:
    """Writes the page, whole or not at all. It needs no other file.

    Raises:
        UserError: The file cannot be written.
    """
    heads, rows = _errors(report)
    made = cards(report)
    calibration = report.calibration
    text = (
        environment("galaxy.reports.evaluation")
        .get_template("report.html")
        .render(
            report=report,
            labels=report.sample.labels,
            true_classes=report.sample.has_true_classes,
            truth=truth(report),
            sentences=list(sentences(report)),
            heads=heads,
            errors=rows,
            densities=_densities(report),
            accuracies=[
                (one.text, *map(_accuracy, (one.every, one.clear, one.agreed))) for one in report.confusions
            ],
            confusions=[_confusion(one) for one in report.confusions if one.every.galaxies],
            confident=CONFIDENT,
            asked_where=asked_where(report.sample),
            reliability=_reliability_chart(report),
            scaled=_scaled(report),
            sums=sums_of(report.sample.labels.questions),
            tree=_tree(report) if calibration is not None and calibration.obeying else None,
            coverage=_coverage(report),
            level=f"{LEVEL:.0%}",
            sure=f"{SURE:.0%}",
            usual=f"{USUAL:.0%}",
            neighbour=NEIGHBOUR,
            remembered=REMEMBERED,
            bins=BINS,
            files=(CALIBRATION, CALIBRATED),
            galleries=[(one, [made[place] for place in one.places.tolist()]) for one in report.galleries],
            stability=_stability(report),
            trends=[_trend_chart(one) for one in report.trends],
            size=charts,
        )
    )
    write_text(path, text)


def _errors(report: Report) -> tuple[list[str], list[ErrorRow]]:
    overall = report.errors[0]
    weighted = ["weighted RMSE"] if overall.weighted is not None else []
    heads = ["RMSE", *weighted, "MAE", "R²", *(BASELINES[name] for name in overall.baselines)]
    heads += ["noise floor"] if overall.floor is not None else []
    heads += ["volunteers' scatter"] if overall.scatter is not None else []
    rows = []
    for one in report.errors:
        numbers: list[float | None] = [*one.baselines.values()]
        numbers += [] if overall.floor is None else [one.floor]
        numbers += [] if overall.scatter is None else [one.scatter]
        cells = [estimate(one.rmse), *([_number(one.weighted)] if weighted else []), estimate(one.mae)]
        cells += map(_number, [one.r2, *numbers])
        rows.append(ErrorRow(one.text, tuple(cells)))
    return heads, rows


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _accuracy(one: Accuracy) -> tuple[str, str]:
    return ("-" if one.share is None else f"{one.share:.1%}", f"{one.galaxies:,}")


def _densities(report: Report) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """For each question the answers with their pictures, and the correlation in words."""
    sample, found = report.sample, []
    for question, columns in _questions(report):
        pictures = []
        for column in range(columns.start, columns.stop):
            predicted, true = sample.predicted[:, column], sample.true[:, column]
            picture = density_picture(predicted, true)
            if picture is not None:
                error = root_mean_square(predicted[:, None], true[:, None])
                pictures.append((sample.labels.texts[column], picture, f"RMSE {error:.3f}"))
        found.append((question.text, pictures))
    return found


def _questions(report: Report) -> Sequence[tuple[Question, slice]]:
    questions = report.sample.labels.questions
    return list(zip(questions, questions.slices, strict=True))


def _confusion(one: Confusion) -> ConfusionTable:
    rows = []
    for answer, counts in zip(one.answers, one.counts.tolist(), strict=True):
        total = sum(counts)
        cells = tuple((count, round(count / total, 3) if total else 0.0) for count in counts)
        rows.append((answer, cells))
    return ConfusionTable(one, tuple(rows))


def _reliability_chart(report: Report) -> Chart | None:
    sample, calibration = report.sample, report.calibration
    lines = {"as predicted": reliability(sample.predicted, sample.true)}
    if calibration is not None:
        lines["scaled"] = reliability(calibration.scaled(sample.predicted), sample.true)
    known = {name: one for name, one in lines.items() if one is not None}
    if not known:
        return None
    across, up = "predicted fraction", "mean true fraction"
    if sample.has_true_classes:
        across, up = "predicted probability", "share that is true"
    x = charts.axis(across, (0, 1), charts.LEFT, charts.WIDTH - charts.RIGHT)
    y = charts.axis(up, (0, 1), charts.HEIGHT - charts.BOTTOM, charts.TOP)
    diagonal = f"{x.place(0)},{y.place(0)} {x.place(1)},{y.place(1)}"
    drawn = [charts.Line(diagonal, "", "as it should be", charts.GREY)]
    points = []
    for colour, (name, one) in enumerate(known.items(), 1):
        drawn.append(charts.Line(_corners(one, x, y), "", name, f"c{colour}"))
        for predicted, true, error, count in zip(one.predicted, one.true, one.error, one.count, strict=True):
            said = f"{name}: {predicted:.3f} predicted, {true:.3f} came ({int(count):,} fractions)"
            ends = y.place(min(true + 2 * error, 1)), y.place(max(true - 2 * error, 0))
            points.append(charts.Point(x.place(predicted), y.place(true), *ends, said, f"c{colour}"))
    return Chart("Reliability", x, y, tuple(drawn), tuple(points))


def _corners(one: Reliability, x: charts.Axis, y: charts.Axis) -> str:
    pairs = zip(one.predicted.tolist(), one.true.tolist(), strict=True)
    return " ".join(f"{x.place(predicted)},{y.place(true)}" for predicted, true in pairs)


def _scaled(report: Report) -> list[Scaled]:
    sample, calibration = report.sample, report.calibration
    if calibration is None:
        return []
    both = sample.predicted, calibration.scaled(sample.predicted)
    parts = [(question.text, columns) for question, columns in _questions(report)]
    temperatures = calibration.temperatures.tolist()
    if len(parts) > 1:
        parts, temperatures = [("all questions", slice(None)), *parts], [float("nan"), *temperatures]
    found = []
    for (text, columns), temperature in zip(parts, temperatures, strict=True):
        bins = [reliability(one[:, columns], sample.true[:, columns]) for one in both]
        gaps = [float("nan") if one is None else one.gap for one in bins]
        errors = [root_mean_square(one, sample.true, columns) for one in both]
        found.append(Scaled(text, temperature, (gaps[0], gaps[1]), (errors[0], errors[1])))
    return found


def _tree(report: Report) -> Tree:
    sample = report.sample
    moved = on_tree(sample.labels.questions, sample.predicted)
    errors = [root_mean_square(one, sample.true) for one in (sample.predicted, moved)]
    return Tree(disobedience(sample.labels, sample.predicted), (errors[0], errors[1]))


def _coverage(report: Report) -> list[tuple[str, list[tuple[str, Coverage]]]]:
    """The coverage by question or class, and by the predicted fraction."""
    overall, calibration, sample = overall_coverage(report), report.calibration, report.sample
    if overall is None or calibration is None:
        return []
    if calibration.intervals is None:
        assert calibration.least is not None
        sets = sets_of(sample.predicted, calibration.least)
        classes = np.nan_to_num(sample.true).argmax(axis=1)
        of_classes = [
            (text, coverage_of_sets(sets, sample.true, classes == index))
            for index, text in enumerate(sample.labels.texts)
        ]
        return [("class", [("all classes", overall), *_known(of_classes)])]
    low, high = calibration.intervals.of(sample.predicted)
    of_questions = [
        (question.text, coverage_of_intervals(low[:, columns], high[:, columns], sample.true[:, columns]))
        for question, columns in _questions(report)
    ]
    together = [("all questions", overall)] if len(of_questions) > 1 else []
    edges = (0.0, 0.02, 0.1, 0.3, 0.7, 0.9, 0.98, 1.0)
    place = np.searchsorted(edges[1:-1], sample.predicted, side="right")
    of_sizes = [
        (f"{least:g} to {most:g}", coverage_of_intervals(low, high, sample.true, place == index))
        for index, (least, most) in enumerate(pairwise(edges))
    ]
    return [("question", [*together, *_known(of_questions)]), ("predicted fraction", _known(of_sizes))]


def _known(rows: Sequence[tuple[str, Coverage | None]]) -> list[tuple[str, Coverage]]:
    return [(text, one) for text, one in rows if one is not None]


def _stability(report: Report) -> dict[str, list[tuple[str, str]]]:
    one = report.stability
    texts = {question.key: question.text for question in report.sample.labels.questions}
    return {
        "view": [(name, f"{value:.4f}") for name, value in zip(VIEWS[1:], one.views, strict=True)],
        "question": [(texts.get(key, key), f"{value:.4f}") for key, value in one.questions.items()],
    }


def _trend_chart(one: Trend) -> Chart:
    ends = [end for error in one.errors for end in (error.low, error.high)]
    x = charts.axis(one.name, one.middles, charts.LEFT, charts.WIDTH - charts.RIGHT)
    y = charts.axis("RMSE", [0.0, *ends], charts.HEIGHT - charts.BOTTOM, charts.TOP)
    points, corners = [], []
    for middle, error, count in zip(one.middles, one.errors, one.counts, strict=True):
        said = f"about {middle:.3g}: RMSE {estimate(error)}, {count:,} galaxies"
        corners.append(f"{x.place(middle)},{y.place(error.value)}")
        ends_ = y.place(error.high), y.place(error.low)
        points.append(charts.Point(x.place(middle), y.place(error.value), *ends_, said, "c1"))
    return Chart(one.name, x, y, (charts.Line(" ".join(corners), "", one.name, "c1"),), tuple(points))
