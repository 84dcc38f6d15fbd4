"""The albumentations engine of `galaxy.images.augment`."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

# albumentations asks the network for its newest version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from galaxy.images.augment import Augment


class PerSample:
    """Changes one image after the other as a policy says.

    Args:
        policy: What to change, and how far.
    """

    def __init__(self, policy: Augment) -> None:
        steps: list[A.BasicTransform] = []
        if policy.flip > 0:
            steps.append(A.HorizontalFlip(p=policy.flip))
        if policy.rotate == "quarter":
            steps.append(A.RandomRotate90(p=1))
        if policy.interpolates:
            steps.append(Warp(policy.rotate == "full", policy.shift, policy.zoom))
        for change, per_channel in ((policy.brightness, False), (policy.colour, True)):
            if change > 0:
                steps.append(A.MultiplicativeNoise((1 - change, 1 + change), per_channel=per_channel, p=1))
        self.compose = A.Compose(steps)

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Changes an image (S, S, C) uint8; the same seed changes it in the same way."""
        # Compose would give all its steps the same seed, and so the same draws.
        steps = self.compose.transforms
        for step, own in zip(steps, np.random.SeedSequence(seed).generate_state(len(steps)), strict=True):
            step.set_random_seed(int(own))
        changed: NDArray[np.uint8] = self.compose(image=image)["image"]
        return changed


class Warp(A.ImageOnlyTransform):
    """One bilinear warp. A.Affine's zoom is uniform and its moves whole pixels; the policy's are neither.

    Args:
        turn: Whether to turn by any angle.
        shift: The largest move along each axis, as a fraction of the side.
        zoom: The largest magnification; log-uniform.
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
        return np.asarray(warped, np.uint8).reshape(img.shape)  # OpenCV drops the axis of a single channel
