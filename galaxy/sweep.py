"""What a sweep needs beyond its jobs: readable folders and one table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from galaxy.config.jobs import planned_jobs


class Sweep(Callback):
    """Hydra's hooks at the two ends of a sweep.

    Attributes:
        folder: Of the sweep that is running, which Hydra does not end if it is interrupted.
        waiting: How many of its jobs have not begun.
    """

    folder: ClassVar[Path | None] = None
    waiting: ClassVar[int] = 0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Leaves out of the jobs' folder names what is the same in all of them."""
        Sweep.folder = Path(config.hydra.sweep.dir)
        jobs = planned_jobs(GlobalHydra.instance().config_loader(), config)
        Sweep.waiting = len(jobs)
        constant = set(jobs[0]).intersection(*jobs)
        keys = sorted(override.partition("=")[0].lstrip("+~") for override in constant)
        with read_write(config.hydra.overrides):
            # Every job is composed anew, with these overrides.
            config.hydra.overrides.hydra.append(
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(keys)}]"
            )

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Counts the jobs of a sweep."""
        Sweep.waiting -= 1

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends with the table of the jobs, and with exit status 1 if one of them failed."""
        Sweep.folder, Sweep.waiting = None, 0  # of another sweeper's jobs the number was not known
        if summarise(Path(config.hydra.sweep.dir)):
            raise SystemExit(1)


def summarise(folder: Path) -> int:
    """Prints the table of a sweep's jobs so far, and writes it as comparison.csv.

    Returns:
        The number of jobs that did not finish.
    """
    # pandas takes as long to import as `--help` may take.
    from galaxy.compare import comparison, print_comparison, write_comparison  # noqa: PLC0415
    from galaxy.runs import find_runs  # noqa: PLC0415

    table = comparison(find_runs(folder))
    write_comparison(table, folder / "comparison.csv")
    print_comparison(table)  # without the errors, each of which was shown when it happened
    print(f"\nSweep folder: {folder}")
    failed = int((table["status"] != "done").sum())
    if unfinished := failed + Sweep.waiting:
        begun = f", {Sweep.waiting} of which did not begin" if Sweep.waiting else ""
        print(
            f"{unfinished} of {len(table) + Sweep.waiting} jobs did not finish{begun}; "
            "train.log in a job's folder says why\n"
            f"Run what is missing with: python train.py resume={folder}"
        )
    return failed
