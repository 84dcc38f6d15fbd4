"""A folder of images without labels, to be predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from galaxy.surveys.catalog import Catalog
from galaxy.surveys.files import ENDINGS, Stretch, identify, image_files
from galaxy.surveys.problems import lines, settle
from galaxy.system.errors import UserError, listing


def read_folder(root: Path, on_bad: Literal["error", "skip"], bands: list[int], softening: float) -> Catalog:
    """Finds every image in a folder and the folders below it.

    A galaxy is called by the path of its image inside the folder, without the ending: `field7/ngc1300` for
    `field7/ngc1300.fits`. Where two images would share a name (`a.jpg` and `a.png`), all keep their endings.

    Args:
        root: The folder. Hidden files, and files that are no images by their endings, are ignored.
        on_bad: What to do about file names that cannot be written into a table: "error" lists them and
            stops, "skip" leaves them out and lists them in `Catalog.skipped`.
        bands: Planes of a FITS cube that become red, green and blue, or one for a grey picture; from 0.
        softening: Of the stretch of FITS images; see `FitsImage`.

    Returns:
        The catalog, sorted by path, without labels.

    Raises:
        UserError: The folder is missing or holds no image.
    """
    stretch = Stretch(tuple(bands), softening)
    stretch.check()
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}; data.root must be a folder of images.")
    files = image_files(root)
    paths = list(files)
    no_text = np.array([not _is_text(path) for path in paths], dtype=bool)
    problem = lines(
        "file name(s) that are not UTF-8",
        no_text,
        lambda row: paths[row].encode(errors="backslashreplace").decode(),
        lambda row: "rename it",
    )
    skipped = settle([problem], on_bad, f"The images in {root}")
    paths = [path for path, bad in zip(paths, no_text.tolist(), strict=True) if not bad]
    if not paths:
        raise UserError(
            f"No image in {root} or the folders below it.\n"
            + (f"{listing(list(skipped))}\n" if skipped else "")
            + f"Images are files that end in {', '.join(ENDINGS)}."
        )
    names = [files[path] for path in paths]
    ids, named = identify(names if len(set(names)) == len(names) else paths)
    return Catalog(
        name="folder",
        ids=ids,
        images=tuple(stretch.source(root / path) for path in paths),
        names=named,
        any_frame=True,
        skipped=skipped,
    )


def _is_text(name: str) -> bool:
    """Whether a file name is text; the bytes of others come as lone surrogates, which cannot be written."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
