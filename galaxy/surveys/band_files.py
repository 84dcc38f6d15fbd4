"""FITS files that hold one band of a galaxy each."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple

from galaxy.surveys.files import image_files, image_stem, is_fits

# The usual names of filters, from blue to red.
_FILTERS = ("fuv", "nuv", "u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k", "ks", "w1", "w2", "w3", "w4")
# The filters of HST and JWST, such as F814W.
_OF_SPACE = re.compile(r"f\d{3,4}(w|m|n|lp|x)2?")
_SEPARATORS = "._- "
# What stands before, between and after the places of a word in a path.
Place = tuple[str, ...]


class Stacks(NamedTuple):
    """Files of bands, put together.

    Attributes:
        files: The files of each galaxy, one for each band in the order of the bands, by the path that they
            share: `a/1.fits` for `a/1_g.fits`, `a/1_r.fits` and `a/1_z.fits`.
        strays: What is wrong with each other FITS file, except those of further bands.
    """

    files: dict[str, tuple[str, ...]]
    strays: dict[str, str]


def stacked(paths: Iterable[str], bands: Sequence[str]) -> Stacks:
    """Puts the files together that differ in nothing but the name of the band.

    A band is a word of its own in the path, in small or capital letters: `1_g.fits`, `g-1.fits`, `g/1.fits`
    or `1/g.fits`. The endings may differ. Files that are no FITS files are left out.

    Args:
        paths: The paths, with "/".
        bands: The names of the bands.
    """
    words = {band: _word(band) for band in bands}
    places: dict[str, list[Place]] = {}
    found: dict[Place, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in filter(is_fits, paths):
        stem, places[path] = image_stem(path), []
        for band, word in words.items():
            for place in _places(stem, word):
                places[path].append(place)
                found[place][band].append(path)
    whole = {place for place, files in found.items() if all(len(files[band]) == 1 for band in bands)}
    files: dict[str, tuple[str, ...]] = {}
    strays = {}
    for path, possible_places in places.items():
        possible = whole.intersection(possible_places)
        if len(possible) == 1:
            (place,) = possible
            members = tuple(found[place][band][0] for band in bands)
            if members[0] == path:
                shared = f"{reduce(_joined, place)}.fits"
                files[path if shared in files else shared] = members
        elif possible:
            strays[path] = "more than one word of its path may be the band"
        elif possible_places:
            best = found[max(possible_places, key=lambda place: len(found[place]))]
            several = next((" and ".join(best[band]) for band in bands if len(best[band]) > 1), "")
            missing = f"there is no such file of {', '.join(band for band in bands if not best[band])}"
            strays[path] = f"one band has {several}" if several else missing
        elif whole.isdisjoint(_around_words(path)):
            strays[path] = f"no word of its path is one of {', '.join(bands)}"
    return Stacks(files, strays)


def plain_bands(paths: Iterable[str]) -> tuple[list[str], tuple[str, ...]] | None:
    """Finds out whether FITS files hold one band of a galaxy each, as their names tell.

    Returns:
        The bands, and the files of one galaxy; None if less than half of the files are plainly such.
    """
    words: dict[Place, dict[str, str]] = defaultdict(dict)
    count = 0
    for path in filter(is_fits, paths):
        count += 1
        for place, word in _around_words(path).items():
            words[place][word] = path
    stacks = [stack for stack in words.values() if len(stack) > 1 and all(map(_is_filter, stack))]
    if not stacks or 2 * sum(map(len, stacks)) < count:
        return None
    bands = Counter(tuple(sorted(stack, key=_colour)) for stack in stacks).most_common(1)[0][0]
    example = next(stack for stack in stacks if tuple(sorted(stack, key=_colour)) == bands)
    return list(bands), tuple(example[band] for band in bands)


class BandFiles:
    """The galaxies in folders whose FITS files hold one band each.

    Args:
        bands: The names of the bands.
    """

    def __init__(self, bands: Sequence[str]) -> None:
        self.bands = bands
        self._listed: dict[Path, list[str]] = {}
        self._files: dict[str, tuple[Path, ...]] = {}
        self._shared: dict[str, str] = {}

    def list(self, folder: Path) -> list[str]:
        """Lists the galaxies in a folder, by the paths that their files share."""
        if folder in self._listed:
            return self._listed[folder]
        stacks = stacked(image_files(folder), self.bands)
        for shared, files in stacks.files.items():
            path = os.path.join(folder, shared)  # noqa: PTH118  it is fast
            self._files[path] = tuple(folder / file for file in files)
            known = [path, *map(str, self._files[path])]
            self._shared |= dict.fromkeys(map(os.path.normpath, known), path)
        self._listed[folder] = [*stacks.files]
        return self._listed[folder]

    def shared(self, path: str) -> str:
        """The path of a galaxy that was listed, if a path is its own or that of one of its files; else ""."""
        return self._shared.get(os.path.normpath(path), "")

    def files(self, shared: str) -> tuple[Path, ...]:
        """The files of a galaxy that was listed."""
        return self._files[shared]


def _word(text: str) -> re.Pattern[str]:
    """The pattern of a word, in small or capital letters."""
    return re.compile(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])", re.IGNORECASE)


def _places(stem: str, word: re.Pattern[str]) -> list[Place]:
    """The places of a word in a path: each one, and all together, as in `g/1_g`."""
    places: list[Place] = [(stem[: match.start()], stem[match.end() :]) for match in word.finditer(stem)]
    return places if len(places) < 2 else [*places, tuple(word.split(stem))]


def _around_words(path: str) -> dict[Place, str]:
    """The words of a path without the ending, by their places."""
    stem = image_stem(path)
    found: dict[Place, str] = {}
    words = list(re.finditer(r"[^\W_]+", stem))
    for word in words:
        found[stem[: word.start()], stem[word.end() :]] = word[0]
    for text, count in Counter(word[0].lower() for word in words).items():
        if count > 1:
            found |= dict.fromkeys(_places(stem, _word(text))[-1:], text)
    return found


def _is_filter(word: str) -> bool:
    return word.lower() in _FILTERS or _OF_SPACE.fullmatch(word.lower()) is not None


def _colour(word: str) -> tuple[int, str]:
    """Sorts filters from blue to red."""
    lower = word.lower()
    return (_FILTERS.index(lower) if lower in _FILTERS else len(_FILTERS)), lower


def _joined(before: str, after: str) -> str:
    """The path without the name of the band that stood between two parts, and without its separators."""
    left, right = before.rstrip(_SEPARATORS), after.lstrip(_SEPARATORS)
    if left.strip("/") and right.strip("/") and not left.endswith("/") and not right.startswith("/"):
        return f"{left}{before[-1:]}{right}"
    return "/".join(part for part in (left.strip("/"), right.strip("/")) if part)
