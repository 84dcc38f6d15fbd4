"""`galaxy train` and `python train.py`: train a model, or with `-m` one for each job of a sweep."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from galaxy.cli.arguments import with_recorded
from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.overrides import key_of, quoted
from galaxy.config.paths import CONF
from galaxy.config.trust import trust_arguments
from galaxy.system.errors import UserError
from galaxy.system.launchers import Group


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
@reporting
def train(config: DictConfig) -> float:
    """Trains once, and returns what sweepers minimise."""
    # torch takes seconds to import, and `--help` does without it.
    from rich.console import Console  # noqa: PLC0415

    from galaxy.cli.search import pruning_of_job  # noqa: PLC0415
    from galaxy.reports.tables import result_table  # noqa: PLC0415
    from galaxy.runs.folder import RunFolder  # noqa: PLC0415
    from galaxy.runs.train import TrainingRun  # noqa: PLC0415

    job = HydraConfig.get()
    in_sweep = job.mode == RunMode.MULTIRUN
    settings = plain(config)
    root = settings["data"]["root"]
    if not isinstance(root, str):
        raise UserError(f"data.root is {json.dumps(root)}; it must be the folder of the data")
    # The run knows where its data are, also when it is evaluated in another working directory.
    settings["data"]["root"] = str(Path(root).expanduser().absolute())
    resume = settings.pop("resume")
    if resume not in ("auto", None):  # resume=DIR was replaced before, so this stands in a file of options
        raise UserError(f"resume is {resume}; it must be null or auto, or resume=DIR on the command line")
    run_folder = RunFolder(Path(job.runtime.output_dir))
    call_others = None
    if Group.current is not None:
        folder_of_all = f"hydra.run.dir={quoted(str(run_folder.path))}"
        call_others = partial(Group.current.call, [*sys.argv[1:], *trust_arguments(), folder_of_all])
    training = TrainingRun(
        run=run_folder,
        resume=resume == "auto",
        like=settings.pop("like"),
        config=settings,
        choices=dict(job.runtime.choices),
        overrides=[override for override in job.overrides.task if key_of(override) not in ("resume", "like")],
        in_sweep=in_sweep,
        should_prune=pruning_of_job() if in_sweep else None,
        call_others=call_others,
    )
    trained = training.start()
    result = training.run.result() if trained is None else trained
    if result.finished:
        console = Console()
        # The table at the end of a sweep shows the run as well, and a pruned one has no result.
        if result.status == "done" and (trained is not None or not in_sweep):
            console.print(result_table(training.run, result))
        note = f" ({result.status} before)" if trained is None else ""
        folder = f"Run folder: {training.run.path}{note}"
        console.print(folder, markup=False, highlight=False, soft_wrap=True)
    return result.to_minimise


def _refuse(settings: dict[str, Any]) -> None:
    """Refuses settings that are wrong by themselves, before anything is started."""
    # numpy and pandas take a second to import, and `--help` does without them.
    from galaxy.runs.settings import check_settings  # noqa: PLC0415

    check_settings(settings)


def main() -> None:
    """Runs the program."""
    run(train, str(CONF), "train", prepare=with_recorded, refuse=_refuse, distributed=True)


if __name__ == "__main__":
    main()
