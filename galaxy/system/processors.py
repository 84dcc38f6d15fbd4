"""How many processors there are."""

from __future__ import annotations

import math
import os
from contextlib import suppress

from galaxy.system.control_groups import control_groups


def processors() -> int:
    """The processors this process may use, at least one: in a container fewer than the machine's."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in control_groups():
        with suppress(OSError, ValueError):  # without such a limit, or "max"
            quota, period = map(int, (group / "cpu.max").read_text().split())
            count = min(count, math.ceil(quota / period))
    return count
