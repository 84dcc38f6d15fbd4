"""A sweep's readable folder names, and its one table at the end."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from galaxy.config.overrides import key_of
from galaxy.config.plan import Plan
from galaxy.config.search import STUDY_FILE
from galaxy.config.trust import trust_arguments, trusted_in, trusting
from galaxy.system.errors import UserError
from galaxy.system.interruption import Interruption


class Sweep(Callback):
    """Hydra's hooks at the two ends of a sweep.

    Attributes:
        folder: The folder of the sweep that is running. Hydra does not end an interrupted sweep.
        plan: Its jobs; None before the command line has been checked.
        at_work: Shows others that the sweep goes on, until it is closed.
    """

    folder: ClassVar[Path | None] = None
    plan: ClassVar[Plan | None] = None
    at_work: ClassVar[ExitStack] = ExitStack()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Leaves jobs out, and makes the folder names short: settings that all jobs share are left out."""
        Sweep.folder = Path(config.hydra.sweep.dir)
        assert Sweep.plan is not None  # Hydra would not sweep otherwise.
        for note in Sweep.plan.notes:
            print(note)
        if Sweep.plan.complete:
            # Hydra makes its sweeper after this. If train.yaml chose an option of hydra/sweeper, no file of
            # sweep/ could choose another.
            with read_write(config.hydra.sweeper):
                config.hydra.sweeper._target_ = "hydra_plugins.galaxy_grid.Grid"
        # Between jobs, and while jobs run in other processes, a signal ends the sweep at once.
        Interruption().listen()
        jobs = Sweep.plan.jobs
        if Sweep.plan.complete:
            from galaxy.runs.folder import sweeping, write_planned  # noqa: PLC0415  `--help` has no time for it

            write_planned(Sweep.folder, len(jobs))
            Sweep.at_work.enter_context(sweeping(Sweep.folder))
        constant = set(jobs[0]).intersection(*jobs)
        keys = sorted(key_of(override) for override in constant)
        with read_write(config.hydra.overrides):
            # Hydra composes every job with these overrides.
            config.hydra.overrides.hydra.append(
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(keys)}]"
            )

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table of the jobs, and ends with exit status 1 if a job did not finish."""
        Sweep.folder = None
        if summarise(Path(config.hydra.sweep.dir), planned()):
            raise SystemExit(1)


def planned() -> int:
    """Returns the number of jobs of the sweep; 0 where it is not known before its end."""
    return 0 if Sweep.plan is None else Sweep.plan.count or 0


def summarise(folder: Path, planned: int = 0) -> int:
    """Prints the table of the jobs of a sweep so far, and writes it to comparison.csv and for TensorBoard.

    Args:
        folder: The folder of the sweep.
        planned: The number of its jobs, if it is known. Jobs that have not begun have no folder yet.

    Returns:
        The number of jobs that did not finish.

    Raises:
        UserError: comparison.csv cannot be written.
    """
    # `--help` has no time for the import of pandas.
    from galaxy.cli.search import conclude  # noqa: PLC0415
    from galaxy.reports.compare import compare_runs  # noqa: PLC0415
    from galaxy.reports.comparison_text import markdown, print_errors, print_groups  # noqa: PLC0415
    from galaxy.reports.records import read_record  # noqa: PLC0415
    from galaxy.reports.run_table import run_table, write_run_table  # noqa: PLC0415
    from galaxy.runs.folder import find_runs, write_planned  # noqa: PLC0415
    from galaxy.runs.tensorboard import write_comparison  # noqa: PLC0415

    try:
        runs = find_runs(folder)
    except UserError:
        runs = []  # no job has begun yet
    Sweep.at_work.close()
    if folder.is_dir():
        write_planned(folder, len(runs))  # no further job begins, until the sweep is resumed
    records = [read_record(run) for run in runs]
    done = sum(record.result.finished for record in records)
    configs = []
    for run in runs:
        with suppress(UserError):  # its record says that it is damaged
            configs.append(run.config())
    # The commands that are printed for pasting name the packages of these jobs, which this program has run.
    trust = trust_arguments(*configs)
    with trusting(trusted_in(trust)[0]):
        groups = compare_runs(records)
        print_groups(groups)
        text = markdown(groups)
    # Every other error was shown when it happened.
    print_errors([record for record in records if not record.values])
    resume = shlex.join(["galaxy", "train", f"resume={folder}", *trust])
    total = max(len(runs), planned)
    missing = total - done
    if is_searched := (folder / STUDY_FILE).exists():
        missing = conclude(folder, planned, resume)
    print(f"\nSweep folder: {folder}")
    if missing and not is_searched:
        waiting = f", {total - len(runs)} of which did not begin" if len(runs) < total else ""
        print(
            f"{missing} of {total} jobs did not finish{waiting}; train.log in a job's folder says more\n"
            f"Run what is missing with: {resume}"
        )
    if records:
        write_run_table(run_table(records), folder / "comparison.csv")
    if any(run.events() for run in runs):
        write_comparison(folder, text)
    return missing
