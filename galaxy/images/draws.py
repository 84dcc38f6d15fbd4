"""Random numbers of a galaxy and an epoch, whichever batch or process the galaxy happens to be in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# SplitMix64 (Steele, Lea and Flood 2014, OOPSLA, figure 16): a counter through a mixing function. Every
# number is computed by itself, so that a whole batch is one array expression.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, epoch: int, ids: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Uniform numbers as a pure function of (seed, epoch, id).

    Args:
        seed: The run's.
        epoch: 0 or more.
        ids: (B,) the galaxies' ids.
        count: How many numbers each galaxy gets.

    Returns:
        (B, count) float32 in [0, 1), multiples of 2^-24.
    """
    # Arrays all along: unsigned overflow, which is the point here, is silent in arrays only.
    state = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    state = _mixed(state + np.array([epoch], dtype=np.uint64))
    state = _mixed(state + ids.astype(np.uint64))
    counter = _GOLDEN * np.arange(count, dtype=np.uint64)
    bits = _mixed(state[:, None] + counter) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2**-24)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = z + _GOLDEN  # 0 would stay 0
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
