"""Finding the image of each row of a table, where people keep them."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from galaxy.surveys.files import IMAGE_ENDINGS, existing, image_files, image_stem, is_image, written
from galaxy.surveys.problems import RowCheck
from galaxy.system.errors import UserError, meant

# Looking for the name that is nearest to a missing one takes a second among this many.
_COMPARED = 5000
_log = logging.getLogger(__name__)


def images_by_path(check: RowCheck, texts: Sequence[str], folders: Sequence[Path], column: str) -> list[str]:
    r"""The image of each row according to a column of paths.

    A path is absolute, or begins in one of some folders. It may be of Windows, and its ending may be left
    out. A file that is not there is looked for below these folders, by as much of the path as agrees.

    Args:
        check: Where mistakes are reported.
        texts: The column.
        folders: The folders, first the one of the data. Those that do not exist are passed over.
        column: The name of the column.

    Returns:
        The paths, "" in bad rows.
    """
    paths = [_listed(text, folders) if text else "" for text in texts]
    check.report(f"row(s) without a {column}", [not text for text in texts], lambda _: f"{column} is empty")
    lost = [row for row, path in enumerate(paths) if not path and texts[row]]
    if not lost:
        return paths
    index = _Index(*folders)
    several: dict[int, list[str]] = {}
    for row in lost:
        found = index.by_path(texts[row])
        if len(found) == 1:
            paths[row] = found[0]
        elif found:
            several[row] = found
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
        [not path for path in paths],
        lambda row: f"no {folders[0] / texts[row]}",
    )
    return paths


def images_by_name(check: RowCheck, names: Sequence[str], root: Path, images: Path, key: str) -> list[str]:
    """The image of each row according to the galaxy's name.

    The image is `<name>.<ending>`, or has the name with its ending, in `images` or a folder below it. If it
    is not there, it is looked for in `root` and the folders below it.

    Args:
        check: Where mistakes are reported.
        names: The names.
        root: The folder of the table.
        images: The folder of images.
        key: The key of the catalog, for the messages.

    Returns:
        The paths, "" in bad rows.

    Raises:
        UserError: There is no folder of images, or no image at all.
    """
    if not images.is_dir() and images != root / "images":  # the user has chosen it
        what = "is a file, not a folder" if images.exists() else "does not exist"
        raise UserError(f"The folder of the images, {images}, {what} ({key}.images).")
    folder = images if images.is_dir() else root
    index = _Index(folder)
    found = [index.by_name(name) for name in names]
    if folder != root and not all(found):
        index = _Index(root, images)
        found = [there or index.by_name(name) for name, there in zip(names, found, strict=True)]
    if not index.paths:
        where = f"The folder of the images, {images},"
        if not images.is_dir():
            what = f"{where} {'is a file, not a folder' if images.exists() else 'does not exist'}"
        else:
            what = f"{where} holds no image ({', '.join(IMAGE_ENDINGS)})"
        raise UserError(
            f"{what}, and there is no image in {root} ({contents(root)}).\nSay where the images are, "
            f"{key}.images=DIR, or which column of the table names the files, {key}.image_column=..."
        )
    first = next((name for name, there in zip(names, found, strict=True) if name and not there), "")
    check.report(
        f"row(s) without an image in {folder} ({index.description(first)}; "
        f"{key}.image_column names a column of files, {key}.images their folder)",
        [not there for there in found],
        lambda row: f"no {folder.name}/{names[row]}{'' if is_image(names[row]) else '.*'}",
    )
    check.report(
        "row(s) with more than one image",
        [len(there) > 1 for there in found],
        lambda row: " and ".join(os.path.relpath(path, folder) for path in found[row]),
    )
    return [there[0] if there else "" for there in found]


class _Index:
    """The images in folders and the folders below them, by the names of the files."""

    def __init__(self, *folders: Path) -> None:
        self.root = folders[0]
        self._central = set(folders)
        self.paths: list[str] = []
        self._by_name: dict[str, list[str]] = defaultdict(list)
        real = {folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}
        for folder, given in real.items():
            if not any(other in folder.parents for other in real):
                for path in image_files(given):
                    self._add(os.path.join(given, path), path)  # noqa: PTH118  it is fast

    def _add(self, path: str, inside: str) -> None:
        self.paths.append(path)
        name = inside.rpartition("/")[2]
        for key in {_normal(name), _normal(image_stem(name))}:
            self._by_name[key].append(path)

    def by_name(self, name: str) -> list[str]:
        """The images of a name, which may have folders before it and an ending behind it."""
        if "/" not in name and "\\" not in name:
            return self._by_name.get(_normal(name), [])
        parts = [part for part in re.split(r"[\\/]+", name) if part] or [""]
        return [
            path for path in self._by_name.get(_normal(parts[-1]), ()) if _common(path, parts) == len(parts)
        ]

    def by_path(self, text: str) -> list[str]:
        """The images that a path may mean which leads nowhere, because the files were moved.

        The folder of the file must agree, or the file must be in one of the folders of images.
        """
        absolute = re.match(r"[A-Za-z]:|[\\/~]", text) is not None
        parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".")]
        if not parts:
            return []
        if not absolute:
            return self.by_name("/".join(parts))
        found = self._by_name.get(_normal(parts[-1]), [])
        common = {path: _common(path, parts) for path in found}
        most = max(common.values(), default=0)
        if most < 2:
            return [path for path in found if Path(path).parent in self._central]
        return [path for path in found if common[path] == most]

    def description(self, missing: str) -> str:
        """What there is, and the file whose name is nearest to a missing one."""
        if not self.paths:
            return f"{self.root} holds no image; {contents(self.root)}"
        names = [path.rpartition("/")[2] for path in self.paths[:_COMPARED]]
        wanted = re.split(r"[\\/]", missing)[-1]
        text = f"it has {len(self.paths):,}, such as {', '.join(names[:3])}"
        return f"{text}, and none called {wanted}{meant(wanted, names)}" if wanted else text


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
    while number < min(len(own), len(parts)) and _normal(own[-1 - number]) == _normal(parts[-1 - number]):
        number += 1
    return number


def _normal(name: str) -> str:
    """A name as it is compared. Neither capitals in the ending nor the way accents are stored count."""
    stem = image_stem(name)
    name = stem + name[len(stem) :].lower()
    return name if name.isascii() else written(name)


def contents(folder: Path) -> str:
    """What is in a folder, in a few words."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name[0] != ".")
    return f"it holds {', '.join(names[:5])}{', ...' * (len(names) > 5)}" if names else "it is empty"
