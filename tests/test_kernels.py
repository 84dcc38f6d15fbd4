"""Compiled kernels answer as OpenCV does, to the last bit."""

import cv2
import numpy as np
import pytest

from galaxy.images.kernels import largest_box, shrink


def contrasts(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> np.ndarray:
    """Noise, black and white, or levels so close that many averages lie near a half."""
    if kind == 0:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == 1:
        return (rng.integers(0, 2, shape) * 255).astype(np.uint8)
    return rng.integers(100, 103, shape).astype(np.uint8)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_shrinking_is_opencv_s_area_average(kind: int, channels: int) -> None:
    rng = np.random.default_rng(kind)
    for _ in range(60):
        height, width = rng.integers(2, 160, 2).tolist()
        size = int(rng.integers(1, min(height, width) + 1))
        if height % size == 0 and width % size == 0:
            continue  # for which OpenCV rounds halves another way, and `Crop` asks OpenCV itself
        frame = contrasts(rng, (height + 5, width + 7, channels), kind)
        region = frame[2 : 2 + height, 3 : 3 + width]  # whose rows do not follow each other
        expected = cv2.resize(region, (size, size), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(shrink(region, size), expected.reshape(size, size, channels))


def test_views_of_any_layout_are_shrunk() -> None:
    image = contrasts(np.random.default_rng(0), (50, 70, 3), 0)
    for view in (image[:, ::-1], image[..., ::-1], image.transpose(1, 0, 2), image[::-1], image[:, ::2]):
        expected = cv2.resize(np.ascontiguousarray(view), (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(shrink(view, 16), expected)


@pytest.mark.parametrize("side", [(212, 64), (212, 128), (424, 64), (300, 64), (112, 106)])
def test_the_sizes_of_the_surveys(side: tuple[int, int]) -> None:
    length, size = side
    image = cv2.GaussianBlur(contrasts(np.random.default_rng(length), (length, length, 3), 0), (5, 5), 0)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrink(image, size), expected)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
def test_the_largest_box_is_that_of_a_contour(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for _ in range(60):
        height, width = rng.integers(1, 70, 2).tolist()
        bright = ((rng.random((height, width)) < share) * 255).astype(np.uint8)
        if rng.random() < 0.5:
            bright = cv2.dilate(bright, np.ones((2, 3), np.uint8))
        x, y, w, h, count = largest_box(bright)
        contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        boxes = [cv2.boundingRect(contour) for contour in contours]
        if not boxes:
            assert (x, y, w, h, count) == (0, 0, 0, 0, 0)
            continue
        areas = [box[2] * box[3] for box in boxes]
        assert w * h == max(areas)
        # A component in the hole of another has a box within that one's, and so a smaller one.
        assert count == areas.count(max(areas))
        assert (x, y, w, h) in boxes
