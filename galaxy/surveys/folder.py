"""A folder of images, whose galaxies can be predicted; or trained on if there is a folder for each class."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.surveys.band_files import Stacks, refuse_bands, stacked
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.files import PICTURE_ENDINGS, Stretch, image_files, is_fits, no_folder
from galaxy.surveys.ids import identify, written
from galaxy.surveys.locate import contents
from galaxy.surveys.names import file_names, names_by_path
from galaxy.surveys.problems import RowCheck, raise_or_list, warn_of_rare
from galaxy.surveys.ready_splits import WORDS
from galaxy.surveys.table_files import LABEL_KEYS, table_names
from galaxy.surveys.table_targets import classes_of
from galaxy.system.errors import UserError, listing

_log = logging.getLogger(__name__)


def read_folder(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    bands: Sequence[int] | None = None,
    softening: float = 10.0,
    hdu: int | str | list[int | str] | None = None,
    plane_axis: Literal["first", "last"] | None = None,
    white: float | None = None,
    band_files: Sequence[str] | None = None,
    classes_from_folders: bool = False,
    classes: list[str] | list[int] | None = None,
) -> Catalog:
    """Finds every image in a folder and the folders below it.

    The name of a galaxy is that of its file without folder and ending: `ngc1300` for `field7/ngc1300.fits`.
    Galaxies whose files share a name have names with as many folders as tell them apart, or keep the ending
    (`a.jpg` and `a.png`). They share a split, because they may be views of one galaxy.

    Args:
        root: The folder. Hidden files, and files without the ending of an image, are ignored.
        on_bad: What to do about files that cannot be used: "error" lists them and stops, "skip" leaves them
            out and lists them in `Catalog.skipped`.
        bands: The planes of a FITS cube that become red, green and blue, or one for a grey picture; from 0;
            see `Stretch`.
        softening: The softening of the stretch of FITS images; see `FitsImage`.
        hdu: The part of each FITS file that holds the image, or several; see `Stretch`.
        plane_axis: The axis of a FITS cube that counts its planes; see `Stretch`.
        white: The value that becomes white in pictures of more than 8 bits; see `Stretch`.
        band_files: The names of bands, from blue to red, where each galaxy has a FITS file for each; see
            `Stretch`.
        classes_from_folders: Whether the class of a galaxy is the folder in `root` that holds it.
        classes: All classes, in order; None for the folders, sorted.

    Returns:
        The catalog, sorted by path. It has no labels, or classes, which are also its `strata`.

    Raises:
        ValueError: An argument is out of range, or `classes` contradicts
            `classes_from_folders`.
        UserError: The folder is missing or holds no image, the folders in it are no classes, or (with
            "error") a file is bad.
    """
    stretch = Stretch(bands, softening, hdu, plane_axis, white, band_files)
    if classes is not None and not classes_from_folders:
        raise ValueError(f"classes is {classes} without classes_from_folders; there are no classes")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"{root} {no_folder(root)}; data.root must be a folder of images.")
    files, strays = _files_of_galaxies(root, band_files)
    paths = sorted([*files, *strays])
    check = _check_files(paths, strays)
    labels, codes = _classes(check, paths, root, classes) if classes_from_folders and paths else (None, None)
    skipped = raise_or_list(check.mistakes, on_bad, f"The images in {root}")
    good = np.flatnonzero(~check.bad)
    paths = [paths[row] for row in good.tolist()]
    if not paths:
        raise _no_image(root, skipped)
    names = names_by_path(paths)
    ids, named = identify(names)
    catalog = Catalog(
        name="folder",
        ids=ids,
        images=tuple(stretch.source(*(root / file for file in files[path])) for path in paths),
        names=named,
        groups=_groups(names, file_names(paths)),
        any_frame=True,
        label_advice=_label_advice(root),
        skipped=skipped,
    )
    if labels is None or codes is None:
        return catalog
    codes = codes[good]
    warn_of_rare(labels, codes)
    targets = np.eye(len(labels.columns), dtype=np.float32)[codes]
    return replace(catalog, labels=labels, targets=targets, strata=codes)


def _files_of_galaxies(root: Path, band_files: Sequence[str] | None) -> Stacks:
    """The images in a folder, each a galaxy of its own, or a file for each of its bands."""
    paths = image_files(root)
    if not band_files:
        if band_files is None:
            refuse_bands(paths, str(root))
        return Stacks({path: (path,) for path in paths}, {})
    if others := [path for path in paths if not is_fits(path)]:
        _log.warning(
            "%d images are left out, such as %s: data.catalog.band_files is for FITS files",
            len(others),
            others[0],
        )
    return stacked(paths, band_files)


def _check_files(paths: Sequence[str], strays: Mapping[str, str]) -> RowCheck:
    """Checks the paths of the images; `strays` says what is wrong with some of them."""
    check = RowCheck(len(paths), lambda row: paths[row].encode(errors="backslashreplace").decode())
    check.report(
        "FITS file(s) that are no part of a galaxy with all data.catalog.band_files",
        [path in strays for path in paths],
        lambda row: strays[paths[row]],
    )
    no_text = [not _is_text(path) for path in paths]
    check.report("file name(s) that are not UTF-8", no_text, lambda row: "rename it")
    check.report(
        "file name(s) that differ from another in how an accented letter is written",
        pd.Index([written(path) for path in paths], dtype=object).duplicated(),
        lambda row: "remove or rename it",
    )
    return check


def _no_image(root: Path, skipped: Sequence[str]) -> UserError:
    return UserError(
        f"No image in {root} or the folders below it: {contents(root)}.\n"
        + (f"{listing(skipped)}\n" if skipped else "")
        + f"Images are files that end in {', '.join(PICTURE_ENDINGS)}, and FITS files (.fits, .fit, "
        ".fts, also with .gz, .fz or .bz2)."
    )


def _groups(names: Sequence[str], files: Sequence[str]) -> NDArray[np.int64] | None:
    """The id of each galaxy's group (N,), that of its file's name; None if no two files share a name."""
    if names == files:
        return None
    counts = Counter(files)
    changed = [name for name, file in zip(names, files, strict=True) if name != file or counts[file] > 1]
    _log.warning(
        "%d images have the file name of another, such as %s and %s: they have names with the folder or "
        "the ending, and share a split",
        len(changed),
        *changed[:2],
    )
    return identify(files)[0]


def _label_advice(root: Path) -> str:
    """Says which settings give labels to the images of a folder."""
    if tables := table_names(root):
        return f"if they are in {tables[0]}, which lies there, use data=table with {LABEL_KEYS}"
    folders = "data.catalog.classes_from_folders=true takes them from the names of folders"
    return f"data=table takes them from a table, and {folders}"


def _classes(
    check: RowCheck, paths: Sequence[str], root: Path, classes: Sequence[str] | Sequence[int] | None
) -> tuple[Labels, NDArray[np.int64]]:
    """The classes, and the number of each image's class (N,), which is 0 for bad files."""
    parts = [path.partition("/") for path in paths]
    texts = [folder if inside and _is_text(folder) else "" for folder, inside, _ in parts]
    folders = sorted(set(texts) - {""})
    _refuse_other_folders(folders, paths, root, may_be_one=classes is not None)
    check.report(
        "image(s) in no folder of a class",
        [not text for text in texts],
        lambda row: f"it lies in {root} itself; the folders are {', '.join(folders[:5])}",
    )
    return classes_of(check, texts, "folder", classes, f"data.root={root}")


