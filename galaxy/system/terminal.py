"""What a person sees at a terminal: log lines, warnings and progress bars."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeVar

T_co = TypeVar("T_co", covariant=True)


class SizedIterable(Sized, Iterable[T_co], Protocol[T_co]):
    """Anything that can be walked through and has a length."""


def tracked(items: SizedIterable[T_co], description: str) -> Iterable[T_co]:
    """Yields the items and shows a progress bar, which disappears at the end.

    A file would keep a line of the bar, so the bar is shown at a terminal only.
    """
    from rich.progress import track  # noqa: PLC0415  `--help` has no time for it

    quiet = not sys.stdout.isatty()
    return track(items, description, total=len(items), transient=True, disable=quiet)


class ForConsole(logging.Filter):
    """Shows this project's records (except those marked `for_file`) and warnings of other libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether to show a record."""
        ours = record.name.startswith("galaxy.") or record.levelno >= logging.WARNING
        return ours and not getattr(record, "for_file", False)


class Console(logging.StreamHandler[TextIO]):
    """Writes log records to a standard stream. A full disk or a reader that left ends no training."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the name is logging's
        """Says nothing if the stream cannot be written to."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Lets a program run whatever its standard streams are.

    A stream may be closed, and a terminal may lack letters. The reader of the output may leave, as in
    `galaxy --help | head`, which ends the program without a traceback. So does a disk that is full.

    Raises:
        SystemExit: The reader left, and the status is the one that the signal SIGPIPE would have given. Or
            the disk that the output goes to is full.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # Python's name for a stream that is closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # a pipe without a reader reports POLLERR in any case
        if not any(events & select.POLLERR for _, events in poll.poll(0)):
            raise  # It was another pipe.
        _drop_output()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        # Files are written through `galaxy.system.files`, which explains it; what is left is the output.
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _drop_output()
        print("the output cannot be written, because its disk is full", file=sys.stderr)
        raise SystemExit(1) from None


def _drop_output() -> None:
    """Sends the standard output nowhere. Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def quieten_libraries() -> None:
    """Hides advertisements of libraries, and warnings about things that are meant to be so."""
    # "GPU available", "Tip: try installing ...", and the precision, which config.yaml holds too.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.rank_zero").setLevel(logging.WARNING)
    # "Initializing distributed: GLOBAL_RANK: 0, MEMBER: 1/2", from each process.
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
    # MLflow's experiment is made when its first run begins.
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
    for message in (
        # metrics.csv shares the run folder with everything else.
        r"Experiment logs directory .* exists and is not empty",
        # A resumed run finds its own checkpoints.
        r"Checkpoint directory .* exists and is not empty",
        # Lightning 2.6.6 with torch 2.15; Lightning's main branch has mended it.
        r".*isinstance\(treespec, LeafSpec\).* is deprecated",
        # A run in a batch script of Slurm needs no srun, nor does a sweep on the login node of a cluster.
        r"The `srun` command is available on your system but is not used",
        # The loaders gather whole batches by themselves; workers would only copy them.
        r"The '\w+' does not have many workers",
        # Metrics are summed over all processes of a distributed training before they are logged.
        r"It is recommended to use `self\.log\('\S+', \.\.\., sync_dist=True\)`",
        # torch.compile of torch 2.15 looks at the gradients of what it traces.
        r"The \.grad attribute of a Tensor that is not a leaf",
    ):
        warnings.filterwarnings("ignore", message)
