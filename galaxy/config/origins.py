"""Where the value of a key was set: which argument, or which line of which file."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig


class Origins:
    """Finds out where the keys of a composed configuration were set.

    Args:
        loader: Hydra's loader, which composed it.
        config: The configuration, with its `hydra` node.
        arguments: The overrides that it was composed with.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig, arguments: list[str]) -> None:
        self.loader = loader
        self.hydra = config.hydra
        self.arguments = arguments
        sources = config.hydra.runtime.config_sources
        self.folders = [Path(source.path) for source in sources if source.schema == "file"]

    @cached_property
    def files(self) -> list[tuple[list[str], str]]:
        """The files and the keys below which their content is put, the last to set a key first."""
        overrides = [*self.hydra.overrides.hydra, *self.hydra.overrides.task]
        defaults = self.loader.compute_defaults_list(
            self.hydra.job.config_name, overrides, RunMode.RUN
        ).defaults
        return [
            (default.package.split(".") if default.package else [], f"{default.config_path}.yaml")
            for default in reversed(defaults)
        ]

    def of(self, key: str) -> str:
        """An argument or `file, line n`; of the nearest node above where the key itself is set nowhere."""
        if key in self.arguments:  # one that is wrong as a whole
            return key
        parts = key.split(".")
        for argument in reversed(self.arguments):
            name, _, value = argument.lstrip("+~").partition("=")
            if name == key or (key.startswith(f"{name}.") and value.startswith("{")):
                return argument
        for package, name in self.files:
            if parts[: len(package)] != package:
                continue
            for folder in self.folders:
                if (folder / name).is_file() and (line := line_of(folder / name, parts[len(package) :])):
                    return f"{display(folder / name)}, line {line}"
        return self.of(".".join(parts[:-1])) if len(parts) > 1 else ""


def line_of(file: Path, keys: list[str]) -> int | None:
    """The line of a YAML file where a nested key stands, from 1; None if the file does not set it."""
    # The C loader is there wherever PyYAML's wheels are.
    node = yaml.compose(
        file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    line = 1
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        for name, value in node.value:
            if name.value == key.partition("[")[0]:
                line, node = name.start_mark.line + 1, value
                break
        else:
            return None
    return line


def display(file: Path) -> str:
    """A path, relative to the working folder if it lies below."""
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative
