"""Looking at the data before training on them.

`python -m galaxy.reports.explore 'crops=[roi64,center64]' data=kaggle data.root=DIR out=crops.png`
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from galaxy.cli.main import reporting, run
from galaxy.config import plain
from galaxy.system.errors import UserError, listing, meant

CROPS = Path(__file__).parents[2] / "conf" / "crop"


@hydra.main(version_base="1.3", config_path="../../conf", config_name="explore")
@reporting
def main(config: DictConfig) -> None:
    """Writes one contact sheet."""
    from galaxy.config.instantiation import instantiate  # noqa: PLC0415  torch takes seconds to import, `--help` does not
    from galaxy.data.splits import sample_rows  # noqa: PLC0415
    from galaxy.images.sheet import contact_sheet  # noqa: PLC0415

    settings = plain(config)
    crops = {
        name: instantiate(OmegaConf.load(_crop_file(name)), f"crop={name}") for name in settings["crops"]
    }
    data = settings["data"]
    catalog = instantiate(data["catalog"], "data.catalog")(root=Path(data["root"]), on_bad=data["on_bad"])
    rows = sample_rows(catalog.ids, settings["count"])
    path = Path(settings["out"])
    names = map(str, catalog.identifiers[rows])
    images = [catalog.images[row] for row in rows.tolist()]
    skipped = contact_sheet(dict(zip(names, images, strict=True)), crops, path, data["on_bad"])
    for what, lines in (("rows or files of the survey", list(catalog.skipped)), ("image(s)", skipped)):
        if lines:
            print(f"{len(lines)} {what} left out:\n{listing(lines)}")
    print(f"{len(rows) - len(skipped)} galaxies of {catalog.name}: {path}")


def _crop_file(name: str) -> Path:
    allowed = sorted(path.stem for path in CROPS.glob("*.yaml"))
    if name not in allowed:
        raise UserError(f"there is no crop {name}{meant(name, allowed)}\nAllowed: {', '.join(allowed)}")
    return CROPS / f"{name}.yaml"


if __name__ == "__main__":
    run(main)
