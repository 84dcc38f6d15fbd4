"""The names of galaxies that are known by the paths of their images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from galaxy.surveys.files import image_stem
from galaxy.surveys.ids import written


def file_names(paths: Sequence[str]) -> tuple[str, ...]:
    r"""The name of each file without folder and ending.

    Paths may be of Windows (`C:\images\x.png`), wherever they are read.
    """
    return tuple(image_stem(_parts(path)[-1]) for path in paths)


def names_by_path(paths: Sequence[str]) -> tuple[str, ...]:
    """The names of galaxies: the names of their files without folder and ending.

    Galaxies whose files share a name take as many folders before it as tell them apart (`a/1` and `b/1`), or
    keep the ending (`1.jpg` and `1.png`). The same path twice keeps the same name.
    """
    parts = [_parts(path) for path in paths]
    names = list(file_names(paths))
    longest = max(map(len, parts), default=0)
    for depth in range(2, longest + 1):
        shared = _shared(names)
        if not shared:
            return tuple(names)
        for row in shared:
            names[row] = image_stem("/".join(parts[row][-depth:]))
    while again := [row for row in _shared(names) if names[row] != "/".join(parts[row])]:
        for row in again:
            names[row] = "/".join(parts[row])
    return tuple(names)


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[\\/]+", written(path)) if part] or [""]


def _shared(names: Sequence[str]) -> list[int]:
    counts = Counter(names)
    return [row for row, name in enumerate(names) if counts[name] > 1]
