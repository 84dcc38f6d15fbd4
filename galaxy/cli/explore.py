"""`galaxy explore`: look at crops of a survey's images before training on them."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.paths import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="explore")
@reporting
def explore(config: DictConfig) -> None:
    """Writes one contact sheet."""
    from galaxy.reports.explore import explore as explore_once  # noqa: PLC0415  `--help` has no time for it

    print(explore_once(**plain(config)))


def main() -> None:
    """Runs the program."""
    run(explore, str(CONF), "explore")


if __name__ == "__main__":
    main()
