"""The cards of single galaxies: a picture, where the model looks, and the answers of model and people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from galaxy.reports.evaluation.contents import Report
from galaxy.reports.evaluation.errors import galaxy_errors
from galaxy.reports.evaluation.pictures import attention_picture, galaxy_picture
from galaxy.reports.evaluation.sample import Array

# Answers that a card shows without being opened.
_FIRST = 4


@dataclass(frozen=True)
class Bar:
    """The bars of one answer, of 0 to 100.

    Attributes:
        text: The words of the answer.
        model: The prediction.
        people: The truth; None if it is unknown.
        low: The lower end of the interval; None without one.
        high: The upper end.
        said: The numbers, in words.
    """

    text: str
    model: float
    people: float | None
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True)
class Card:
    """One galaxy.

    Attributes:
        name: Its name.
        error: Its RMSE.
        picture: The address of its crop.
        attention: The address of the picture of where the model looks; None if that is not known.
        first: The answers that model and people see most differently, by the words of their questions.
        questions: All answers, by the words of their questions.
    """

    name: str
    error: float
    picture: str
    attention: str | None
    first: tuple[tuple[str, tuple[Bar, ...]], ...]
    questions: tuple[tuple[str, tuple[Bar, ...]], ...]


def cards(report: Report) -> dict[int, Card]:
    """Makes a card of each galaxy that is shown, by its place in the sample."""
    sample, calibration = report.sample, report.calibration
    places = np.array(list(report.crops), dtype=np.int64)
    errors = galaxy_errors(sample)
    ends = None
    if calibration is not None and calibration.intervals is not None:
        ends = np.stack(calibration.intervals.of(sample.predicted[places]), axis=-1)
    questions = sample.labels.questions
    made = {}
    for number, place in enumerate(places.tolist()):
        bars = list(_bars(report, place, None if ends is None else ends[number]))
        apart = np.nan_to_num(np.abs(sample.predicted[place] - sample.true[place]), nan=-1)
        first = set(np.argsort(-apart, kind="stable")[:_FIRST].tolist())
        grouped = [
            (question.text, [(column, bars[column]) for column in range(columns.start, columns.stop)])
            for question, columns in zip(questions, questions.slices, strict=True)
        ]
        weights = report.maps.get(place)
        crop = report.crops[place]
        made[place] = Card(
            str(sample.names[place]),
            float(errors[place]),
            galaxy_picture(crop),
            None if weights is None else attention_picture(crop, weights),
            tuple(
                (text, tuple(bar for column, bar in pairs if column in first))
                for text, pairs in grouped
                if any(column in first for column, _ in pairs)
            ),
            tuple((text, tuple(bar for _, bar in pairs)) for text, pairs in grouped),
        )
    return made


def truth(report: Report) -> str:
    """What predictions are compared with, in words."""
    return "truth" if report.sample.labels.kind == "classes" else "people"


def _bars(report: Report, place: int, ends: Array | None) -> Iterator[Bar]:
    sample = report.sample
    for column, text in enumerate(sample.labels.texts):
        predicted, true = float(sample.predicted[place, column]), float(sample.true[place, column])
        said = (
            f"{text}: model {predicted:.3f}, {truth(report)} {'unknown' if np.isnan(true) else f'{true:.3f}'}"
        )
        low = high = None
        if ends is not None:
            low, high = (round(100 * float(end), 1) for end in ends[column])
            said += f", interval {low / 100:.3f} to {high / 100:.3f}"
        people = None if np.isnan(true) else _percent(true)
        yield Bar(text, _percent(predicted), people, low, high, said)


def _percent(value: float) -> float:
    return round(100 * min(max(value, 0.0), 1.0), 1)
