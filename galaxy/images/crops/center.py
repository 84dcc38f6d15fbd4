"""Crops to the centre of the frame, where the surveys put the galaxy."""

from __future__ import annotations

from galaxy.images.crops.crop import Crop, Pixels, central_square


class CenterCrop(Crop):
    """Keeps the central square of the frame, resized by pixel area.

    Example:
        >>> import numpy as np
        >>> CenterCrop(64)(np.zeros((424, 424, 3), np.uint8)).shape
        (64, 64, 3)

    Args:
        size: Side of the result in pixels.
        fraction: Side of the square over the shorter side of the frame, in (0, 1]. One half holds nearly
            every galaxy of Galaxy Zoo 2, whose frames are 8.5 Petrosian radii wide (Willett et al. 2013,
            section 2.3). Dieleman's winning entry kept 207 of 424 pixels.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(self, size: int, fraction: float = 0.5, channels: int = 3) -> None:
        super().__init__(size, channels)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction is {fraction}; it must be above 0 and at most 1")
        self.fraction = fraction

    def region(self, image: Pixels) -> Pixels:
        """Returns the central square; its side is rounded and at least one pixel."""
        return central_square(image, max(1, round(min(image.shape[:2]) * self.fraction)))
