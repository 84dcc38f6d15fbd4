"""Augments with albumentations, for `galaxy.images.augment`; importing this takes seconds."""

from __future__ import annotations

import math
import os
from typing import Any

# On import albumentations asks the network for its newest version unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray


class PerSample:
    """Changes one image after the other. The arguments are those of `Augment`."""

    def __init__(
        self, rotate: str, flip: float, shift: float, zoom: float, brightness: float, colour: float
    ) -> None:
        steps: list[A.BasicTransform] = []
        if flip > 0:
            steps.append(A.HorizontalFlip(p=flip))
        if rotate == "quarter":
            steps.append(A.RandomRotate90(p=1))
        if rotate == "full" or shift > 0 or zoom > 1:
            steps.append(Warp(rotate == "full", shift, zoom))
        for change, per_channel in ((brightness, False), (colour, True)):
            if change > 0:
                steps.append(A.MultiplicativeNoise((1 - change, 1 + change), per_channel=per_channel, p=1))
        self.compose = A.Compose(steps)

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Changes an image (S, S, C) uint8; the same seed changes it in the same way."""
        # `Compose.set_random_seed` would give all steps the same seed, and so the same draws.
        steps = self.compose.transforms
        for step, own in zip(steps, np.random.SeedSequence(seed).generate_state(len(steps)), strict=True):
            step.set_random_seed(int(own))
        changed: NDArray[np.uint8] = self.compose(image=image)["image"]
        return changed


class Warp(A.ImageOnlyTransform):
    """Turns, moves and zooms in one bilinear warp.

    `A.Affine` draws the zoom uniformly and moves by whole pixels; `Augment` promises neither.

    Args:
        turn: Whether to turn by any angle.
        shift: The largest move along each axis, as a fraction of the side.
        zoom: The largest magnification; log-uniform between 1 / zoom and zoom.
    """

    def __init__(self, turn: bool, shift: float, zoom: float) -> None:
        super().__init__(p=1)
        self.turn = turn
        self.shift = shift
        self.zoom = zoom

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draws the matrix that takes pixels of the image to pixels of the result."""
        side = params["shape"][0]
        draw = self.random_generator.uniform
        angle = draw(0, 360) if self.turn else 0.0
        zoom = math.exp(draw(-1, 1) * math.log(self.zoom))
        matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, zoom)
        matrix[:, 2] += draw(-self.shift, self.shift, 2) * side
        return {"matrix": matrix}

    def apply(self, img: NDArray[np.uint8], matrix: NDArray[np.float64], **params: Any) -> NDArray[np.uint8]:
        """Warps an image (S, S, C)."""
        warped = cv2.warpAffine(img, matrix, img.shape[:2], borderMode=cv2.BORDER_REFLECT)
        return np.asarray(warped, np.uint8).reshape(img.shape)  # OpenCV drops the axis of a single channel.
