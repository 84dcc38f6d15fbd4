"""Compiled kernels answer as OpenCV does, to the last bit, or as torch does, up to rounding."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from galaxy.images import kernels
from galaxy.images.kernels import central_contour, compiled, grey, largest_box, shrink, warped
from galaxy.images.kernels.bits import brighter, grown
from galaxy.images.kernels.blur import blur_weights, brighter_after_blur
from galaxy.images.kernels.colours import grey_of_bgr
from galaxy.images.kernels.rows import as_rows
from galaxy.system.errors import UserError

Image = NDArray[np.uint8]


def contrasts(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> Image:
    """Noise, black and white, or levels so close that many averages lie near a half."""
    if kind == 0:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == 1:
        return (rng.integers(0, 2, shape) * 255).astype(np.uint8)
    return rng.integers(100, 103, shape).astype(np.uint8)


def mask(rng: np.random.Generator, share: float, longest: int = 150) -> Image:
    """(H, W) uint8 of 0 and 255: so large a share bright, some of them grown together."""
    bright = ((rng.random(tuple(rng.integers(1, longest, 2))) < share) * 255).astype(np.uint8)
    return cv2.dilate(bright, np.ones((2, 3), np.uint8)) if rng.random() < 0.5 else bright


def pixels(bits: NDArray[np.uint64], width: int) -> Image:
    """The (H, width) uint8 of 0 and 255 of a mask, which must be empty beyond the width."""
    every = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little") * np.uint8(255)
    assert not every[:, width:].any()
    return every[:, :width]


def in_colour(grey: Image) -> Image:
    """(H, W, 3) whose grey is this."""
    return np.repeat(grey[..., None], 3, axis=2)


def contour_of(mask: Image, min_area: float) -> tuple[int, int, int, int] | None:
    """The central contour of a mask as it is."""
    return central_contour(in_colour(mask), blur=1, threshold=0, grow=0, min_area=min_area)


def views(image: Image) -> list[Image]:
    """An image mirrored, turned, with its colours the other way round, with gaps, and read-only."""
    constant = image.copy()
    constant.flags.writeable = False
    return [
        constant,
        image[:, ::-1],
        image[..., ::-1],
        image.transpose(1, 0, 2),
        image[::-1],
        image[:, ::2],
        image[3:40, 4:60],
    ]


def shrunk(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    out = np.empty((size, size, image.shape[2]), np.uint8)
    shrink(image, out)
    return out


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
        np.testing.assert_array_equal(shrunk(region, size), expected.reshape(size, size, channels))


@pytest.mark.parametrize("side", [(212, 64), (212, 128), (424, 64), (300, 64), (112, 106)])
def test_the_sizes_of_the_surveys(side: tuple[int, int]) -> None:
    length, size = side
    image = cv2.GaussianBlur(contrasts(np.random.default_rng(length), (length, length, 3), 0), (5, 5), 0)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk(image, size), expected)


def test_views_of_any_layout_are_shrunk_and_made_grey() -> None:
    for view in views(contrasts(np.random.default_rng(0), (50, 70, 3), 0)):
        plain = np.ascontiguousarray(view)
        expected = cv2.resize(plain, (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(shrunk(view, 16), expected)
        np.testing.assert_array_equal(grey(view), cv2.cvtColor(plain, cv2.COLOR_RGB2GRAY))


def test_boxes_and_contours_are_found_in_views_of_any_layout() -> None:
    image = cv2.GaussianBlur(contrasts(np.random.default_rng(0), (50, 70, 3), 0), (0, 0), 3)
    level = int(np.median(image))
    for view in views(image):
        plain = np.ascontiguousarray(view)
        assert largest_box(view, level) == largest_box(plain, level) != (0, 0, 0, 0, 0)
        assert central_contour(view, 3, level, 1, 5.0) == central_contour(plain, 3, level, 1, 5.0) is not None


def test_every_colour_becomes_opencv_s_grey() -> None:
    level = np.arange(256, dtype=np.uint8)
    for red in range(0, 256, 5):
        image = np.stack(np.meshgrid(np.uint8(red), level, level, indexing="ij"), axis=-1)[0]
        np.testing.assert_array_equal(grey(image), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        other = grey_of_bgr(*as_rows(image), *image.shape[:2])
        np.testing.assert_array_equal(other, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize("threshold", [0, 10, 127, 254, 255])
def test_a_mask_is_what_is_brighter_than_a_level(threshold: int) -> None:
    rng = np.random.default_rng(threshold)
    for width in (1, 8, 63, 64, 65, 200):
        image = contrasts(rng, (7, width), 0)
        _, expected = cv2.threshold(image, threshold, 255, cv2.THRESH_BINARY)
        np.testing.assert_array_equal(pixels(brighter(image, threshold), width), expected)


@pytest.mark.parametrize("width", [1, 2, 3, 63, 64, 65, 127, 128])
@pytest.mark.parametrize("height", [1, 3])
def test_the_edges_of_words_and_of_images(width: int, height: int) -> None:
    bright = np.zeros((height, width), np.uint8)
    bright[:, -1] = bright[:, ::3] = 255
    bits = brighter(bright, 0)
    np.testing.assert_array_equal(pixels(grown(bits, width, 1), width), cv2.dilate(bright, np.ones((3, 3))))
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = [w * h for _, _, w, h in map(cv2.boundingRect, contours)]
    assert largest_box(in_colour(bright), 0)[4] == areas.count(max(areas))
    assert contour_of(bright, 0.0) == central(bright, 0.0)
    for side in (5, 33):
        _, expected = cv2.threshold(cv2.GaussianBlur(bright, (side, side), 0), 30, 255, cv2.THRESH_BINARY)
        after = brighter_after_blur(bright, blur_weights(side), 30)
        np.testing.assert_array_equal(pixels(after, width), expected)


def test_a_machine_without_a_place_for_compiled_functions_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> object:
        raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")

    monkeypatch.setattr(compiled, "njit", refuse)
    with pytest.raises(UserError, match="NUMBA_CACHE_DIR"):
        compiled.compiled("int64(int64)")(lambda number: number)


@pytest.mark.parametrize("side", [1, 3, 5, 7, 9, 21, 33, 131, 201])
def test_what_is_bright_after_a_blur_is_so_after_opencv_s(side: int) -> None:
    rng = np.random.default_rng(side)
    for kind in (0, 1, 2):
        for _ in range(6):
            height, width = rng.integers(1, 300, 2).tolist()
            image = contrasts(rng, (height, width), kind)
            image[mask(rng, 0.02, 9).nonzero()[0] % height] = 0
            image[: height // 2, : width // 2] //= 8  # dark enough for nothing to be computed
            smooth = cv2.GaussianBlur(image, (side, side), 0)
            for threshold in {0, 30, int(np.median(smooth)), int(smooth.max())}:
                _, expected = cv2.threshold(smooth, threshold, 255, cv2.THRESH_BINARY)
                bright = brighter_after_blur(image, blur_weights(side), threshold)
                np.testing.assert_array_equal(pixels(bright, width), expected)


def test_a_mask_grows_as_by_opencv_s_dilation() -> None:
    rng = np.random.default_rng(0)
    for times in (0, 1, 2, 5, 70):
        bright = mask(rng, 0.01, 200)
        expected = cv2.dilate(bright, np.ones((2 * times + 1, 2 * times + 1), np.uint8))
        width = bright.shape[1]
        np.testing.assert_array_equal(pixels(grown(brighter(bright, 0), width, times), width), expected)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
def test_the_largest_box_is_that_of_a_contour(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for _ in range(60):
        bright = mask(rng, share)
        x, y, w, h, count = largest_box(in_colour(bright), 0)
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


def central(bright: Image, min_area: float) -> tuple[int, ...] | None:
    """The contour nearest the centre, by the Galaxy Zoo 2 Keras project's steps."""
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    height, width = bright.shape
    nearest, box = np.inf, None
    for contour in contours:
        moments = cv2.moments(contour)
        area = moments["m00"]
        if area == 0 or area < min_area:
            continue
        x, y = int(moments["m10"] / area), int(moments["m01"] / area)
        distance = np.hypot(x - width // 2, y - height // 2)
        if distance < nearest:
            nearest, box = distance, tuple(cv2.boundingRect(contour))
    return box


@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.3, 0.5, 0.8])
def test_the_central_contour_is_opencv_s(share: float) -> None:
    rng = np.random.default_rng(int(1000 * share))
    found = 0
    for _ in range(150):
        bright = mask(rng, share)
        for _ in range(int(rng.integers(0, 4))):  # rings, with contours within them that do not count
            centre = rng.integers(0, 150, 2).tolist()
            cv2.circle(bright, centre, int(rng.integers(3, 70)), 255, int(rng.integers(1, 4)))
        for min_area in (0.0, 2.0, 20.0):
            expected = central(bright, min_area)
            found += expected is not None
            assert contour_of(bright, min_area) == expected
    assert found > 30


