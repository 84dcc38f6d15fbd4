"""What an evaluation has found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from galaxy.labels.tree import Questions
from galaxy.reports.evaluation.contents import Report
from galaxy.reports.evaluation.errors import LEVEL as SURE
from galaxy.reports.evaluation.errors import Estimate
from galaxy.reports.evaluation.intervals import (
    LEVEL,
    Coverage,
    coverage_of_intervals,
    coverage_of_sets,
    sets_of,
)
from galaxy.reports.evaluation.scaling import disobedience, reliability
from galaxy.reports.evaluation.unusual import USUAL


def estimate(one: Estimate) -> str:
    """Writes a figure with its interval."""
    return f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})" if np.isfinite(one.value) else "-"


def overall_coverage(report: Report) -> Coverage | None:
    """How often the intervals of fractions, or the sets of classes, held the truth; None without them."""
    calibration, sample = report.calibration, report.sample
    if calibration is None:
        return None
    if calibration.intervals is not None:
        return coverage_of_intervals(*calibration.intervals.of(sample.predicted), sample.true)
    assert calibration.least is not None
    return coverage_of_sets(sets_of(sample.predicted, calibration.least), sample.true)


def sentences(report: Report) -> Iterator[str]:
    """Says what matters most, first things first."""
    of_classes = report.sample.labels.kind == "classes"
    first = (_of_answers, _of_errors) if of_classes else (_of_errors, _of_answers)
    for about in first:
        yield from about(report)
    yield from _of_calibration(report)
    yield from _of_the_tree(report)
    if report.distances is not None:
        share = float((report.distances > 1).mean())
        yield (
            f"{share:.1%} of these galaxies are unlike those of the training, against {1 - USUAL:.0%} of the "
            "validation galaxies."
        )
    if report.stability.spread > 0:
        yield (
            "Turning and mirroring an image moves what the model predicts from one view by "
            f"{report.stability.spread:.3f} (root mean square)."
        )


def _of_errors(report: Report) -> Iterator[str]:
    overall = report.errors[0]
    text = f"The RMSE is {estimate(overall.rmse)}; the range holds {SURE:.0%} of samples of such galaxies."
    mean = overall.baselines.get("mean")
    if mean:
        better = 1 - overall.rmse.value / mean
        text += (
            f" That is {better:.0%} below the training mean ({mean:.4f})."
            if better > 0.005
            else f" That is no better than the training mean ({mean:.4f})."
        )
    yield text
    if overall.floor is not None:
        yield (f"A perfect model would have an RMSE of {overall.floor:.4f}, because the votes scatter.")
    elif overall.scatter is not None:
        yield (
            f"The volunteers' own scatter is {overall.scatter:.4f}: even the fractions of a far larger crowd "
            "would miss these by as much."
        )


def _of_answers(report: Report) -> Iterator[str]:
    first = report.confusions[0]
    if first.every.share is None:
        return
    if report.sample.labels.kind == "classes":
        galaxies = f"{first.every.galaxies:,} galaxies"
        yield f"The likeliest class is right for {first.every.share:.1%} of {galaxies}."
    elif first.agreed.share is not None:
        yield (
            f"Where the volunteers agree on “{first.text}”, the likeliest answer is right for "
            f"{first.agreed.share:.1%} of {first.agreed.galaxies:,} galaxies ({first.every.share:.1%} of all "
            f"{first.every.galaxies:,})."
        )


def _of_calibration(report: Report) -> Iterator[str]:
    of_classes = report.sample.labels.kind == "classes"
    if (found := overall_coverage(report)) is not None:
        if of_classes:
            yield (
                f"The {LEVEL:.0%} sets hold {found.share:.1%} of the true classes; they have "
                f"{found.size:.1f} classes on average."
            )
        else:
            yield (
                f"The {LEVEL:.0%} intervals hold {found.share:.1%} of the true fractions; they are "
                f"{found.size:.3f} wide on average."
            )
    bins = reliability(report.sample.predicted, report.sample.true)
    if bins is not None:
        what = (
            "The share of galaxies of a class differs from its predicted probability"
            if report.sample.has_true_classes
            else "True fractions differ from predicted ones"
        )
        yield f"{what} by {bins.gap:.3f} on average over bins (calibration)."


def sums_of(questions: Questions) -> str:
    """To what the answers of a question sum, in words."""
    return "their parent's fraction" if any(p is not None for p in questions.parents) else "1"


def _of_the_tree(report: Report) -> Iterator[str]:
    if report.calibration is None or not report.calibration.obeying:
        return
    away, questions = (
        disobedience(report.sample.labels, report.sample.predicted),
        report.sample.labels.questions,
    )
    if away.worst < 1e-3 and away.outside == 0:
        if len(questions) > 1 and max(questions.sizes) > 1:
            yield f"All predictions obey the tree: the answers of a question sum to {sums_of(questions)}."
    else:
        yield (
            f"The predictions do not obey the tree: sums of answers miss {sums_of(questions)} by "
            f"{away.sums:.3f} (root mean square; {away.worst:.2f} at worst), and {away.outside:.1%} of the "
            "fractions are below 0 or above 1."
        )
