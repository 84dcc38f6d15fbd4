"""`galaxy demo`: a web page that shows galaxies, what a model sees in them, and what people saw."""

from __future__ import annotations

import os
from typing import Any, Literal

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from galaxy.cli.arguments import checkpoints_of, with_inherited_data
from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.paths import CONF
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="demo")
@reporting
def demo(config: DictConfig) -> None:
    """Serves the page until Ctrl-C."""
    demo_from_settings(**plain(config), choice=HydraConfig.get().runtime.choices.get("data"))


def demo_from_settings(
    choice: str | None = None,
    data: dict[str, Any] | None = None,
    run: str | list[str] | None = None,
    checkpoint: str | None = None,
    split: Literal["train", "val", "test", "all"] = "test",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Serves the page as `conf/demo.yaml` says.

    Args:
        choice: The name of the data, as in `data=`; None for that of the run.
        data: The configuration of the data. It is None only where the command line names neither data nor a
            run folder.
        run: The folder of a run, whose best checkpoint is taken, or two that are shown side by side.
        checkpoint: A checkpoint, instead of a run.
        split: Which galaxies. Galaxies without labels are always all shown.
        accelerator: Where to compute.
        host: The address that the page is offered at.
        port: Its port; 0 for any that is free.
    """
    files = checkpoints_of(run, checkpoint, "demo")
    if len(files) > 2:
        raise UserError(f"run names {len(files)} runs, and the page shows one, or two side by side")
    if not 0 <= port < 2**16:
        raise UserError(f"port is {port}; it must be from 0 to 65535")
    if data is None:
        raise UserError(
            f"{files[0]} is not in a run folder, so give the data as well: data=... data.root=..."
        )
    choice = RunFolder.of(files[0]).choices()["data"] if choice is None else choice

    # torch takes seconds to import; a mistake above is said at once, and so is an address that is taken.
    from galaxy.demo.serve import address, listen, serve  # noqa: PLC0415

    with listen(host, port) as listener:
        from galaxy.demo.gallery import open_gallery  # noqa: PLC0415

        gallery = open_gallery(files, data, choice, split, accelerator)
        print(f"The page is at {address(listener)} (Ctrl-C ends it)", flush=True)
        serve(gallery, listener)


def main() -> None:
    """Runs the program."""
    # OpenCV reads this once, when it is imported. What a stranger sends is measured before it is decoded, and
    # this holds where the two disagree about the size.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))
    run(demo, str(CONF), "demo", prepare=with_inherited_data)


if __name__ == "__main__":
    main()
