"""The parts of a catalogue that several jobs make together: the files of one Parquet dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from galaxy.system.errors import UserError

_PART = re.compile(r"part-(\d+)-of-(\d+)\.parquet")


@dataclass(frozen=True)
class Part:
    """One of the parts of a catalogue, which holds neighbouring galaxies.

    Example:
        >>> part = Part.parse("2/12")
        >>> part.file(Path("survey")), part.rows(25)
        (PosixPath('survey/part-02-of-12.parquet'), array([2, 3]))

    Attributes:
        number: Which part, from 1.
        count: The number of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, shard: str) -> Part:
        """Reads `K/N`.

        Raises:
            UserError: It is something else.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", str(shard))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"shard is {shard}; it must be K/N with K from 1 to N, as in shard=3/8")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        # With zeros in front, the names sort as the galaxies do.
        return f"{self.number:0{len(str(self.count))}}-of-{self.count}"

    def file(self, folder: Path) -> Path:
        """Returns the file of the part."""
        return folder / f"part-{self}.parquet"

    def failures(self, folder: Path) -> Path:
        """Returns the file of images that could not be read; readers of datasets pass over the underscore."""
        return folder / f"_failures-{self}.csv"

    def rows(self, galaxies: int) -> NDArray[np.int64]:
        """Returns the rows of the part in a table of so many galaxies.

        Raises:
            UserError: There are fewer galaxies than parts.
        """
        if galaxies < self.count:
            raise UserError(f"shard=.../{self.count} are more parts than there are galaxies ({galaxies:,})")
        first, after = (number * galaxies // self.count for number in (self.number - 1, self.number))
        return np.arange(first, after)

    def is_made(self, folder: Path, facts: Mapping[str, str]) -> bool:
        """Whether the part is in a folder already, which may hold nothing but parts of the same catalogue.

        Args:
            folder: The folder; it may be missing.
            facts: Where the predictions come from, as the metadata of the other parts say it.

        Raises:
            UserError: The folder holds something else.
        """
        held = (
            sorted(path for path in folder.iterdir() if path.name[0] not in "._") if folder.is_dir() else []
        )
        for path in held:
            found = _PART.fullmatch(path.name)
            if found is None or int(found[2]) != self.count:
                raise UserError(
                    f"out={folder} holds {path.name}, which is none of {self.count} parts of a catalogue: "
                    "give a folder for these parts alone"
                )
        if held:
            _check_alike(held[0], facts)
        return self.file(folder).exists()


def _check_alike(path: Path, facts: Mapping[str, str]) -> None:
    """Refuses to put parts beside those of another catalogue."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read, so it is no part of a catalogue: {error}") from None
    there = {name.decode(): value.decode(errors="replace") for name, value in metadata.items()}
    for name, fact in facts.items():
        if there.get(name) != fact:
            raise UserError(
                f"{path} is a part of another catalogue: {name} is {there.get(name, 'missing')} there, and "
                f"{fact} here. Give out= another folder"
            )
