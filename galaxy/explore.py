"""Looking at the data before training on them: images as a survey has them beside what a model would see.

`python -m galaxy.explore crops=[roi64,center64] data=kaggle data.root=DIR out=crops.png`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from galaxy.build import instantiate
from galaxy.catalogs import Catalog
from galaxy.cli import run
from galaxy.config import plain
from galaxy.config.problems import nearest
from galaxy.errors import UserError
from galaxy.files import replacing
from galaxy.images.crops import Crop, Pixels
from galaxy.images.decode import BadImageError, decode
from galaxy.splits import sample_rows

_OPTIONS = Path(__file__).parent.parent / "conf" / "crop"
# Width of one picture on the sheet in inches; at 120 dots an inch a 212-pixel crop is shown pixel for pixel.
_CELL = 1.8
_DPI = 120


def contact_sheet(images: Sequence[Path], crops: dict[str, Crop], path: Path) -> None:
    """Saves a picture with one row per image: the original, then each crop of it.

    Args:
        images: The image files to show.
        crops: By the name that heads their column.
        path: Where to save; a PNG, or whatever else its ending says that Matplotlib can write.

    Raises:
        UserError: There is nothing to show, an image cannot be decoded, or the ending of `path` is unknown.
    """
    if not images:
        raise UserError("There are no images to show.")
    width, height = _CELL * (1 + len(crops)), _CELL * len(images)
    # A Figure of its own, not pyplot's: no display is needed and nothing stays open.
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise UserError(
            f"Cannot save a picture as {path}; its name may end in .{', .'.join(sorted(formats))}."
        )
    axes = figure.subplots(len(images), 1 + len(crops), squeeze=False)
    for row, image in zip(axes, images, strict=True):
        try:
            pixels = decode(image)
        except BadImageError as error:
            raise UserError(f"{image}: {error}") from error
        pictures = [pixels, *(crop(pixels) for crop in crops.values())]
        for cell, picture in zip(row, pictures, strict=True):
            _show(cell, picture)
        row[0].set_ylabel(image.stem, fontsize=7)
    for cell, name in zip(axes[0], ["original", *crops], strict=True):
        cell.set_title(name, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _show(cell: Axes, picture: Pixels) -> None:
    """Draws (H, W, 3) RGB or (H, W, 1) grey, with its size below."""
    # Nearest: the reader should see the pixels that the model gets.
    cell.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    cell.set(xticks=[], yticks=[])
    cell.set_xlabel(f"{picture.shape[1]} x {picture.shape[0]}", fontsize=6, labelpad=1)


def load_crops(names: Sequence[str]) -> dict[str, Crop]:
    """The crops of these options, as conf/crop describes them.

    Raises:
        UserError: There is no such option.
    """
    allowed = sorted(path.stem for path in _OPTIONS.glob("*.yaml"))
    for name in names:
        if name not in allowed:
            meant = f" (did you mean {near}?)" if (near := nearest(name, allowed)) else ""
            raise UserError(f"crops: there is no crop {name}{meant}; allowed: {', '.join(allowed)}")
    return {name: instantiate(OmegaConf.load(_OPTIONS / f"{name}.yaml")) for name in names}


@hydra.main(version_base="1.3", config_path="../conf", config_name="explore")
def main(config: DictConfig) -> None:
    """Writes one contact sheet."""
    settings = plain(config)
    data = settings["data"]
    catalog: Catalog = instantiate(data["catalog"])(root=Path(data["root"]), on_bad=data["on_bad"])
    rows = sample_rows(catalog.ids, settings["count"])
    path = Path(settings["out"])
    contact_sheet([catalog.images[row] for row in rows.tolist()], load_crops(settings["crops"]), path)
    print(f"{len(rows)} galaxies of {catalog.name}: {path}")


if __name__ == "__main__":
    run(main)
