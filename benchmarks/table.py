"""Interleaved measurements, and a table that says on which machine they were made."""

from __future__ import annotations

import platform
import re
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from joblib import cpu_count
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from galaxy import __version__
from galaxy.system.files import write_text

RESULTS = Path(__file__).parent / "results"
# A cell without a figure begins with these words and then gives the reason.
NOT_MEASURED = "not measured"
T = TypeVar("T")


def interleaved(programs: Sequence[Callable[[], T]], repeats: int) -> list[list[T]]:
    """Calls the programs in turn, `repeats` times, so that a busy spell of the machine slows all of them.

    Args:
        programs: The functions to call. Each returns one figure, or several.
        repeats: The number of calls of each program, which the table calls n.

    Returns:
        The figures of each program, in the order of the calls.
    """
    rounds = [[program() for program in programs] for _ in range(repeats)]
    return [list(figures) for figures in zip(*rounds, strict=True)]


def ratios(ours: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Divides each figure by the reference that was measured beside it."""
    return [a / b for a, b in zip(ours, reference, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """Writes the mean, the least and the greatest of some figures: `1,020 (980..1,050)`."""
    return f"{fmean(values):{form}} ({min(values):{form}}..{max(values):{form}})"


@dataclass
class Report:
    """A table of measurements.

    Attributes:
        program: The name of the program, and of the file that `publish` writes.
        title: The title, which says what was measured.
        columns: The headings of the columns.
        packages: The distributions whose versions matter, beside Galaxy itself.
        notes: Sentences that a reader needs to understand the table.
        rows: The cells, one tuple for each thing that was measured.
        folder: The folder of that file.
    """

    program: str
    title: str
    columns: tuple[str, ...]
    packages: tuple[str, ...]
    notes: list[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    folder: Path = RESULTS

    def publish(self) -> None:
        """Prints the table and writes it as Markdown."""
        notes = [*self.notes, f"Machine: {_machine()}.", f"Versions: {self._versions()}."]
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, padding=0)
        for number, name in enumerate(self.columns):
            table.add_column(name, justify="right" if self._is_number(number) else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console = Console()
        console.print(table)
        for note in notes:
            console.print(note, markup=False, highlight=False)
        rule = ["---:" if self._is_number(number) else "---" for number in range(len(self.columns))]
        cells = [" | ".join(row) for row in (self.columns, rule, *self.rows)]
        lines = [
            f"# {self.title}",
            "",
            *(f"| {row} |" for row in cells),
            "",
            *(f"- {note}" for note in notes),
        ]
        write_text(self.folder / f"{self.program}.md", "\n".join(lines) + "\n")

    def _is_number(self, column: int) -> bool:
        cells = [row[column] for row in self.rows]
        figures = [cell for cell in cells if cell and not cell.startswith(NOT_MEASURED)]
        return bool(figures) and all(cell[0].isdigit() for cell in figures)

    def _versions(self) -> str:
        named = [f"{name} {version(name)}" for name in self.packages]
        return ", ".join([f"Python {platform.python_version()}", f"Galaxy {__version__}", *named])


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if (
        status.exists()
    ):  # Linux counts from the start of the program; `getrusage` begins with its parent's peak
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _machine() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = found[0] if found else platform.processor()
    return f"{name} ({platform.machine()}), {cpu_count()} cores, {_gpu()}, {platform.system()}"


def _gpu() -> str:
    import torch  # noqa: PLC0415  the measurements of memory and of starts come first

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
