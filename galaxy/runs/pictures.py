"""Pictures of what a network sees and says, for the loggers.

They are drawn with Pillow, which needs a hundredth of the time of Matplotlib.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import channels_last
from galaxy.data.pixels import OnDisk
from galaxy.data.splits import sample_rows
from galaxy.data.workers import image_seeds
from galaxy.images.augment import as_floats, uniforms
from galaxy.labels.labels import Labels
from galaxy.learning.task import GalaxyTask
from galaxy.runs.predict import Predictions

Picture = NDArray[np.uint8]

_SIDE, _GAP, _LINE = 112, 8, 15  # pixels: of a galaxy, around it, and of a line of text
_MOST_ANSWERS = 60  # more would make a picture that nobody can read
_FONT, _SMALL = ImageFont.load_default(12), ImageFont.load_default(11)
_BLACK, _GREY, _TRUTH, _PREDICTION = "#202124", "#80868b", "#9aa0a6", "#f57c00"


def crops_picture(data: GalaxyDataModule, count: int, task: GalaxyTask | None) -> Picture:
    """Draws some training galaxies as they are cropped, and as a network sees them in its first epochs.

    Args:
        data: The data, whose images have been read.
        count: The number of galaxies.
        task: The network; None for a model that is fitted to the crops as they are.

    Returns:
        (H, W, 3) uint8.
    """
    rows = _sample(data, "train", count)
    crops = OnDisk(data.images).gather(torch.from_numpy(rows))
    shown = {"cropped": crops.numpy()}
    if task is not None and data.augment.active:
        for epoch in range(3):
            seen = task.reduced(_augmented(data, rows, crops, epoch))
            shown[f"epoch {epoch + 1}"] = (seen.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    left = 64
    width, height = left + len(rows) * (_SIDE + _GAP), len(shown) * (_SIDE + _GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (name, galaxies) in enumerate(shown.items()):
        top = line * (_SIDE + _GAP) + _GAP // 2
        draw.text((_GAP, top + _SIDE // 2), name, _BLACK, _FONT, anchor="lm")
        for place, galaxy in enumerate(galaxies):
            sheet.paste(_shown(galaxy), (left + place * (_SIDE + _GAP), top))
    return np.asarray(sheet)


def prediction_pictures(data: GalaxyDataModule, predictions: Predictions, count: int) -> dict[str, Picture]:
    """Draws some galaxies with what was predicted and what is true: a sample, and the worst ones.

    The sample is the same for all runs on the same galaxies.

    Args:
        data: The data of the predictions.
        predictions: The predictions of the validation split.
        count: The number of galaxies in each picture.

    Returns:
        "predictions" and "worst", each (H, W, 3) uint8.
    """
    truth = data.catalog.known_targets
    assert truth is not None
    truth = truth[predictions.rows]
    squares = (predictions.fractions - truth) ** 2
    known = ~np.isnan(squares)
    errors = np.sqrt(np.where(known, squares, 0).sum(axis=1) / known.sum(axis=1).clip(1))
    sample = np.flatnonzero(np.isin(predictions.rows, _sample(data, "val", count)))
    worst = np.argsort(-errors, kind="stable")[:count]
    return {
        name: _with_bars(data, predictions, truth, errors, places)
        for name, places in (("predictions", sample), ("worst", worst))
    }


def _sample(data: GalaxyDataModule, split: str, count: int) -> NDArray[np.int64]:
    rows = data.rows[split]
    return rows[sample_rows(data.catalog.ids[rows], count)]


def _augmented(
    data: GalaxyDataModule, rows: NDArray[np.int64], crops: torch.Tensor, epoch: int
) -> torch.Tensor:
    """Returns the (N, C, S, S) float32 images that the training makes of (N, S, S, C) crops in an epoch."""
    ids, augment = data.catalog.ids[rows], data.augment
    if augment.engine == "albumentations":
        seeds = image_seeds(data.seed, epoch, ids).tolist()
        changed = [augment.sample(crop, seed) for crop, seed in zip(crops.numpy(), seeds, strict=True)]
        return as_floats(channels_last(torch.from_numpy(np.stack(changed))))
    plan = augment.plan(uniforms(data.seed, epoch, ids, augment.count))
    return augment.batch(channels_last(crops), plan)


def _with_bars(
    data: GalaxyDataModule,
    predictions: Predictions,
    truth: NDArray[np.float32],
    errors: NDArray[np.float32],
    places: NDArray[np.int64],
) -> Picture:
    """Draws galaxies side by side, and below each a bar for every answer; errors are (N,), truth (N, K)."""
    lines = _lines(predictions.labels)
    rows = predictions.rows[places]
    left = 2 * _GAP + max(int(_SMALL.getlength(text)) for text, column in lines if column is not None)
    top = 2 * _GAP + _SIDE + 2 * _LINE
    sheet = Image.new("RGB", (left + len(rows) * (_SIDE + _GAP), top + len(lines) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (name, colour) in enumerate((("truth", _TRUTH), ("prediction", _PREDICTION))):
        y = (line + 1) * _LINE
        draw.rectangle((_GAP, y, _GAP + 8, y + 8), colour)
        draw.text((_GAP + 14, y + 4), name, _BLACK, _FONT, anchor="lm")
    for line, (text, column) in enumerate(lines):
        y = top + line * _LINE
        if column is None:
            draw.text((_GAP, y + _LINE // 2 + 1), text, _BLACK, _FONT, anchor="lm")
        else:
            draw.text((left - 8, y + _LINE // 2), text, _GREY, _SMALL, anchor="rm")
    crops = OnDisk(data.images).gather(torch.from_numpy(rows)).numpy()
    names = data.catalog.identifiers[rows].tolist()
    for number, (place, crop, name) in enumerate(zip(places.tolist(), crops, names, strict=True)):
        x = left + number * (_SIDE + _GAP)
        sheet.paste(_shown(crop), (x, _GAP))
        draw.text((x, _GAP + _SIDE + 2), _fitting(str(name)), _BLACK, _SMALL)
        draw.text((x, _GAP + _SIDE + _LINE + 1), f"RMSE {errors[place]:.3f}", _BLACK, _SMALL)
        for line, (_, column) in enumerate(lines):
            if column is None:
                continue
            y = top + line * _LINE
            draw.line((x, y + 1, x, y + _LINE - 2), _GREY)
            for value, shift, colour in (
                (truth[place, column], 2, _TRUTH),
                (predictions.fractions[place, column], 7, _PREDICTION),
            ):
                length = 0 if np.isnan(value) else round(float(np.clip(value, 0, 1)) * (_SIDE - 2))
                if length:
                    draw.rectangle((x + 1, y + shift, x + length, y + shift + 4), colour)
    return np.asarray(sheet)


def _lines(labels: Labels) -> list[tuple[str, int | None]]:
    """Lists the lines of text: a question has no column, and each of its answers has one.

    A single answer with the words of its question needs no line for the question.
    """
    lines: list[tuple[str, int | None]] = []
    for question, columns in zip(labels.questions, labels.questions.slices, strict=True):
        if [answer.text for answer in question.answers] != [question.text]:
            lines.append((_plain(question.text), None))
        for place, answer in enumerate(question.answers):
            lines.append((_plain(answer.text)[:40], columns.start + place))
    return lines[:_MOST_ANSWERS]


def _shown(pixels: NDArray[np.uint8]) -> Image.Image:
    """Makes (S, S, C) pixels as large as all galaxies are shown. Small ones keep their pixels visible."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    how = Image.Resampling.NEAREST if len(pixels) <= _SIDE else Image.Resampling.BOX
    return image.resize((_SIDE, _SIDE), how)


def _plain(text: str) -> str:
    """Returns a text in one line, without the bytes of a file's name that are no text."""
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def _fitting(name: str) -> str:
    """Cuts off the beginning of a name that is wider than a galaxy."""
    name = _plain(name)
    while len(name) > 1 and _SMALL.getlength(name) > _SIDE:
        name = "…" + name[2:]
    return name
