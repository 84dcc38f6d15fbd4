"""Measures how fast images in JPEG files are predicted, and how much memory a catalogue takes.

`python -m benchmarks.bench_prediction` trains a ResNet-18 for a moment on simulated galaxies of 424 x 424
pixels. Then it measures in turn, on the same cores: decoding and cropping the files (d images in a second),
predicting crops that are in memory (n), and `make_catalogue`, which does both. Work that shares the cores
without loss makes 1 / (1/d + 1/n) of them. Each figure is that of a process of its own, without its start.

The memory is that of `galaxy evaluate` over a folder of links to the same files again and again.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.options import add_count, add_repeats
from benchmarks.programs import run
from benchmarks.table import Report, interleaved, ratios, spread
from galaxy.surveys.simulated.survey import IMAGES, SimulatedSurvey, write_survey

PAINTED = 200  # galaxies
BATCH = 64
numbers = count()


def speed(what: str, checkpoint: Path, images: Path, folder: Path) -> float:
    """Measures one thing in a process of its own; returns images in a second."""
    arguments = ("-m", "benchmarks.bench_prediction", "--measure", what, checkpoint, images, folder)
    # A progress bar leaves codes of the terminal before the figure.
    return float(re.findall(r"[\d.]+", run(*arguments).output)[-1])


def measured(what: str, checkpoint: Path, images: Path, folder: Path) -> float:
    """Does one thing with all images of a folder, and returns how many it does in a second."""
    import torch  # noqa: PLC0415  the process that starts the others needs none of this
    from joblib import cpu_count  # noqa: PLC0415

    from galaxy.data.cropping import crop_images  # noqa: PLC0415
    from galaxy.data.loader import channels_last  # noqa: PLC0415
    from galaxy.images.augment import as_floats  # noqa: PLC0415
    from galaxy.runs.catalogues import make_catalogue  # noqa: PLC0415
    from galaxy.runs.experiment import load  # noqa: PLC0415
    from galaxy.runs.predict import mean_of_views, predicting  # noqa: PLC0415
    from galaxy.runs.request import Request  # noqa: PLC0415
    from galaxy.system.machine import keep_freed_memory  # noqa: PLC0415

    keep_freed_memory()  # as `make_catalogue` does
    trained = load(checkpoint)
    catalog = {"_target_": "galaxy.surveys.folder.read_folder", "_partial_": True}
    data = {**trained.config["data"], "root": str(images), "catalog": catalog, "batch_size": BATCH}
    request = Request([checkpoint], data, "folder", out=folder / f"{time.time_ns()}.parquet")
    files = request.galaxies.catalog.images
    device = request.device
    crops = [one.pixels for block in crop_images(files[:BATCH], trained.crop, (), 1) for one in block]
    pixels = channels_last(torch.from_numpy(np.stack(crops)))
    with predicting(trained.model, device):
        mean_of_views(trained.model, as_floats(pixels.to(device)), 1)  # the first batch is slow
        started = time.perf_counter()
        if what == "decode":
            for _ in crop_images(files, trained.crop, (), cpu_count()):
                pass
        if what == "network":
            for start in range(0, len(files), BATCH):
                some = pixels[: len(files) - start]
                mean_of_views(trained.model, as_floats(some.to(device)), 1)
        if what == "predict":
            make_catalogue(request)
    return len(files) / (time.perf_counter() - started)


def link(folder: Path, images: list[Path], number: int) -> Path:
    """Makes a folder of so many links to images, which come again and again."""
    folder = folder / f"{number}-links"
    folder.mkdir()
    for place in range(number):
        (folder / f"g{place}.jpg").hardlink_to(images[place % len(images)])
    return folder


def evaluate(checkpoint: Path, images: Path, folder: Path) -> float:
    """Makes a catalogue as people do; returns the peak of its memory in MiB."""
    out = folder / f"{next(numbers)}.parquet"
    data = ["data=folder", f"data.root={images}", f"out={out}"]
    return run("evaluate.py", f"checkpoint={checkpoint}", *data).peak / 2**20


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures everything, in one row of the table each."""
    source = write_survey(folder, SimulatedSurvey(PAINTED, seed=0, volunteers=45))
    trained = folder / "run"
    run(
        "train.py",
        "data=kaggle",
        f"data.root={source}",
        f"data.cache={folder / 'cache'}",
        f"model={options.model}",
        "trainer.max_epochs=1",
        "pictures=0",
        f"hydra.run.dir={trained}",
    )
    checkpoint = trained / "checkpoints" / "best.ckpt"
    paths = sorted((source / IMAGES).glob("*.jpg"))
    images = link(folder, paths, options.images)
    names = ("decode", "network", "predict")
    d, n, p = interleaved(
        [partial(speed, name, checkpoint, images, folder) for name in names], options.repeats
    )
    best = [1 / (1 / one + 1 / other) for one, other in zip(d, n, strict=True)]
    report = Report(
        program="bench_prediction",
        title="Prediction from JPEG files",
        columns=("what", "images", "n", "images/s", "of the best", "peak MiB"),
        packages=("torch", "opencv-python-headless", "simplejpeg", "pyarrow"),
        notes=[
            f"model={options.model}, crop=center64, images of 424 x 424 pixels, batches of {BATCH}.",
            "The best is 1 / (1/decoding + 1/network), measured beside each prediction: work that shares the "
            "same cores without loss. n repeats, mean (least..greatest).",
            "The peak is the largest resident memory of galaxy evaluate, with its libraries.",
        ],
    )
    rows = len(d)
    for name, speeds in (("decoding and cropping", d), ("network", n)):
        report.rows.append((name, f"{options.images:,}", str(rows), spread(speeds, ",.0f"), "", ""))
    shares = spread(ratios(p, best), ".2f")
    report.rows.append(("prediction", f"{options.images:,}", str(rows), spread(p, ",.0f"), shares, ""))
    sizes = (1000, options.many)
    (folder / "memory").mkdir()
    folders = [link(folder / "memory", paths, size) for size in sizes]
    programs = [partial(evaluate, checkpoint, images, folder) for images in folders]
    for size, peaks in zip(sizes, interleaved(programs, options.repeats), strict=True):
        row = ("galaxy evaluate", f"{size:,}", str(rows), "", "", spread(peaks, ",.0f"))
        report.rows.append(row)
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "images", 4000, "images of each measurement of speed")
    add_count(parser, "many", 20_000, "images of the measurement of memory")
    parser.add_argument("--model", default="resnet18", help="an option of conf/model (default resnet18)")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    add_repeats(parser, 3)
    options = parser.parse_args()
    if options.measure:
        what, *paths = options.measure
        print(measured(what, *map(Path, paths)))
        sys.exit()
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
