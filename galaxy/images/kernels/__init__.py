"""The slowest steps of work on images, compiled by Numba.

Those of cropping answer as OpenCV does, to the last bit, in a third of its time; the warp of a batch as torch
does, up to rounding, in a quarter.

What a crop looks for is found in one call, for at the end of each a thread may wait for Python's lock.
Compiling takes some seconds, once on a machine: Numba keeps the result beside these files, or in the user's
cache.

Indices are unsigned where it counts: to signed ones Numba adds a test for those that count from the end.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galaxy.images.kernels.averages import shrink
    from galaxy.images.kernels.colours import grey
    from galaxy.images.kernels.components import largest_box
    from galaxy.images.kernels.contours import central_contour
    from galaxy.images.kernels.warps import warped

__all__ = ["central_contour", "grey", "largest_box", "shrink", "warped"]

_FILES = {
    "central_contour": "contours",
    "grey": "colours",
    "largest_box": "components",
    "shrink": "averages",
    "warped": "warps",
}


def __getattr__(name: str) -> Any:
    """Imports a step when it is first taken: not every run needs them and Numba."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    step = globals()[name] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    return step
