"""How fast training batches come, augmentation included, beside a DataLoader over the same JPEG files.

`python benchmarks/bench_loader.py` prints images/s, without any network, of each residence and engine, and
their ratio to a `Dataset` that decodes, crops and turns one image after the other with torchvision.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from survey import add_options, survey
from table import Report, interleaved, processors, ratios, spread
from torch.utils.data import DataLoader, Dataset
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import v2

from galaxy.allocator import keep_freed_memory
from galaxy.catalogs.kaggle import read_kaggle
from galaxy.datamodule import GalaxyDataModule
from galaxy.images.augment import Augment
from galaxy.images.crops.center import CenterCrop
from galaxy.targets import AsLabelled

BATCH, SIDE = 64, 64
# Those of conf/augment/affine.yaml.
AFFINE: dict[str, Any] = {"rotate": "full", "flip": 0.5, "shift": 0.02, "zoom": 1.3}
OURS = (("batch", "memory"), ("batch", "disk"), ("albumentations", "disk"))


class Files(Dataset[torch.Tensor]):
    """What one writes first: a file, its pixels, torchvision's transforms."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.transform = v2.Compose(
            [
                v2.CenterCrop(212),
                v2.Resize(SIDE, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(
                    180, (0.02, 0.02), (1 / 1.3, 1.3), interpolation=v2.InterpolationMode.BILINEAR
                ),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self.transform(decode_jpeg(read_file(str(self.files[index]))))
        return image


def files_speed(files: Sequence[Path], workers: int) -> float:
    """Images/s of a DataLoader with workers, from its second epoch on, when they have started."""
    loader = DataLoader(
        Files(files), BATCH, shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True
    )
    for _ in loader:
        pass
    started = time.perf_counter()
    count = sum(len(batch) for batch in loader)
    return count / (time.perf_counter() - started)


def our_speed(data: GalaxyDataModule, epochs: int) -> float:
    """Images/s of the training loader and of what is done to its batches, from the second epoch on."""
    loader = data.train_dataloader()
    count, started = 0, 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            started = time.perf_counter()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            count += len(data.on_after_batch_transfer(batch, 0)["image"]) if epoch else 0
            if not epoch:
                data.on_after_batch_transfer(batch, 0)
    return count / (time.perf_counter() - started)


def measure(root: Path, cache: Path, options: argparse.Namespace) -> Report:
    """One row for each engine and residence."""
    report = Report(
        program="bench_loader",
        title="Images/s of loading and full affine augmentation, over a DataLoader of JPEG files",
        columns=("engine", "residence", "galaxy", "DataLoader", "ratio"),
        packages=("galaxy", "torch", "torchvision", "albumentations"),
        notes=[
            f"{options.images:,} images, {SIDE} px, batches of {BATCH}, {processors()} workers; "
            f"files in the system's memory; n = {options.repeats} interleaved repeats, mean "
            "(least..greatest)."
        ],
    )
    catalog = read_kaggle(root, on_bad="error")
    files = [image for image in catalog.images[: options.images] if isinstance(image, Path)]
    for engine, residence in OURS:
        data = GalaxyDataModule(
            partial(read_kaggle, part="training"),
            str(root),
            AsLabelled(),
            CenterCrop(SIDE),
            Augment(engine=engine, **AFFINE),  # type: ignore[arg-type]  # from OURS
            BATCH,
            seed=0,
            limit=options.images,
            cache=str(cache),
            residence=residence,  # type: ignore[arg-type]
        )
        data.setup()
        epochs = 2 if engine == "albumentations" else 10
        ours, theirs = interleaved(
            [partial(our_speed, data, epochs), partial(files_speed, files, processors())], options.repeats
        )
        speeds = (spread(ours, ",.0f"), spread(theirs, ",.0f"), spread(ratios(ours, theirs), ".1f"))
        report.rows.append((engine, residence, *speeds))
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser, repeats=3)
    options = parser.parse_args()
    keep_freed_memory()  # as train.py does
    with survey(parser, options) as (root, note), TemporaryDirectory() as cache:
        report = measure(root, Path(cache), options)
    report.notes.append(note)
    report.publish()


if __name__ == "__main__":
    main()
