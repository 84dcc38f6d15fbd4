"""What the machine has: free memory, number formats, and how the C library hands out memory."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

# The parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Blocks of 1 GiB still go back to the system at once: few steps have them, and others may need the memory.
# glibc before version 2.35 accepts at most 32 MiB.
_LARGE, _LARGE_BEFORE = 1 << 30, 1 << 25

# Linux's control groups, version 2, which limit containers and the jobs of Slurm.
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 62


def free_memory() -> int:
    """Returns the bytes of memory that this process can still take.

    The memory that holds copies of files counts as free, because the system can give it away.
    """
    return min([psutil.virtual_memory().available, *map(_left_in, _control_groups())])


def _control_groups() -> Iterator[Path]:
    """Yields the folders of the control groups that limit this process: its own group and those around it."""
    with suppress(OSError):  # other systems than Linux have none
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                own = Path(line.removeprefix("0::/"))
                yield from (_CONTROL_GROUPS / folder for folder in (own, *own.parents))


def _left_in(group: Path) -> int:
    """Returns the bytes that a control group has left."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["inactive_file"])  # copies of files count as used and can be taken
    except (OSError, ValueError, KeyError):  # the group has no such limit
        return _UNLIMITED


def best_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Returns `bf16-mixed` where the device computes in bfloat16 by itself, else `32-true`.

    Args:
        accelerator: Lightning's name of the device: "auto", "cpu", "gpu" or "cuda".
    """
    import torch  # noqa: PLC0415  the programs answer `--help` before torch is imported

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # torch has no public question for this. Without the instructions bfloat16 is slower than float32.
    cpu_has_bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if accelerator in ("auto", "cpu") and cpu_has_bfloat16 else "32-true"


def use_tf32(allowed: bool) -> None:
    """Sets, for the whole program, whether GPUs may multiply float32 numbers in TF32."""
    import torch  # noqa: PLC0415  the programs answer `--help` before torch is imported

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step. Other C libraries are left alone.

    By default glibc returns every large block to the system at once. A training step frees and takes the same
    blocks again and again, and the system fills their pages with zeros each time. Kept memory makes
    augmentation on the CPU two to three times as fast, and a whole step up to a half. The process then keeps
    its peak of memory. All threads share one heap, or each would keep from the others what it freed.
    """
    if _is_glibc():
        libc = ctypes.CDLL(None)
        if not libc.mallopt(_M_MMAP_THRESHOLD, _LARGE):
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BEFORE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        libc.mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Gives freed memory back to the system, before work begins that takes blocks of other sizes."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
