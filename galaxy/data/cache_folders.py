"""Names, lists and removes the folders of image caches."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import simplejpeg
from filelock import Timeout

import galaxy.images
from galaxy.data.shards import DamagedError, read_index
from galaxy.images.crops import Crop
from galaxy.system.errors import UserError
from galaxy.system.files import explained, write_json
from galaxy.system.files import locked as locked_file

# The version of the layout of a cache's files. The code and the packages that make the pixels are in the
# recipe by themselves.
CACHE_VERSION = 9
# These modules of `galaxy.images` work on crops that were cached, or are never cached.
_AFTER_THE_CACHE = ("augment", "albumentations_engine", "sheet")
# A cache of another environment is stale once it was not used for so many days.
_KEPT_DAYS = 30


def cache_folder(parent: Path, root: Path, crop: Crop) -> Path:
    """Returns the folder of the crops of one survey.

    Two surveys whose folders have the same name share it, because crops are found by content.

    Args:
        parent: The folder of all caches.
        root: The folder of the survey, absolute.
        crop: Makes the pictures.
    """
    digest = blake2b(json.dumps(_recipe(crop), sort_keys=True).encode(), digest_size=6).hexdigest()
    survey = re.sub(r"[^\w.-]", "_", root.name).lstrip(".") or "root"
    name = type(crop).__name__.removesuffix("Crop").lower()
    return parent / f"{survey}-{name}{crop.size}-{digest}"


def describe(folder: Path, root: Path, crop: Crop) -> None:
    """Writes the `cache.json` of a cache, if it does not name the survey's folder yet."""
    roots = _description(folder).get("roots", [])
    if str(root) not in roots:
        write_json(folder / "cache.json", {"roots": [*roots, str(root)], "recipe": _recipe(crop)})


def locked(folder: Path, wait: bool = True) -> AbstractContextManager[bool]:
    """Holds the lock of a cache, which one process has at a time.

    The lock lies beside the folder, so that it stays the same when the folder is removed.

    Args:
        folder: The folder of the cache; its parent must be there.
        wait: Whether to wait for another process.

    Returns:
        See `galaxy.system.files.locked`.
    """
    waiting = f"Waiting for another process that is making the image cache {folder}."
    return locked_file(folder.with_name(f"{folder.name}.lock"), wait, waiting)


@dataclass(frozen=True)
class CacheInfo:
    """A cache on the disk.

    Attributes:
        folder: Its folder.
        roots: The folders of the surveys whose images it holds.
        crop: The crop and its settings, in words.
        images: How many crops it holds.
        size: Its bytes.
        last_use: When a run last opened it, in seconds since 1970.
        stale: The reason why no run will open it again; empty if some run may.
    """

    folder: Path
    roots: tuple[str, ...]
    crop: str
    images: int
    size: int
    last_use: float
    stale: str


def list_caches(folder: Path) -> list[CacheInfo]:
    """Lists the caches in a folder, sorted by name."""
    found = (_info(path.parent) for path in sorted(folder.glob("[!.]*/cache.json")))
    return [info for info in found if info is not None]


def prune(folder: Path, stale: bool = True, older_than_days: float | None = None) -> list[CacheInfo]:
    """Removes caches, except those that a process is just making.

    Args:
        folder: The folder of all caches.
        stale: Whether to remove caches whose survey is gone or whose version is old.
        older_than_days: Also remove caches that were not used for so many days; None for none.

    Returns:
        The caches that were removed.

    Raises:
        UserError: The folder does not let us remove something.
    """

    def is_due(info: CacheInfo | None) -> bool:
        unused = older_than_days is not None and info is not None and _idle_days(info) > older_than_days
        return info is not None and (bool(stale and info.stale) or unused)

    removed = []
    for info in filter(is_due, list_caches(folder)):
        with explained(info.folder), suppress(Timeout), locked(info.folder, wait=False):
            if is_due(_info(info.folder)):  # no job has opened it meanwhile
                # Under another name it is gone at once for jobs that start now.
                info.folder.rename(folder / f".removed-{uuid4().hex}")
                removed.append(info)
    for left in folder.glob(".removed-*"):  # those of an interrupted removal too
        with explained(left), suppress(FileNotFoundError):
            shutil.rmtree(left)
    return removed


