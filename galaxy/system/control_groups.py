"""What a container or a batch system grants to a process (Linux's control groups, version 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def control_groups() -> Iterator[Path]:
    """The folders with the limits of this process; none elsewhere than on Linux.

    Its own and those around it, each of which limits it: that of a container, or of a job of Slurm.
    """
    with suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                own = Path(line.removeprefix("0::/"))
                yield from (_CONTROL_GROUPS / folder for folder in (own, *own.parents))
