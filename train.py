"""Trains a model: `python train.py`, with any choice of conf/ overridden on the command line."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from galaxy.cli.main import reporting, run
from galaxy.cli.resume import with_resumed
from galaxy.config import plain


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@reporting
def main(config: DictConfig) -> float:
    """Trains once; with `-m`, Hydra calls this for each job of the sweep."""
    from galaxy.runs.train import train  # noqa: PLC0415  torch takes seconds to import, `--help` does not

    job = HydraConfig.get()
    return train(
        config=plain(config),
        choices=dict(job.runtime.choices),
        overrides=list(job.overrides.task),
        folder=Path(job.runtime.output_dir),
        in_sweep=job.mode == RunMode.MULTIRUN,
    )


if __name__ == "__main__":
    run(main, prepare=with_resumed)
