"""The search as a plugin of Hydra, which makes sweepers only from modules of the package `hydra_plugins`.

Every program with Hydra imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Search(Sweeper):
    """Runs the trials of a search; see `galaxy.cli.search`, which reads the settings itself.

    Args:
        **settings: The settings of `galaxy.config.search.SearchSettings`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra calls this before the search."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Searches, with the overrides of the command line."""
        from galaxy.cli.search import search  # noqa: PLC0415  other programs do not need it

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        search(self.config, self.hydra_context.config_loader, self.launcher, arguments)
