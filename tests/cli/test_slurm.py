"""Jobs that a real Slurm runs, stops and queues again end as those of any other sweep."""

import getpass
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from galaxy.reports.search import read_search
from galaxy.runs.folder import RunFolder
from tests.conftest import PROJECT, Command
from tests.docs.pages import PAGES
from tests.helpers import slurm_cluster
from tests.runs.test_resume import same_runs

SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"]
# Training takes some seconds, and can be stopped after any epoch.
LONG = ["trainer.max_epochs=60", "~callbacks.early_stopping", "callbacks.last.max_overhead=1"]
STARTED: list[subprocess.Popen[str]] = []
SCRIPTS = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", PAGES["docs/clusters.md"], re.DOTALL)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """The configuration of a Slurm with two cores, which ends with the tests."""
    if missing := slurm_cluster.missing():
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}")
    with slurm_cluster.running() as conf:
        yield conf


@pytest.fixture
def slurm(cluster: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Calls a command of Slurm, and returns what it says. The working folder is an empty one."""
    monkeypatch.setenv("SLURM_CONF", str(cluster))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.chdir(tmp_path)
    yield lambda *words: subprocess.check_output(words, text=True).strip()
    for process in STARTED:
        with process:  # which closes its output
            process.kill()
    STARTED.clear()
    subprocess.run(["scancel", f"--user={getpass.getuser()}"], check=True)


def start(*arguments: str, program: tuple[str, ...] = ("-m", "galaxy", "train")) -> subprocess.Popen[str]:
    words = [sys.executable, *program, *arguments]
    STARTED.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return STARTED[-1]


def finished(sweep: subprocess.Popen[str], status: int = 0) -> str:
    """Waits for a program, and returns what it has said."""
    said, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == status, said
    assert "Traceback" not in said, said
    assert "Warning" not in said, said
    return said


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def table(folder: Path) -> pd.DataFrame:
    """The figures of a sweep that do not depend on the speed and the folder."""
    return pd.read_csv(folder / "comparison.csv").drop(columns=["seconds", "images_per_second", "run"])


@pytest.mark.slow
@pytest.mark.parametrize("program", [("-m", "galaxy", "train"), (str(PROJECT / "train.py"),)])
def test_a_sweep_by_slurm_ends_with_the_table_of_a_sweep_in_a_row(
    command: Command, quick: list[str], slurm: Callable[..., str], tmp_path: Path, program: tuple[str, ...]
) -> None:
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: tests.helpers.own_model.OwnModel\n")
    sweep = ["-m", "--config-dir", str(own.parent), *quick, "model=mean,mine", "seed=0,1"]
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/row") == 0
    said = finished(start(*sweep, *SLURM, "hydra.sweep.dir=by slurm", program=program))
    assert "Submitted 3 jobs to Slurm as " in said
    assert len(table(tmp_path / "row")) == 3
    pd.testing.assert_frame_equal(table(tmp_path / "row"), table(tmp_path / "by slurm"), check_exact=True)
    again = finished(start("resume=by slurm", "trust=[tests]", program=program))
    assert "Submitted" not in again  # nothing is missing
    (own / "mine.yaml").write_text("_target_: tests.helpers.own_model.OwnModel\nfrozen_epochs: 1\n")
    other = finished(start(*sweep, *SLURM, "hydra.sweep.dir=by slurm", program=program), 1)
    assert "holds a run of another configuration" in other  # as with any launcher


