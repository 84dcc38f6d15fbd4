"""Finding the image of each row of a table, where people keep them."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from galaxy.surveys.band_files import plain_bands
from galaxy.surveys.files import IMAGE_ENDINGS, existing, image_files, image_stem, is_image, no_folder
from galaxy.surveys.ids import written
from galaxy.surveys.problems import RowCheck
from galaxy.system.errors import UserError, meant

# Looking for the name that is nearest to a missing one takes a second among this many.
_COMPARED = 5000
# Files that share a name are looked up by this many of the last parts of their paths, if they are not few.
_DEEPEST, _FEW = 3, 8
# Lists the images in a folder and the folders below it, as paths relative to it.
Listing: TypeAlias = Callable[[Path], Iterable[str]]
_log = logging.getLogger(__name__)


def images_by_path(
    check: RowCheck, texts: Sequence[str], folders: Sequence[Path], column: str, listed: Listing = image_files
) -> list[str]:
    r"""The image of each row according to a column of paths.

    A path is absolute, or begins in one of some folders. It may be of Windows, and its ending may be left
    out. A file that is not there is looked for below these folders, by as much of the path as agrees.

    Args:
        check: Where mistakes are reported.
        texts: The column.
        folders: The folders, first that of the data and last that of the images. Others may hold all kinds of
            files, and are searched last. Those that do not exist are passed over.
        column: The name of the column.
        listed: Lists the images in a folder.

    Returns:
        The paths, "" in bad rows.
    """
    paths = [_listed(text, folders) if text else "" for text in texts]
    check.report(f"row(s) without a {column}", [not text for text in texts], lambda _: f"{column} is empty")
    lost = [row for row, path in enumerate(paths) if not path and texts[row]]
    if not lost:
        return paths
    several: dict[int, list[str]] = {}
    for searched in dict.fromkeys(((folders[0], folders[-1]), tuple(folders))):
        index = _Index(*searched, listed=listed)
        for row in lost:
            found = [] if paths[row] or row in several else index.by_path(texts[row])
            if len(found) == 1:
                paths[row] = found[0]
            elif found:
                several[row] = found
        if all(paths[row] or row in several for row in lost):
            break
    moved = [row for row in lost if paths[row]]
    if moved:
        _log.warning(
            "%d of %d images are not where %s says, and were found by their names: %s is taken for %s",
            len(moved),
            len(texts),
            column,
            paths[moved[0]],
            texts[moved[0]],
        )
    check.report(
        "row(s) whose image may be several files",
        [row in several for row in range(len(texts))],
        lambda row: f"{texts[row]} may be {' or '.join(several[row])}",
    )
    first = next((texts[row] for row in lost if not paths[row]), "")
    check.report(
        f"row(s) whose image does not exist ({index.description(first)})",
        [bool(texts[row]) and row not in several and not path for row, path in enumerate(paths)],
        lambda row: f"no {folders[0] / texts[row]}",
        anyway=True,
    )
    return paths


def images_by_name(
    check: RowCheck, names: Sequence[str], root: Path, images: Path, listed: Listing = image_files
) -> list[str]:
    """The image of each row according to the galaxy's name.

    The image is `<name>.<ending>`, or has the name with its ending, in `images` or a folder below it. If it
    is not there, it is looked for in `root` and the folders below it. A name with folders before it is a
    path, as in `images_by_path`.

    Args:
        check: Where mistakes are reported.
        names: The names.
        root: The folder of the table.
        images: The folder of images.
        listed: Lists the images in a folder.

    Returns:
        The paths, "" in bad rows.

    Raises:
        UserError: There is no folder of images, or no image at all.
    """
    if not images.is_dir() and images != root / "images":  # the user has chosen it
        raise UserError(f"The folder of the images, {images}, {no_folder(images)} (data.catalog.images).")
    folder = images if images.is_dir() else root
    index = _Index(folder, listed=listed)
    paths = [_listed(name, (root, images)) if re.search(r"[\\/]", name) else "" for name in names]
    found = [[path] if path else index.by_path(name) for name, path in zip(names, paths, strict=True)]
    if folder != root and not all(found):
        index = _Index(root, images, listed=listed)
        found = [there or index.by_path(name) for name, there in zip(names, found, strict=True)]
    if not index.paths and not any(found):
        what = f"holds no image ({', '.join(IMAGE_ENDINGS)})" if images.is_dir() else no_folder(images)
        raise UserError(
            f"The folder of the images, {images}, {what}, and there is no image in {root} "
            f"({contents(root)}).\nSay where the images are, data.catalog.images=DIR, or which column of the "
            "table names the files, data.catalog.image_column=..."
        )
    first = next((name for name, there in zip(names, found, strict=True) if name and not there), "")
    check.report(
        f"row(s) without an image in {folder} ({index.description(first)}; "
        f"data.catalog.image_column names a column of files, data.catalog.images their folder)",
        [bool(name) and not there for name, there in zip(names, found, strict=True)],
        lambda row: f"no {folder.name}/{names[row]}{'' if is_image(names[row]) else '.*'}",
        anyway=True,
    )
    check.report(
        "row(s) with more than one image",
        [len(there) > 1 for there in found],
        lambda row: " and ".join(os.path.relpath(path, folder) for path in found[row]),
    )
    return [there[0] if there else "" for there in found]


class _Index:
    """The images in folders and the folders below them, by the names of the files."""

    def __init__(self, *folders: Path, listed: Listing) -> None:
        self.root = folders[0]
        self._central = set(map(str, folders))
        self.paths: list[str] = []
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._central_by_name: dict[str, list[str]] = defaultdict(list)
        self._by_folder: dict[tuple[str, int], dict[str, list[str]]] = {}
        real = {folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}
        found: dict[str, str] = {}
        for folder, given in real.items():
            if not any(other in folder.parents for other in real):
                # A link may lead from one folder to another, whose images are then listed twice.
                found |= {os.path.join(given, path): path for path in listed(given)}  # noqa: PTH118  it is fast
        for path, inside in found.items():
            self._add(path, inside)

    def _add(self, path: str, inside: str) -> None:
        self.paths.append(path)
        name = inside.rpartition("/")[2]
        for key in {_normal(name), _normal(image_stem(name))}:
            self._by_name[key].append(path)
            if path.rpartition("/")[0] in self._central:
                self._central_by_name[key].append(path)

    def by_path(self, text: str) -> list[str]:
        """The images that a name or a path may mean.

        The name may have folders before it and an ending behind it. If the path is absolute, its files were
        moved: then the folder of the file must agree, or the file must be in one of the folders of images.
        """
        parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".")]
        if not parts:
            return []
        if re.match(r"([A-Za-z]:|~[^\\/]*)?[\\/]", text) is None:
            found = self._ending_in(parts[-_DEEPEST:])
            return [path for path in found if _common(path, parts) == len(parts)]
        for depth in range(min(_DEEPEST, len(parts)), 1, -1):
            if found := self._ending_in(parts[-depth:]):
                common = [_common(path, parts) for path in found]
                return [path for path, number in zip(found, common, strict=True) if number == max(common)]
        return self._central_by_name.get(_normal(parts[-1]), [])

    def _ending_in(self, parts: Sequence[str]) -> list[str]:
        """The images whose paths end in these parts. The last one may lack the ending."""
        name, folder = _normal(parts[-1]), _folder(parts)
        found = self._by_name.get(name, [])
        if not folder:
            return found
        if len(found) < _FEW:
            return [path for path in found if _folder(path.split("/")[-len(parts) :]) == folder]
        # Many files may share a name, as where each galaxy has a folder. They are found by their folders.
        key = name, len(parts)
        if key not in self._by_folder:
            self._by_folder[key] = defaultdict(list)
            for path in found:
                self._by_folder[key][_folder(path.split("/")[-len(parts) :])].append(path)
        return self._by_folder[key].get(folder, [])

    def description(self, missing: str) -> str:
        """What there is, and the file whose name is nearest to a missing one."""
        if not self.paths:
            return f"{self.root} holds no image; {contents(self.root)}"
        names = [path.rpartition("/")[2] for path in self.paths[:_COMPARED]]
        wanted = re.split(r"[\\/]", missing)[-1]
        text = f"it has {len(self.paths):,}, such as {', '.join(names[:3])}"
        if same := self._by_name.get(_normal(wanted)):
            return f"{text}, and {wanted} is in another folder than {missing} says: {same[0]}"
        if (found := plain_bands(self.paths)) is not None:
            return f"{text}, one for each band: say so with data.catalog.band_files=[{','.join(found[0])}]"
        # A name with another number is that of another galaxy.
        alike = [name for name in names if _numbers(name) == _numbers(wanted)]
        return f"{text}, and none called {wanted}{meant(wanted, alike)}" if wanted else text


def _listed(text: str, folders: Sequence[Path]) -> str:
    """The file at a path that a table gives; "" if there is none."""
    # A Path for each of 240,000 images takes seconds.
    path = os.path.join(folders[0], text)  # noqa: PTH118
    if os.path.isfile(path):  # noqa: PTH113
        return path
    text = text.replace("\\", "/")
    for folder in folders:
        path = existing(os.path.join(folder, os.path.expanduser(text)))  # noqa: PTH111, PTH118
        if os.path.isfile(path):  # noqa: PTH113
            return path
    return ""


def _common(path: str, parts: Sequence[str]) -> int:
    """How many of the last parts of a path are those given. The last one may lack the ending."""
    own = path.split("/")
    names = {_normal(own[-1]), _normal(image_stem(own[-1]))}
    if _normal(parts[-1]) not in names:
        return 0
    number = 1
    while number < min(len(own), len(parts)) and _one_form(own[-1 - number]) == _one_form(parts[-1 - number]):
        number += 1
    return number


def _numbers(name: str) -> list[str]:
    """The numbers in the name of a file, without those of its ending."""
    return [digits.lstrip("0") for digits in re.findall(r"[0-9]+", image_stem(name))]


def _one_form(folder: str) -> str:
    """A folder as it is compared, however accents are stored."""
    return folder if folder.isascii() else written(folder)


def _folder(parts: Sequence[str]) -> str:
    """The folders of a path, as they are compared."""
    return "/".join(map(_one_form, parts[:-1]))


def _normal(name: str) -> str:
    """A name as it is compared. Neither capitals in the ending nor the way accents are stored count."""
    stem = image_stem(name)
    return _one_form(stem + name[len(stem) :].lower())


def contents(folder: Path) -> str:
    """What is in a folder, in a few words."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name[0] != ".")
    return f"it holds {', '.join(names[:5])}{', ...' * (len(names) > 5)}" if names else "it is empty"