def test_all_steps_of_a_contour_in_one_are_opencv_s() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        height, width = rng.integers(20, 200, 2).tolist()
        image = cv2.GaussianBlur(contrasts(rng, (height, width, 3), 0), (0, 0), 3)
        level = int(np.median(image))
        smooth = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (5, 5), 0)
        _, bright = cv2.threshold(smooth, level, 255, cv2.THRESH_BINARY)
        expected = central(cv2.dilate(bright, np.ones((3, 3), np.uint8)), 20.0)
        found = central_contour(image, blur=5, threshold=level, grow=1, min_area=20.0)
        assert found == expected


@pytest.mark.parametrize("side", [1, 2, 17, 64, 131])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_warp_is_torch_s(channels: int, side: int) -> None:
    rng = np.random.default_rng(side)
    images = contrasts(rng, (9, side, side, channels), 0)
    inverse = rng.normal(0, 2, (9, 2, 3)).astype(np.float32)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    grid = F.affine_grid(torch.from_numpy(inverse), list(floats.shape), align_corners=False)
    expected = F.grid_sample(floats, grid, padding_mode="reflection", align_corners=False)
    found = warped(images, inverse, threads=2)
    # Places far out are rounded to some 1e-5 of a pixel in either way.
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=5e-4, rtol=0)
    np.testing.assert_array_equal(warped(images, inverse, threads=1), found)
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_warp_to_nowhere_stays_within_the_image() -> None:
    images = contrasts(np.random.default_rng(0), (4, 16, 16, 3), 0)
    inverse = np.tile(np.eye(2, 3, dtype=np.float32), (4, 1, 1))
    inverse[:, 1, 2] = np.nan, np.inf, -np.inf, 3e38
    found = warped(images, inverse, threads=2)
    assert found.min() >= 0
    assert found.max() <= 1


