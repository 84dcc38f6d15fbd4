"""Measures how fast augmented training batches come, compared with a DataLoader over the same JPEG files.

`python -m benchmarks.bench_loader` prints the images/s of each engine and residence, of the generator of
Speidell's article, and of galaxy_datasets (PyPI). It prints their ratios to a `Dataset` that decodes, crops
and turns one image after the other with torchvision. No network is trained.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from joblib import cpu_count
from torch.utils.data import DataLoader, Dataset
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import v2

from benchmarks.article import batches, read_frame, read_png, write_pngs
from benchmarks.survey import add_options, survey
from benchmarks.table import NOT_MEASURED, Report, interleaved, ratios, spread
from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.splits import sample_rows
from galaxy.data.targets.as_labelled import AsLabelled
from galaxy.images.augment import Augment
from galaxy.images.crops.center import CenterCrop
from galaxy.surveys.kaggle import read_kaggle
from galaxy.system.machine import keep_freed_memory

BATCH, SIDE = 64, 64
# The settings of conf/augment/affine.yaml.
AFFINE: dict[str, Any] = {"rotate": "full", "flip": 0.5, "shift": 0.02, "zoom": 1.3}
OURS = (("batch", "disk"), ("batch", "memory"), ("batch", "device"), ("albumentations", "disk"))
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# A loader: its name, what it reads, and the function that measures it, or the reason why it is not measured.
Loader = tuple[str, str, Callable[[], float] | str]


class Files(Dataset[torch.Tensor]):
    """The dataset that most people write first: a file, its pixels, torchvision's transforms."""

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
    """Returns the images/s of a DataLoader in its second epoch, when its workers have started."""
    loader = DataLoader(
        Files(files),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=DEVICE.type == "cuda",
        drop_last=True,
    )
    for _ in loader:
        pass
    started = time.perf_counter()
    count = sum(len(batch.to(DEVICE, non_blocking=True)) for batch in loader)
    return count / _seconds_since(started)


def our_speed(data: GalaxyDataModule, epochs: int) -> float:
    """Returns the images/s of our training loader and augmentation, without the first epoch."""
    loader = data.train_dataloader()
    count, started = 0, 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            count, started = 0, time.perf_counter()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            there = data.transfer_batch_to_device(batch, DEVICE, 0)
            count += len(data.on_after_batch_transfer(there, 0)["image"])
    return count / _seconds_since(started)


def article_speed(files: Sequence[Path], read: Callable[[Path], Any]) -> float:
    """Returns the images/s of the article's generator."""
    started = time.perf_counter()
    count = sum(len(batch.to(DEVICE)) for batch in batches(files, BATCH, read))
    return count / _seconds_since(started)


