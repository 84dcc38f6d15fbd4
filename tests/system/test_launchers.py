"""Environments of programs that start this one several times."""

from __future__ import annotations

import os

import pytest

from galaxy.system import launchers
from galaxy.system.errors import UserError
from galaxy.system.launchers import join_group

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
TORCHRUN = "RANK=1 LOCAL_RANK=1 WORLD_SIZE=4 LOCAL_WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1"
SRUN = (
    "SLURM_JOB_ID=123 SLURM_STEP_ID=0 SLURM_PROCID=3 SLURM_LOCALID=1 SLURM_NODEID=1 SLURM_STEP_NUM_TASKS=4 "
    "SLURM_STEP_NUM_NODES=2 SLURM_STEP_TASKS_PER_NODE=2(x2) SLURM_STEP_NODELIST=node[05-06]"
)
REFUSED = {
    "mpirun": "OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=1",
    "mpirun, MPICH": "PMI_SIZE=3 PMI_RANK=0",
    "mpirun, PMIx": "PMIX_RANK=1",
    "mpirun, with its srun": f"{SRUN} OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=1",
    "jsrun": "JSM_NAMESPACE_SIZE=6 JSM_NAMESPACE_RANK=0",
    "torchrun, or what is like it": "RANK=0 WORLD_SIZE=2",
    "srun, of another time": "SLURM_PROCID=3",
}


def _set(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Sets these variables, and forgets what a test adds to them."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for pair in text.split():
        name, value = pair.split("=")
        os.environ[name] = value


@pytest.mark.parametrize("environment", ONCE.values(), ids=ONCE)
def test_a_program_that_is_started_once_may_run(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    _set(monkeypatch, environment)
    assert join_group() is None
    # Of torchrun's variables nothing reaches the processes that trainer=ddp starts.
    assert "RANK" not in os.environ
    assert os.environ.get("LOCAL_RANK") == ("1" if "NODE_RANK" in environment else None)


@pytest.mark.parametrize(("name", "environment"), REFUSED.items(), ids=REFUSED)
def test_a_program_that_is_started_several_times_in_another_way_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, environment: str
) -> None:
    _set(monkeypatch, environment)
    with pytest.raises(UserError, match=rf"^{name.partition(',')[0]} started this program \w+ times.*"):
        join_group()


def test_what_a_launcher_should_have_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, "RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=a MASTER_PORT=1")
    with pytest.raises(UserError, match="did not set LOCAL_WORLD_SIZE,"):
        join_group()


@pytest.mark.parametrize("environment", [TORCHRUN, f"{SRUN} PMIX_RANK=3", f"{TORCHRUN} {SRUN}"])
def test_processes_of_torchrun_and_srun_are_one_group(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    _set(monkeypatch, environment)
    monkeypatch.setattr(launchers, "Group", lambda starter: starter)
    of_torchrun = environment.startswith(TORCHRUN)
    assert join_group() == ("torchrun" if of_torchrun else "srun")
    expected = TORCHRUN
    if not of_torchrun:
        expected = "RANK=3 LOCAL_RANK=1 WORLD_SIZE=4 LOCAL_WORLD_SIZE=2 MASTER_ADDR=node05 MASTER_PORT=16230"
    for pair in expected.split():
        name, value = pair.split("=")
        assert os.environ[name] == value, name


UNEVEN = ["3(x2),1", "2(x2),1(x2)", "1(x2),2", "2(x2),4", "2,1"]


@pytest.mark.parametrize(
    "environment",
    [*(SRUN.replace("2(x2)", tasks) for tasks in UNEVEN), TORCHRUN.replace("LD_SIZE=4", "LD_SIZE=5")],
)
def test_machines_with_different_numbers_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    _set(monkeypatch, environment)
    with pytest.raises(UserError, match="not equally many on each machine"):
        join_group()
