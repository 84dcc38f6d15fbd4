"""Volunteers who walk the question tree, and the vote fractions that come of it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.tree import GALAXY_ZOO_2, Questions


def vote(conditional: NDArray[np.float64], volunteers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sends volunteers down the tree, each to the question that follows the last answer.

    Each question's votes are drawn at once (a multinomial), which is the same as asking one volunteer after
    the other, for they answer independently.

    Args:
        conditional: (37,) the chance of each answer among those who meet its question.
        volunteers: How many begin at the first question.
        rng: Draws the answers.

    Returns:
        (37,) int64 votes.
    """
    questions = {q.key: (q, columns) for q, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True)}
    arrived = dict.fromkeys(questions, 0)
    arrived[GALAXY_ZOO_2.questions[0].key] = volunteers
    votes = np.zeros(GALAXY_ZOO_2.size, np.int64)
    for key in _walk(GALAXY_ZOO_2):
        question, columns = questions[key]
        votes[columns] = rng.multinomial(arrived[key], conditional[columns])
        for answer, count in zip(question.answers, votes[columns].tolist(), strict=True):
            if answer.next is not None:
                arrived[answer.next] += count
    return votes


def vote_fractions(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kaggle's cumulative fractions of votes.

    Whoever answers "star or artifact" goes home and never meets the odd question, whose fractions yet sum
    to 1 in the Galaxy Challenge: they are those of the volunteers who did meet it. If none did, nobody saw
    anything odd, and the galaxy is "not odd".

    Args:
        votes: (..., 37) votes for each answer; at least one for the first question.

    Returns:
        (..., 37) float64; each question's answers sum to the value of their probability parent.
    """
    conditional, met = GALAXY_ZOO_2.conditional(votes.astype(np.float64))
    keys = [question.key for question in GALAXY_ZOO_2]
    odd = keys.index("q06")
    not_odd = GALAXY_ZOO_2.slices[odd].stop - 1
    conditional[..., not_odd] = np.where(met[..., odd], conditional[..., not_odd], 1.0)
    return GALAXY_ZOO_2.cumulative(conditional)


@cache
def _walk(questions: Questions) -> tuple[str, ...]:
    """The questions' keys, each after all the questions that lead to it."""
    leads_to = {q.key: {answer.next for answer in q.answers} - {None} for q in questions}
    order: list[str] = []
    while waiting := [key for key in leads_to if key not in order]:
        order += [key for key in waiting if not any(key in leads_to[other] for other in waiting)]
    return tuple(order)
