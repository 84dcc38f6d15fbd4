"""Keeps the memory that one step frees for the next one."""

from __future__ import annotations

import ctypes
import platform

# The parameters of glibc's mallopt(3). Blocks of 1 GiB still go back at once: few steps have them, and others
# may need the memory. Before version 2.35 glibc refuses more than 32 MiB.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE, _LARGE_BEFORE = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Tells glibc not to return freed memory to the system, and does nothing where there is no glibc.

    By default it returns every large block at once, and a step of training, which frees and takes the same
    blocks again and again, spends its time on pages that the system fills with zeros: augmentation on the CPU
    is two to three times as fast without, a whole step up to a half. A process keeps its peak of memory.
    All threads share one heap, or each would keep what it freed from the others.
    """
    if _is_glibc():
        libc = ctypes.CDLL(None)
        if not libc.mallopt(_M_MMAP_THRESHOLD, _LARGE):
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BEFORE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        libc.mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Gives back what is free, before work begins whose blocks have other sizes."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
