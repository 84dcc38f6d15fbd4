"""Programs that start another program several times at once, such as srun and torchrun."""

from __future__ import annotations

import os

from galaxy.system.errors import UserError

# Each starter with the variables that hold the number of processes and the number of this one, and with what
# to write instead. Slurm sets SLURM_NTASKS for a batch script as well, which runs once.
_STARTERS = (
    ("torchrun", "WORLD_SIZE", "RANK", "start it with python"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "use srun --ntasks=1 --cpus-per-task=CORES, or no srun"),
    ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "start it without mpirun"),
    ("mpirun", "PMI_SIZE", "PMI_RANK", "start it without mpirun"),
    ("mpirun", "PMIX_SIZE", "PMIX_RANK", "start it without mpirun"),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK", "use jsrun --nrs 1"),
)


def check_started_once() -> None:
    """Refuses to run where a launcher has started this program several times.

    Every process would do the whole work, and all of them would write one folder. `trainer=ddp` starts its
    further processes by itself; Lightning gives those LOCAL_RANK and not RANK.

    Raises:
        UserError: This is one of several processes. Each of them says so, because a launcher may end the
            others when the first one fails.
    """
    for starter, count, number, remedy in _STARTERS:
        rank, processes = _number(number), _number(count)
        if rank is None or (rank == 0 and processes in (None, 1)):
            continue
        raise UserError(
            f"{starter} started this program {processes or 'several'} times, and each would work by itself: "
            f"{remedy}; trainer=ddp starts a process for each GPU of the machine by itself"
        )
    # A single process of torchrun would hand these on to those that trainer=ddp starts.
    if "RANK" in os.environ:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)


def _number(variable: str) -> int | None:
    """Returns the whole number in a variable of the environment; None if there is none."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else None
