"""Finding the table in the folder of a user."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from galaxy.surveys.files import no_folder
from galaxy.surveys.locate import contents
from galaxy.surveys.ready_splits import PART, split_of_file
from galaxy.surveys.table_reader import OFTEN_NO_TABLE, is_table
from galaxy.system.errors import UserError, listing

# What to do about files that may hold the table but cannot be read.
_OTHERS = {
    ".zip": "unpack the .zip file",
    ".tar": "unpack the .tar file",
    ".tgz": "unpack the .tgz file",
    ".tar.gz": "unpack the .tar.gz file",
    ".hdf5": "save the table in the .hdf5 file as CSV or Parquet",
    ".h5": "save the table in the .h5 file as CSV or Parquet",
    ".numbers": "export the .numbers file as CSV",
    ".jsonl": "save the .jsonl file as CSV or Parquet",
    ".json": "save the .json file as CSV or Parquet",
}
# The settings that say which columns of a table hold the labels.
LABEL_KEYS = "data.catalog.columns, data.catalog.questions or data.catalog.class_column"


def find_table(root: Path, file: str | None) -> list[Path]:
    """Finds the only table in a folder, or else in the folders in it.

    Tables with names such as train.csv, val.csv and test.csv are one, if there is no other.

    Args:
        root: The folder.
        file: The table, inside `root` or absolute, or a pattern for its parts; None to look for it.

    Returns:
        The file, or the parts of the table in order.

    Raises:
        UserError: There is no table, more than one, or a part of it is missing.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} {no_folder(root)}; data.root must be the folder of the table and its images."
        )
    if file is not None:
        path = root / Path(file).expanduser()
        if path.exists() or not glob.has_magic(file):
            return [path]
        pattern = Path(glob.escape(str(root))) / Path(file).expanduser()
        found = sorted(map(Path, glob.glob(str(pattern))))  # noqa: PTH207  the pattern may be absolute
        if not found:
            raise UserError(f"No file is called {path} (data.catalog.file).")
        for parts in _tables(found):
            _check_parts(parts)
        return found
    for folders in ([root], sorted(filter(_is_open, root.iterdir()))):
        tables = _tables(path for folder in folders for path in folder.iterdir())
        if len(tables) == 1:
            _check_parts(tables[0])
            return tables[0]
        by_split = {split_of_file(parts[0].name): parts for parts in tables}
        if tables and len(by_split) == len(tables) and None not in by_split:
            for parts in tables:
                _check_parts(parts)
            return [path for split in ("train", "val", "test") for path in by_split.get(split, ())]
        if tables:
            names = [_pattern(parts, root) for parts in tables]
            raise UserError(
                f"{root} holds {len(names)} tables; choose one with data.catalog.file:\n{listing(names)}"
            )
    names = [path.name.lower() for path in root.iterdir()]
    advice = [text for ending, text in _OTHERS.items() if any(name.endswith(ending) for name in names)]
    raise UserError(
        f"{root} holds no table (.csv, .tsv, .parquet and so on); {contents(root)}.\n"
        + (f"If that is the table, {' or '.join(advice)}; otherwise say" if advice else "Say")
        + " where the table is: data.catalog.file=..."
    )


def _is_open(path: Path) -> bool:
    """Whether a path is a folder that may be listed."""
    return path.is_dir() and os.access(path, os.R_OK | os.X_OK)


def table_names(root: Path) -> list[str]:
    """Lists the tables that lie in a folder itself."""
    tables = [parts[0] for parts in _tables(root.iterdir())]
    return [str(path.relative_to(root)) for path in tables if not path.name.lower().endswith(OFTEN_NO_TABLE)]


def _tables(paths: Iterable[Path]) -> list[list[Path]]:
    """The tables among some files, each as the list of its parts."""
    tables = sorted(path for path in paths if is_table(path.name) and path.name[0] not in ".~")
    likely = [path for path in tables if not path.name.lower().endswith(OFTEN_NO_TABLE)] or tables
    parts: dict[str, list[Path]] = {}
    for path in likely:
        part = PART.fullmatch(path.name)
        whole = path.name if part is None else f"{part['name']}-of-{part['count']}{part['ending']}"
        parts.setdefault(str(path.parent / whole), []).append(path)
    return list(parts.values())


def _check_parts(paths: Sequence[Path]) -> None:
    """Refuses a table of which a part is missing."""
    found = [part for path in paths if (part := PART.fullmatch(path.name))]
    if found and len(found) == len(paths):
        count, here = int(found[0]["count"]), {int(part["number"]) for part in found}
        if missing := sorted(set(range(count)) - here):
            raise UserError(
                f"{paths[0].parent} holds {len(here)} of {count} parts of {found[0]['name']}; part "
                f"{missing[0]} is missing, beside {paths[0].name}."
            )


def _pattern(parts: Sequence[Path], root: Path) -> str:
    """What names a table in `data.catalog.file`."""
    name = str(parts[0].relative_to(root))
    return name if len(parts) == 1 else re.sub(r"-\d+-of-", "-*-of-", name)
