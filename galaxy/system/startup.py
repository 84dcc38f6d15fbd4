"""What lets the programs start sooner."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_SIGNAL = "scipy.signal"


def import_torchmetrics() -> None:
    """Imports torchmetrics, before Lightning does, without `scipy.signal`: a tenth of the time of a start.

    torchmetrics 1.9 imports it only to give it back a window function, for the sake of a package on speech.
    """
    if _SIGNAL in sys.modules or "torchmetrics" in sys.modules or find_spec("scipy") is None:
        return
    sys.modules[_SIGNAL] = _StandIn()
    try:
        import_module("torchmetrics")
    finally:
        _remove_stand_in()


class _StandIn(ModuleType):
    """Has that function, and fetches the real module for whatever else is asked of it."""

    hamming = None

    def __init__(self) -> None:
        super().__init__(_SIGNAL)
        self.__spec__ = find_spec(_SIGNAL)
        assert self.__spec__ is not None
        self.__path__ = self.__spec__.submodule_search_locations or []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # `inspect` asks every module for its file
            raise AttributeError(name)
        _remove_stand_in()
        return getattr(import_module(_SIGNAL), name)


def _remove_stand_in() -> None:
    if isinstance(sys.modules.get(_SIGNAL), _StandIn):
        del sys.modules[_SIGNAL]