def _idle_days(info: CacheInfo) -> float:
    return (time.time() - info.last_use) / 86_400


def _info(folder: Path) -> CacheInfo | None:
    """Describes a cache; None if it is gone. Files that vanish meanwhile do not count."""
    described = _description(folder)
    roots, recipe = tuple(described.get("roots", ())), described.get("recipe", {})
    images, size = 0, 0
    times = {}
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            status = path.stat()
            size += status.st_size
            times[path.name] = status.st_mtime
        if path.suffix == ".shard" and not path.name.startswith("."):
            with suppress(DamagedError, UserError):
                images += len(read_index(path)[0]["contents"])
    if "cache.json" not in times:
        return None
    last_use = times.get("used", times["cache.json"])
    settings = ", ".join(f"{name}={value}" for name, value in recipe.get("settings", {}).items())
    stale = ""
    idle = time.time() - last_use > _KEPT_DAYS * 86_400
    if recipe.get("version", 0) < CACHE_VERSION:
        stale = "made by another version"
    elif idle and any(recipe.get(name) != value for name, value in _common_recipe().items()):
        stale = f"made by another environment and unused for {_KEPT_DAYS} days"
    elif all(_is_gone(root) for root in roots):
        stale = "its images are gone"
    return CacheInfo(
        folder=folder,
        roots=roots,
        crop=f"{recipe.get('crop', '?')}({settings})",
        images=images,
        size=size,
        last_use=last_use,
        stale=stale,
    )


def _is_gone(path: str) -> bool:
    """Whether a file is certainly not there; a folder that is forbidden to us may hold it."""
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _description(folder: Path) -> dict[str, Any]:
    """Reads `cache.json`; returns nothing if it is missing or damaged."""
    try:
        described: dict[str, Any] = json.loads((folder / "cache.json").read_text())
    except (OSError, ValueError):
        return {}
    return described


def _recipe(crop: Crop) -> dict[str, Any]:
    """Returns all that decides the pixels of an image beside its content."""
    return {
        **_common_recipe(),
        "crop": type(crop).__name__,
        "crop_code": _crop_code(type(crop)),
        "settings": _settings(crop),
    }


def _settings(crop: Crop) -> dict[str, Any]:
    """The attributes of a crop, all of which may decide the pixels."""
    for name, value in vars(crop).items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise UserError(
                f"crop: {type(crop).__name__}.{name} is a {type(value).__name__}; the attributes of a crop "
                "name its cache, and can be numbers, text, and lists and dictionaries of these"
            ) from error
    return vars(crop)


@cache
def _common_recipe() -> dict[str, Any]:
    """Returns the part of a recipe that is the same for all crops."""
    folder = Path(galaxy.images.__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        if path.stem not in _AFTER_THE_CACHE:
            digest.update(path.read_bytes())
    return {
        "version": CACHE_VERSION,
        "opencv": cv2.__version__,
        "simplejpeg": simplejpeg.__version__,
        "h5py": _version("h5py"),
        "astropy": _version("astropy"),
        "code": digest.hexdigest(),
    }


def _version(package: str) -> str:
    """Returns the version of a package; empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _crop_code(crop: type[Crop]) -> str:
    """Digests the modules that define a crop and the crops that it builds on, and their names."""
    digest = blake2b(digest_size=8)
    for name in dict.fromkeys(kind.__module__ for kind in crop.__mro__ if issubclass(kind, Crop)):
        file = getattr(sys.modules[name], "__file__", None)  # an interactive prompt has none
        digest.update(name.encode() + b"\0" + (b"" if file is None else Path(file).read_bytes()))
    return digest.hexdigest()