@pytest.mark.slow
def test_jobs_that_were_cancelled_or_queued_again_end_as_if_they_were_not(
    command: Command, quick: list[str], slurm: Callable[..., str], tmp_path: Path
) -> None:
    sweep = start("-m", *quick, *LONG, "seed=0,1,2", *SLURM, f"hydra.sweep.dir={tmp_path}/sweep")
    runs = [RunFolder(tmp_path / "sweep" / f"{seed}-seed={seed}") for seed in range(3)]
    # The last task of an array has the array's own number as SLURM_JOB_ID.
    ways = (["scancel"], ["scontrol", "requeue"], ["scancel", "--signal=USR2"])
    for number, way in enumerate(ways):
        until(runs[number].last.exists)
        array = slurm("squeue", "--noheader", "--array", "--format=%F").split()[0]
        slurm(*way, f"{array}_{number}")
    said = finished(sweep, 1)
    assert f"Slurm ended 1 of 3 jobs before they were over: {array}_0" in said
    assert "1 of 3 jobs did not finish" in said
    assert [run.result().status for run in runs] == ["interrupted", "done", "done"]
    assert [len(run.meta().get("resumed", [])) for run in runs] == [0, 1, 1]
    said = finished(start(f"resume={tmp_path}/sweep"))
    assert "Submitted 1 job to Slurm" in said
    for seed, run in enumerate(runs):
        whole = RunFolder(tmp_path / f"whole{seed}")
        assert command("train.py", *quick, *LONG, f"seed={seed}", f"hydra.run.dir={whole.path}") == 0
        same_runs(whole, run)


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["low", "grace"])
def test_a_job_that_is_preempted_goes_on(
    command: Command, quick: list[str], slurm: Callable[..., str], tmp_path: Path, partition: str
) -> None:
    place = [f"hydra.launcher.partition={partition}", f"hydra.sweep.dir={tmp_path}/sweep"]
    sweep = start("-m", *quick, *LONG, "seed=0", *SLURM, *place)
    run, whole = RunFolder(tmp_path / "sweep" / "0"), RunFolder(tmp_path / "whole")
    until(run.last.exists)
    slurm("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true")
    finished(sweep)
    assert len(run.meta()["resumed"]) == 1
    assert command("train.py", *quick, *LONG, "seed=0", f"hydra.run.dir={whole.path}") == 0
    same_runs(whole, run)


@pytest.mark.slow
def test_jobs_outlive_a_sweep_that_was_killed_and_ctrl_c_cancels_them(
    quick: list[str], slurm: Callable[..., str], tmp_path: Path
) -> None:
    endless = ["trainer.max_epochs=100000", "~callbacks.early_stopping", "callbacks.last.max_overhead=1"]
    sweep = start("-m", *quick, *endless, "seed=0,1,2", *SLURM, f"hydra.sweep.dir={tmp_path}/sweep")
    lasts = [tmp_path / "sweep" / f"{seed}-seed={seed}" / "checkpoints" / "last.ckpt" for seed in (0, 1)]
    until(lambda: all(last.exists() for last in lasts))
    sweep.kill()
    again = start(f"resume={tmp_path}/sweep", "hydra/launcher=submitit_slurm")
    assert again.stdout is not None
    until(lambda: "Waiting for the jobs of an earlier start" in again.stdout.readline())
    states = slurm("squeue", "--noheader", "--array", "--format=%T").split()
    assert sorted(states) == ["PENDING", "RUNNING", "RUNNING"]
    again.send_signal(signal.SIGINT)
    said = finished(again, 128 + signal.SIGINT)
    assert "3 of 3 jobs did not finish, 1 of which did not begin" in said
    assert slurm("squeue", "--noheader") == ""
    assert {RunFolder(last.parent.parent).result().status for last in lasts} == {"interrupted"}


