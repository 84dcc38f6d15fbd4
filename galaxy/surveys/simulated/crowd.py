"""Volunteers who walk down the question tree, and the fractions of their votes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, NEXT_QUESTION, NOT_ODD


def vote(conditional: NDArray[np.float64], volunteers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sends volunteers down the tree. Each goes to the question that follows the last answer.

    The votes on a question are drawn at once, from a multinomial distribution. The volunteers answer
    independently, so this is the same as asking one after the other.

    Args:
        conditional: (37,) the probability of each answer among the volunteers who meet its question.
        volunteers: The number of volunteers who begin at the first question.
        rng: The generator that draws the answers.

    Returns:
        (37,) int64 votes.
    """
    columns = {q.key: columns for q, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True)}
    arrived = dict.fromkeys(columns, 0)
    arrived[GALAXY_ZOO_2.questions[0].key] = volunteers
    votes = np.zeros(GALAXY_ZOO_2.size, np.int64)
    for key in _walk():
        votes[columns[key]] = rng.multinomial(arrived[key], conditional[columns[key]])
        for following, count in zip(NEXT_QUESTION[columns[key]], votes[columns[key]].tolist(), strict=True):
            if following is not None:
                arrived[following] += count
    return votes


def vote_fractions(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cumulative fractions of votes, in the form of the Kaggle challenge.

    Volunteers who answer "star or artifact" are done and never meet the odd question. Its fractions sum to 1
    in the Galaxy Challenge all the same: they are those of the volunteers who did meet it. If nobody met it,
    nobody saw anything odd, and the galaxy is "not odd".

    Args:
        votes: (..., 37) votes for each answer, with at least one vote on the first question.

    Returns:
        (..., 37) float64. The answers of each question sum to the value of their parent.
    """
    conditional, met = GALAXY_ZOO_2.conditional(votes.astype(np.float64))
    met_odd = met[..., GALAXY_ZOO_2.question_of[NOT_ODD]]
    conditional[..., NOT_ODD] = np.where(met_odd, conditional[..., NOT_ODD], 1.0)
    return GALAXY_ZOO_2.cumulative(conditional)


@cache
def _walk() -> tuple[str, ...]:
    """The keys of the questions, each after all the questions that lead to it."""
    leads_to = {
        question.key: set(NEXT_QUESTION[columns])
        for question, columns in zip(GALAXY_ZOO_2, GALAXY_ZOO_2.slices, strict=True)
    }
    order: list[str] = []
    while waiting := [key for key in leads_to if key not in order]:
        order += [key for key in waiting if not any(key in leads_to[other] for other in waiting)]
    return tuple(order)