def _refuse_other_folders(folders: Sequence[str], paths: Sequence[str], root: Path, may_be_one: bool) -> None:
    """Raises a UserError if the folders in `root` are no classes: none, one, or splits."""
    advice = (
        "data.catalog.classes_from_folders takes the folders in data.root for the classes of their images, "
        f"as in {root}/spiral/ngc1300.png"
    )
    tables = table_names(root)
    table = f" If the labels are in {tables[0]}, use data=table." if tables else ""
    if not folders:
        raise UserError(f"{root} holds {len(paths):,} images and no folder of images.\n{advice}.{table}")
    splits = [folder for folder in folders if folder.lower() in WORDS]
    if len(splits) > 1 or splits == folders:
        raise UserError(
            f"The folders in {root} are {', '.join(folders)}; splits are called {' and '.join(splits)}, not "
            f"classes.\n{advice}. Give one of them, data.root={root / splits[0]}, or put all images of a "
            "class into one folder."
        )
    if may_be_one or len(folders) > 1:
        return
    inner = sorted({path.split("/")[1] for path in paths if path.count("/") > 1 and _is_text(path)})
    if len(inner) > 1:
        raise UserError(
            f"{root} holds the single folder {folders[0]}, which holds {', '.join(inner[:5])}"
            f"{', ...' * (len(inner) > 5)}.\n{advice}. Give data.root={root / folders[0]}."
        )
    raise UserError(f"{root} holds one folder of images, {folders[0]}.\n{advice}.{table}")


def _is_text(name: str) -> bool:
    """Whether a file name is UTF-8. Python reads other bytes as lone surrogates, which cannot be written."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
