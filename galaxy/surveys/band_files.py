"""FITS files that hold one band of a galaxy each."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

from galaxy.surveys.files import image_files, image_stem, in_real_folder, is_fits
from galaxy.system.errors import UserError

# The usual names of filters, from blue to red.
_FILTERS = ("fuv", "nuv", "u", "b", "g", "v", "r", "i", "z", "y", "j", "h", "k", "ks", "w1", "w2", "w3", "w4")
# The filters of HST and JWST, such as F814W.
_OF_SPACE = re.compile(r"f\d{3,4}(w|m|n|lp|x)2?")
_SEPARATORS = "._- "
# A band may stand in a path so many times, as in g/1_g.fits.
_MOST_PLACES = 3
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
    # At these places each band has one file, and these are a galaxy.
    whole = {place for place, files in found.items() if all(len(files[band]) == 1 for band in bands)}
    files: dict[str, tuple[str, ...]] = {}
    strays = {}
    for path, possible_places in places.items():
        possible = whole.intersection(possible_places)
        if len({tuple(found[place][band][0] for band in bands) for place in possible}) == 1:
            place = min(possible, key=len)
            members = tuple(found[place][band][0] for band in bands)
            if members[0] == path:
                name = reduce(_joined, place)
                shared = f"{name}.fits"
                files[shared if name and shared not in files else path] = members
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
    paths = list(filter(is_fits, paths))
    filters: dict[Place, dict[str, str]] = defaultdict(dict)
    for path in paths:
        for place, word in _around_words(path).items():
            if _is_filter(word):
                filters[place][word] = path
    # A place of other words, too, is none of bands.
    for path in paths:
        for place, word in _around_words(path).items():
            if place in filters and not _is_filter(word):
                del filters[place]
    stacks = [stack for stack in filters.values() if len(stack) > 1]
    if not stacks or 2 * len({path for stack in stacks for path in stack.values()}) < len(paths):
        return None
    bands = Counter(tuple(sorted(stack, key=_colour)) for stack in stacks).most_common(1)[0][0]
    example = next(stack for stack in stacks if tuple(sorted(stack, key=_colour)) == bands)
    return list(bands), tuple(example[band] for band in bands)


def refuse_bands(paths: Iterable[str], owner: str) -> None:
    """Refuses files each of which plainly is one band of a galaxy.

    Args:
        paths: The files.
        owner: What holds them, for the message.

    Raises:
        UserError: The names of the files are so.
    """
    if (found := plain_bands(paths)) is None:
        return
    bands, files = found
    raise UserError(
        f"{owner} seems to hold one file for each band of a galaxy, such as {', '.join(files)}. Say so with "
        f"data.catalog.band_files=[{','.join(bands)}], from blue to red; or with data.catalog.band_files=[] "
        "that each file is a galaxy of its own."
    )


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
            self._shared |= dict.fromkeys(map(in_real_folder, known), path)
        self._listed[folder] = [*stacks.files]
        return self._listed[folder]

    def shared(self, path: str) -> str:
        """The path of a galaxy that was listed, if a path is its own or that of one of its files; else ""."""
        return self._shared.get(in_real_folder(path), "")

    def files(self, shared: str) -> tuple[Path, ...]:
        """The files of a galaxy that was listed."""
        return self._files[shared]


def _word(text: str) -> re.Pattern[str]:
    """The pattern of a word, in small or capital letters."""
    return re.compile(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])", re.IGNORECASE)


def _places(stem: str, word: re.Pattern[str]) -> list[Place]:
    """The places of a word in a path: each one, and several together, as in `g/1_g`."""
    spans = [match.span() for match in word.finditer(stem)]
    several = (combinations(spans, number) for number in range(1, min(len(spans), _MOST_PLACES) + 1))
    return [_around(stem, chosen) for chosen in chain.from_iterable(several)]


def _around(stem: str, spans: Sequence[tuple[int, int]]) -> Place:
    """What stands before, between and after the places of a word."""
    ends, begins = [0, *(end for _, end in spans)], [*(begin for begin, _ in spans), len(stem)]
    return tuple(stem[end:begin] for end, begin in zip(ends, begins, strict=True))


def _around_words(path: str) -> dict[Place, str]:
    """The words of a path without the ending, by their places."""
    stem = image_stem(path)
    found: dict[Place, str] = {}
    words = list(re.finditer(r"[^\W_]+", stem))
    for word in words:
        found[stem[: word.start()], stem[word.end() :]] = word[0]
    for text, count in Counter(word[0].lower() for word in words).items():
        if count > 1:
            found |= {place: text for place in _places(stem, _word(text)) if len(place) > 2}
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
