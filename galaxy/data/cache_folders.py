"""The folders of image caches: what decides their names, which there are, and which can be removed."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import simplejpeg
from filelock import FileLock, Timeout

import galaxy.images
from galaxy.data.shards import DamagedError, read_index
from galaxy.images.crops import Crop
from galaxy.system.files import explained, write_json

# The version of the layout of a cache's files. The code and the packages that make the pixels are in the
# recipe by themselves.
CACHE_VERSION = 7
# These modules of `galaxy.images` work on crops that were cached, or are never cached.
_AFTER_THE_CACHE = ("augment", "albumentations_engine", "sheet")


def cache_folder(parent: Path, root: Path, crop: Crop) -> Path:
    """The folder of the crops of one survey.

    Two surveys whose folders have the same name share it, because crops are found by content.

    Args:
        parent: The folder of all caches.
        root: The folder of the survey, absolute.
        crop: Makes the pictures.
    """
    digest = blake2b(json.dumps(_recipe(crop), sort_keys=True).encode(), digest_size=6).hexdigest()
    survey = re.sub(r"[^\w.-]", "_", root.name) or "root"
    name = type(crop).__name__.removesuffix("Crop").lower()
    return parent / f"{survey}-{name}{crop.size}-{digest}"


def describe(folder: Path, root: Path, crop: Crop) -> None:
    """Writes the `cache.json` of a cache, if it does not name the survey's folder yet."""
    roots = _description(folder).get("roots", [])
    if str(root) not in roots:
        write_json(folder / "cache.json", {"roots": [*roots, str(root)], "recipe": _recipe(crop)})


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
        stale: Why no run will open it again; empty if some run may.
    """

    folder: Path
    roots: tuple[str, ...]
    crop: str
    images: int
    size: int
    last_use: float
    stale: str


def list_caches(folder: Path) -> list[CacheInfo]:
    """The caches in a folder, sorted by name."""
    return [_info(path.parent) for path in sorted(folder.glob("*/cache.json"))]


def prune(folder: Path, stale: bool = True, older_than_days: float | None = None) -> list[CacheInfo]:
    """Removes caches; one that a process is just making is left alone.

    Args:
        folder: The folder of all caches.
        stale: Whether to remove caches whose survey is gone or whose version is old.
        older_than_days: Also remove caches that were not used for so many days; None for none.

    Returns:
        The caches that were removed.

    Raises:
        UserError: The folder does not let us remove something.
    """
    removed = []
    for info in list_caches(folder):
        unused = older_than_days is not None and time.time() - info.last_use > older_than_days * 86_400
        if (stale and info.stale) or unused:
            with explained(info.folder), suppress(Timeout), FileLock(info.folder / "lock", timeout=0):
                shutil.rmtree(info.folder)
                removed.append(info)
    return removed


def _info(folder: Path) -> CacheInfo:
    described = _description(folder)
    roots, recipe = tuple(described.get("roots", ())), described.get("recipe", {})
    images = 0
    for path in folder.glob("*.shard"):
        with suppress(DamagedError):
            images += len(read_index(path)[0]["contents"])
    used = next(path for path in (folder / "used", folder / "cache.json") if path.exists())
    settings = ", ".join(f"{name}={value}" for name, value in recipe.get("settings", {}).items())
    stale = ""
    if any(recipe.get(name) != value for name, value in _present().items()):
        stale = "made by another version"
    elif not any(Path(root).exists() for root in roots):
        stale = "its images are gone"
    return CacheInfo(
        folder=folder,
        roots=roots,
        crop=f"{recipe.get('crop', '?')}({settings})",
        images=images,
        size=sum(path.stat().st_size for path in folder.iterdir()),
        last_use=used.stat().st_mtime,
        stale=stale,
    )


def _description(folder: Path) -> dict[str, Any]:
    """What `cache.json` says; nothing if it is missing or damaged."""
    try:
        described: dict[str, Any] = json.loads((folder / "cache.json").read_text())
    except (OSError, ValueError):
        return {}
    return described


def _recipe(crop: Crop) -> dict[str, Any]:
    """All that decides the pixels of an image beside its content."""
    return {
        **_present(),
        "crop": type(crop).__name__,
        "crop_code": _crop_code(type(crop)),
        "settings": vars(crop),
    }


@cache
def _present() -> dict[str, Any]:
    """The part of a recipe that is the same for all crops."""
    folder = Path(galaxy.images.__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        if path.stem not in _AFTER_THE_CACHE:
            digest.update(path.read_bytes())
    return {
        "version": CACHE_VERSION,
        "opencv": cv2.__version__,
        "simplejpeg": simplejpeg.__version__,
        "code": digest.hexdigest(),
    }


def _crop_code(crop: type[Crop]) -> str:
    """A digest of the module that defines a crop, and of the module's name."""
    file = getattr(sys.modules[crop.__module__], "__file__", None)  # an interactive prompt has none
    content = b"" if file is None else Path(file).read_bytes()
    return blake2b(crop.__module__.encode() + b"\0" + content, digest_size=8).hexdigest()
