"""Installed packages that bring options of their own: each one has an entry point `galaxy.plugins`.

The value of the entry point is the name by which the package is imported. The folder `conf/` in the package
joins Hydra's search path behind Galaxy's own, so that it adds options and replaces none. A package is only
found here, not imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from galaxy.config.paths import CONF
from galaxy.config.signatures import missing

GROUP = "galaxy.plugins"


@dataclass(frozen=True)
class Plugin:
    """A package with the entry point.

    Attributes:
        package: The name by which it is imported.
        conf: The folder of its options; None if it has none.
        problem: Why it has none; empty if it has.
    """

    package: str
    conf: Path | None = None
    problem: str = ""


def plugins() -> list[Plugin]:
    """Finds the plugins that are installed, sorted by their names."""
    return [_plugin(package) for package in _packages(tuple(sys.path))]


def notes() -> Iterator[str]:
    """Says in a line each which plugins and which of their options are not used."""
    taken = {"Galaxy": CONF}
    for plugin in plugins():
        if plugin.conf is None:
            yield f"The plugin {plugin.package} adds no options: {plugin.problem}"
            continue
        for file in sorted(plugin.conf.rglob("*.yaml")):
            name = file.relative_to(plugin.conf)
            if owners := [owner for owner, folder in taken.items() if (folder / name).is_file()]:
                yield f"{file} is not used: {owners[0]} has an option of that name, so give it another name"
        taken[plugin.package] = plugin.conf


def register() -> None:
    """Lets Hydra find the options of plugins wherever it composes a configuration."""
    Plugins.instance().register(PluginSearchPath)


class PluginSearchPath(SearchPathPlugin):
    """Adds the folders of the plugins behind Galaxy's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Hydra calls this after it has added the program's own folder."""
        for plugin in plugins():
            if plugin.conf is not None:
                search_path.append(plugin.package, f"file://{plugin.conf}")


@cache
def _packages(path: tuple[str, ...]) -> list[str]:
    """Asks once for each of Python's search paths: all installed packages are read for the answer."""
    return sorted({point.value for point in entry_points(group=GROUP)})


def _plugin(package: str) -> Plugin:
    top, *inner = package.split(".")
    try:
        spec = find_spec(top)  # This imports nothing, as the name has no dot.
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return Plugin(package, problem=missing(top))
    folders = [Path(folder, *inner, "conf") for folder in spec.submodule_search_locations or ()]
    found = next((folder for folder in folders if folder.is_dir()), None)
    return Plugin(package, found, "" if found else "it has no folder conf")
