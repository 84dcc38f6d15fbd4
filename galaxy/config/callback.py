"""Hydra's hook that checks the configuration before a folder is made or torch is imported."""

from __future__ import annotations

import sys
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from galaxy.config.jobs import are_planned, check_jobs, check_run, planned_jobs
from galaxy.config.problems import ConfigError

CONFIG_ERROR = 2  # exit status, that of a wrong command line


class CheckConfig(Callback):
    """Ends the program with one message if the configuration has mistakes.

    Hydra only warns of exceptions in callbacks, so this exits. It should be the first callback.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks a single run."""
        HydraConfig.instance().set_config(config)  # for `${hydra:...}`
        loader = GlobalHydra.instance().config_loader()
        problems = check_run(loader, config, list(config.hydra.overrides.task))
        if problems:
            _exit(ConfigError(problems))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks every job of a sweep; where they are not known before it, Hydra checks what it can."""
        if not are_planned(config):
            return
        # As they were written: hydra.job.num, for one, has no value yet.
        always: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
        loader = GlobalHydra.instance().config_loader()
        try:
            check_jobs(loader, config.hydra.job.config_name, planned_jobs(loader, config), always)
        except ConfigError as error:
            _exit(error)


def _exit(error: ConfigError) -> None:
    print(error, file=sys.stderr)
    raise SystemExit(CONFIG_ERROR)
