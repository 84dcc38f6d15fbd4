"""Images as people hold them in a notebook: files, folders, arrays and PIL images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galaxy.images import BadImageError
from galaxy.images.crops import Pixels
from galaxy.images.decode import Decoder
from galaxy.surveys.catalog import ImageSource
from galaxy.surveys.files import Stretch, image_stem, is_fits
from galaxy.surveys.folder import read_folder
from galaxy.system.errors import UserError, listing

if TYPE_CHECKING:
    from PIL.Image import Image

# One image, or several: paths of files and folders, arrays (H, W, 3) or (H, W) uint8, and PIL images; all
# images of an array (N, H, W, 3).
Images: TypeAlias = "str | Path | NDArray[Any] | Image | Iterable[str | Path | NDArray[Any] | Image]"

# An image with a shorter side than this shows no galaxy. It may be a table that was taken for an image.
SMALLEST = 8
_ARRAYS = "an image is (H, W, 3) or (H, W) uint8, with levels from 0 to 255"


class GivenImage(NamedTuple):
    """One image that is to be predicted.

    Attributes:
        id: The name of the file, without folder and ending; of an image that has no file, its position.
        source: The file, or the pixels themselves.
        name: What errors call the image.
    """

    id: str
    source: ImageSource | Pixels
    name: str


def list_images(images: Images, stretch: Stretch) -> list[GivenImage]:
    """Lists images that were given in any form, in their order; no file is read yet.

    Args:
        images: See `Images`. The images of a folder, and of the folders below it, are sorted by path.
        stretch: How files with more than 8 bits a sample become pictures.

    Raises:
        ValueError: There is no image, or something is none.
        UserError: A folder holds no image.
    """
    if isinstance(images, np.ndarray):
        several = images.ndim == 4
        found = [_array(image, i, several) for i, image in enumerate(images if several else [images])]
    elif isinstance(images, str | Path) or _is_pil(images):
        found = list(_given(images, 0, stretch, alone=True))
    elif isinstance(images, Iterable) and not hasattr(images, "detach"):  # a tensor of torch can be iterated
        found = [given for i, item in enumerate(images) for given in _given(item, i, stretch)]
    else:
        raise ValueError(f"images is {type(images).__name__}; {_allowed()}")
    if not found:
        raise ValueError("images is empty; give at least one image")
    return found


def read_given(image: GivenImage, decode: Decoder) -> Pixels:
    """Returns the pixels of an image, (H, W, 3) uint8 RGB.

    Raises:
        BadImageError: The file cannot be used, or the image is too small.
    """
    pixels = image.source if isinstance(image.source, np.ndarray) else decode(image.source)
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadImageError(f"has {width} x {height} pixels; a galaxy needs {SMALLEST} x {SMALLEST} or more")
    return pixels


def bad_given_error(bad: list[str]) -> UserError:
    """Makes the error for given images that cannot be used, from a line for each with the reason."""
    advice = "Get these files again, or leave them out."
    if any("data.catalog." in line for line in bad):
        advice += (
            " Keys such as data.catalog.white are attributes of the model's stretch: "
            "model.stretch = dataclasses.replace(model.stretch, white=4095)."
        )
    return UserError(f"{len(bad):,} image(s) cannot be used:\n{listing(bad)}\n{advice}")


def _given(item: Any, position: int, stretch: Stretch, alone: bool = False) -> Iterator[GivenImage]:
    """Yields an item of a list of images; a folder has several."""
    if isinstance(item, str | Path):
        path = Path(item).expanduser()
        if path.is_dir():
            catalog = read_folder(path, "error", **asdict(stretch))
            for name, source in zip(catalog.identifiers.tolist(), catalog.images, strict=True):
                yield GivenImage(str(name), source, str(source))
        elif stretch.band_files and is_fits(path.name):
            raise ValueError(f"{path} holds one band: give the folder that holds the files of all bands")
        else:
            yield GivenImage(image_stem(path.name), stretch.source(path), str(path))
        return
    name = "images" if alone else f"images[{position}]"
    if isinstance(item, np.ndarray):
        yield _array(item, position, several=not alone)
    elif _is_pil(item):
        yield GivenImage(str(position), _of_pil(item, name), name)
    else:
        raise ValueError(f"{name} is {type(item).__name__}; {_allowed()}")


def _array(array: NDArray[Any], position: int, several: bool) -> GivenImage:
    name = f"images[{position}]" if several else "images"
    if array.dtype != np.uint8:
        hint = " (if 1 is white: (255 * x).round().astype('uint8'))" if array.dtype.kind == "f" else ""
        raise ValueError(f"{name} is an array of {array.dtype}; {_ARRAYS}{hint}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"{name} is an array of shape {array.shape}; {_ARRAYS}; (N, H, W, 3) are N images")
    return GivenImage(str(position), np.ascontiguousarray(array), name)


def _is_pil(item: Any) -> bool:
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(item).__mro__)


def _of_pil(image: Image, name: str) -> Pixels:
    """Returns the pixels of a PIL image, turned as its EXIF data say, without transparency."""
    from PIL import ImageOps  # noqa: PLC0415  whoever has such an image has imported it

    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{name} is a PIL image of mode {image.mode}; it must have 8 bits, as RGB has")
    try:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except OSError as error:  # the file of an image is read when its pixels are needed
        raise ValueError(f"{name} cannot be read: {error}") from error


def _allowed() -> str:
    return (
        "give a file, a folder, an array (H, W, 3) or (H, W) uint8, a PIL image, a list of these, or an "
        "array (N, H, W, 3) uint8"
    )
