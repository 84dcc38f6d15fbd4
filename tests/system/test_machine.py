"""Memory that is kept, and given back when asked."""

import platform
import subprocess
import sys

import pytest

CODE = """
import numpy as np, psutil
from galaxy.system.machine import keep_freed_memory, return_freed_memory

def resident():
    return psutil.Process().memory_info().rss

if {keep}:
    keep_freed_memory()
before = resident()
block = np.ones(100_000_000, np.uint8)
taken = resident()
del block
freed = resident()
return_freed_memory()
print(taken - before, freed - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_kept_until_it_is_returned(keep: bool) -> None:
    command = [sys.executable, "-c", CODE.format(keep=keep)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    taken, freed, returned = map(int, out.split())
    assert taken > 90_000_000
    assert (freed > 90_000_000) == keep
    assert returned < 10_000_000
