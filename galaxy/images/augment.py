"""Changes training images at random so that a galaxy is still the same galaxy.

Both engines are pure functions of (seed, epoch, galaxy id): neither the batch, nor the worker, nor the number
of galaxies changes what happens to an image.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from galaxy.images.albumentations_engine import PerSample

# The columns of a sample's draws. Each change has its own, so that switching one off leaves the others alone.
_TURN, _FLIP, _RIGHT, _DOWN, _ZOOM, _BRIGHTNESS, _COLOUR = range(7)
_COUNT = _COLOUR + 3  # Red, green and blue have one each.

# The odd number nearest to 2^64 over the golden ratio, the step of SplitMix64's counter.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, epoch: int, ids: NDArray[np.int64], count: int) -> Tensor:
    """Draws uniform numbers as a pure function of (seed, epoch, id).

    Args:
        seed: The seed of the run, any integer.
        epoch: The epoch, 0 or more.
        ids: (N,) int64, the galaxies' ids.
        count: How many numbers each galaxy gets.

    Returns:
        (N, count) float32 on the CPU, multiples of 2^-24 in [0, 1).
    """
    state = _hashed(np.array([seed % 2**64], np.uint64))
    state = _hashed(state + np.uint64(epoch))
    state = _hashed(state + ids.view(np.uint64))
    columns = np.arange(count, dtype=np.uint64) * _GOLDEN
    bits = _hashed((state[:, None] + columns).ravel()).reshape(len(ids), count)
    return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32)) * 2**-24


def _hashed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes each 64-bit number; pandas applies the mixing function of SplitMix64 (Steele et al. 2014)."""
    return pd.util.hash_array(numbers + _GOLDEN)  # The hash of 0 would be 0.


class Augment:
    """One policy of random changes, carried out by one of two engines.

    Beyond the edge of the crop lies its mirror image, so that the sky goes on with its own level and noise.
    Zeros would draw the outline of the turned square.

    Example:
        >>> Augment(rotate="quarter", flip=0.5).active, Augment().active
        (True, False)

    Args:
        engine: `batch` changes whole batches on the device they are on; `albumentations` changes one uint8
            image after the other, in the workers.
        rotate: `none`, `quarter` (one of four quarter turns) or `full` (any angle); all are equally likely.
        flip: The probability of a mirror image (left to right; with turns, any axis).
        shift: The largest move along each axis, as a fraction of the side; uniform in both directions.
        zoom: The largest magnification; log-uniform between 1 / zoom and zoom.
        brightness: The largest relative change of brightness; uniform in both directions.
        colour: The largest relative change of each channel on its own; uniform in both directions.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(
        self,
        engine: Literal["batch", "albumentations"] = "batch",
        rotate: Literal["none", "quarter", "full"] = "none",
        flip: float = 0.0,
        shift: float = 0.0,
        zoom: float = 1.0,
        brightness: float = 0.0,
        colour: float = 0.0,
    ) -> None:
        _one_of("engine", engine, ("batch", "albumentations"))
        _one_of("rotate", rotate, ("none", "quarter", "full"))
        _between("flip", flip, 0, 1)
        _between("shift", shift, 0, 0.5)
        _between("zoom", zoom, 1, 4)
        _between("brightness", brightness, 0, 1)
        _between("colour", colour, 0, 1)
        self.engine = engine
        self.rotate = rotate
        self.flip = flip
        self.shift = shift
        self.zoom = zoom
        self.brightness = brightness
        self.colour = colour

    @property
    def interpolates(self) -> bool:
        """Whether pixels are resampled; quarter turns and mirror images only move them."""
        return self.rotate == "full" or self.shift > 0 or self.zoom > 1

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.interpolates or self.rotate != "none" or max(self.flip, self.brightness, self.colour) > 0

    @property
    def count(self) -> int:
        """Counts the draws that a sample of the batch engine needs."""
        return _COUNT if self.active else 0

    def plan(self, draws: Tensor) -> dict[str, Tensor]:
        """Turns draws into what `batch` does to each sample.

        Args:
            draws: (N, count) float32, uniform in [0, 1).

        Returns:
            Columns of N rows, none if nothing is changed. "warp" (N, 2, 3) float32 takes each point of the
            changed image to its place in the original, both spanning [-1, 1]. Where pixels are only moved
            there are "quarters" (N,) int64 turns and "mirror" (N,) bool instead. "gains" (N, 3) float32 are
            the factors of the channels.
        """
        planned = {}
        if self.interpolates:
            # float64 makes the vectorised sine and the scalar one round to the same float32.
            planned["warp"] = self._inverse(draws.double()).float()
        elif self.rotate == "quarter" or self.flip > 0:
            planned["quarters"], planned["mirror"] = self._quarters(draws), draws[:, _FLIP] < self.flip
        if self.brightness > 0 or self.colour > 0:
            planned["gains"] = self._gains(draws)
        return planned

    def batch(self, images: Tensor, plan: dict[str, Tensor]) -> Tensor:
        """Changes a batch; what happens to a sample depends on its own row of the plan only.

        Args:
            images: (B, C, S, S) uint8, where C is 1 or 3.
            plan: The samples' rows of the columns that `plan` returned, on the images' device. Other columns
                are ignored.

        Returns:
            (B, C, S, S) float32 in [0, 1].
        """
        if "warp" in plan:
            # With trainer.precision=64-true, Lightning has converted the plan to float64.
            floats = resampled(as_floats(images), plan["warp"].float())
        elif "quarters" in plan:
            floats = as_floats(_turned(images, plan["quarters"], plan["mirror"]))
        else:
            floats = as_floats(images)
        if "gains" in plan:
            floats.mul_(plan["gains"][:, : images.shape[1], None, None].float()).clamp_(0, 1)
        return floats

    def sample(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Changes one image with albumentations, as a pure function of (image, seed).

        Args:
            image: (S, S, C) uint8.
            seed: 0 or more.

        Returns:
            (S, S, C) uint8.
        """
        return self._per_sample(image, seed)

    @cached_property
    def _per_sample(self) -> PerSample:
        # Importing albumentations takes seconds, which the batch engine should not cost.
        from galaxy.images.albumentations_engine import PerSample  # noqa: PLC0415

        return PerSample(self.rotate, self.flip, self.shift, self.zoom, self.brightness, self.colour)

    def _quarters(self, draws: Tensor) -> Tensor:
        """Returns the quarter turns, (N,) int64 from 0 to 3."""
        turns = draws[:, _TURN] if self.rotate == "quarter" else torch.zeros_like(draws[:, _TURN])
        return (4 * turns).long()

    def _inverse(self, draws: Tensor) -> Tensor:
        """Returns the "warp" of a plan, (N, 2, 3), in the draws' type."""
        if self.rotate == "full":
            angle = 2 * math.pi * draws[:, _TURN]
        else:
            angle = 0.5 * math.pi * self._quarters(draws)
        mirror = 1 - 2 * (draws[:, _FLIP] < self.flip).double()
        zoom = torch.exp(math.log(self.zoom) * (2 * draws[:, _ZOOM] - 1))
        linear = turned(angle, mirror, zoom)
        # Images span [-1, 1], so their side is 2.
        move = 2 * self.shift * (2 * draws[:, [_RIGHT, _DOWN], None] - 1)
        return torch.cat([linear, -linear @ move], dim=2)

    def _gains(self, draws: Tensor) -> Tensor:
        """Returns the factors of the channels, (N, 3)."""
        brightness = 1 + self.brightness * (2 * draws[:, _BRIGHTNESS, None] - 1)
        return brightness * (1 + self.colour * (2 * draws[:, _COLOUR:] - 1))


