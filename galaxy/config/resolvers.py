"""The functions that `${name:...}` in the YAML files can call, beside those of Hydra."""

from __future__ import annotations

import os
import re
import sys

from omegaconf import DictConfig, OmegaConf

# A file name has 255 bytes at most, some of which the number of the job takes.
LONGEST_NAME = 200
# Lightning looks for the number of a process in these variables, in this order.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def job_name(number: int | str, overrides: str) -> str:
    """Names the folder of a sweep's job, such as `3-loss=mse,model=small_cnn`.

    Args:
        number: The number of the job, or "???" if there is no job.
        overrides: The overrides that set the job apart, from Hydra's `job.override_dirname`.
    """
    whole = re.sub(r"[^\w=,.+-]+", "_", overrides)
    name = whole.encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{number}-{name}" if name else str(number)


def console_level() -> str:
    """Chooses the level of the messages on standard error while a model is trained.

    A terminal shows a progress bar, so it gets warnings only. Elsewhere, as in a batch job, standard error
    gets what train.log gets. In a distributed training only the first process writes it.
    """
    ranks = (os.environ.get(name) for name in _RANKS)
    first = next((rank for rank in ranks if rank is not None), "0") == "0"
    return "INFO" if first and not sys.stdout.isatty() else "WARNING"


def given(key: str, *, _root_: DictConfig) -> bool:
    """Whether a configuration has a key. The one of a training has keys that an evaluation lacks."""
    return OmegaConf.select(_root_, key) is not None


def register() -> None:
    """Registers `${pid:}`, `${console_level:}`, `${job_name:number,overrides}` and `${given:key}`."""
    OmegaConf.register_new_resolver("given", given, replace=True)
    OmegaConf.register_new_resolver("pid", os.getpid, replace=True)
    OmegaConf.register_new_resolver("console_level", console_level, replace=True)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
