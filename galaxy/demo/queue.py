"""A thread that works for all visitors, and queues of few places before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


class BusyError(Exception):
    """All places of a queue are taken."""


class Queue:
    """A queue before a thread. Only the event loop may use it.

    Args:
        places: How many visitors may wait or be served at a time, 1 or more.
        thread: The thread; several queues may lead to it.
    """

    def __init__(self, places: int, thread: ThreadPoolExecutor) -> None:
        self._free = places
        self._thread = thread

    @contextmanager
    def place(self) -> Iterator[Callable[..., Awaitable[Any]]]:
        """Holds a place; yields a function that calls another one in the thread.

        Raises:
            BusyError: There is no place.
        """
        if not self._free:
            raise BusyError
        self._free -= 1
        try:
            yield self._call
        finally:
            self._free += 1

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
