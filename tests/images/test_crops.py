"""Crops: the regions they keep, on generated frames."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from galaxy.images.crops import Crop
from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.contour import ContourCrop
from galaxy.images.crops.roi import RoiCrop

Image = NDArray[np.uint8]


def frame(*ellipses: tuple[int, int, int, int], side: int = 424, level: int = 90) -> Image:
    """A dark frame with filled ellipses (x, y, half width, half height); a colour with unlike channels."""
    image = np.zeros((side, side, 3), np.uint8)
    for x, y, width, height in ellipses:
        cv2.ellipse(image, (x, y), (width, height), 0, 0, 360, (level, level // 2, level // 3), -1)
    return image


def noise(seed: int, height: int = 60, width: int = 60) -> Image:
    """Blurred noise: many blobs, with holes, islands in holes and boxes of equal size."""
    rng = np.random.default_rng(seed)
    field = rng.random((height, width, 3)).astype(np.float32)
    if seed % 3:
        field = cv2.GaussianBlur(field, (0, 0), 0.5 * (seed % 3))
    field -= np.quantile(field, rng.choice([0.3, 0.5, 0.7, 0.9]))
    return np.clip(field * rng.choice([20, 60, 200]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("make", [CenterCrop, RoiCrop, ContourCrop])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(64, 64), (50, 81), (81, 50), (1, 1)])
def test_every_crop_keeps_the_contract(
    make: Callable[..., Crop], channels: int, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    crop = make(size=20, channels=channels)
    result = crop(image)
    assert result.shape == (20, 20, channels) == (crop.size, crop.size, crop.channels)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: CenterCrop(size=0), "size is 0; it must be from 1 to"),
        (lambda: CenterCrop(size=5000), "size is 5000; it must be from 1 to"),
        (lambda: CenterCrop(size=8, channels=2), "channels is 2"),
        (lambda: CenterCrop(size=8, fraction=0.0), "fraction is 0.0"),
        (lambda: CenterCrop(size=8, fraction=1.5), "fraction is 1.5"),
        (lambda: RoiCrop(size=8, threshold=256), "threshold is 256"),
        (lambda: RoiCrop(size=8, pad=-0.1), "pad is -0.1"),
        (lambda: ContourCrop(size=8, threshold=-1), "threshold is -1"),
        (lambda: ContourCrop(size=8, blur=0), "blur is 0"),
        (lambda: ContourCrop(size=8, dilate=0), "dilate is 0"),
        (lambda: ContourCrop(size=8, min_area=-1.0), "min_area is -1"),
        (lambda: ContourCrop(size=8, inner=300, outer=212), "inner is 300"),
    ],
)
def test_wrong_parameters_are_named(make: Callable[[], Crop], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}"):
        make()


@pytest.mark.parametrize("make", [CenterCrop, RoiCrop, ContourCrop])
@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_any_layout_are_cropped_as_their_pixels(make: Callable[..., Crop], channels: int) -> None:
    image = noise(1, 50, 70)
    constant = image.copy()
    constant.flags.writeable = False
    mirrored, turned = [image[:, ::-1], image[::-1], image[..., ::-1]], [image.transpose(1, 0, 2)]
    for view in [constant, *mirrored, *turned, image[:, ::2], image[3:40, 4:60]]:
        crop = make(size=16, channels=channels)
        np.testing.assert_array_equal(crop(view), crop(np.ascontiguousarray(view)))


def test_grey_is_the_weighted_sum_of_red_green_and_blue() -> None:
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    assert CenterCrop(size=4, channels=1)(image)[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    np.testing.assert_array_equal(CenterCrop(size=4)(image)[0, 0], (200, 100, 50))


def test_center_crop_of_a_half_keeps_the_pixels_of_the_middle() -> None:
    image = np.random.default_rng(1).integers(0, 256, (424, 424, 3), np.uint8)
    np.testing.assert_array_equal(CenterCrop(size=212)(image), image[106:318, 106:318])
    averages = image[106:318, 106:318].reshape(106, 2, 106, 2, 3).mean((1, 3))
    np.testing.assert_allclose(CenterCrop(size=106)(image), averages, atol=0.51)


@pytest.mark.parametrize(
    ("side", "size"), [(212, 64), (212, 128), (424, 64), (300, 64), (112, 106), (50, 64)]
)
def test_pixels_are_averaged_by_area_at_the_sizes_of_the_surveys(side: int, size: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(CenterCrop(size=size, fraction=1.0)(image), expected)


def test_center_crop_of_a_wide_frame_is_a_square_of_its_height() -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 100, 3), np.uint8)
    np.testing.assert_array_equal(CenterCrop(size=40, fraction=1.0)(image), image[:, 30:70])


def article(rgb: Image, size: int) -> Image:
    """The steps of Speidell's article one by one, on BGR pixels as it has them."""
    im = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, mask = cv2.threshold(cv2.cvtColor(im, cv2.COLOR_RGB2GRAY), 10, 255, 0)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    best, best_area = (0, 0, 0, 0), 0
    for contour in contours:
        box = cv2.boundingRect(contour)
        if box[2] * box[3] > best_area:
            best, best_area = box, box[2] * box[3]
    x, y, width, height = best
    pad = int(width * 0.2) if width > height else int(height * 0.2)
    side = max(width, height)
    crop = im
    if (
        best_area
        and y - pad >= 0
        and x - pad >= 0
        and y + side + pad < im.shape[1]
        and x + side + pad < im.shape[0]
    ):
        crop = im[y - pad : y + side + pad, x - pad : x + side + pad]
    return cv2.cvtColor(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize(
    "image",
    [
        frame((150, 260, 60, 40)),
        frame((120, 120, 20, 20), (250, 250, 50, 30), (330, 90, 30, 10)),
        frame((212, 212, 205, 40)),
        frame((20, 20, 60, 60), (300, 300, 20, 20)),
        frame((212, 212, 6, 80)),
        frame((212, 212, 60, 60), level=14),  # only the exchanged weights reach the threshold or miss it
        frame(),
        frame((410, 410, 5, 5)),
    ],
    ids=[
        "off centre",
        "several",
        "pad leaves the frame",
        "cut by the edge",
        "tall",
        "faint",
        "black",
        "corner",
    ],
)
def test_roi_is_the_article_to_the_pixel(image: Image) -> None:
    np.testing.assert_array_equal(RoiCrop(size=64)(image), article(image, 64))


def test_roi_is_the_article_on_300_random_fields() -> None:
    whole = 0
    for seed in range(300):
        height, width = [(60, 60), (60, 40), (33, 71)][seed // 3 % 3]
        image = noise(seed, height, width)
        crop = RoiCrop(size=24)
        whole += crop.region(image).shape == image.shape
        np.testing.assert_array_equal(crop(image), article(image, 24), err_msg=f"seed {seed}")
    assert 20 < whole < 280  # both outcomes are met


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
def test_roi_of_scattered_specks_is_the_articles(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for _ in range(60):
        bright = ((rng.random(tuple(rng.integers(1, 150, 2))) < share) * 255).astype(np.uint8)
        if rng.random() < 0.5:
            bright = cv2.dilate(bright, np.ones((2, 3), np.uint8))
        image = cv2.cvtColor(bright, cv2.COLOR_GRAY2RGB)
        np.testing.assert_array_equal(RoiCrop(size=24)(image), article(image, 24))


def test_roi_of_equal_boxes_takes_the_articles_choice() -> None:
    image = frame((100, 100, 20, 30), (300, 100, 20, 30), (200, 300, 20, 30))
    image[100:104, 100:110] = 0  # a hole in one of them
    np.testing.assert_array_equal(RoiCrop(size=64)(image), article(image, 64))


def test_roi_of_a_large_frame_counts_every_component() -> None:
    image = np.zeros((600, 600, 3), np.uint8)
    image[::2, ::2] = 200  # 90,000 components, more than 16 bits can number
    image[596:, 596:] = 0
    image[400:440, 100:140] = 200
    np.testing.assert_array_equal(RoiCrop(size=64)(image), article(image, 64))


def test_roi_parameters_widen_and_narrow_the_box() -> None:
    image = frame((200, 200, 40, 40))
    sides = [RoiCrop(size=8, pad=pad).region(image).shape[0] for pad in (0.0, 0.2, 0.5)]
    assert sides == [81, 81 + 2 * 16, 81 + 2 * 40]
    assert RoiCrop(size=8, threshold=200).region(image).shape[0] == 424  # nothing is that bright


@pytest.mark.parametrize("side", [424, 224, 106])
@pytest.mark.parametrize(
    ("half_width", "expected"), [(30, 106), (44, 106), (60, 212), (97, 212), (120, 424), (200, 424)]
)
def test_contour_keeps_the_smallest_square_that_holds_the_galaxy(
    side: int, half_width: int, expected: int
) -> None:
    scale = side / 424
    centre = side // 2
    # A brighter, larger neighbour in the corner must not matter.
    image = frame(
        (centre, centre, round(half_width * scale), round(20 * scale)),
        (round(40 * scale), round(40 * scale), round(38 * scale), round(38 * scale)),
        side=side,
        level=200,
    )
    kept = round(expected * scale)
    middle = slice((side - kept) // 2, (side - kept) // 2 + kept)
    np.testing.assert_array_equal(ContourCrop(size=106).region(image), image[middle, middle])


def test_contour_ignores_specks_and_keeps_the_frame_without_a_contour() -> None:
    image = frame((212, 212, 1, 1), (100, 212, 30, 30), level=200)
    assert ContourCrop(size=8).region(image).shape[0] == 424  # the neighbour decides
    assert ContourCrop(size=8, min_area=10.0).region(image).shape[0] == 106  # the speck decides
    assert ContourCrop(size=8).region(frame()).shape[0] == 424


def test_contour_threshold_decides_what_belongs_to_the_galaxy() -> None:
    image = frame((212, 212, 90, 90), level=60)
    cv2.circle(image, (212, 212), 30, (200, 200, 200), -1)
    sides = [ContourCrop(size=8, threshold=level).region(image).shape[0] for level in (20, 60)]
    assert sides == [212, 106]


def test_contour_inside_the_inner_square_keeps_grey_pixels() -> None:
    image = frame((212, 212, 30, 30))
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[159:265, 159:265, None]
    np.testing.assert_array_equal(ContourCrop(size=106)(image), expected)


def test_contour_blur_and_dilation_join_what_is_close() -> None:
    discs = frame(*[(212 + dx, 212, 18, 18) for dx in range(-80, 81, 40)], level=200)
    joined, apart = (ContourCrop(size=8, blur=b, dilate=b).region(discs).shape[0] for b in (5, 1))
    assert (joined, apart) == (212, 106)
    sides = [ContourCrop(size=8, inner=i).region(frame((212, 212, 30, 30))).shape[0] for i in (20, 106, 150)]
    assert sides == [212, 106, 150]


def project(image: Image, min_area: float) -> Image:
    """The region by the steps of the Galaxy Zoo 2 Keras project, one by one, on a frame of 424 pixels."""
    smooth = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    _, bright = cv2.threshold(smooth, 30, 255, cv2.THRESH_BINARY)
    bright = cv2.dilate(bright, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        moments = cv2.moments(contour)
        if moments["m00"] > 0 and moments["m00"] >= min_area:
            x, y = int(moments["m10"] / moments["m00"]), int(moments["m01"] / moments["m00"])
            found.append((np.hypot(x - 212, y - 212), cv2.boundingRect(contour)))
    if found:
        _, (x, y, width, height) = min(found, key=lambda item: item[0])
        for first, last in ((159, 265), (106, 318)):
            if min(x, y) >= first and max(x + width, y + height) <= last:
                return image[first:last, first:last]
    return image


@pytest.mark.parametrize("min_area", [0.0, 20.0, 100.0])
def test_contour_is_the_projects(min_area: float) -> None:
    rng = np.random.default_rng(int(min_area))
    crop = ContourCrop(size=106, min_area=min_area)
    sides = set()
    for _ in range(40):
        image = rng.integers(0, 40, (424, 424, 3), np.uint8)
        for _ in range(int(rng.integers(1, 6))):  # discs and rings; contours inside of rings do not count
            centre = rng.normal(212, 60, 2).astype(int).tolist()
            line = int(rng.choice([-1, 1, 3]))
            cv2.circle(image, centre, int(rng.integers(2, 50)), rng.integers(0, 256, 3).tolist(), line)
        region = crop.region(image)
        sides.add(len(region))
        np.testing.assert_array_equal(region, project(image, min_area))
    assert sides == {106, 212, 424}


def test_a_crop_of_another_type_is_named() -> None:
    class Floats(CenterCrop):
        def region(self, image: Image) -> NDArray[np.float64]:
            return super().region(image) / 255

    with pytest.raises(TypeError, match=r"Floats\.region returned float64; it must return uint8"):
        Floats(16)(noise(0))
