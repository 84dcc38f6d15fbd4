"""`galaxy explore`: look at a survey and at crops of its images before training on them."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.paths import CONF
from galaxy.system.errors import UserError, meant


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="explore")
@reporting
def explore(config: DictConfig) -> None:
    """Writes a report, or one contact sheet."""
    explore_from_settings(**plain(config))


def explore_from_settings(
    data: dict[str, Any], crops: list[str], out: str, pictures: int | None, count: int
) -> None:
    """Explores a survey as `conf/explore.yaml` says, and prints what was found.

    Args:
        data: The configuration of the data.
        crops: Options of the group `crop`; [] is all.
        out: A folder for a report, or a picture for a contact sheet alone.
        pictures: The number of images that the report looks at; None for all.
        count: The number of galaxies on the contact sheet.
    """
    from galaxy.reports.explore.explore import explore as explore_once  # noqa: PLC0415  `--help` has no time

    print(explore_once(data, _composed(crops), count, pictures, out))


def _composed(names: list[str]) -> dict[str, Any]:
    """Composes options of the group `crop`, which may lie in `--config-dir` or in a plugin; [] is all.

    Raises:
        UserError: There is no such option, or it cannot be composed.
    """
    loader = GlobalHydra.instance().config_loader()
    options = loader.get_group_options("crop")
    if unknown := [name for name in names if name not in options]:
        there = f"Allowed: {', '.join(options)}"
        raise UserError(f"there is no crop {unknown[0]}{meant(unknown[0], options)}\n{there}")
    nodes = {}
    for name in names or options:
        try:
            composed = loader.load_configuration("explore", [f"+crop={name}"], RunMode.RUN)
            nodes[name] = OmegaConf.to_container(composed.crop, resolve=True, throw_on_missing=True)
        except (HydraException, OmegaConfBaseException) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"crop={name} cannot be composed by itself: {reason}") from error
    return nodes


def main() -> None:
    """Runs the program."""
    run(explore, str(CONF), "explore")


if __name__ == "__main__":
    main()
