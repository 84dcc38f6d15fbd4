"""The launcher for Slurm as a plugin of Hydra, which makes launchers only from the package `hydra_plugins`.

Every program with Hydra imports this module, and submitit is an extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Slurm(Launcher):
    """Runs the jobs of a sweep by Slurm; see `galaxy.cli.slurm`.

    Args:
        **settings: The settings in conf/hydra/launcher/submitit_slurm.yaml.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra calls this before the sweep."""
        from galaxy.cli.slurm import SlurmJobs  # noqa: PLC0415

        self.jobs = SlurmJobs(**self.settings)
        self.jobs.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs jobs to their ends."""
        return self.jobs.launch(job_overrides, initial_job_idx)
