"""What a machine needs so that Slurm can run the jobs of a sweep; checked before anything starts."""

from __future__ import annotations

import shutil
import warnings
from importlib.util import find_spec

from omegaconf import DictConfig, OmegaConf

from galaxy.config.problems import ConfigError, Problem

# Hydra makes launchers only from modules of the package `hydra_plugins`.
SLURM = "hydra_plugins.galaxy_slurm.Slurm"
# What is called on the machine that submits.
_COMMANDS = ("sbatch", "squeue", "scancel", "srun")


def quieten_hydra() -> None:
    """Hides a warning of Hydra 1.3.

    Our file has the name of a node of the plugin. Hydra therefore checks it by the plugin's types, and warns
    that this is deprecated since version 1.1.
    """
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against ConfigStore")


def check_launcher(config: DictConfig) -> None:
    """Checks what `hydra/launcher` chooses for a sweep.

    Raises:
        ConfigError: Slurm's commands or a package are missing, or a job would be started several times.
    """
    if OmegaConf.select(config, "hydra.launcher._target_") != SLURM:
        return
    option = "hydra/launcher"
    if find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        text = "is submitit_slurm, which needs pip install 'galaxy-morphology[slurm]'"
        raise ConfigError([Problem(option, text)])
    if missing := [command for command in _COMMANDS if shutil.which(command) is None]:
        where = f"this machine has no {', '.join(missing)}: start it on a login node of the cluster"
        raise ConfigError([Problem(option, f"is submitit_slurm, but {where}")])
    for key in ("hydra.launcher.nodes", "hydra.launcher.tasks_per_node"):
        if (number := OmegaConf.select(config, key, default=1)) != 1:
            text = f"is {number}; it must be 1, because each job of a sweep works in one process"
            raise ConfigError([Problem(key, text)])
