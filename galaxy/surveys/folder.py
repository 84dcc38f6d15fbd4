"""A folder of images without labels, whose galaxies can be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from galaxy.surveys.catalog import Catalog
from galaxy.surveys.files import IMAGE_ENDINGS, Stretch, image_files, written
from galaxy.surveys.ids import identify
from galaxy.surveys.problems import RowCheck, raise_or_list
from galaxy.system.errors import UserError, listing


def read_folder(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    bands: Sequence[int] = (2, 1, 0),
    softening: float = 10.0,
    hdu: int | str | list[int | str] | None = None,
    plane_axis: Literal["first", "last"] | None = None,
    white: float | None = None,
) -> Catalog:
    """Finds every image in a folder and the folders below it.

    The name of a galaxy is the path of its image inside the folder, without the ending: `field7/ngc1300` for
    `field7/ngc1300.fits`. If two images would share a name (`a.jpg` and `a.png`), all keep their endings.

    Args:
        root: The folder. Hidden files, and files without the ending of an image, are ignored.
        on_bad: What to do about file names that cannot be written into a table: "error" lists them and
            stops, "skip" leaves them out and lists them in `Catalog.skipped`.
        bands: The planes of a FITS cube that become red, green and blue, or one for a grey picture; from 0.
        softening: The softening of the stretch of FITS images; see `FitsImage`.
        hdu: The part of each FITS file that holds the image, or several; see `Stretch`.
        plane_axis: The axis of a FITS cube that counts its planes; see `Stretch`.
        white: The value that becomes white in pictures of more than 8 bits; see `Stretch`.

    Returns:
        The catalog, sorted by path, without labels.

    Raises:
        ValueError: An argument is out of range.
        UserError: The folder is missing or holds no image, or (with "error") a name is bad.
    """
    stretch = Stretch(bands, softening, hdu, plane_axis, white)
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}; data.root must be a folder of images.")
    files = image_files(root)
    paths = list(files)
    check = RowCheck(len(paths), lambda row: paths[row].encode(errors="backslashreplace").decode())
    no_text = [not _is_text(path) for path in paths]
    check.report("file name(s) that are not UTF-8", no_text, lambda row: "rename it")
    first = {written(path): row for row, path in reversed(list(enumerate(paths)))}
    check.report(
        "file name(s) that differ from another in how an accented letter is written",
        [first[written(path)] != row for row, path in enumerate(paths)],
        lambda row: "remove or rename it",
    )
    skipped = raise_or_list(check.mistakes, on_bad, f"The images in {root}")
    paths = [path for path, bad in zip(paths, check.bad, strict=True) if not bad]
    if not paths:
        raise UserError(
            f"No image in {root} or the folders below it.\n"
            + (f"{listing(list(skipped))}\n" if skipped else "")
            + f"Images are files that end in {', '.join(IMAGE_ENDINGS)}."
        )
    names = [files[path] for path in paths]
    ids, named = identify(names if len(set(names)) == len(names) else list(map(written, paths)))
    return Catalog(
        name="folder",
        ids=ids,
        images=tuple(stretch.source(root / path) for path in paths),
        names=named,
        any_frame=True,
        skipped=skipped,
    )


def _is_text(name: str) -> bool:
    """Whether a file name is UTF-8. Python reads other bytes as lone surrogates, which cannot be written."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
