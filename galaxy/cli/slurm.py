"""A sweep whose jobs Slurm runs: submit what is missing, wait for its end, queue again what was stopped.

submitit waits by `sacct`, which needs an accounting database, and the plugin's launcher gives up on all jobs
if one of them was cancelled. This one asks `squeue`. What the jobs have found is read from their run folders.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from omegaconf import open_dict
from rich.console import Console
from submitit import AutoExecutor, Job
from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import UncompletedJobError

from galaxy.cli.sweep import Sweep
from galaxy.config.launcher import quieten_hydra
from galaxy.config.overrides import key_of
from galaxy.runs.folder import find_runs
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interrupted
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

# Seconds between two looks at the queue: a tenth of the time that has passed, within these bounds. The
# controller of a large cluster wants few.
_SHORTEST, _LONGEST = 1.0, 30.0
# Seconds that NFS has to show the files of another machine.
_ARRIVAL = 5.0


class SlurmJobs(SlurmLauncher):
    """Runs the jobs of a sweep by Slurm. Slurm's processes call a pickle of this object, once for each job.

    Args:
        **params: The settings in conf/hydra/launcher/submitit_slurm.yaml.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Runs what is missing to its end, once no job of an earlier start is left in the queue.

        Raises:
            UserError: Slurm refuses the jobs, or a setting cannot be written into the script for sbatch.
            Interrupted: The program was asked to stop. The jobs are cancelled.
        """
        sweep = Path(self.config.hydra.sweep.dir)
        queue = Queue(Path(self.params["submitit_folder"]).resolve())
        try:
            # A folder that is resumed sets some of these, and a new line would be a command in the script.
            if broken := [key for key, value in self.params.items() if not str(value).isprintable()]:
                raise UserError(f"hydra.launcher.{broken[0]} must be one line of text")
            if earlier := queue.jobs():
                print(f"Waiting for the jobs of an earlier start: Slurm's {_listed(earlier)}")
                queue.wait(len(earlier))
            jobs = dict(enumerate(job_overrides, initial_job_idx))
            ends = self._finished(jobs, sweep)
            missing = {number: job for number, job in jobs.items() if number not in ends}
            submitted = self._submit(queue.folder, missing)
            queue.wait(len(missing))
        except UserError:
            if not any(sweep.rglob("overrides.yaml")):
                Sweep.folder = None  # There is nothing to show.
            raise
        except Interrupted:
            queue.cancel()
            raise
        if ended := _ended(submitted):
            some = " ".join(ended[:10]) + " ..." * (len(ended) > 10)
            print(f"Slurm ended {len(ended)} of {len(missing)} jobs before they were over: {some}")
        for number, job in zip(missing, submitted, strict=True):
            ends[number] = JobReturn(overrides=missing[number], status=JobStatus.COMPLETED)
            if error := _error(job):
                ends[number].status, ends[number].return_value = JobStatus.FAILED, UserError(error)
        return [ends[number] for number in jobs]

    def _finished(self, jobs: dict[int, Sequence[str]], sweep: Path) -> dict[int, JobReturn]:
        """Runs those jobs here that are over: they only refuse another configuration than was run."""
        setup_globals()
        over, ends = _over(sweep), {}
        known, hydra = {*over.values()}, HydraConfig.instance()
        of_sweep = hydra.cfg
        for number, job in jobs.items():
            if _recorded(job) not in known:
                continue
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
            with open_dict(config.hydra.job):
                config.hydra.job.id = config.hydra.job.num = number
            hydra.set_config(config)  # for `${hydra:...}` in the name of the folder
            if sweep / config.hydra.sweep.subdir in over:
                ends[number] = run_job(
                    hydra_context=self.hydra_context,
                    task_function=self.task_function,
                    config=config,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
                configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        hydra.cfg = of_sweep
        return ends

    def _submit(self, parent: Path, jobs: dict[int, Sequence[str]]) -> list[Job[str]]:
        """Hands jobs to Slurm, by their numbers in the sweep."""
        if not jobs:
            return []
        # A folder of its own: a stranger's sweep may hold pickles, and none but our own may be read.
        folder = parent / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
        folder.mkdir(parents=True)
        executor = self._executor(folder)
        state = Singleton.get_state()
        arguments = [(list(o), "hydra.sweep.dir", n, f"job_id_for_{n}", state) for n, o in jobs.items()]
        # The processes find what this program was started with.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(sys.path[0]).absolute()), *_python_path()])
        self.command_line = sys.argv
        try:
            with redirect_stderr(io.StringIO()):  # submitit would print there what it raises
                submitted: list[Job[str]] = executor.map_array(self, *zip(*arguments, strict=True))
        except UncompletedJobError as error:  # sbatch failed
            shutil.rmtree(folder)
            raise UserError(_refusal(str(error))) from None
        numbers = f"{len(jobs)} job{'s' * (len(jobs) > 1)}"
        print(
            f"Submitted {numbers} to Slurm as {_listed(job.job_id for job in submitted)}\n"
            f"What they say is in {folder}/*_log.out\n"
            f"Their progress: galaxy compare {shlex.quote(str(parent.parent))} --watch\n"
            "Ctrl-C cancels them; they go on if this program is killed or loses its terminal"
        )
        return submitted

    def _executor(self, folder: Path) -> AutoExecutor:
        settings = {key: value for key, value in self.params.items() if key != "submitit_folder"}
        executor = AutoExecutor(
            folder, cluster="slurm", slurm_max_num_timeout=settings.pop("max_num_timeout")
        )
        shared = {field.name for field in fields(BaseQueueConf)}
        if settings["cpus_per_task"] is not None:  # since Slurm 22.05, srun does not take it over from sbatch
            own = settings.get("srun_args") or []
            settings["srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}", *own]
        executor.update_parameters(
            **{key if key in shared else f"slurm_{key}": value for key, value in settings.items()}
        )
        return executor

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """Runs one job, in a process of Slurm.

        Returns:
            What the run folder does not say: why the job could not begin. Empty if it has begun.
        """
        quieten_hydra()
        sys.argv = self.command_line  # for the record in meta.json
        try:
            super().__call__(*args, **kwargs).return_value  # noqa: B018  It raises what the job has raised.
        except UserError as error:
            return str(error)
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
        except Interrupted as stop:
            print(f"Stopped by {stop}", file=sys.stderr)
            if _is_running():
                # The time limit is near, or Slurm has only announced to preempt the job: by itself it would
                # not queue a job again that ends before it is killed. submitit's handler does so.
                try:
                    signal.raise_signal(JobEnvironment._usr_sig())
                except UncompletedJobError as error:
                    return f"{error} hydra.launcher.timeout_min and hydra.launcher.max_num_timeout set both."
            raise SystemExit(stop.status) from None
        return ""


class Queue:
    """The jobs of a sweep that Slurm has not ended.

    Args:
        folder: The folder of the sweep's scripts, without links. It tells the jobs of the sweep from others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def jobs(self) -> dict[str, str]:
        """Lists the states of jobs by their ids, such as 12_3 for the fourth one of an array.

        Raises:
            UserError: Slurm does not answer.
        """
        lines = _slurm("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%o").splitlines()
        jobs = [line.split("|", 2) for line in lines]
        scripts = {script for *_, script in jobs}
        own = {script for script in scripts if Path(script).resolve().is_relative_to(self.folder)}
        return {job: state for job, state, script in jobs if script in own}

    def wait(self, count: int) -> None:
        """Waits until no job is left, and shows how many of `count` are over."""
        started, said = time.monotonic(), ""
        with Console().status("") as status:  # At a terminal only.
            while True:
                try:
                    states = Counter(self.jobs().values())
                except UserError:  # The controller is busy. The jobs run on without it.
                    states = Counter(unknown=count)
                if not states:
                    return
                known = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
                line = f"Slurm: {max(count - states.total(), 0)} of {count} jobs over, {known}"
                status.update(line)
                if line != said and not status.console.is_terminal:
                    print(line, flush=True)
                said = line
                time.sleep(min(max(_SHORTEST, (time.monotonic() - started) / 10), _LONGEST))

    def cancel(self) -> None:
        """Cancels all jobs, and waits until those that run have written their last checkpoint."""
        try:
            if jobs := self.jobs():
                print(f"Cancelling Slurm's {_listed(jobs)}; once more to wait no longer", file=sys.stderr)
                _slurm("scancel", *_arrays(jobs))
                self.wait(len(jobs))
        except UserError as error:
            print(f"The jobs were not cancelled: {error}", file=sys.stderr)