@pytest.mark.slow
def test_what_slurm_refuses_is_said_in_its_words(slurm: Callable[..., str], quick: list[str]) -> None:
    sweep = ["-m", *quick, "model=mean", "hydra.sweep.dir=sweep", *SLURM]
    said = finished(start(*sweep, "hydra.launcher.partition=nowhere"), 1)
    assert "Slurm refuses the jobs: invalid partition specified: nowhere" in said
    assert len(said.splitlines()) == 1
    many = [argument for argument in sweep if argument != "model=mean"] + ["model=deep_cnn", "seed=range(30)"]
    assert "hydra.sweeper.max_batch_size" in finished(start(*many), 1)
    assert finished(start("-m", *quick, "model=mean", "hydra.sweep.dir=sweep"))
    said = finished(start(*sweep, "model=mean,mlp", "hydra.launcher.partition=nowhere"), 1)
    assert "1 of 2 jobs did not finish" in said  # the table shows what was there


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a script of the page; its jobs have one core, and `galaxy` in it further settings."""

    def written(number: int, *settings: str) -> str:
        program = tmp_path / "bin" / "galaxy"
        program.parent.mkdir()
        program.write_text(f'#!/bin/bash\nexec {sys.executable} -m galaxy "$@" {shlex.join(settings)}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        (tmp_path / "job.sh").write_text(SCRIPTS[number].replace("cpus-per-task=2", "cpus-per-task=1"))
        return "job.sh"

    return written


@pytest.mark.slow
def test_the_script_of_an_array_runs_each_line_and_goes_on_after_a_signal(
    command: Command, quick: list[str], slurm: Callable[..., str], script: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "jobs.txt").write_text("model=mean\nmodel=deep_cnn seed=0\nmodel=deep_cnn seed=1\n")
    array = slurm("sbatch", "--parsable", script(0, *(o for o in quick if o != "model=deep_cnn"), *LONG))
    runs = [RunFolder(tmp_path / "runs" / "array" / str(number)) for number in (1, 2, 3)]
    # The last task has the array's own number as SLURM_JOB_ID.
    for number in (2, 3):
        until(runs[number - 1].last.exists)
        slurm("scancel", "--signal=USR1", f"{array}_{number}")
    until(lambda: not slurm("squeue", "--noheader"))
    assert [run.result().status for run in runs] == ["done", "done", "done"]
    assert [len(run.meta().get("resumed", [])) for run in runs] == [0, 1, 1]
    for seed, run in enumerate(runs[1:]):
        whole = RunFolder(tmp_path / f"whole{seed}")
        assert command("train.py", *quick, *LONG, f"seed={seed}", f"hydra.run.dir={whole.path}") == 0
        same_runs(whole, run)


@pytest.mark.slow
def test_the_script_of_a_search_runs_its_trials_in_several_jobs(
    quick: list[str], slurm: Callable[..., str], script: Callable[..., str], tmp_path: Path
) -> None:
    slurm("sbatch", "--wait", script(1, *quick, "hydra.sweeper.n_trials=6"))
    found = read_search(tmp_path / "runs" / "search")
    assert found is not None
    assert sorted(trial.number for trial in found.trials) == [*range(6)]
    assert finished(start("runs/search", program=("-m", "galaxy", "compare")))


@pytest.mark.parametrize("key", ["hydra.launcher.nodes", "hydra.launcher.tasks_per_node"])
def test_a_job_of_a_sweep_is_not_started_several_times(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
) -> None:
    monkeypatch.setattr("galaxy.config.launcher.shutil.which", lambda _: "somewhere")
    sweep = ["-m", *quick, *SLURM, f"{key}=2", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert command("train.py", *sweep) == 2
    assert f"{key} is 2; it must be 1" in capsys.readouterr().err


@pytest.mark.parametrize("lacking", ["sbatch", "submitit"])
def test_what_a_machine_lacks_is_said_before_anything_starts(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lacking: str,
) -> None:
    for name, what in (("shutil.which", "sbatch"), ("find_spec", "submitit")):
        found = None if lacking == what else "somewhere"
        monkeypatch.setattr(f"galaxy.config.launcher.{name}", lambda _, found=found: found)
    assert command("train.py", "-m", *quick, *SLURM, f"hydra.sweep.dir={tmp_path}/sweep") == 2
    said = capsys.readouterr().err
    assert ("start it on a login node" if lacking == "sbatch" else "galaxy-morphology[slurm]") in said
    assert not (tmp_path / "sweep").exists()
