"""Augmentation: a galaxy turned, mirrored, moved, zoomed or recoloured is as good a galaxy."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from galaxy.images import kernels
from galaxy.system.errors import UserError

if TYPE_CHECKING:
    from galaxy.images.per_sample import PerSample

# The columns of a sample's draws. Each change has its own, so that switching one off leaves the others alone.
_TURN, _FLIP, _RIGHT, _DOWN, _ZOOM, _BRIGHTNESS, _COLOUR = range(7)
_COUNT = _COLOUR + 3  # red, green, blue


class Augment:
    """One policy of random changes on two engines.

    What lies beyond the edge of the crop is its mirror image, so that the sky goes on with its own level and
    noise; zeros would draw the outline of the turned square.

    Args:
        engine: `batch` changes whole batches on the device they are on; `albumentations` one uint8 image
            after the other, in the workers.
        rotate: `none`, `quarter` (one of four quarter turns) or `full` (any angle); all equally likely.
        flip: The probability of a mirror image (left to right; with turns, any axis).
        shift: The largest move along each axis, as a fraction of the side; uniform in both directions.
        zoom: The largest magnification; log-uniform between 1 / zoom and zoom.
        brightness: The largest relative change of brightness; uniform in both directions.
        colour: The same for each channel on its own.
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
        """How many draws a sample of the batch engine needs."""
        return _COUNT if self.active else 0

    def plan(self, draws: Tensor) -> dict[str, Tensor]:
        """What is to be done to each sample, worked out for as many as there are at once.

        Args:
            draws: (N, count) float32, uniform in [0, 1).

        Returns:
            Columns of N rows for `batch`, none if nothing is changed: "warp" (N, 2, 3) float32, where each
            point of the changed image lies in the original, both spanning [-1, 1]; or "quarters" (N,) int64
            turns and "mirror" (N,) bool; and "gains" (N, 3) float32, factors of the channels.
        """
        planned = {}
        if self.interpolates:
            # In float64, so that a vectorised sine and a lone one round to the same float32.
            planned["warp"] = self._inverse(draws.double()).float()
        elif self.rotate == "quarter" or self.flip > 0:
            planned["quarters"], planned["mirror"] = self._quarters(draws), draws[:, _FLIP] < self.flip
        if self.brightness > 0 or self.colour > 0:
            planned["gains"] = self._gains(draws)
        return planned

    def batch(self, images: Tensor, plan: dict[str, Tensor]) -> Tensor:
        """Changes a batch; what happens to a sample depends on its own plan only.

        Args:
            images: (B, C, S, S) uint8, C being 1 or 3.
            plan: The samples' rows of what `plan` answered, on the images' device; other columns are left
                alone.

        Returns:
            (B, C, S, S) float32 in [0, 1].
        """
        if "warp" in plan:
            floats = _warped(images, plan["warp"].float())  # trainer.precision=64-true has made it double
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
        # Imported on use: it takes seconds, which the batch engine does not owe.
        from galaxy.images.per_sample import PerSample  # noqa: PLC0415

        return PerSample(self)

    def _quarters(self, draws: Tensor) -> Tensor:
        """(N,) int64, 0 to 3."""
        turns = draws[:, _TURN] if self.rotate == "quarter" else torch.zeros_like(draws[:, _TURN])
        return (4 * turns).long()

    def _inverse(self, draws: Tensor) -> Tensor:
        """(N, 2, 3), of the type of the draws."""
        if self.rotate == "full":
            angle = 2 * math.pi * draws[:, _TURN]
        else:
            angle = 0.5 * math.pi * self._quarters(draws)
        mirror = 1 - 2 * (draws[:, _FLIP] < self.flip).double()
        zoom = torch.exp(math.log(self.zoom) * (2 * draws[:, _ZOOM] - 1))
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        linear = torch.stack([mirror * cos, -mirror * sin, sin, cos], dim=1).view(-1, 2, 2)
        # The side is 2 in these units.
        move = 2 * self.shift * (2 * draws[:, [_RIGHT, _DOWN], None] - 1)
        return torch.cat([linear, -linear @ move], dim=2)

    def _gains(self, draws: Tensor) -> Tensor:
        """(N, 3)."""
        brightness = 1 + self.brightness * (2 * draws[:, _BRIGHTNESS, None] - 1)
        return brightness * (1 + self.colour * (2 * draws[:, _COLOUR:] - 1))


def as_floats(images: Tensor) -> Tensor:
    """(B, C, H, W) uint8 to float32 in [0, 1]."""
    return images.float().div_(255)


def _warped(images: Tensor, inverse: Tensor) -> Tensor:
    """`resampled` in a quarter of its time where the CPU does it; up to rounding, as on any two devices."""
    if images.device.type != "cpu":
        return resampled(images, inverse)
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    warped = kernels.warped(pixels, inverse.contiguous().numpy(), torch.get_num_threads())
    return torch.from_numpy(warped).permute(0, 3, 1, 2)


def resampled(images: Tensor, inverse: Tensor) -> Tensor:
    """Takes each pixel from another place of its image, bilinearly.

    The grid is written out, as a matrix product may round a sample differently in another batch.

    Args:
        images: (B, C, S, S) uint8.
        inverse: (B, 2, 3) float32, where each point of a result lies in the image, both spanning [-1, 1].

    Returns:
        (B, C, S, S) float32 in [0, 1], channels_last.
    """
    side = images.shape[-1]
    centres = (2 * torch.arange(side, device=images.device, dtype=torch.float32) + 1) / side - 1
    a = inverse[:, :, :, None, None]
    # (B, 2, S, S); along a row all but the first term is the same.
    points = a[:, :, 0] * centres + (a[:, :, 1] * centres[:, None] + a[:, :, 2])
    floats, points = as_floats(images).contiguous(), points.permute(0, 2, 3, 1)
    warped = F.grid_sample(floats, points, padding_mode="reflection", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)


def _turned(images: Tensor, quarters: Tensor, mirror: Tensor) -> Tensor:
    """Mirrors where `mirror` (B,), then turns by `quarters` (B,); pixels are moved, never mixed.

    Each of the eight results is the image with rows and columns reversed or not, then transposed or not.
    """
    rows = (quarters == 2) | (quarters == 3)
    columns = ((quarters == 1) | (quarters == 2)) ^ mirror
    images = torch.where(rows[:, None, None, None], images.flip(2), images)
    images = torch.where(columns[:, None, None, None], images.flip(3), images)
    even = quarters % 2 == 0
    # The image comes first, for the result takes the memory layout of the first.
    return torch.where(even[:, None, None, None], images, images.transpose(2, 3))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"augment.{name} is {value}; it must be one of {', '.join(allowed)}")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"augment.{name} is {value}; it must be between {low} and {high}")
