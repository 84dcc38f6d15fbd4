"""A trained model as people use it from Python: images go in, tables come out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from galaxy.data.cropping import Cropped
from galaxy.data.loader import channels_last
from galaxy.images import BadImageError
from galaxy.images.augment import as_floats
from galaxy.images.crops import Crop
from galaxy.images.decode import Decoder
from galaxy.images.given import GivenImage, Images, bad_given_error, list_images, read_given
from galaxy.images.views import check_views
from galaxy.labels.labels import Labels
from galaxy.labels.tree import Questions
from galaxy.learning.task import GalaxyTask
from galaxy.runs.learners import Model
from galaxy.runs.predict import mean_of_views, predicting, prediction_table
from galaxy.surveys.files import Stretch
from galaxy.surveys.ids import identify
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)


class TrainedModel:
    """A trained model, which predicts images of any kind. It crops by itself, as it was trained.

    `galaxy.load` makes one of a run folder or a checkpoint. After a training in the same program it is
    `TrainedModel(task, data.labels, data.crop)`.

    Args:
        model: The model, with its weights.
        labels: What it predicts.
        crop: Cuts the galaxy out of its frame.
        stretch: How files with more than 8 bits a sample become pictures.
        frame: The (height, width) in pixels of the images that it was trained on, before the crop; None if
            that is not known, or if they differed.
        config: The configuration that it was trained under; empty if there was none.
    """

    def __init__(
        self,
        model: Model,
        labels: Labels,
        crop: Crop,
        stretch: Stretch | None = None,
        frame: tuple[int, int] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.labels = labels
        self.crop = crop
        self.stretch = stretch or Stretch()
        self.frame = frame
        self.config = config or {}

    def __repr__(self) -> str:
        network = self.task.encoder if self.task is not None else self.model
        crop = f"{type(self.crop).__name__}({self.crop.size})"
        return (
            f"<TrainedModel: {type(network).__name__}, {len(self.labels.columns)} {self.labels.kind}, {crop}>"
        )

    @property
    def task(self) -> GalaxyTask | None:
        """The LightningModule; None for a model that was fitted in one go, such as `mean` or `knn`."""
        return self.model if isinstance(self.model, GalaxyTask) else None

    @property
    def questions(self) -> Questions:
        """The tree of questions whose answers are predicted."""
        return self.labels.questions

    def predict(self, images: Images, tta: int = 1, batch_size: int = 64) -> pd.DataFrame:
        """Predicts images; the numbers are those of `galaxy evaluate` for the same files.

        Example:
            >>> import galaxy
            >>> model = galaxy.load("runs/first")
            >>> table = model.predict("data/own/images")
            >>> table.columns[:3].tolist()
            ['id', 'Class1.1', 'Class1.2']

        Args:
            images: The path of an image or of a folder of images, an array (H, W, 3) or (H, W) uint8, a PIL
                image, a list of these, or an array (N, H, W, 3) uint8. They must be whole frames, because the
                model crops by itself.
            tta: The number of views of each image whose predictions are averaged: as it is (1), under four
                quarter turns (4), mirrored too (8), or at several angles and zooms (24, 30, ... 60, ...); see
                `galaxy.images.views`.
            batch_size: The number of images that are predicted at once.

        Returns:
            A row for each image, in their order. `id` is the name of the file without folder and ending, or
            the position of an image that has no file; then there is a column for each answer, and before
            these, for classes, the likeliest `class`.

        Raises:
            ValueError: A parameter is out of its range, or something is no image.
            UserError: Images cannot be used. The message names all of them.
        """
        check_views(tta)
        given = list_images(images, self.stretch)
        fractions = self._computed(given, lambda batch: mean_of_views(self.model, batch, tta), batch_size)
        ids, names = identify([image.id for image in given])
        return prediction_table(self.labels, ids if names is None else np.array(names, object), fractions)

    def features(self, images: Images, batch_size: int = 64) -> NDArray[np.float32]:
        """Encodes images as the features that the head predicts from.

        Example:
            >>> import galaxy
            >>> galaxy.load("runs/first").features("data/own/images").shape
            (80, 64)

        Args:
            images: See `predict`.
            batch_size: See `predict`.

        Returns:
            (N, D), a row for each image in their order.

        Raises:
            ValueError: As `predict`.
            UserError: As `predict`; or the model has no encoder, because it was fitted in one go.
        """
        task = self.task
        if task is None:
            raise UserError(
                f"{type(self.model).__name__} was fitted in one go, so it has no features; a network has them"
            )
        given = list_images(images, self.stretch)
        return self._computed(given, lambda batch: task.features(batch).float().cpu().numpy(), batch_size)

    def _computed(
        self, given: list[GivenImage], compute: Callable[[Tensor], NDArray[np.float32]], batch_size: int
    ) -> NDArray[np.float32]:
        """Decodes, crops and computes batch by batch; returns a row for each image."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bad: list[str] = []
        others: list[str] = []
        results = []
        with predicting(self.model, device), Decoder() as decode, ThreadPoolExecutor(cpu_count()) as pool:
            for start in range(0, len(given), batch_size):
                batch = given[start : start + batch_size]
                read = list(pool.map(lambda image: self._cropped(image, decode), batch))
                pairs = list(zip(batch, read, strict=True))
                bad += [f"{image.name}: {cropped.reason}" for image, cropped in pairs if cropped.reason]
                if bad:
                    continue  # the rest is read as well, so that the error names all bad images
                others += [image.name for image, cropped in pairs if cropped.frame != self.frame]
                pixels = torch.from_numpy(np.stack([cropped.pixels for cropped in read]))
                results.append(compute(as_floats(channels_last(pixels.to(device)))))
        if bad:
            raise bad_given_error(bad)
        if self.frame is not None and others:
            log.warning(
                "%d of %d images, such as %s, are not %d x %d pixels as the training images were. The crop "
                "is cut from the whole frame: an image must show as much sky around its galaxy as those did, "
                "and must not have been cropped before.",
                len(others),
                len(given),
                others[0],
                *reversed(self.frame),
            )
        return np.concatenate(results)

    def _cropped(self, image: GivenImage, decode: Decoder) -> Cropped:
        try:
            pixels = read_given(image, decode)
        except BadImageError as error:
            return Cropped(reason=str(error))
        crop = np.ascontiguousarray(self.crop(pixels))
        return Cropped(frame=(pixels.shape[0], pixels.shape[1]), pixels=crop)
