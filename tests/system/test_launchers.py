"""Environments of programs that start this one several times."""

from __future__ import annotations

import os

import pytest

from galaxy.system.errors import UserError
from galaxy.system.launchers import check_started_once

# A batch script, a shell of salloc and a single task: the program is started once.
ONCE = {
    "sbatch --ntasks=4": "SLURM_JOB_ID=1 SLURM_JOB_NAME=x SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0",
    "salloc -n4, srun --pty bash": "SLURM_JOB_ID=1 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
    "srun -n1": "SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
    "torchrun": "RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 TORCHELASTIC_RUN_ID=1",
    "mpirun -n1": "OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0",
    "a process of trainer=ddp": "LOCAL_RANK=1 NODE_RANK=0 WORLD_SIZE=2 MASTER_PORT=1 SLURM_PROCID=0",
    "nothing": "",
}
SEVERAL = {
    "srun": "SLURM_JOB_ID=1 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4",
    "srun, another task": "SLURM_JOB_ID=1 SLURM_NTASKS=4 SLURM_PROCID=3",
    "torchrun": "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 TORCHELASTIC_RUN_ID=1",
    "mpirun": "OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=1",
    "mpirun, MPICH": "PMI_SIZE=3 PMI_RANK=0",
    "mpirun, PMIx": "PMIX_RANK=1",
    "jsrun": "JSM_NAMESPACE_SIZE=6 JSM_NAMESPACE_RANK=0",
}


def _set(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for pair in text.split():
        monkeypatch.setenv(*pair.split("="))


@pytest.mark.parametrize("environment", ONCE.values(), ids=ONCE)
def test_a_program_that_is_started_once_may_run(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    _set(monkeypatch, environment)
    check_started_once()
    # Of torchrun's variables nothing reaches the processes that trainer=ddp starts.
    assert "RANK" not in os.environ
    assert os.environ.get("LOCAL_RANK") == ("1" if "NODE_RANK" in environment else None)


@pytest.mark.parametrize(("name", "environment"), SEVERAL.items(), ids=SEVERAL)
def test_a_program_that_is_started_several_times_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, environment: str
) -> None:
    _set(monkeypatch, environment)
    with pytest.raises(UserError, match=rf"^{name.partition(',')[0]} started this program \w+ times.*"):
        check_started_once()
