"""Makes batches from a survey: reads the catalog, splits it, opens the image cache and builds the loaders."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray

from galaxy.config.instantiation import naming
from galaxy.data.cache import CachedImages, open_cache
from galaxy.data.cautions import copies, crop_cautions
from galaxy.data.loader import Batch, BatchLoader, Order
from galaxy.data.pixels import OnDisk, PixelStore, place_pixels
from galaxy.data.split_settings import SplitSettings, check_amounts
from galaxy.data.splits import SPLITS, sample_rows
from galaxy.data.targets.as_labelled import AsLabelled
from galaxy.data.workers import WorkerLoader
from galaxy.images.augment import AFFINE, Augment, uniforms
from galaxy.images.crops import Crop
from galaxy.images.crops.center import CenterCrop
from galaxy.labels.labels import Labels
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError, listing

log = logging.getLogger(__name__)

# 2,000 images of 64 x 64 pixels give the mean to a thousandth of the standard deviation of a pixel.
NORMALISATION_IMAGES = 2000


class GalaxyDataModule(pl.LightningDataModule):
    """Builds the loaders of one survey under one crop.

    `setup` reads the catalog, splits it, takes the sample and opens the image cache, which decodes the images
    that are new. After that, `catalog` holds exactly the galaxies whose images could be read, and row i of
    `catalog`, `images` and `splits` is the same galaxy.

    Example:
        >>> from galaxy.surveys.kaggle import read_kaggle
        >>> data = GalaxyDataModule(read_kaggle("data/kaggle"), crop=CenterCrop(32), batch_size=16)
        >>> data.setup()
        >>> batch = next(iter(data.val_dataloader()))
        >>> sorted(batch), batch["image"].shape[1:], batch["target"].shape[1]
        (['image', 'row', 'target'], torch.Size([3, 32, 32]), 37)

    Args:
        catalog: The survey, or a function that reads it when it is called with `root` and `on_bad`.
        root: The folder of the survey; None for the folder that holds all images.
        target: Turns the catalog into one that holds what is to be predicted; None for all labels as they
            are.
        crop: Cuts the galaxy out of its frame; None for `CenterCrop(64)`.
        augment: Changes training images at random; None for `AFFINE`, and `Augment()` for no change.
        batch_size: The number of galaxies in a batch, in one process.
        seed: The seed of the order and the augmentation.
        limit: The number of galaxies to use; None for all.
        on_bad: "error" stops at bad rows and images, "skip" leaves them out and reports them.
        counts: Whether batches carry the volunteers' vote counts; the survey must have them.
        val_fraction: See `galaxy.data.split_settings.SplitSettings`.
        test_fraction: See there.
        split_seed: See there.
        stratify: See there. The labels must be classes, or the survey must know kinds.
        split_file: See there.
        folds: See there.
        fold: See there.
        cache: The folder of the image caches.
        residence: Where batches are gathered from; see `galaxy.data.pixels.place_pixels`.
        workers: The number of threads that decode, and of processes that augment one image after the other;
            None for one per core, 0 to do without.

    Attributes:
        device: The device that batches are for; to be set before the pixels are first used.
        processes: How many processes share the training, each with a data module of its own; to be set with
            `device`.
        split_settings: How the galaxies are split.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(
        self,
        catalog: Catalog | Callable[..., Catalog],
        root: str | None = None,
        target: Callable[[Catalog], Catalog] | None = None,
        crop: Crop | None = None,
        augment: Augment | None = None,
        batch_size: int = 64,
        seed: int = 0,
        limit: int | None = None,
        on_bad: Literal["error", "skip"] = "error",
        counts: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        stratify: bool = False,
        split_file: str | None = None,
        folds: int | None = None,
        fold: int | None = None,
        cache: str = "cache",
        residence: Literal["auto", "disk", "memory", "device"] = "auto",
        workers: int | None = None,
    ) -> None:
        super().__init__()
        check_amounts(batch_size, limit, workers)
        self.split_settings = SplitSettings(
            val_fraction,
            test_fraction,
            split_seed,
            stratify,
            None if split_file is None else Path(split_file),
            folds,
            fold,
        )
        self.reader = catalog
        self.root = None if root is None else Path(root).expanduser()
        self.target = target or AsLabelled()
        self.crop = crop or CenterCrop(64)
        self.augment = augment or AFFINE
        self.batch_size = batch_size
        self.seed = seed
        self.limit = limit
        self.on_bad = on_bad
        self.counts = counts
        self.cache = Path(cache).expanduser()
        self.residence = residence
        self.device = torch.device("cpu")
        self.processes = 1
        self.workers = workers

    def read(self) -> None:
        """Reads the catalog and splits it, without its images; a second call does nothing.

        Raises:
            UserError: The survey cannot be read, or does not have what the settings ask for.
        """
        if hasattr(self, "catalog"):
            return
        catalog = self.read_survey()
        if self.counts and catalog.counts is None:
            raise UserError(
                f"data.counts is true, but data={catalog.name} has no vote counts (those of a table are in "
                "data.catalog.columns or data.catalog.questions)"
            )
        # The whole catalog is split, so that a galaxy's split depends neither on the limit nor on bad images.
        splits, self.listed = self.split_settings.split(catalog)
        rows = sample_rows(catalog.ids, self.limit)
        self.catalog: Catalog = catalog.take(rows)
        folds = self.split_settings.folds_of(catalog)
        self._split(splits[rows], None if folds is None else folds[rows])

    def read_survey(self) -> Catalog:
        """Returns all galaxies of the survey with what is to be predicted of them; nothing is split.

        Raises:
            UserError: The survey cannot be read, or cannot be asked this.
        """
        catalog = self.reader
        if not isinstance(catalog, Catalog):
            with naming("data.catalog"):
                catalog = catalog(root=self.root, on_bad=self.on_bad)
        with naming("target"):
            return self.target(catalog)

    def setup(self, stage: str | None = None) -> None:
        """Reads the catalog and opens the image cache, once. Lightning calls it before a training, too.

        Raises:
            UserError: As `read`; or an image is bad, or the cache cannot be written.
        """
        trainer = self.trainer
        if trainer is not None:
            self.device, self.processes = trainer.strategy.root_device, trainer.num_devices
        self._open_images()
        if stage == "fit" and trainer is not None:
            self.check_trainable()
            # The task's own hooks come too late: callbacks that average weights copy the task before.
            measure: Any = getattr(trainer.lightning_module, "measure", None)
            if measure is not None:
                measure(self)

    def _open_images(self) -> None:
        """Reads the catalog and opens the image cache; a second call does nothing."""
        if hasattr(self, "images"):
            return
        self.read()
        self.images: CachedImages = open_cache(
            self.catalog.images,
            self.crop,
            self.cache,
            self.on_bad,
            self.workers,
            self.catalog.any_frame,
            self.root,
        )
        self.catalog = self.catalog.take(self.images.kept, self.images.skipped)
        kept = self.images.kept
        self._split(self.splits[kept], None if self.folds is None else self.folds[kept])
        for caution in crop_cautions(self.images, self.crop):
            log.warning("%s", caution)
        names = self.catalog.identifiers.tolist()
        same, leaks = copies(self.images, names, self.splits, self.catalog.takes_groups)
        if same:
            log.log(logging.WARNING if leaks else logging.INFO, "%s", same)
        if skipped := list(self.catalog.skipped):
            log.warning("left out %d bad rows or images:\n%s", len(skipped), listing(skipped))
            log.info("all of them:\n%s", listing(skipped, len(skipped)), extra={"for_file": True})

    def _split(self, splits: NDArray[np.int8], folds: NDArray[np.int64] | None) -> None:
        """Stores the split and the fold of each galaxy, and the rows of each split."""
        self.splits, self.folds = splits, folds
        self.rows = {name: np.flatnonzero(splits == code) for code, name in enumerate(SPLITS)}
        self.rows["all"] = np.arange(len(splits))

    def check_trainable(self, splits: Sequence[str] = ("train", "val")) -> None:
        """Refuses data that can be predicted but not trained on; to be called after `read`.

        Args:
            splits: The splits that must have galaxies.

        Raises:
            UserError: There are no labels or no kinds to stratify by, the file of splits lists none of the
                galaxies, or a split or a fold is empty.
        """
        name = self.catalog.name
        if self.catalog.labels is None or self.catalog.targets is None:
            raise UserError(
                f"data={name} at {self.root} has no labels, so it can be predicted (galaxy evaluate) but not "
                f"trained on{f'; {self.catalog.label_advice}' if self.catalog.label_advice else ''}"
            )
        if self.split_settings.stratify and self.catalog.strata is None:
            raise UserError(
                f"data.stratify is true, but data={name} knows no kinds of galaxies: use classes "
                "(target=question1 or target=classes) or data.stratify=false"
            )
        if self.listed is not None and not self.listed.found:
            raise UserError(
                f"data.split_file {self.split_settings.split_file} lists none of the galaxies of "
                f"data={name}, which are called {self.catalog.identifiers[0]} and so on (ids must not have "
                "been saved as floats)"
            )
        if self.folds is not None and self.split_settings.folds is not None:
            self._check_folds(self.folds, self.split_settings.folds)
        for split in splits:
            if split != "test" or self.split_settings.test_fraction > 0:
                self.nonempty_rows(split)

    def _check_folds(self, folds: NDArray[np.int64], count: int) -> None:
        """Refuses empty folds, whichever fold this run tests, because the folds are one result together."""
        sizes = np.bincount(folds, minlength=count)
        if sizes.all():
            return
        groups = self.catalog.groups
        many = f"{len(self.catalog):,} galaxies"
        if groups is not None:
            many = f"{len(np.unique(groups)):,} groups of galaxies that stay together"
        raise UserError(
            f"data.folds is {count}, but none of the {many} falls into fold {sizes.argmin()}: use more "
            "galaxies (data.limit), fewer folds or another data.split_seed"
        )

    @property
    def labels(self) -> Labels:
        """Returns the meaning of the targets, and reads the catalog first if need be.

        Raises:
            ValueError: The survey has no labels.
            UserError: As `read`.
        """
        self.read()
        if self.catalog.labels is None:
            raise ValueError(f"data={self.catalog.name} has no labels")
        return self.catalog.labels

    @property
    def targets(self) -> NDArray[np.float32]:
        """Returns the (N, K) float32 targets. An unknown one, whose weight is 0, is some number.

        Raises:
            ValueError: The survey has no labels.
        """
        if self.catalog.targets is None:
            raise ValueError(f"data={self.catalog.name} has no labels")
        return self.catalog.targets

    def training_targets(self) -> torch.Tensor:
        """Returns the (N, K) float32 targets of the training galaxies, NaN where one is unknown.

        Raises:
            UserError: There are no training galaxies.
        """
        return torch.from_numpy(self.catalog.known_targets)[self.nonempty_rows("train")]

    def fingerprint(self, split: str) -> str:
        """Digests the galaxies of a split and the questions about them.

        The split "folds" stands for all galaxies with their folds. Errors compare only between runs with the
        same fingerprint. It depends on the ids as text, the names of the columns, the meaning of the labels,
        the targets rounded to a millionth, and which of them are known. It depends neither on other weights,
        pixels, crops and paths nor on the order of the galaxies.
        """
        rows = self.rows["all" if split == "folds" else split]
        names = [str(name) for name in self.catalog.identifiers[rows].tolist()]
        order = sorted(range(len(rows)), key=names.__getitem__)
        text: list[Any] = [[names[i] for i in order], self.labels.columns, self.labels.meaning]
        if split == "folds" and self.folds is not None:
            text.append(self.folds[rows[order]].tolist())
        digest = blake2b(json.dumps(text).encode(), digest_size=16)
        targets = np.rint(self.targets[rows[order]].astype(np.float64) * 1e6)
        digest.update(targets.astype("<i8").tobytes())
        if self.catalog.weights is not None and not (known := self.catalog.weights[rows[order]] > 0).all():
            digest.update(np.packbits(known).tobytes())
        return digest.hexdigest()

    def description(self) -> dict[str, Any]:
        """Returns the facts about the data that a run folder keeps.

        Returns:
            "fingerprint", a digest of all ids, labels, weights, counts, further columns, splits and pixels,
            which must not change when a run is resumed; "galaxies" and the sizes of the splits;
            "fingerprints" of the validation and the test split and, with folds, of "folds", which the runs of
            all folds share; and "skipped", the number of rows and images that were left out.
        """
        digest = blake2b(self.images.digest.encode(), digest_size=16)
        digest.update(self.catalog.ids.tobytes())
        for labels in (self.targets, self.catalog.weights, self.catalog.counts):
            if labels is not None:
                digest.update(labels.tobytes())
        for name, numbers in self.catalog.extra_numbers.items():
            digest.update(name.encode() + numbers.tobytes())
        digest.update(self.splits.tobytes())
        digested = ("val", "test") if self.folds is None else ("val", "test", "folds")
        return {
            "fingerprint": digest.hexdigest(),
            "galaxies": len(self.catalog),
            **{name: len(self.rows[name]) for name in SPLITS},
            "fingerprints": {name: self.fingerprint(name) for name in digested},
            "skipped": len(self.catalog.skipped),
        }

    def nonempty_rows(self, split: str) -> NDArray[np.int64]:
        """Returns the rows of a split.

        Raises:
            UserError: The split is empty.
        """
        rows = self.rows[split]
        if not len(rows):
            sizes = ", ".join(f"{name} {len(self.rows[name])}" for name in SPLITS)
            raise UserError(
                f"the {split} split is empty ({sizes} of {len(self.catalog)} galaxies): use more galaxies "
                "(data.limit) or another share (data.val_fraction, data.test_fraction)"
            )
        return rows

    @cached_property
    def pixels(self) -> PixelStore:
        """Puts the images where batches are gathered from, once."""
        # Workers read the disk by themselves, and validation alone is not worth a copy in memory.
        residence = "disk" if self.residence == "auto" and self._in_workers else self.residence
        return place_pixels(self.images, residence, self.device, self.processes)

    @property
    def _in_workers(self) -> bool:
        return self.augment.active and self.augment.engine == "albumentations"

    def channel_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Computes the mean and the standard deviation of each channel of the training images, from 0 to 1.

        Returns:
            Two (C,) float32 arrays. A channel that never changes gets a standard deviation of 1.
        """
        rows = self.nonempty_rows("train")
        rows = rows[:: max(1, len(rows) // NORMALISATION_IMAGES)]
        counts = np.zeros((self.crop.channels, 256), np.int64)  # of the pixels of each level
        for some in torch.from_numpy(rows).to(self.pixels.device).split(64):
            images = self.pixels.gather(some).cpu().numpy()
            for channel in range(len(counts)):
                counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        mean = shares @ levels
        std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
        return mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)

    def batches_per_epoch(self, world_size: int) -> int:
        """Counts the training batches of an epoch in each of `world_size` processes."""
        return len(self._order("train", shuffle=True, world_size=world_size))

    def whole_batch(self, world_size: int) -> int:
        """Counts the images of each of these batches; the last one of an epoch may have fewer or more."""
        return len(self._order("train", shuffle=False, world_size=world_size).batches()[0])

    def loader(self, split: str) -> BatchLoader:
        """Returns a loader of a split in order, each galaxy once and not augmented, all in this process."""
        return self._loader(self._order(split, False))

    def train_dataloader(self) -> BatchLoader:
        """Returns a loader of the training galaxies, shuffled and augmented.

        Raises:
            UserError: There are none.
        """
        self.nonempty_rows("train")
        order = self._order("train", True, **self._process())
        if self._in_workers:
            share = max(1, cpu_count() // self.processes)
            workers = share if self.workers is None else self.workers
            columns = {name: values.cpu() for name, values in self._columns.items()}
            ids, pin = self.catalog.ids, self.device.type == "cuda"
            pixels = OnDisk(self.images)
            return WorkerLoader(pixels, columns, order, self.augment, ids, self.seed, workers, pin)
        return self._loader(order, self._planned if self.augment.active else None)

    def val_dataloader(self) -> BatchLoader:
        """Returns a loader of the validation galaxies, in order and not augmented.

        Raises:
            UserError: There are none.
        """
        self.nonempty_rows("val")
        return self._loader(self._order("val", False, **self._process()))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch. Lightning's own way first looks into each value for nested collections."""
        return {name: value.to(device, non_blocking=True) for name, value in batch.items()}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turns pixels into float32 in [0, 1] and augments, a whole batch at once and on the device."""
        batch["image"] = self.augment.batch(batch["image"], batch)
        return batch

    def _process(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _order(self, split: str, shuffle: bool, rank: int = 0, world_size: int = 1) -> Order:
        return Order(self.rows[split], self.batch_size, shuffle, self.seed, rank, world_size)

    def _planned(self, epoch: int) -> Batch:
        """Makes the columns that say how the batch engine changes each galaxy in an epoch."""
        draws = uniforms(self.seed, epoch, self.catalog.ids, self.augment.count)
        return self.augment.plan(draws.to(self.pixels.device))

    def _loader(self, order: Order, epoch_columns: Callable[[int], Batch] | None = None) -> BatchLoader:
        """Returns a loader of these batches. If a GPU trains, a thread gathers; it would slow a CPU down."""
        fetched = self.pixels.device.type != self.device.type
        return BatchLoader(self.pixels, self._columns, order, epoch_columns, ahead=fetched, pin=fetched)

    def columns(self) -> Batch:
        """Returns the columns of all galaxies that batches hold beside images, on the CPU."""
        columns = {"target": self.catalog.targets, "weight": self.catalog.weights}
        if self.counts:
            columns["counts"] = self.catalog.counts
        columns |= self.catalog.extra_numbers
        return {name: torch.from_numpy(values) for name, values in columns.items() if values is not None}

    @cached_property
    def _columns(self) -> Batch:
        """The same on the device of the pixels."""
        return {name: values.to(self.pixels.device) for name, values in self.columns().items()}
