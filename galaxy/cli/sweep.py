"""A sweep's readable folder names, and its one table at the end."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from galaxy.cli.search import conclude
from galaxy.config.jobs import are_planned, planned_jobs
from galaxy.config.overrides import key_of
from galaxy.config.search import STUDY_FILE, is_search, read_space
from galaxy.config.trust import trust_arguments, trusted_in, trusting
from galaxy.system.errors import UserError


class Sweep(Callback):
    """Hydra's hooks at the two ends of a sweep.

    Attributes:
        folder: The folder of the sweep that is running. Hydra does not end an interrupted sweep.
        jobs: The number of its jobs; 0 where another sweeper than Hydra's own chooses them as it goes.
    """

    folder: ClassVar[Path | None] = None
    jobs: ClassVar[int] = 0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Makes the folder names of the jobs short: settings that all jobs share are left out."""
        Sweep.folder = Path(config.hydra.sweep.dir)
        loader = GlobalHydra.instance().config_loader()
        if is_search(config):
            constant = set(read_space(loader, config, config.hydra.overrides.task).fixed)
            Sweep.jobs = config.hydra.sweeper.n_trials
        else:
            jobs = planned_jobs(loader, config)
            Sweep.jobs = len(jobs) if are_planned(config) else 0
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
        if summarise(Path(config.hydra.sweep.dir), Sweep.jobs):
            raise SystemExit(1)


def summarise(folder: Path, planned: int = 0) -> int:
    """Prints the table of the jobs of a sweep so far, and writes it to comparison.csv.

    Args:
        folder: The folder of the sweep.
        planned: The number of its jobs, if it is known. Jobs that have not begun have no folder yet.

    Returns:
        The number of jobs that did not finish.

    Raises:
        UserError: comparison.csv cannot be written.
    """
    # `--help` has no time for the import of pandas.
    from galaxy.reports.compare import compare_runs  # noqa: PLC0415
    from galaxy.reports.comparison_text import print_groups  # noqa: PLC0415
    from galaxy.reports.records import read_record, run_table, write_run_table  # noqa: PLC0415
    from galaxy.runs.folder import find_runs  # noqa: PLC0415

    try:
        runs = find_runs(folder)
    except UserError:
        runs = []  # no job has begun yet
    records = [read_record(run) for run in runs]
    done = sum(record.result.finished for record in records)
    configs = []
    for run in runs:
        with suppress(UserError):  # its record says that it is damaged
            configs.append(run.config())
    # The commands that are printed for pasting name the packages of these jobs, which this program has run.
    trust = trust_arguments(*configs)
    with trusting(trusted_in(trust)[0]):
        print_groups(compare_runs(records))  # each error was shown when it happened
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
    return missing
