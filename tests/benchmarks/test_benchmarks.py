"""Each benchmark runs, on as little as it can, and fills its table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import table
from tests.conftest import PROJECT

# What makes each small; a benchmark that is not named here would run for minutes.
PROGRAMS = {
    "bench_cache": "--images 80 --repeats 1",
    "bench_checkpointing": "--models deep_cnn --epochs 2 --repeats 1",
    "bench_comparison": "--galaxies 100 --repeats 2",
    "bench_coverage": "--galaxies 200 --epochs 1 --repeats 1",
    "bench_gz2": "--repeats 1",
    "bench_loader": "--images 200 --repeats 1",
    "bench_memory": "--gigabytes 0.14 --repeats 1",
    "bench_prediction": "--images 80 --many 1200 --repeats 1",
    "bench_startup": "--jobs 2 --repeats 1",
    "bench_step": "--epochs 2 --repeats 1",
    "bench_training": "--models deep_cnn --sizes 64 --galaxies 200 --epochs 2 --repeats 1",
}


def test_ratios_are_of_neighbours_and_spreads_name_both_ends() -> None:
    figures = iter([2.0, 10.0, 4.0, 5.0])
    ours, reference = table.interleaved([lambda: next(figures), lambda: next(figures)], 2)
    assert (ours, reference) == ([2.0, 4.0], [10.0, 5.0])
    assert table.ratios(ours, reference) == [0.2, 0.8]
    assert table.spread(ours, ".1f") == "3.0 (2.0..4.0)"


def test_every_benchmark_is_run() -> None:
    assert sorted(PROGRAMS) == sorted(file.stem for file in (PROJECT / "benchmarks").glob("bench_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_count_that_makes_no_sense_is_refused(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--repeats", "0"]
    done = subprocess.run(command, cwd=PROJECT, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "argument --repeats: must be 1 or more" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_benchmark_fills_its_table(name: str, project: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *PROGRAMS[name].split()]
    subprocess.run(command, check=True, cwd=project, timeout=300)
    lines = (project / "benchmarks" / "results" / f"{name}.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert rows
    assert all("not measured" in row or re.search(r"\d \(\d.*\.\.\d|\d%", row) for row in rows)
    assert any(line.startswith("- Machine:") for line in lines)
