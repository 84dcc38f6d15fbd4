"""Signals that ask a program to stop, answered where nothing is lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# They come from Ctrl-C, from `kill` and most schedulers, and from Slurm before a job reaches its time limit
# (`sbatch --signal=USR1@60`; submitit asks for USR2).
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(BaseException):
    """The program was asked to stop.

    Attributes:
        status: The exit status that a shell expects: 128 plus the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)  # so that a job in another process can hand it on
        self.status = 128 + signum

    def __str__(self) -> str:
        return signal.Signals(self.args[0]).name


class Interruption:
    """Notes the signals that ask the program to stop, and decides when they stop it.

    Attributes:
        deferred: While it is True, a first signal only sets `signum`. The code that set `deferred` raises
            `Interrupted` when its work can be taken up again. A second signal raises at once, and so does any
            signal while `deferred` is False.
        silent: While it is True, nothing is said of a signal that waits, because another process does so.
        signum: The number of the signal that waits.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.silent = False
        self.signum: int | None = None

    def raise_if_asked(self) -> None:
        """Raises if a signal waits.

        Raises:
            Interrupted: A signal came.
        """
        if self.signum is not None:
            raise Interrupted(self.signum)

    def listen(self) -> None:
        """Makes this object receive the signals.

        It is called again after a library has put its own handlers in front.
        """
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other thread
            for signum in SIGNALS:
                signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if not self.deferred or self.signum is not None:
            raise Interrupted(signum)
        self.signum = signum
        if not self.silent:
            # The empty line keeps the message apart from the progress bar.
            print("\nStopping at the next checkpoint; once more to stop at once.", file=sys.stderr)


@contextmanager
def listening() -> Iterator[Interruption]:
    """Catches the signals of `SIGNALS` within the block, and restores the handlers after it."""
    interruption = Interruption()
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    interruption.listen()
    try:
        yield interruption
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, handler)
