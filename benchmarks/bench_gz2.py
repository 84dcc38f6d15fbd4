"""Measures how long the files of Galaxy Zoo 2 take to read, and how much memory this needs.

`python -m benchmarks.bench_gz2` writes files with the size and the gaps of the published ones into a
temporary folder: a table of about 400 MB, and 243,434 empty images, because reading a catalog opens no image.
Each measurement reads them in a new process. The program also checks that as many rows and images are left
out as in the published files.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.options import add_repeats
from benchmarks.table import Report, interleaved, peak_memory, spread
from galaxy.surveys.gz2 import TABLE, read_gz2
from tests.stress.gz2_files import Sizes, write_gz2

# Labels, weights and votes: the default, a choice that reads twice as many columns, and one that reads three
# times as many.
CHOICES = (("cumulative", None, False), ("weighted", "parent", False), ("weighted", "parent", True))


class Figures(NamedTuple):
    """The figures of one reading."""

    seconds: float
    busy: float  # seconds of processor time, which other programs disturb less
    mebibytes: float
    skipped: int
    galaxies: int


def read(root: Path, labels: str, weights: str | None, counts: bool) -> Figures:
    """Reads the catalog once."""
    started, busy = time.perf_counter(), time.process_time()
    catalog = read_gz2(root, "skip", labels, weights, counts)  # type: ignore[arg-type]  # from CHOICES
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return Figures(seconds, busy, peak_memory() / 2**20, len(catalog.skipped), len(catalog))


def in_a_new_process(root: Path, choice: tuple[str, str | None, bool]) -> Figures:
    """Reads the catalog in a process that has used no memory before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(read, root, *choice).result()


def measure(root: Path, sizes: Sizes, repeats: int) -> Report:
    """Measures each choice, in one row of the table."""
    report = Report(
        program="bench_gz2",
        title="Reading the files of Galaxy Zoo 2",
        columns=("labels", "weights", "votes", "seconds", "of processor", "peak MiB"),
        packages=("pyarrow", "pandas", "numpy"),
        notes=[
            f"{TABLE} with {sizes.rows:,} rows and 231 columns, "
            f"{(root / TABLE).stat().st_size / 1e6:,.0f} MB; n = {repeats} interleaved repeats, mean "
            f"(least..greatest). Each reading has one thread and a new process, whose memory is counted from "
            "its start. The files are in the system's memory."
        ],
    )
    results = interleaved([partial(in_a_new_process, root, choice) for choice in CHOICES], repeats)
    labelled = sizes.rows - sizes.empty
    galaxies = labelled - sizes.unpictured
    skipped = sizes.empty + sizes.unpictured + sizes.lone_images
    for (labels, weights, counts), figures in zip(CHOICES, results, strict=True):
        for one in figures:
            if (one.galaxies, one.skipped) != (galaxies, skipped):
                got = f"{one.galaxies:,} galaxies and {one.skipped:,} left out"
                raise SystemExit(f"{labels}: {got}, not {galaxies:,} and {skipped:,}")
        report.rows.append(
            (
                labels,
                weights or "none",
                "yes" if counts else "no",
                spread([one.seconds for one in figures], ".1f"),
                spread([one.busy for one in figures], ".1f"),
                spread([one.mebibytes for one in figures], ",.0f"),
            )
        )
    report.notes.append(
        f"Rows: {sizes.rows:,} -> {labelled:,} (empty labels) -> {galaxies:,} (no image), as published; "
        f"{sizes.empty + sizes.lone_images:,} images belong to no galaxy."
    )
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_repeats(parser, 3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_gz2(Path(folder), Sizes())
        print(f"wrote the files in {time.perf_counter() - started:.0f} s")
        report = measure(Path(folder), Sizes(), options.repeats)
    report.publish()


if __name__ == "__main__":
    main()
