"""Draws contact sheets: the images of a survey beside the crops that a model would see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxy.images import BadImageError
from galaxy.images.crops import Crop, Pixels
from galaxy.images.decode import Decoder, bad_images_error
from galaxy.surveys.catalog import ImageSource
from galaxy.system.errors import UserError, listing
from galaxy.system.files import replacing

# Width of one picture on the sheet in inches; at 120 dots an inch a 212-pixel crop is shown pixel for pixel.
_CELL = 1.8
_DPI = 120


def contact_sheet(
    images: Mapping[str, ImageSource],
    crops: dict[str, Crop],
    path: Path,
    on_bad: Literal["error", "skip"] = "error",
) -> list[str]:
    """Saves a picture with one row per image: the original, then each crop of it.

    Args:
        images: The images to show, by the name that stands beside each.
        crops: The crops to show, by the name at the head of each column.
        path: Where to save the sheet; its ending chooses among the formats that Matplotlib can write.
        on_bad: "error" stops at images that cannot be decoded, "skip" leaves them out.

    Returns:
        One line for each image left out, with the reason.

    Raises:
        UserError: There is nothing to show, an image cannot be decoded, or the ending of `path` is unknown.
    """
    if not images:
        raise UserError("There are no images to show.")
    frames, bad = _decoded(images)
    if bad and on_bad == "error":
        raise bad_images_error(bad)
    if not frames:
        raise UserError(f"There are no images to show.\n{listing(bad)}")
    width, height = _CELL * (1 + len(crops)), _CELL * len(frames)
    # A figure that is not pyplot's needs no display and does not stay open.
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise UserError(
            f"Cannot save a picture as {path}; its name may end in .{', .'.join(sorted(formats))}."
        )
    axes = figure.subplots(len(frames), 1 + len(crops), squeeze=False)
    for row, (name, frame) in zip(axes, frames.items(), strict=True):
        pictures = [frame, *(crop(frame) for crop in crops.values())]
        for cell, picture in zip(row, pictures, strict=True):
            _show(cell, picture)
        row[0].set_ylabel(name, fontsize=7, parse_math=False)
    for cell, name in zip(axes[0], ["original", *crops], strict=True):
        cell.set_title(name, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return bad


def _decoded(images: Mapping[str, ImageSource]) -> tuple[dict[str, Pixels], list[str]]:
    """Decodes the images; returns their pixels by name, and one line for each that cannot be decoded."""
    frames, bad = {}, []
    with Decoder() as decode:
        for name, image in images.items():
            try:
                frames[name] = decode(image)
            except BadImageError as error:
                bad.append(f"{image}: {error}")
    return frames, bad


def _show(cell: Axes, picture: Pixels) -> None:
    """Draws (H, W, 3) RGB or (H, W, 1) grey, with its size below."""
    # With "nearest" the reader sees the very pixels that the model gets.
    cell.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    cell.set(xticks=[], yticks=[])
    cell.set_xlabel(f"{picture.shape[1]} x {picture.shape[0]}", fontsize=6, labelpad=1)