def galaxy_datasets_speed(python: str, view: str, files: Sequence[Path], workers: int) -> float:
    """Returns the images/s of galaxy_datasets on the CPU.

    It runs in another process, which keeps freed memory as this one does.
    """
    program = Path(__file__).with_name("galaxy_datasets_speed.py")
    glibc = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
    done = subprocess.run(
        [python, str(program), view, str(SIDE), str(BATCH), str(workers)],
        input="\n".join(str(file.resolve()) for file in files),
        env={**os.environ, **glibc},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"galaxy_datasets failed:\n{done.stdout}{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def _seconds_since(started: float) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def ours(root: Path, cache: Path, limit: int) -> list[Loader]:
    """Makes a loader of each engine and residence. The albumentations engine always reads from the disk."""
    loaders: list[Loader] = []
    for engine, residence in OURS:
        name = f"galaxy, {engine}"
        if residence == "device" and DEVICE.type == "cpu":
            loaders.append((name, residence, f"{NOT_MEASURED}: no GPU"))
            continue
        data = GalaxyDataModule(
            partial(read_kaggle, part="training"),
            str(root),
            AsLabelled(),
            CenterCrop(SIDE),
            Augment(engine=engine, **AFFINE),  # type: ignore[arg-type]  # from OURS
            BATCH,
            seed=0,
            limit=limit,
            cache=str(cache),
            residence=residence,  # type: ignore[arg-type]
        )
        data.device = DEVICE
        data.setup()
        epochs = 2 if engine == "albumentations" else 10
        loaders.append((name, residence, partial(our_speed, data, epochs)))
    return loaders


def article(files: Sequence[Path], folder: Path) -> list[Loader]:
    """Makes the article's generator over small files cut out before, and over JPEGs cut out in each epoch."""
    pngs = write_pngs(files, SIDE, folder)
    return [
        ("article", f"PNGs of {SIDE} px", partial(article_speed, pngs, read_png)),
        ("article", "JPEGs", partial(article_speed, files, partial(read_frame, side=SIDE))),
    ]


def galaxy_datasets_version(python: str) -> str | None:
    """Returns the version of galaxy-datasets that this Python has; None if it has none."""
    command = [python, "-c", "from importlib.metadata import version; print(version('galaxy-datasets'))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()


def galaxy_datasets(files: Sequence[Path], python: str, installed: bool) -> list[Loader]:
    """Makes the loaders of galaxy_datasets: with its default transforms, and with its fast ones."""
    why_not = f"{NOT_MEASURED}: galaxy-datasets is not installed (pip install galaxy-datasets)"
    loaders: list[Loader] = []
    for view in ("default", "fast"):
        speed = partial(galaxy_datasets_speed, python, view, files, cpu_count())
        loaders.append((f"galaxy_datasets, {view}", "JPEGs", speed if installed else why_not))
    return loaders


def measure(root: Path, folder: Path, options: argparse.Namespace) -> Report:
    """Measures each loader, in one row of the table."""
    version = galaxy_datasets_version(options.galaxy_datasets_python)
    report = Report(
        program="bench_loader",
        title="Images/s of loading and augmentation, compared with a DataLoader over JPEG files",
        columns=("loader", "reads", "images/s", "DataLoader", "ratio"),
        packages=("torch", "torchvision", "albumentations"),
        notes=[
            f"{options.images:,} images, {SIDE} px, batches of {BATCH}, {cpu_count()} workers; "
            f"the files are in the system's memory; n = {options.repeats} interleaved repeats, mean "
            "(least..greatest).",
            "galaxy and the DataLoader turn each image by any angle, mirror, shift and zoom it. "
            "article is Speidell's generator, which only turns. It reads PNGs that were cut out before, or "
            "cuts out JPEGs in each epoch.",
            f"galaxy_datasets {version or '(not installed)'}: the default transforms (affine, mirror, five "
            "erased boxes), and the fast ones, which only cut out the central pixels.",
        ],
    )
    catalog = read_kaggle(root, on_bad="error", part="training")
    rows = sample_rows(catalog.ids, options.images)  # our loader takes the same rows
    files = [image for image in catalog.take(rows).images if isinstance(image, Path)]
    loaders = [
        *ours(root, folder, options.images),
        *article(files, folder),
        *galaxy_datasets(files, options.galaxy_datasets_python, version is not None),
    ]
    for name, source, speed in loaders:
        if isinstance(speed, str):
            report.rows.append((name, source, speed, "", ""))
            continue
        programs: list[Callable[[], float]] = [speed, partial(files_speed, files, cpu_count())]
        figures, theirs = interleaved(programs, options.repeats)
        speeds = (spread(figures, ",.0f"), spread(theirs, ",.0f"), spread(ratios(figures, theirs), ".2f"))
        report.rows.append((name, source, *speeds))
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser, repeats=3, least=BATCH)
    parser.add_argument(
        "--galaxy-datasets-python",
        default=sys.executable,
        metavar="PATH",
        help="a Python that has galaxy-datasets (default: this one)",
    )
    options = parser.parse_args()
    keep_freed_memory()  # train.py does the same
    with survey(parser, options) as (root, note), TemporaryDirectory() as folder:
        report = measure(root, Path(folder), options)
    report.notes.append(note)
    report.publish()


if __name__ == "__main__":
    main()