def as_floats(images: Tensor) -> Tensor:
    """Converts (B, C, H, W) uint8 to float32 in [0, 1]."""
    return images.float().div_(255)


def turned(angle: Tensor, mirror: Tensor, zoom: Tensor) -> Tensor:
    """Returns the matrices that take each point of a changed image to its place in the original.

    Args:
        angle: (N,) the angles in radians by which the images are turned.
        mirror: (N,) -1 for the mirror image (left to right) and 1 for the image.
        zoom: (N,) magnifications.

    Returns:
        (N, 2, 2) in the type of the arguments. The origin is the centre of the image.
    """
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    return torch.stack([mirror * cos, -mirror * sin, sin, cos], dim=1).view(-1, 2, 2)


def resampled(images: Tensor, inverse: Tensor) -> Tensor:
    """Takes each pixel from another place of its image, bilinearly.

    The grid is computed element by element, because the matrix product of `F.affine_grid` may round a sample
    differently in another batch.

    Args:
        images: (B, C, S, S) float32.
        inverse: (B, 2, 3) float32, or (1, 2, 3) for all images; it takes each point of a result to its place
            in the image, both spanning [-1, 1].

    Returns:
        (B, C, S, S) float32, channels_last.
    """
    side = images.shape[-1]
    centres = (2 * torch.arange(side, device=images.device, dtype=torch.float32) + 1) / side - 1
    a = inverse[:, :, :, None, None]
    # (B, 2, S, S). Along a row only the first term changes.
    points = a[:, :, 0] * centres + (a[:, :, 1] * centres[:, None] + a[:, :, 2])
    points = points.permute(0, 2, 3, 1).expand(len(images), -1, -1, -1)
    warped = F.grid_sample(images.contiguous(), points, padding_mode="reflection", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)


def _turned(images: Tensor, quarters: Tensor, mirror: Tensor) -> Tensor:
    """Mirrors each image where `mirror` (B,) is true, then turns it by `quarters` (B,).

    Pixels are moved and never mixed: each of the eight results is the image with rows and columns reversed or
    not, then transposed or not.
    """
    rows = (quarters == 2) | (quarters == 3)
    columns = ((quarters == 1) | (quarters == 2)) ^ mirror
    images = torch.where(rows[:, None, None, None], images.flip(2), images)
    images = torch.where(columns[:, None, None, None], images.flip(3), images)
    even = quarters % 2 == 0
    # `torch.where` gives the result the memory layout of its first image.
    return torch.where(even[:, None, None, None], images, images.transpose(2, 3))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value}; it must be one of {', '.join(allowed)}")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; it must be between {low} and {high}")


# What is changed unless somebody chooses; conf/augment/affine.yaml explains the numbers.
AFFINE = Augment(rotate="full", flip=0.5, shift=0.02, zoom=1.3)
