"""`galaxy train` and `python train.py`: train a model, or with `-m` one for each job of a sweep."""

from __future__ import annotations

import math
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from galaxy.cli.arguments import with_resumed
from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.paths import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
@reporting
def train(config: DictConfig) -> float:
    """Trains once, and returns what sweepers minimise: the validation RMSE, or NaN if the run failed."""
    # torch takes seconds to import, and `--help` does without it.
    from rich.console import Console  # noqa: PLC0415

    from galaxy.reports.tables import result_table  # noqa: PLC0415
    from galaxy.runs.folder import RunFolder  # noqa: PLC0415
    from galaxy.runs.train import train as train_once  # noqa: PLC0415

    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    in_sweep = job.mode == RunMode.MULTIRUN
    result, done_before = train_once(
        config=plain(config),
        choices=dict(job.runtime.choices),
        overrides=list(job.overrides.task),
        folder=folder,
        in_sweep=in_sweep,
    )
    if result.status == "done":
        console = Console()
        if not (done_before and in_sweep):  # the table at the end of the sweep shows the run as well
            console.print(result_table(RunFolder(folder), result))
        note = " (done before)" if done_before else ""
        console.print(f"Run folder: {folder}{note}", markup=False, highlight=False, soft_wrap=True)
    return result.metrics.get("val/rmse", math.nan)


def main() -> None:
    """Runs the program."""
    run(train, str(CONF), "train", prepare=with_resumed)


if __name__ == "__main__":
    main()
