"""A copy of the project whose tables may be overwritten."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import PROJECT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This project, with a folder of its own for the tables."""
    for name in ("conf", "galaxy", "tests", "train.py", "evaluate.py"):
        (tmp_path / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("*.md"))
    return tmp_path
