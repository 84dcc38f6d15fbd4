"""Losses, one file each. `Loss` is the base for a loss of one's own."""

from galaxy.learning.losses.loss import Loss

__all__ = ["Loss"]
