"""The Galaxy Zoo 2 decision tree: questions, answers, probability parents, navigation and column names.

Willett et al. 2013 (MNRAS 435, 2835), Table 2. This is the only module that knows the 11 questions and 37
answers; everything else asks a `Questions` object. Arrays of answers have the answers on their last axis,
in the order of the Kaggle columns Class1.1 to Class11.6.

Two orders must not be confused. *Navigation* is the question shown next (spiral arms lead to the bulge
question). The *probability parent* is the answer whose probability the question's cumulative fractions sum
to: everyone who answers "not edge-on" meets the bar, spiral and bulge questions, so their parent is
Class2.2, and everyone meets the odd question, so it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """One answer: its text and, in Galaxy Zoo 2, the stem of its Hart et al. (2016) columns and what follows.

    Attributes:
        text: The words of the answer.
        hart16: The beginning of its columns in `gz2_hart16.csv`.
        next: Key of the question shown next.
    """

    text: str
    hart16: str = ""
    next: str | None = None


@dataclass(frozen=True)
class Question:
    """One question, its answers, and the answer (question key, index) whose probability it shares out."""

    key: str
    text: str
    answers: tuple[Answer, ...]
    parent: tuple[str, int] | None = None


@dataclass(frozen=True)
class Questions:
    """A tree of questions, parents before children in `order`.

    A question with a single answer is a fraction of its own, between 0 and 1 (or its parent's value).

    Attributes:
        questions: In column order, which for Galaxy Zoo 2 is not the order of the tree.
    """

    questions: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.questions)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many answers each question has."""
        return tuple(len(question.answers) for question in self.questions)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each question."""
        stops = np.cumsum(self.sizes).tolist()
        return tuple(slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True))

    @cached_property
    def size(self) -> int:
        """The number of answers, which is the number of columns."""
        return self.slices[-1].stop

    @cached_property
    def parents(self) -> tuple[int | None, ...]:
        """The column of each question's probability parent; None where the answers sum to 1."""
        index = {q.key: i for i, q in enumerate(self.questions)}
        return tuple(
            None if q.parent is None else self.slices[index[q.parent[0]]].start + q.parent[1]
            for q in self.questions
        )

    @property
    def structure(self) -> tuple[tuple[int, int | None], ...]:
        """What trees that can stand in for each other have in common: sizes of the questions, and parents."""
        sizes = (len(question.answers) for question in self.questions)
        return tuple(zip(sizes, self.parents, strict=True))

    @cached_property
    def unrelated(self) -> Questions:
        """The same questions without parents, as conditional fractions need them."""
        return Questions(tuple(replace(question, parent=None) for question in self.questions))

    @cached_property
    def question_of(self) -> NDArray[np.int64]:
        """The question's index of each column, (size,)."""
        return np.repeat(np.arange(len(self)), [len(q.answers) for q in self.questions])

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Question indices with every parent before its children."""
        done: list[int] = []
        waiting = list(range(len(self)))
        while waiting:
            ready = [
                i
                for i in waiting
                if (parent := self.parents[i]) is None or int(self.question_of[parent]) in done
            ]
            if not ready:
                raise ValueError(f"questions {[self.questions[i].key for i in waiting]} form a cycle")
            done += ready
            waiting = [i for i in waiting if i not in ready]
        return tuple(done)

    @cached_property
    def kaggle_columns(self) -> tuple[str, ...]:
        """Class1.1 ... Class11.6."""
        return tuple(
            f"Class{i}.{j}" for i, q in enumerate(self.questions, 1) for j in range(1, len(q.answers) + 1)
        )

    def hart16_columns(self, suffix: str) -> tuple[str, ...]:
        """The columns of `gz2_hart16.csv` with this ending: debiased, weighted_fraction, fraction, count."""
        return tuple(f"{a.hart16}_{suffix}" for q in self.questions for a in q.answers)

    def cumulative(self, conditional: NDArray[np.floating]) -> NDArray[np.float64]:
        """Multiplies each question's answers by the probability of meeting the question.

        Args:
            conditional: (..., size), each question's answers summing to 1 (or to 0 where nobody met it).

        Returns:
            (..., size) float64 in Kaggle's form: each question sums to its parent's value.
        """
        out = np.array(conditional, dtype=np.float64)
        for i in self.order:
            parent = self.parents[i]
            if parent is not None:
                out[..., self.slices[i]] *= out[..., parent, None]
        return out

    def reach(self, conditional: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of meeting each question.

        Args:
            conditional: (..., size), each question's answers summing to 1 (or to 0 where nobody met it).

        Returns:
            (..., questions) float64: the cumulative value of the parent, 1 where there is none.
        """
        cumulative = self.cumulative(conditional)
        ones = np.ones(cumulative.shape[:-1])
        return np.stack([ones if p is None else cumulative[..., p] for p in self.parents], axis=-1)

    def conditional(self, cumulative: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Divides each question's answers by their sum; the inverse of `cumulative` where it has one.

        Returns:
            The conditional fractions (..., size) float64, and a mask (..., questions) that is False where
            nobody met the question: its answers are then 0, for 0/0 says nothing.
        """
        out = np.array(cumulative, dtype=np.float64)
        met = np.zeros((*out.shape[:-1], len(self)), dtype=bool)
        for i, columns in enumerate(self.slices):
            total = out[..., columns].sum(-1)
            met[..., i] = total > 0
            out[..., columns] /= np.where(met[..., i], total, 1.0)[..., None]
        return out, met

    def residuals(self, cumulative: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far each question's sum lies from its parent's value.

        Args:
            cumulative: (..., size) cumulative fractions.

        Returns:
            (..., questions) float64, signed: sum of the answers minus the parent's value (or 1).
        """
        values = np.asarray(cumulative, dtype=np.float64)
        return np.stack(
            [
                values[..., columns].sum(-1) - (1.0 if parent is None else values[..., parent])
                for columns, parent in zip(self.slices, self.parents, strict=True)
            ],
            axis=-1,
        )


def _answers(prefix: str, *rows: tuple[str, str, str | None]) -> tuple[Answer, ...]:
    return tuple(Answer(text, f"{prefix}_{stem}", following) for text, stem, following in rows)


def _to(following: str | None, rows: Sequence[tuple[str, str]]) -> list[tuple[str, str, str | None]]:
    return [(text, stem, following) for text, stem in rows]


GALAXY_ZOO_2 = Questions(
    (
        Question(
            "q01",
            "Is the galaxy simply smooth and rounded, with no sign of a disk?",
            _answers(
                "t01_smooth_or_features",
                ("smooth", "a01_smooth", "q07"),
                ("features or disk", "a02_features_or_disk", "q02"),
                ("star or artifact", "a03_star_or_artifact", None),
            ),
        ),
        Question(
            "q02",
            "Could this be a disk viewed edge-on?",
            _answers("t02_edgeon", ("yes", "a04_yes", "q09"), ("no", "a05_no", "q03")),
            parent=("q01", 1),
        ),
        Question(
            "q03",
            "Is there a sign of a bar feature through the centre of the galaxy?",
            _answers("t03_bar", *_to("q04", [("bar", "a06_bar"), ("no bar", "a07_no_bar")])),
            parent=("q02", 1),
        ),
        Question(
            "q04",
            "Is there any sign of a spiral arm pattern?",
            _answers("t04_spiral", ("spiral", "a08_spiral", "q10"), ("no spiral", "a09_no_spiral", "q05")),
            parent=("q02", 1),
        ),
        Question(
            "q05",
            "How prominent is the central bulge, compared with the rest of the galaxy?",
            _answers(
                "t05_bulge_prominence",
                *_to(
                    "q06",
                    [
                        ("no bulge", "a10_no_bulge"),
                        ("just noticeable", "a11_just_noticeable"),
                        ("obvious", "a12_obvious"),
                        ("dominant", "a13_dominant"),
                    ],
                ),
            ),
            parent=("q02", 1),
        ),
        Question(
            "q06",
            "Is there anything odd?",
            _answers("t06_odd", ("yes", "a14_yes", "q08"), ("no", "a15_no", None)),
        ),
        Question(
            "q07",
            "How rounded is it?",
            _answers(
                "t07_rounded",
                *_to(
                    "q06",
                    [
                        ("completely round", "a16_completely_round"),
                        ("in between", "a17_in_between"),
                        ("cigar shaped", "a18_cigar_shaped"),
                    ],
                ),
            ),
            parent=("q01", 0),
        ),
        Question(
            "q08",
            "Is the odd feature a ring, or is the galaxy disturbed or irregular?",
            # a38 was added to this question late, hence the jump in the numbering.
            _answers(
                "t08_odd_feature",
                *_to(
                    None,
                    [
                        ("ring", "a19_ring"),
                        ("lens or arc", "a20_lens_or_arc"),
                        ("disturbed", "a21_disturbed"),
                        ("irregular", "a22_irregular"),
                        ("other", "a23_other"),
                        ("merger", "a24_merger"),
                        ("dust lane", "a38_dust_lane"),
                    ],
                ),
            ),
            parent=("q06", 0),
        ),
        Question(
            "q09",
            "Does the galaxy have a bulge at its centre? If so, what shape?",
            _answers(
                "t09_bulge_shape",
                *_to(
                    "q06",
                    [("rounded", "a25_rounded"), ("boxy", "a26_boxy"), ("no bulge", "a27_no_bulge")],
                ),
            ),
            parent=("q02", 0),
        ),
        Question(
            "q10",
            "How tightly wound do the spiral arms appear?",
            _answers(
                "t10_arms_winding",
                *_to("q11", [("tight", "a28_tight"), ("medium", "a29_medium"), ("loose", "a30_loose")]),
            ),
            parent=("q04", 0),
        ),
        Question(
            "q11",
            "How many spiral arms are there?",
            # There is no a35.
            _answers(
                "t11_arms_number",
                *_to(
                    "q05",
                    [
                        ("1", "a31_1"),
                        ("2", "a32_2"),
                        ("3", "a33_3"),
                        ("4", "a34_4"),
                        ("more than 4", "a36_more_than_4"),
                        ("can't tell", "a37_cant_tell"),
                    ],
                ),
            ),
            parent=("q04", 0),
        ),
    )
)
