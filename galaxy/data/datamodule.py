"""From a survey to batches: catalog, cached crops, splits and loaders."""

from __future__ import annotations

import logging
from collections.abc import Callable
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
from galaxy.data.loader import Batch, BatchLoader, Order
from galaxy.data.residence import OnDisk, Pixels, reside
from galaxy.data.splits import SPLITS, assign_splits, override_splits, read_splits, sample_rows
from galaxy.data.workers import WorkerLoader
from galaxy.images.augment import Augment, uniforms
from galaxy.images.crops import Crop
from galaxy.labels.labels import Labels
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError, listing

log = logging.getLogger(__name__)

# The mean of 2,000 images of 64 x 64 pixels is known to a thousandth of a pixel's spread.
NORMALISATION_IMAGES = 2000


class GalaxyDataModule(pl.LightningDataModule):
    """The loaders of one survey under one crop.

    `setup` reads the catalog, splits it, takes the sample and opens (or builds) the image cache. After it,
    `catalog` holds exactly the galaxies whose images could be read, row by row with `images` and `splits`.

    Args:
        catalog: Reads the survey: called with `root` and `on_bad`.
        root: Folder of the survey.
        target: Chooses what is to be predicted: a catalog to a catalog.
        crop: Cuts the galaxy out of its frame.
        augment: Changes training images at random.
        batch_size: Galaxies a batch, in one process.
        seed: Of the order and the augmentation.
        limit: Number of galaxies to use; None for all.
        on_bad: "error" stops at bad rows and images, "skip" leaves them out and reports them.
        counts: Whether batches carry the volunteers' vote counts; the survey must have them.
        val_fraction: Share of the galaxies that validate.
        test_fraction: Share of the galaxies that test.
        split_seed: Another one gives other splits.
        stratify: Whether each kind of galaxy is split in these shares; the labels must be classes, or the
            survey must know kinds.
        split_file: A table that fixes the splits of the galaxies it lists; see
            `galaxy.data.splits.read_splits`.
        cache: Folder of the image caches.
        residence: Where batches are gathered from; see `galaxy.data.residence.reside`.
        workers: Threads that decode, and processes that augment one image after the other; None for one per
            core, 0 to do without.

    Attributes:
        device: That batches are for; to be set before the pixels are first used.
        processes: That share the training, each with a data module of its own; to be set with `device`.
    """

    def __init__(
        self,
        catalog: Callable[..., Catalog],
        root: str,
        target: Callable[[Catalog], Catalog],
        crop: Crop,
        augment: Augment,
        batch_size: int,
        seed: int,
        limit: int | None = None,
        on_bad: Literal["error", "skip"] = "error",
        counts: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        stratify: bool = False,
        split_file: str | None = None,
        cache: str = "cache",
        residence: Literal["auto", "disk", "memory", "device"] = "auto",
        workers: int | None = None,
    ) -> None:
        super().__init__()
        _check(batch_size, limit, val_fraction, test_fraction, split_seed, workers)
        self.reader = catalog
        self.root = Path(root).expanduser()
        self.target = target
        self.crop = crop
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed
        self.limit = limit
        self.on_bad = on_bad
        self.counts = counts
        self.fractions = (val_fraction, test_fraction)
        self.split_seed = split_seed
        self.stratify = stratify
        self.split_file = None if split_file is None else Path(split_file)
        self.cache = Path(cache).expanduser()
        self.residence = residence
        self.device = torch.device("cpu")
        self.processes = 1
        self.workers = workers

    def read(self) -> None:
        """Reads and splits the catalog, whose images are still to be read; a second call does nothing."""
        if hasattr(self, "catalog"):
            return
        with naming("data.catalog"):
            catalog = self.reader(root=self.root, on_bad=self.on_bad)
        catalog = self.target(catalog)
        if self.counts and catalog.counts is None:
            raise UserError(f"data.counts is true, but data={catalog.name} has no vote counts")
        # Of the whole catalog, so that a galaxy's split depends neither on the limit nor on bad images.
        splits = self._splits(catalog)
        rows = sample_rows(catalog.ids, self.limit)
        self.catalog: Catalog = catalog.take(rows)
        self._split(splits[rows])

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and caches; a second call does nothing."""
        if hasattr(self, "images"):
            return
        self.read()
        self.images: CachedImages = open_cache(
            self.catalog.images, self.crop, self.cache, self.on_bad, self.workers, self.catalog.any_frame
        )
        self.catalog = self.catalog.take(self.images.kept, self.images.skipped)
        self._split(self.splits[self.images.kept])
        if self.catalog.skipped:
            left_out = listing(list(self.catalog.skipped))
            log.warning("left out %d bad rows or images:\n%s", len(self.catalog.skipped), left_out)

    def _split(self, splits: NDArray[np.int8]) -> None:
        """Takes the split of each galaxy, and with it the rows of each split."""
        self.splits = splits
        self.rows = {name: np.flatnonzero(splits == code) for code, name in enumerate(SPLITS)}
        self.rows["all"] = np.arange(len(splits))

    def _splits(self, catalog: Catalog) -> NDArray[np.int8]:
        """The split of each galaxy, (N,) indices of `SPLITS`."""
        strata = catalog.strata if self.stratify else None
        splits = assign_splits(catalog.ids, *self.fractions, self.split_seed, strata, catalog.groups)
        if self.split_file is None:
            return splits
        names = [str(name) for name in catalog.identifiers.tolist()]
        fixed = read_splits(self.split_file, names)
        self.listed = int((fixed >= 0).sum())
        log.info("%d of %d galaxies are listed in %s", self.listed, len(fixed), self.split_file)
        return override_splits(splits, fixed, catalog.groups, names)

    def check_trainable(self) -> None:
        """Refuses what can be predicted but not trained on; to be called after `read`.

        Raises:
            UserError: There are no labels, no kinds to stratify by, no galaxy is in the file of splits, or a
                split is empty.
        """
        name = self.catalog.name
        if self.catalog.labels is None or self.catalog.targets is None:
            raise UserError(
                f"data={name} at {self.root} has no labels, so it can be predicted (evaluate.py) but not "
                "trained on; a table has them once data.catalog.columns, data.catalog.questions or "
                "data.catalog.class_column is given"
            )
        if self.stratify and self.catalog.strata is None:
            raise UserError(
                f"data.stratify is true, but data={name} knows no kinds of galaxies: use classes "
                "(target=question1 or target=classes) or data.stratify=false"
            )
        if self.split_file is not None and self.listed == 0:
            raise UserError(
                f"data.split_file {self.split_file} lists none of the galaxies of data={name}, which are "
                f"called {self.catalog.identifiers[0]} and so on (ids must not have been saved as floats)"
            )
        for split in SPLITS:
            self.labelled_rows(split)

    @property
    def labels(self) -> Labels:
        """What the targets of a survey that has labels are."""
        if self.catalog.labels is None:
            raise ValueError(f"data={self.catalog.name} has no labels")
        return self.catalog.labels

    @property
    def targets(self) -> NDArray[np.float32]:
        """(N, K) float32 targets of a survey that has labels."""
        if self.catalog.targets is None:
            raise ValueError(f"data={self.catalog.name} has no labels")
        return self.catalog.targets

    def description(self) -> dict[str, Any]:
        """What was trained on, for the run folder: sizes, and a fingerprint of ids, labels and pixels."""
        digest = blake2b(self.images.digest.encode(), digest_size=16)
        digest.update(self.catalog.ids.tobytes())
        for labels in (self.targets, self.catalog.weights, self.catalog.counts):
            if labels is not None:
                digest.update(labels.tobytes())
        digest.update(self.splits.tobytes())
        return {
            "fingerprint": digest.hexdigest(),
            "galaxies": len(self.catalog),
            **{name: len(self.rows[name]) for name in SPLITS},
            "skipped": list(self.catalog.skipped),
        }

    def labelled_rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split that must not be empty."""
        rows = self.rows[split]
        if not len(rows):
            sizes = ", ".join(f"{name} {len(self.rows[name])}" for name in SPLITS)
            raise UserError(
                f"the {split} split is empty ({sizes} of {len(self.catalog)} galaxies): use more galaxies "
                "(data.limit) or another share (data.val_fraction, data.test_fraction)"
            )
        return rows

    @cached_property
    def pixels(self) -> Pixels:
        """The images, where batches are gathered from."""
        # Workers read the disk by themselves: no second copy for validation alone.
        residence = "disk" if self.residence == "auto" and self._in_workers else self.residence
        return reside(self.images, residence, self.device, self.processes)

    @property
    def _in_workers(self) -> bool:
        return self.augment.active and self.augment.engine == "albumentations"

    def channel_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of the training images' channels, in units of the full range.

        Returns:
            Two (C,) float32 arrays. A channel that never changes gets a standard deviation of 1.
        """
        rows = self.labelled_rows("train")
        rows = rows[:: max(1, len(rows) // NORMALISATION_IMAGES)]
        counts = np.zeros((self.crop.channels, 256), np.int64)  # of each level, which takes little memory
        for some in torch.from_numpy(rows).to(self.pixels.device).split(64):
            images = self.pixels.gather(some).cpu().numpy()
            for channel in range(len(counts)):
                counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        mean = shares @ levels
        std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
        return mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)

    def batches_per_epoch(self, world_size: int) -> int:
        """Training batches of one epoch, of each of `world_size` processes that share it."""
        return len(self._order("train", shuffle=True, world_size=world_size))

    def whole_batch(self, world_size: int) -> int:
        """Images of each of these batches, but perhaps an epoch's last."""
        return len(self._order("train", shuffle=False, world_size=world_size).batches()[0])

    def loader(self, split: str) -> BatchLoader:
        """Each galaxy of a split once, in the catalog's order, as it is; on this process alone."""
        return self._loader(self._order(split, False))

    def train_dataloader(self) -> BatchLoader:
        """Shuffled and augmented."""
        self.labelled_rows("train")
        order = self._order("train", True, **self._process())
        if self._in_workers:
            share = max(1, cpu_count() // self.processes)  # of each process of a distributed training
            workers = share if self.workers is None else self.workers
            columns = {name: values.cpu() for name, values in self._columns.items()}
            ids, pin = self.catalog.ids, self.device.type == "cuda"
            pixels = OnDisk(self.images)
            return WorkerLoader(pixels, columns, order, self.augment, ids, self.seed, workers, pin)
        return self._loader(order, self._planned if self.augment.active else None)

    def val_dataloader(self) -> BatchLoader:
        """In order and as they are."""
        self.labelled_rows("val")
        return self._loader(self._order("val", False, **self._process()))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch; Lightning's own way looks into each value for what else it might be."""
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
        """What the batch engine will do to each galaxy in an epoch."""
        draws = uniforms(self.seed, epoch, self.catalog.ids, self.augment.count)
        return self.augment.plan(draws.to(self.pixels.device))

    def _loader(self, order: Order, epoch_columns: Callable[[int], Batch] | None = None) -> BatchLoader:
        """Gathers in a thread of its own where a GPU trains; it would be in the way of a CPU that does."""
        fetched = self.pixels.device.type != self.device.type
        return BatchLoader(self.pixels, self._columns, order, epoch_columns, ahead=fetched, pin=fetched)

    @cached_property
    def _columns(self) -> Batch:
        """What batches hold beside images, of all galaxies."""
        columns = {"target": self.catalog.targets, "weight": self.catalog.weights}
        if self.counts:
            columns["counts"] = self.catalog.counts
        device = self.pixels.device
        return {name: torch.from_numpy(x).to(device) for name, x in columns.items() if x is not None}


def _check(
    batch_size: int,
    limit: int | None,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
    workers: int | None,
) -> None:
    if batch_size < 1:
        raise UserError(f"data.batch_size is {batch_size}; it must be 1 or more")
    if limit is not None and limit < 1:
        raise UserError(f"data.limit is {limit}; it must be 1 or more, or null for all galaxies")
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise UserError(
            f"data.val_fraction is {val_fraction} and data.test_fraction {test_fraction}; they must not be "
            "negative, and together leave galaxies to train on (less than 1)"
        )
    if split_seed < 0:
        raise UserError(f"data.split_seed is {split_seed}; it must be 0 or more")
    if workers is not None and workers < 0:
        raise UserError(f"data.workers is {workers}; it must be 0 or more, or null for one per core")
