"""Measures how fast the image cache is built, compared with only decoding the same files.

`python -m benchmarks.bench_cache` prints, for each crop of conf/crop, the images/s of building the cache, the
images/s of decoding with as many threads, and their ratio. It measures the ratio twice: as the machine is,
and after another program has used and freed as much memory as the new files take. The host of a virtual
machine may provide memory only when it is first used. This takes as long as computing what is written there,
and decoding alone does not need that memory.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from joblib import cpu_count
from omegaconf import OmegaConf

from benchmarks.options import add_count
from benchmarks.survey import add_options, survey
from benchmarks.table import Report, interleaved, peak_memory, ratios, spread
from galaxy.config.instantiation import instantiate
from galaxy.config.paths import CONF
from galaxy.data.cache import open_cache
from galaxy.images.crops import Crop
from galaxy.images.decode import Decoder
from galaxy.surveys.kaggle import read_kaggle
from galaxy.system.machine import keep_freed_memory

# This runs in a process of its own, because the peak memory of this process is reported.
USE_MEMORY = """
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]))
for place in range(0, len(memory), mmap.PAGESIZE):
    memory[place] = 1
"""


def opencv(path: Path) -> object:
    """Decodes an image as most programs do."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)


def decoding_speed(images: Sequence[Path], threads: int, decode: Callable[[Path], object] = opencv) -> float:
    """Returns the images/s of only reading and decoding. Each thread has its own share of the files."""

    def decode_all(share: Sequence[Path]) -> None:
        for path in share:
            decode(path)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode_all, [images[first::threads] for first in range(threads)]))
    return len(images) / (time.perf_counter() - started)


def building_speed(images: Sequence[Path], crop: Crop, threads: int) -> float:
    """Returns the images/s of building a new cache on the disk."""
    with TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):  # hides the progress bar
        started = time.perf_counter()
        open_cache(images, crop, Path(folder), on_bad="error", workers=threads)
        return len(images) / (time.perf_counter() - started)


def building_speed_at_hand(images: Sequence[Path], crop: Crop, threads: int) -> float:
    """Returns the same after another program has freed more memory than the new files take."""
    size = len(images) * crop.size**2 * crop.channels + 2**28
    subprocess.run([sys.executable, "-c", USE_MEMORY, str(size)], check=True)
    return building_speed(images, crop, threads)


def measure(images: Sequence[Path], threads: int, repeats: int) -> Report:
    """Measures each crop, in one row of the table."""
    report = Report(
        program="bench_cache",
        title="Images/s of building the image cache over pure decoding",
        columns=("crop", "cache", "OpenCV's decoding", "ratio", "ratio, memory at hand"),
        packages=("opencv-python-headless", "simplejpeg", "numpy"),
        notes=[
            f"{len(images):,} images, {threads} threads, the files in the system's memory; "
            f"n = {repeats} interleaved repeats, mean (least..greatest).",
            "The cache decodes JPEGs with simplejpeg, which gives the same pixels. The first row compares "
            "only the two decoders.",
        ],
    )
    cv2.setNumThreads(1)  # both programs bring their own threads
    keep_freed_memory()  # train.py does the same
    decoding_speed(images, threads)  # reads the files once, so that the system has them in memory
    with Decoder() as ours:
        programs = {"no crop, no cache: decoding alone": [partial(decoding_speed, images, threads, ours)]}
        for file in sorted((CONF / "crop").glob("*.yaml")):
            crop: Crop = instantiate(OmegaConf.load(file), "crop")
            ways = (building_speed, building_speed_at_hand)
            programs[file.stem] = [partial(way, images, crop, threads) for way in ways]
        for name, alternatives in programs.items():
            decoding, *speeds = interleaved(
                [partial(decoding_speed, images, threads), *alternatives], repeats
            )
            found = [spread(ratios(speed, decoding), ".2f") for speed in speeds]
            at_hand = found[1] if len(found) > 1 else ""
            figures = (spread(speeds[0], ",.0f"), spread(decoding, ",.0f"), found[0], at_hand)
            report.rows.append((name, *figures))
    report.notes.append(f"Peak memory of the program: {peak_memory() / 2**20:,.0f} MiB.")
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser, repeats=5)
    add_count(parser, "threads", cpu_count(), "threads that decode")
    options = parser.parse_args()
    with survey(parser, options) as (root, note):
        catalog = read_kaggle(root, on_bad="error")
        images = [image for image in catalog.images[: options.images] if isinstance(image, Path)]
        report = measure(images, options.threads, options.repeats)
    report.notes.append(note)
    report.publish()


if __name__ == "__main__":
    main()
