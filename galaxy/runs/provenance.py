"""What a run was made with: command, code, versions and hardware."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from galaxy import __version__


def provenance(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the command, the seed, the versions and the hardware of a run, as its `meta.json` says them."""
    packages = ("torch", "torchvision", "lightning", "hydra-core", "opencv-python-headless")
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "seed": config["seed"],
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "versions": {
            "python": platform.python_version(),
            "galaxy": __version__,
            **{name: version(name) for name in packages},
        },
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": _gpu()},
    }


def _gpu() -> str | None:
    import torch  # noqa: PLC0415  reports read runs without torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


@cache  # what a process has imported stays as it is, so all jobs of a sweep have the same answer
def _git(*command: str) -> str | None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None  # this is an installed copy, perhaps inside somebody else's repository
    try:
        # Without this option `git status` writes the index, and a commit at that moment fails.
        whole = ["git", "--no-optional-locks", *command]
        done = subprocess.run(whole, cwd=checkout, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # there is no git
    return done.stdout.strip()
