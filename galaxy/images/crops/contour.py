"""Crops like the Galaxy Zoo 2 Keras project: as close as the galaxy's contour allows."""

from __future__ import annotations

import math

import cv2
import numpy as np

from galaxy.images.crops.crop import Crop, Pixels, central_square

# The side of the frames that the project's constants are made for, those of Galaxy Zoo 2 and Kaggle. Both
# surveys scale an image by the galaxy's Petrosian radius, so a smaller frame shows the same galaxy in fewer
# pixels and the constants shrink with it.
FRAME = 424


class ContourCrop(Crop):
    """Keeps the smallest of three central squares that holds the galaxy's contour.

    The steps are those of Aaronson, Schoenrock and Stone, "Galaxy Morphology Classification"
    (github.com/zachaa, README.md and data_image_cleaning.ipynb): make the image grey, blur it, threshold it
    and dilate the bright region. Of the contours with at least `min_area`, take the one whose centroid is
    nearest to the centre. If its bounding box lies in the inner square, keep that; else, if it lies in the
    outer square, keep that; else keep the whole frame. A frame without such a contour is kept whole.

    Their text leaves the constants open. The defaults are those of their notebook and are right for the
    images of both surveys. Lengths are in pixels of a 424 x 424 frame. They are scaled to other frames here;
    the notebook handles no others. The notebook also resizes bilinearly, which aliases when the whole frame
    shrinks four times; here pixels are averaged by area.

    Args:
        size: Side of the result in pixels; 106 in the project, so that the inner square keeps its pixels.
        channels: 1 for grey, as in the project, 3 for RGB.
        blur: Side of the Gaussian kernel. 5 removes the grain of the sky (standard deviation 1.1).
        threshold: Grey level (0 to 255) that a galaxy is brighter than after the blur. 30 leaves the bright
            inner part. At 10, the level of the region-of-interest crop, neighbours and sky join the galaxy.
        dilate: Side of the square that the bright region grows by. 5 closes holes and gaps of two pixels.
        min_area: Smallest area of a contour in square pixels. 100 leaves out specks and faint stars.
        inner: Side of the inner square, a quarter of the frame.
        outer: Side of the outer square, half of the frame.

    Raises:
        ValueError: A parameter is out of its range.
    """

    searches = True

    def __init__(
        self,
        size: int,
        channels: int = 1,
        blur: int = 5,
        threshold: int = 30,
        dilate: int = 5,
        min_area: float = 100.0,
        inner: int = 106,
        outer: int = 212,
    ) -> None:
        super().__init__(size, channels)
        for name, value in (("blur", blur), ("dilate", dilate)):
            if not 1 <= value <= FRAME:
                raise ValueError(f"{name} is {value}; it must be from 1 (none) to {FRAME} (pixels)")
        if not 0 <= threshold <= 255:
            raise ValueError(f"threshold is {threshold}; it must be from 0 to 255 (grey levels)")
        if min_area < 0:
            raise ValueError(f"min_area is {min_area}; it must be 0 or more (square pixels)")
        if not 0 < inner <= outer <= FRAME:
            raise ValueError(
                f"inner is {inner} and outer is {outer}; "
                f"they must be 0 < inner <= outer <= {FRAME} (pixels of a {FRAME} x {FRAME} frame)"
            )
        self.blur = blur
        self.threshold = threshold
        self.dilate = dilate
        self.min_area = min_area
        self.inner = inner
        self.outer = outer

    def region(self, image: Pixels) -> Pixels:
        """Returns the inner or the outer square, or the whole frame."""
        height, width = image.shape[:2]
        scale = min(height, width) / FRAME
        box = self._box(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), scale)
        if box is None:
            return image
        x, y, box_width, box_height = box
        for full_side in (self.inner, self.outer):
            side = max(1, round(full_side * scale))
            left, top = (width - side) // 2, (height - side) // 2
            if min(x - left, y - top) >= 0 and x + box_width <= left + side and y + box_height <= top + side:
                return central_square(image, side)
        return image

    def _box(self, grey: Pixels, scale: float) -> tuple[int, int, int, int] | None:
        """Finds the bounding box (x, y, width, height) of the contour nearest to the centre, if there is one.

        Args:
            grey: (H, W) uint8.
            scale: Shorter side of the frame over 424.
        """
        blur, grow = _odd(self.blur * scale), _odd(self.dilate * scale)
        smooth = cv2.GaussianBlur(grey, (blur, blur), 0)
        _, bright = cv2.threshold(smooth, self.threshold, 255, cv2.THRESH_BINARY)
        bright = cv2.dilate(bright, np.ones((grow, grow), np.uint8))
        contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        height, width = grey.shape
        nearest, box = math.inf, None
        for contour in contours:
            moments = cv2.moments(contour)
            area = moments["m00"]
            if area == 0 or area < self.min_area * scale**2:
                continue
            # The project rounds down to whole pixels, which decides between contours that are equally near.
            x, y = int(moments["m10"] / area), int(moments["m01"] / area)
            distance = math.hypot(x - width // 2, y - height // 2)
            if distance < nearest:
                nearest, box = distance, cv2.boundingRect(contour)
        return None if box is None else (box[0], box[1], box[2], box[3])


def _odd(length: float) -> int:
    """Returns the odd number nearest to `length`, at least 1: a kernel needs a middle pixel."""
    return max(1, 2 * round((length - 1) / 2) + 1)
