"""What `${...}` can compute in the YAML files, beside what Hydra brings."""

from __future__ import annotations

import os
import re
import sys

from omegaconf import OmegaConf

# File names end at 255 bytes, and the job's number and dash take some of them.
LONGEST_NAME = 200
# Where Lightning looks for the number of a process, in its order.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def job_name(number: int | str, overrides: str) -> str:
    """A sweep job's folder: its number and what sets it apart, such as `3-loss=mse,model=small_cnn`.

    Args:
        number: The job's number, or "???" where there is no job.
        overrides: Hydra's `job.override_dirname`.
    """
    name = re.sub(r"[^\w=,.+-]+", "_", overrides)[:LONGEST_NAME]
    return f"{number}-{name}" if name else str(number)


def console_level() -> str:
    """The level of what is said on standard error while a model is trained.

    Where a terminal shows a progress bar, warnings only; elsewhere, as in a batch job, what train.log says.
    Of a distributed training that is for the first process to do.
    """
    ranks = (os.environ.get(name) for name in _RANKS)
    first = next((rank for rank in ranks if rank is not None), "0") == "0"
    return "INFO" if first and not sys.stdout.isatty() else "WARNING"


def register() -> None:
    """Registers `${pid:}`, `${console_level:}` and `${job_name:number,overrides}`."""
    OmegaConf.register_new_resolver("pid", os.getpid, replace=True)
    OmegaConf.register_new_resolver("console_level", console_level, replace=True)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
