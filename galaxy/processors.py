"""How many processors there are, and what else a container or a batch system grants."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def processors() -> int:
    """The processors this process may use, at least one: in a container fewer than the machine's."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in control_groups():
        with suppress(OSError, ValueError):  # without such a limit, or "max"
            quota, period = map(int, (group / "cpu.max").read_text().split())
            count = min(count, math.ceil(quota / period))
    return count


def control_groups() -> Iterator[Path]:
    """The folders where Linux (control groups, version 2) tells what this process may take.

    Its own and those around it, each of which limits it: that of a container, or of a job of Slurm.
    """
    with suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                own = Path(line.removeprefix("0::/"))
                yield from (_CONTROL_GROUPS / folder for folder in (own, *own.parents))
