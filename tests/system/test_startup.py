"""Nothing that a start leaves out is missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = "import sys\nfrom galaxy.system.startup import import_torchmetrics\n"


def run(program: str) -> None:
    """In a new process, which has imported nothing yet."""
    subprocess.run([sys.executable, "-c", BEFORE + program], check=True)


def test_scipy_signal_is_not_imported_until_it_is_needed() -> None:
    run(
        "import_torchmetrics()\n"
        "assert 'torchmetrics' in sys.modules and 'scipy.signal' not in sys.modules\n"
        "import scipy.signal\n"
        "assert len(scipy.signal.windows.hamming(3)) == 3"
    )


@pytest.mark.parametrize(
    "use",
    [
        "from scipy.signal import windows",
        "import scipy.signal as s; s.windows",
        "from scipy.signal import *; windows",
        "import scipy.signal.windows; scipy.signal.windows.hamming(3)",
        "from scipy.signal.windows import hamming",
        "import importlib.util; assert importlib.util.find_spec('scipy.signal')",
    ],
)
def test_another_torchmetrics_may_use_more_of_it(tmp_path: Path, use: str) -> None:
    """One that is not this one, and takes something else from it."""
    (tmp_path / "torchmetrics.py").write_text(use)
    run(
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import_torchmetrics()\n"
        "import scipy.signal\n"
        "assert len(scipy.signal.windows.hamming(3)) == 3"
    )
