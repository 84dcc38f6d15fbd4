"""Random numbers of a galaxy and an epoch, whichever batch or process the galaxy happens to be in."""

from __future__ import annotations

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood 2014, OOPSLA, figure 16): a counter through a mixing function. Every
# number is computed by itself, so that those of a whole survey are one array expression.
_GOLDEN = 0x9E3779B97F4A7C15


def uniforms(seed: int, epoch: int, ids: Tensor, count: int) -> Tensor:
    """Uniform numbers as a pure function of (seed, epoch, id).

    Args:
        seed: The run's.
        epoch: 0 or more.
        ids: (N,) int64, the galaxies' ids.
        count: How many numbers each galaxy gets.

    Returns:
        (N, count) float32 in [0, 1), multiples of 2^-24, on the device of the ids.
    """
    state = _mixed(torch.tensor([_signed(seed % 2**64)], device=ids.device))
    state = _mixed(state + epoch)
    state = _mixed(state + ids)
    counter = torch.arange(count, device=ids.device) * _signed(_GOLDEN)
    bits = _shifted(_mixed(state[:, None] + counter), 40)
    return bits.float() * 2**-24


def _mixed(z: Tensor) -> Tensor:
    z = z + _signed(_GOLDEN)  # 0 would stay 0
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, places: int) -> Tensor:
    """Shifted right with zeros coming in: torch computes in signed numbers, which bring in their sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    """The signed 64-bit number with the bits of an unsigned one; their sums and products have equal bits."""
    return number - 2**64 if number >= 2**63 else number
