"""The folder of an exploration: the page, its figures, and a file that names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galaxy.system.errors import UserError
from galaxy.system.files import write_bytes, write_json

PAGE = "report.html"
# This file tells an exploration from other folders.
_MARK = "exploration.json"
_FORMAT = 1


def check_folder(path: Path) -> None:
    """Refuses a place that holds something else than an exploration, which would be overwritten.

    Raises:
        UserError: It does.
    """
    if path.is_dir():
        if any(path.iterdir()) and not (path / _MARK).is_file():
            raise UserError(
                f"out={path} is a folder that holds other files than an exploration (there is no {_MARK}): "
                "choose another folder, or a new one inside it"
            )
    elif path.exists():
        raise UserError(f"out={path} is a file; choose a folder for a report, or a name such as crops.png")


def write_folder(path: Path, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Writes the files of an exploration, and removes those of an earlier one that it does not replace.

    Args:
        path: The folder.
        about: What was explored, for readers of the file that names the others.
        files: The files by their names.

    Raises:
        UserError: They cannot be written.
    """
    earlier = _files_of(path)
    write_json(path / _MARK, {"format": _FORMAT, **about, "files": sorted({*files, *earlier})})
    for name, content in files.items():
        write_bytes(path / name, content)
    for name in earlier - set(files):
        (path / name).unlink(missing_ok=True)
    write_json(path / _MARK, {"format": _FORMAT, **about, "files": sorted(files)})


def _files_of(path: Path) -> set[str]:
    """Returns the names of the files that an earlier exploration has written."""
    try:
        names = json.loads((path / _MARK).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or somebody changed the file
        return set()
    return {name for name in names if isinstance(name, str) and Path(name).name == name}
