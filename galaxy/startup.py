"""What lets the programs start sooner."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_SIGNAL = "scipy.signal"


def import_torchmetrics() -> None:
    """Imports torchmetrics, before Lightning does, without `scipy.signal`: a tenth of the time of a start.

    torchmetrics 1.9 imports it only to give it back a window function, for the sake of a package on speech.
    """
    if _SIGNAL in sys.modules or "torchmetrics" in sys.modules:
        return
    sys.modules[_SIGNAL] = _StandIn(_SIGNAL)
    try:
        import_module("torchmetrics")
    finally:
        _remove_stand_in()


class _StandIn(ModuleType):
    """Has that function, and fetches the real module for whatever else is asked of it."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `inspect` asks every module for its file
            raise AttributeError(name)
        _remove_stand_in()
        return getattr(import_module(_SIGNAL), name)


def _remove_stand_in() -> None:
    if isinstance(sys.modules.get(_SIGNAL), _StandIn):
        del sys.modules[_SIGNAL]