def test_an_empty_batch_is_warped_to_one() -> None:
    found = warped(np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 2, 3), np.float32), threads=2)
    assert found.shape == (0, 8, 8, 3)


@pytest.mark.parametrize("images", [(3, 8, 8, 3), (2, 8, 9, 3), (2, 8, 8, 4)])
def test_a_warp_of_other_shapes_is_refused(images: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be warped"):
        warped(np.zeros(images, np.uint8), np.zeros((2, 2, 3), np.float32), threads=2)


def test_a_forked_process_warps_and_torch_keeps_its_threads() -> None:
    program = """
import os, numpy, torch
from galaxy.images.kernels import warped
warp = lambda: warped(numpy.zeros((9, 8, 8, 3), "uint8"), numpy.zeros((9, 2, 3), "float32"), threads=3)
warp()
child = os.fork()
if child == 0:
    warp()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.get_num_threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "7 1\n"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_warp_that_moves_whole_pixels_mixes_none(channels: int) -> None:
    images = contrasts(np.random.default_rng(0), (3, 24, 24, channels), 0)
    floats = np.float32(images) / np.float32(255)
    as_it_is = np.eye(2, 3, dtype=np.float32)
    mirror, moved = as_it_is.copy(), as_it_is.copy()
    mirror[0, 0] = -1
    moved[1, 2] = 2 * 5 / 24  # five pixels down, of which the image beyond its edge is the mirror image
    found = warped(images, np.stack([as_it_is, mirror, moved]), threads=1)
    np.testing.assert_array_equal(found[0], floats[0])
    np.testing.assert_array_equal(found[1], floats[1, :, ::-1])
    np.testing.assert_allclose(found[2], np.vstack([floats[2, 5:], floats[2, :-6:-1]]), atol=1e-5)


def test_a_changed_file_is_compiled_anew_in_all_that_call_it(tmp_path: Path) -> None:
    """Numba's store by itself looks at the file of the caller alone."""
    folder = Path(compiled.__file__).parent
    copy = tmp_path / "steps"
    copy.mkdir()
    (copy / "__init__.py").touch()
    (copy / "compiled.py").write_bytes((folder / "compiled.py").read_bytes())
    (copy / "caller.py").write_text(
        "from steps.called import number\nfrom steps.compiled import compiled\n"
        "@compiled('int64()')\ndef called():\n    return number()\n"
    )
    (copy / ".#caller.py").symlink_to("somebody@a.computer.7:8")  # as Emacs locks a file
    for number in (1, 2):
        (copy / "called.py").write_text(
            f"from steps.compiled import compiled\n@compiled('int64()')\ndef number():\n    return {number}\n"
        )
        program = "from steps.caller import called; print(called(), sum(called.stats.cache_hits.values()))"
        command = [sys.executable, "-B", "-c", program]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        for hits in (0, 1):  # and the second time it is taken from the store
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            assert done.stdout == f"{number} {hits}\n"


def test_compiled_functions_have_names_of_their_own() -> None:
    # Of two that share one, a process that compiles one and finds the other stored may run one for both.
    names = [
        (file.stem, value.py_func.__qualname__)
        for file in Path(kernels.__file__).parent.glob("[a-z]*.py")
        for value in vars(import_module(f"{kernels.__name__}.{file.stem}")).values()
        if hasattr(value, "py_func") and value.py_func.__module__.endswith(file.stem)
    ]
    assert len(names) > 20
    assert len(set(names)) == len(names)
