"""How the steps are compiled."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

from galaxy.system.errors import UserError

# An option: a product and a sum in one step of the processor, rounded once.
FMA = {"contract"}

F = TypeVar("F", bound=Callable[..., Any])


def compiled(signature: str, **options: Any) -> Callable[[F], F]:
    """Compiles a function, or takes it from Numba's store; threads can be in it at once.

    Args:
        signature: Of the function, in Numba's words.
        **options: Further ones of `numba.njit`.

    Raises:
        UserError: There is no folder to keep the result in.
    """

    def decorate(function: F) -> F:
        function.__qualname__ += f"_{_digest()}"
        try:
            result: Any = njit(signature, nogil=True, cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            raise UserError(
                "Compiled functions can be kept neither beside the package nor in the home folder: name a "
                "folder that can be written, such as NUMBA_CACHE_DIR=/tmp/numba python train.py ..."
            ) from error
        return cast(F, result)

    return decorate


def _digest() -> str:
    """Of all files here, as they are now.

    Numba's store notices when a function's own file has changed, but not when that of a function it calls
    has: so functions are stored under names that change with any of these files. What was stored under other
    names stays.
    """
    digest = blake2b(digest_size=8)
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):  # not what editors leave beside them
        digest.update(file.read_bytes())
    return digest.hexdigest()
