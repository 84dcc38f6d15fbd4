"""Predicts images while they are read. Nothing is kept of an image but its row of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galaxy.config.instantiation import instantiate
from galaxy.data.cropping import Cropped, crop_images
from galaxy.data.loader import channels_last
from galaxy.images.augment import as_floats
from galaxy.images.crops import Crop, Pixels
from galaxy.learning.task import GalaxyTask
from galaxy.runs.ensembles import Ensemble
from galaxy.runs.learners import Model
from galaxy.runs.predict import mean_of_views, predicting
from galaxy.surveys import Catalog


@dataclass(frozen=True)
class Batch:
    """What was predicted for some neighbouring galaxies.

    Attributes:
        rows: (B,) int64, the rows of those galaxies whose images could be read.
        fractions: (B, K) float32, the predictions.
        features: (B, F) float32, the features by the first model; None if they were not asked for.
        frames: (B, 2) int64, the height and width of each image before the crop.
        bad: The reason for each row whose image cannot be read.
        contents: A digest of the content of each image, the bad ones included, in the order of the rows.
    """

    rows: NDArray[np.int64]
    fractions: NDArray[np.float32]
    features: NDArray[np.float32] | None
    frames: NDArray[np.int64]
    bad: dict[int, str]
    contents: list[str]


def predict_as_read(
    ensemble: Ensemble,
    catalog: Catalog,
    tta: int,
    device: torch.device,
    batch_size: int,
    threads: int,
    with_features: bool,
) -> Iterator[Batch]:
    """Predicts all galaxies of a catalog. All models of the ensemble are in memory meanwhile.

    Threads decode and crop the next images while the models are at work. How many images wait depends on the
    number of threads alone.

    Args:
        ensemble: The models.
        catalog: The galaxies.
        tta: The number of views whose predictions are averaged.
        device: Where to compute.
        batch_size: The number of images that are predicted at once.
        threads: The number of threads that decode.
        with_features: Whether the features are asked for; models that are fitted in one go have none.

    Yields:
        All galaxies in their order.

    Raises:
        UserError: A model cannot be read, or a disk or the system failed.
    """
    crops = _EachCrop([instantiate(member.config["crop"], "crop") for member in ensemble.members])
    answers = ensemble.labels.questions.size
    with ExitStack() as stack:
        models = [member.load() for member in ensemble.members]
        for model in models:
            stack.enter_context(predicting(model, device))
        seen = stack.enter_context(first_features(models[0])) if with_features else None

        def predicted(pixels: Pixels) -> NDArray[np.float32]:
            means = np.zeros((len(pixels), answers))
            for model, columns, part in zip(models, ensemble.columns, crops.split(pixels), strict=True):
                images = as_floats(channels_last(torch.from_numpy(part).to(device)))
                means[:, columns] += mean_of_views(model, images, tta) / ensemble.columns.count(columns)
            return ensemble.together(means)

        blocks = crop_images(catalog.images, crops, (), threads, "Predicting")
        for first, images in _batches(blocks, batch_size):
            good = [place for place, one in enumerate(images) if not one.reason]
            pixels = [images[place].pixels for place in good]
            yield Batch(
                first + np.array(good, np.int64),
                predicted(np.stack(pixels)) if good else np.empty((0, answers), np.float32),
                seen.pop().float().cpu().numpy() if seen else None,
                np.array([images[place].frame for place in good], np.int64).reshape(-1, 2),
                {first + place: one.reason for place, one in enumerate(images) if one.reason},
                [one.content for one in images],
            )


def _batches(blocks: Iterable[list[Cropped]], size: int) -> Iterator[tuple[int, list[Cropped]]]:
    """Puts images together until so many of them can be predicted; yields also the row of the first one."""
    first, batch, good = 0, list[Cropped](), 0
    for image in chain.from_iterable(blocks):
        batch.append(image)
        good += not image.reason
        if good == size:
            yield first, batch
            first, batch, good = first + len(batch), [], 0
    if batch:
        yield first, batch


class _EachCrop(Crop):
    """Several crops of one image, which is decoded once; their pixels follow each other.

    Args:
        crops: One crop for each model; equal ones are made once.
    """

    def __init__(self, crops: list[Crop]) -> None:
        super().__init__(crops[0].size, crops[0].channels)
        kinds = [(type(crop), sorted(vars(crop).items())) for crop in crops]
        self._of_each = [kinds.index(kind) for kind in kinds]  # the first crop that is equal
        self._crops = {place: crops[place] for place in self._of_each}

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the pixels of all crops, in one axis."""
        return np.concatenate([crop(image).ravel() for crop in self._crops.values()])

    def region(self, image: Pixels) -> Pixels:
        """Returns the whole frame, of which each crop takes its own part."""
        return image

    def split(self, pixels: Pixels) -> list[Pixels]:
        """Returns the (B, size, size, channels) crops for each model."""
        shapes = {place: (crop.size, crop.size, crop.channels) for place, crop in self._crops.items()}
        ends = np.cumsum([np.prod(shape) for shape in shapes.values()])[:-1]
        parts = dict(zip(shapes, np.split(pixels, ends, axis=1), strict=True))
        return [np.ascontiguousarray(parts[place]).reshape(-1, *shapes[place]) for place in self._of_each]


@contextmanager
def first_features(model: Model) -> Iterator[list[Tensor]]:
    """Yields a list that takes the features of the first view whenever a model predicts, at no cost."""
    seen: list[Tensor] = []
    if not isinstance(model, GalaxyTask):
        yield seen
        return

    def remember(encoder: torch.nn.Module, images: object, features: Tensor) -> None:
        if not seen:
            seen.append(features)

    handle = model.encoder.register_forward_hook(remember)
    try:
        yield seen
    finally:
        handle.remove()
