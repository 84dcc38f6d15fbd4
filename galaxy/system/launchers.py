"""Programs that start another program several times at once, such as torchrun and srun.

Processes that torchrun or srun has started train together. The first one does everything that a program does
which was started once. The others wait until its training begins. They then go on with its command line, as
the processes do that Lightning starts itself. So mistakes are said once, and all agree on one run folder.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import ClassVar

from galaxy.system.errors import UserError

# Each starter with the variables that hold the number of processes and the number of this one. Slurm sets
# SLURM_NTASKS for a batch script as well, which runs once. The order counts: srun may set variables of MPI.
_STARTERS = (
    ("torchrun", "WORLD_SIZE", "RANK"),
    ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("mpirun", "PMI_SIZE", "PMI_RANK"),
    ("mpirun", "PMIX_SIZE", "PMIX_RANK"),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),
)
# What torchrun and srun also say.
_TORCHRUN = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SRUN = (
    *("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST"),
    *("SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
)
_GATHERING = timedelta(minutes=5)  # Tasks may import torch from a busy disk.
_PATIENCE = 10.0  # Seconds in which the others notice that the first process ends.
_GLANCE = 0.1


class Group:
    """The processes of this program that torchrun or srun has started together.

    Attributes:
        current: The group of this process; None if it was started once.
        starter: The name of the launcher.
        rank: The number of this process; the first one has 0.
        size: The number of processes.
        per_machine: Their number on each machine.
    """

    current: ClassVar[Group | None] = None

    def __init__(self, starter: str) -> None:
        """Meets the other processes.

        Raises:
            UserError: There are not equally many on each machine, or they cannot reach each other.
        """
        from torch.distributed import PrefixStore, rendezvous  # noqa: PLC0415  `--help` has no time for it

        self.starter = starter
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.per_machine = _number("LOCAL_WORLD_SIZE") or 0
        if not self.per_machine or self.size % self.per_machine:
            raise self.refusal("but not equally many on each machine, which trainer=ddp needs")
        try:
            # Lightning will meet the others at the same place.
            store, _, _ = next(rendezvous("env://", timeout=_GATHERING))
        except (RuntimeError, ValueError) as error:
            place = f"MASTER_ADDR={os.environ['MASTER_ADDR']} MASTER_PORT={os.environ['MASTER_PORT']}"
            reason = str(error).partition("\n")[0]
            raise self.refusal(f"which cannot meet at {place} (set others): {reason}") from None
        self._store = PrefixStore("galaxy", store)

    @property
    def machines(self) -> int:
        """The number of machines."""
        return self.size // self.per_machine

    def refusal(self, reason: str) -> UserError:
        """Returns the error that the processes cannot work together."""
        return UserError(f"{self.starter} started this program {self.size} times, {reason}")

    def call(self, arguments: Sequence[str]) -> None:
        """Gives the others, who wait in `called`, the command line that they go on with."""
        self._store.set("arguments", json.dumps(arguments))

    def called(self) -> list[str]:
        """Waits for the first process, and returns the command line that it calls this one with.

        Raises:
            SystemExit: The first process has ended without a training that takes several.
        """
        while not self._said("arguments"):
            if self._said("status"):
                self._follow()
            time.sleep(_GLANCE)
        arguments: list[str] = json.loads(self._store.get("arguments"))
        return [*arguments, f"hydra.job.name=train_ddp_process_{self.rank}"]  # Lightning's name

    def leave(self, status: int) -> None:
        """Ends all processes with the status of the first.

        A further process that failed waits ten seconds for it. A launcher may kill all processes as soon as
        one fails, even while another writes a file.

        Args:
            status: The exit status that this process has by itself.

        Raises:
            SystemExit: The first process has ended, and this one ends with the same status.
        """
        if self.rank == 0:
            with suppress(RuntimeError):  # some are gone already, or torchrun is
                self._store.set("status", str(status))
                left = [f"left/{rank}" for rank in range(1, self.size)]
                self._store.wait(left, timedelta(seconds=_PATIENCE))
            return
        started = time.monotonic()
        while not self._said("status"):
            if status != 0 and time.monotonic() - started > _PATIENCE:
                return
            time.sleep(_GLANCE)
        self._follow()

    def _follow(self) -> None:
        status = int(self._store.get("status"))
        self._store.set(f"left/{self.rank}", "")  # The first process, which holds the store, may now end.
        sys.exit(status)

    def _said(self, key: str) -> bool:
        try:
            return bool(self._store.check([key]))
        except RuntimeError:  # The first process, or torchrun, is gone without a word.
            sys.exit(1)


@contextmanager
def together() -> Iterator[None]:
    """Makes the processes of a group end together, with the exit status of the first one."""
    status = 1
    try:
        yield
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    finally:
        if Group.current is not None:
            Group.current.leave(status)


def join_group() -> Group | None:
    """Joins the processes that a launcher has started; returns None if this program was started once.

    Raises:
        UserError: The launcher is unknown, or its processes cannot work together. Each of them says so,
            because it cannot wait for the first one.
    """
    for starter, size, rank in _STARTERS:
        number, processes = _number(rank), _number(size)
        if number is None or (number == 0 and processes in (None, 1)):
            continue
        started = f"{starter} started this program {processes or 'several'} times"
        known = {"torchrun": _TORCHRUN, "srun": _SRUN}.get(starter)
        if known is None:
            raise UserError(
                f"{started}, and each would work by itself: start it once, or use torchrun or srun with "
                "trainer=ddp"
            )
        if missing := [name for name in known if name not in os.environ]:
            raise UserError(
                f"{started}, but did not set {', '.join(missing)}, by which the processes find each other: "
                "start it by torchrun or srun themselves, or set these"
            )
        if starter == "srun":
            _translate()
        Group.current = Group(starter)
        return Group.current
    # A single process of torchrun would hand these on to those that trainer=ddp starts.
    if "RANK" in os.environ:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)
    return None


def _translate() -> None:
    """Translates the variables of srun into those of torchrun, which torch and Lightning read.

    Lightning's `SLURMEnvironment` demands --ntasks-per-node, and answers SIGUSR1 by a checkpoint of its own.
    """
    from lightning.fabric.plugins.environments import SLURMEnvironment  # noqa: PLC0415  as above

    nodes, job = os.environ["SLURM_STEP_NODELIST"], os.environ["SLURM_JOB_ID"] + os.environ["SLURM_STEP_ID"]
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        # Slurm writes 2(x3) for three machines with two tasks each. Where they differ, it writes 2(x3),1,
        # which remains no number.
        "LOCAL_WORLD_SIZE": re.sub(r"\(x\d+\)", "", os.environ["SLURM_STEP_TASKS_PER_NODE"]),
        "GROUP_RANK": os.environ["SLURM_NODEID"],
    }
    alone = os.environ["SLURM_STEP_NUM_NODES"] == "1"  # The name of a machine need not lead anywhere.
    first = "127.0.0.1" if alone else SLURMEnvironment.resolve_root_node_address(nodes)
    os.environ.setdefault("MASTER_ADDR", first)
    # A port of this step's own, below those that Linux gives away by itself.
    os.environ.setdefault("MASTER_PORT", str(15000 + int(job[-4:])))


def _number(variable: str) -> int | None:
    """Returns the whole number in a variable of the environment; None if there is none."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else None
