"""The decision tree of Galaxy Zoo 2: 11 questions, 37 answers, and the names of their columns.

The tree is Table 2 of Willett et al. 2013 (MNRAS 435, 2835). No other module knows its questions and answers.

Two orders must not be confused. *Navigation* says which question a volunteer sees next: spiral arms lead to
the bulge question. The *parent* of a question says to which answer's fraction its cumulative fractions sum:
everyone who answers "not edge-on" meets the bar, spiral and bulge questions, so their parent is Class2.2, and
everyone meets the odd question, so it has no parent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.tree import Answer, Question, Questions

# Each question: key, text, parent, beginning of its columns in `gz2_hart16.csv`, and its answers. Each
# answer: text, end of the column's stem, and key of the question that is shown next.
_TREE: list[tuple[str, str, tuple[str, int] | None, str, list[tuple[str, str, str | None]]]] = [
    (
        "q01",
        "Is the galaxy simply smooth and rounded, with no sign of a disk?",
        None,
        "t01_smooth_or_features",
        [
            ("smooth", "a01_smooth", "q07"),
            ("features or disk", "a02_features_or_disk", "q02"),
            ("star or artifact", "a03_star_or_artifact", None),
        ],
    ),
    (
        "q02",
        "Could this be a disk viewed edge-on?",
        ("q01", 1),
        "t02_edgeon",
        [("yes", "a04_yes", "q09"), ("no", "a05_no", "q03")],
    ),
    (
        "q03",
        "Is there a sign of a bar feature through the centre of the galaxy?",
        ("q02", 1),
        "t03_bar",
        [("bar", "a06_bar", "q04"), ("no bar", "a07_no_bar", "q04")],
    ),
    (
        "q04",
        "Is there any sign of a spiral arm pattern?",
        ("q02", 1),
        "t04_spiral",
        [("spiral", "a08_spiral", "q10"), ("no spiral", "a09_no_spiral", "q05")],
    ),
    (
        "q05",
        "How prominent is the central bulge, compared with the rest of the galaxy?",
        ("q02", 1),
        "t05_bulge_prominence",
        [
            ("no bulge", "a10_no_bulge", "q06"),
            ("just noticeable", "a11_just_noticeable", "q06"),
            ("obvious", "a12_obvious", "q06"),
            ("dominant", "a13_dominant", "q06"),
        ],
    ),
    (
        "q06",
        "Is there anything odd?",
        None,
        "t06_odd",
        [("yes", "a14_yes", "q08"), ("no", "a15_no", None)],
    ),
    (
        "q07",
        "How rounded is it?",
        ("q01", 0),
        "t07_rounded",
        [
            ("completely round", "a16_completely_round", "q06"),
            ("in between", "a17_in_between", "q06"),
            ("cigar shaped", "a18_cigar_shaped", "q06"),
        ],
    ),
    (
        "q08",
        "Is the odd feature a ring, or is the galaxy disturbed or irregular?",
        ("q06", 0),
        "t08_odd_feature",
        [
            ("ring", "a19_ring", None),
            ("lens or arc", "a20_lens_or_arc", None),
            ("disturbed", "a21_disturbed", None),
            ("irregular", "a22_irregular", None),
            ("other", "a23_other", None),
            ("merger", "a24_merger", None),
            # The number jumps because this answer was added late.
            ("dust lane", "a38_dust_lane", None),
        ],
    ),
    (
        "q09",
        "Does the galaxy have a bulge at its centre? If so, what shape?",
        ("q02", 0),
        "t09_bulge_shape",
        [
            ("rounded", "a25_rounded", "q06"),
            ("boxy", "a26_boxy", "q06"),
            ("no bulge", "a27_no_bulge", "q06"),
        ],
    ),
    (
        "q10",
        "How tightly wound do the spiral arms appear?",
        ("q04", 0),
        "t10_arms_winding",
        [
            ("tight", "a28_tight", "q11"),
            ("medium", "a29_medium", "q11"),
            ("loose", "a30_loose", "q11"),
        ],
    ),
    (
        "q11",
        "How many spiral arms are there?",
        ("q04", 0),
        "t11_arms_number",
        [
            ("1", "a31_1", "q05"),
            ("2", "a32_2", "q05"),
            ("3", "a33_3", "q05"),
            ("4", "a34_4", "q05"),
            # There is no a35.
            ("more than 4", "a36_more_than_4", "q05"),
            ("can't tell", "a37_cant_tell", "q05"),
        ],
    ),
]

GALAXY_ZOO_2 = Questions(
    tuple(
        Question(key, text, tuple(Answer(answer) for answer, _, _ in answers), parent)
        for key, text, parent, _, answers in _TREE
    )
)

# Class1.1 to Class11.6, the columns of the Kaggle challenge.
KAGGLE_COLUMNS = tuple(
    f"Class{question}.{answer}"
    for question, size in enumerate(GALAXY_ZOO_2.sizes, 1)
    for answer in range(1, size + 1)
)

# The columns of `gz2_hart16.csv` (Hart et al. 2016) begin with these stems, one for each answer.
HART16_STEMS = tuple(f"{prefix}_{stem}" for _, _, _, prefix, answers in _TREE for _, stem, _ in answers)

# The columns of the two answers to "Is there anything odd?".
ODD, NOT_ODD = HART16_STEMS.index("t06_odd_a14_yes"), HART16_STEMS.index("t06_odd_a15_no")

# The key of the question that each of the 37 answers leads to, or None where the volunteer is done.
NEXT_QUESTION = tuple(following for *_, answers in _TREE for _, _, following in answers)


def hart16_columns(suffix: str) -> tuple[str, ...]:
    """The 37 columns of `gz2_hart16.csv` with an ending, such as debiased, weighted_fraction or count."""
    return tuple(f"{stem}_{suffix}" for stem in HART16_STEMS)


# What each answer adds to a class string, in the order of the answers, by the key of the question.
_LETTERS = {
    "q05": "dcba",
    "q07": "ric",
    "q08": "rldiomu",
    "q09": "rbn",
    "q10": "tml",
    "q11": "1234+?",
}


def is_galaxy_zoo_2(questions: Questions) -> bool:
    """Whether these are the questions of Galaxy Zoo 2; those of conditional labels have no parents."""
    return questions in (GALAXY_ZOO_2, GALAXY_ZOO_2.unrelated)


def probability_asked(questions: Questions, fractions: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """The probability that a volunteer is asked each question, as far as fractions tell it.

    Args:
        questions: The questions. If some have parents, the fractions are cumulative. If they are those of
            Galaxy Zoo 2 without parents, the fractions are conditional, and are multiplied along its tree.
        fractions: (N, K), of which those beyond 0 and 1 count as 0 and 1, and unknown ones (NaN) as 0.

    Returns:
        (N, questions); None for questions without a tree.
    """
    within = np.nan_to_num(fractions).clip(0, 1)
    if any(parent is not None for parent in questions.parents):
        return questions.asked(within)
    if questions == GALAXY_ZOO_2.unrelated:
        shares, _ = GALAXY_ZOO_2.conditional(within)
        return GALAXY_ZOO_2.reach(shares)
    return None


def class_strings(fractions: NDArray[np.floating]) -> NDArray[np.str_]:
    """The likely class of each galaxy as one string, such as `SBc2m(r)`, by the grammar of `gz2_class`.

    The string follows the likeliest answers through the tree; of equal ones the first counts, except that a
    galaxy has a bar or arms only if more say so than not. Willett et al. 2013 (MNRAS 435, 2835, appendix A)
    define it, and call it a quick reference only.

    | part | stands for |
    | --- | --- |
    | `E` and `r`, `i`, `c` | smooth: round, in between, cigar shaped |
    | `Se` and `r`, `b`, `n` | edge-on: the bulge is rounded, boxy, absent |
    | `S`, `SB` and `d`, `c`, `b`, `a` | another disk, with a bar: no, noticeable, obvious, dominant bulge |
    | `1` to `4`, `+`, `?`, then `t`, `m`, `l` | if spiral: the number of arms, tight, medium, loose |
    | `(r)`, `(l)`, `(d)`, `(i)` | odd: a ring, a lens or arc, disturbed, irregular |
    | `(o)`, `(m)`, `(u)` | odd: something else, a merger, a dust lane |
    | `A` | a star or an artifact |

    Args:
        fractions: (N, 37), cumulative or conditional: only answers of the same question are compared.

    Returns:
        (N,) text.
    """
    answers = {
        question.key: fractions[:, columns].argmax(axis=1)
        for question, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True)
    }
    letter = {key: np.array(list(letters))[answers[key]] for key, letters in _LETTERS.items()}
    # Where a question has two answers, the first one wins a tie, except for bars and spirals.
    bar, spiral = (_above(fractions, key) for key in ("q03", "q04"))
    arms = np.where(spiral, np.char.add(letter["q11"], letter["q10"]), "")
    face_on = np.char.add(np.char.add(np.where(bar, "SB", "S"), letter["q05"]), arms)
    disk = np.where(answers["q02"] == 0, np.char.add("Se", letter["q09"]), face_on)
    galaxy = np.where(answers["q01"] == 0, np.char.add("E", letter["q07"]), disk)
    odd = np.char.add(np.char.add("(", letter["q08"]), ")")
    galaxy = np.char.add(galaxy, np.where(answers["q06"] == 0, odd, ""))
    return np.where(answers["q01"] == 2, "A", galaxy)


def _above(fractions: NDArray[np.floating], key: str) -> NDArray[np.bool_]:
    """Whether the first answer of a question of two is above the second, (N,)."""
    columns = GALAXY_ZOO_2.slices[[question.key for question in GALAXY_ZOO_2].index(key)]
    first, second = fractions[:, columns].T
    above: NDArray[np.bool_] = first > second
    return above