def _slurm(*command: str) -> str:
    """Returns what a command of Slurm says.

    Raises:
        UserError: It fails.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"Slurm does not answer: {' '.join(done.stderr.split())}")
    return done.stdout


def _arrays(jobs: Iterable[str]) -> list[str]:
    """Returns the numbers of jobs, and of arrays as a whole."""
    return list(dict.fromkeys(job.partition("_")[0] for job in jobs))


def _over(folder: Path) -> dict[Path, tuple[str, ...]]:
    """Returns the overrides of the runs in a sweep that need not be run again, by their folders."""
    over = {}
    with suppress(UserError):  # No job has begun.
        for run in find_runs(folder):
            with suppress(UserError):  # A damaged run says so itself.
                if run.result().finished:
                    over[run.path] = tuple(run.overrides())
    return over


def _recorded(overrides: Sequence[str]) -> tuple[str, ...]:
    """Returns the overrides of a job as its run folder records them."""
    return tuple(override for override in overrides if key_of(override) not in ("resume", "like"))


def _ended(jobs: Sequence[Job[str]]) -> list[str]:
    """Returns the ids of jobs that Slurm has ended, because they have left no result."""
    end = time.monotonic() + _ARRIVAL
    while ended := [job for job in jobs if not job.paths.result_pickle.exists()]:
        if time.monotonic() > end:
            break
        time.sleep(_SHORTEST)
        list(Path(ended[0].paths.folder).iterdir())  # NFS then asks for what is new
    return [job.job_id for job in ended]


def _error(job: Job[str]) -> str:
    """Returns what a job has to say that its run folder does not; empty for one that Slurm has ended."""
    if not job.paths.result_pickle.exists():
        return ""
    try:
        return job.result()
    except UncompletedJobError:  # not even this project could be imported there
        return f"job {job.job_id} could not begin: {job.paths.stdout} says why"


def _refusal(said: str) -> str:
    """Puts the words of sbatch into a line."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines() if line]
    hint = ""
    if "array" in said:
        hint = " (are there more jobs than MaxArraySize? hydra.sweeper.max_batch_size=1000 makes parts)"
    return f"Slurm refuses the jobs: {'; '.join(lines)}{hint}"


def _is_running() -> bool:
    """Returns whether Slurm still counts this job as running, and is not ending it."""
    with suppress(UserError):
        # SLURM_JOB_ID of the last task of an array is the id of the whole array.
        command = ("squeue", "--noheader", "--format=%T", f"--jobs={JobEnvironment().job_id}")
        return _slurm(*command).strip() == "RUNNING"
    return False


def _python_path() -> list[str]:
    return [path] if (path := os.environ.get("PYTHONPATH")) else []


def _listed(jobs: Iterable[str]) -> str:
    """Names jobs and arrays of jobs, as scancel takes them."""
    return " ".join(_arrays(jobs))
