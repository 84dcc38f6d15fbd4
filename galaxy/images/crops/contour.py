"""The Galaxy Zoo 2 Keras project's crop: as close as the galaxy's contour allows."""

from __future__ import annotations

from galaxy.images import kernels
from galaxy.images.crops.crop import Crop, Pixels, central_square
from galaxy.system.errors import UserError

# The frame that the project's constants are for: Galaxy Zoo 2 and Kaggle. Both scale an image by the
# galaxy's Petrosian radius, so a smaller frame shows the same galaxy in fewer pixels and the constants shrink
# with it.
FRAME = 424


class ContourCrop(Crop):
    """Keeps the smallest of three central squares that holds the galaxy's contour.

    Aaronson, Schoenrock and Stone, "Galaxy Morphology Classification" (github.com/zachaa, README.md and
    data_image_cleaning.ipynb): grey, Gaussian blur, threshold, dilate; of the contours with some area take
    the one whose centroid is nearest the centre; if its bounding box lies in the inner square keep that, else
    if it lies in the outer one keep that, else keep the whole frame. A frame without such a contour is kept
    whole.

    Their text leaves the constants open; the defaults are those of their notebook, and right for the images
    of both surveys. Lengths are in pixels of a 424 x 424 frame and are scaled to the frame at hand, where the
    notebook knows no other frame. It also resizes bilinearly, which aliases when the whole frame shrinks four
    times; here pixels are averaged by area.

    Args:
        size: Side of the result in pixels; 106 in the project, so that the inner square keeps its pixels.
        channels: 1 for grey, as in the project, 3 for RGB.
        blur: Side of the Gaussian kernel. 5 takes out the grain of the sky (standard deviation 1.1).
        threshold: Grey level (0 to 255) that a galaxy is brighter than after the blur. 30 leaves the bright
            inner part; at the 10 of the region-of-interest crop neighbours and sky join the galaxy.
        dilate: Side of the square that the bright region grows by. 5 closes holes and gaps of two pixels.
        min_area: Smallest area of a contour in square pixels. 100 leaves out specks and faint stars.
        inner: Side of the inner square, a quarter of the frame.
        outer: Side of the outer square, half of the frame.
    """

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
                raise UserError(f"crop.{name} is {value}; it must be from 1 (none) to {FRAME} (pixels).")
        if not 0 <= threshold <= 255:
            raise UserError(f"crop.threshold is {threshold}; it must be from 0 to 255 (grey levels).")
        if min_area < 0:
            raise UserError(f"crop.min_area is {min_area}; it must be 0 or more (square pixels).")
        if not 0 < inner <= outer <= FRAME:
            raise UserError(
                f"crop.inner is {inner} and crop.outer is {outer}; "
                f"they must be 0 < inner <= outer <= {FRAME} (pixels of a {FRAME} x {FRAME} frame)."
            )
        self.blur = blur
        self.threshold = threshold
        self.dilate = dilate
        self.min_area = min_area
        self.inner = inner
        self.outer = outer

    def region(self, image: Pixels) -> Pixels:
        """The inner or the outer square, or the whole frame."""
        height, width = image.shape[:2]
        scale = min(height, width) / FRAME
        box = self._box(image, scale)
        if box is None:
            return image
        x, y, box_width, box_height = box
        for full_side in (self.inner, self.outer):
            side = max(1, round(full_side * scale))
            left, top = (width - side) // 2, (height - side) // 2
            if min(x - left, y - top) >= 0 and x + box_width <= left + side and y + box_height <= top + side:
                return central_square(image, side)
        return image

    def _box(self, image: Pixels, scale: float) -> tuple[int, int, int, int] | None:
        """The bounding box (x, y, width, height) of the contour nearest the centre."""
        blur, grow = _odd(self.blur * scale), _odd(self.dilate * scale) // 2
        return kernels.central_contour(image, blur, self.threshold, grow, self.min_area * scale**2)


def _odd(length: float) -> int:
    """The odd number nearest to `length`, at least 1: kernels have a middle pixel."""
    return max(1, 2 * round((length - 1) / 2) + 1)
