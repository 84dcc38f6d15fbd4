"""Signals that ask a program to stop, answered where nothing is lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C; kill, and most schedulers; Slurm's preemption (`sbatch --signal=USR1@60`).
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(BaseException):
    """The program was asked to stop.

    Attributes:
        status: What the shell expects as the exit status: 128 and the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class Interruption:
    """What has been asked, and whether an answer can wait.

    Attributes:
        deferred: While True, a first signal only sets `signum`; the code that set it calls `answer` when its
            work can be taken up again. A second signal, or any signal while False, raises at once.
        signum: The signal that waits for an answer.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.signum: int | None = None

    def raise_if_asked(self) -> None:
        """Raises if a signal waits.

        Raises:
            Interrupted: A signal came.
        """
        if self.signum is not None:
            raise Interrupted(self.signum)

    def listen(self) -> None:
        """Takes the signals; again where a library has put its own handlers in front."""
        if threading.current_thread() is threading.main_thread():  # the only one that Python gives them to
            for signum in SIGNALS:
                signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if not self.deferred or self.signum is not None:
            raise Interrupted(signum)
        self.signum = signum
        # On a line of its own, not beside the progress bar.
        print("\nStopping at the next checkpoint; once more to stop at once.", file=sys.stderr)


@contextmanager
def listening() -> Iterator[Interruption]:
    """Catches the signals of `SIGNALS` within the block; the handlers before it are put back."""
    interruption = Interruption()
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    interruption.listen()
    try:
        yield interruption
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, handler)
