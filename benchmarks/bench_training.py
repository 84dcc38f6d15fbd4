"""Measures how fast `train.py` trains, compared with a loop written by hand.

The loop trains the same network in the same precision, with the same optimizer and batch size, on images that
lie ready on the device. It has no loader, no metrics, no logging, no checkpoints and no smaller last batch.
Both run in processes of their own. The figure is the images/s from the second epoch on.

On a GPU, both use torch.compile and CUDA graphs unless --compile says otherwise, and the table is
results/bench_training_gpu.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import programs
from benchmarks.options import add_count, add_repeats
from benchmarks.table import NOT_MEASURED, Report, interleaved, ratios, spread
from galaxy.config.instantiation import instantiate
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.runs.folder import RunFolder
from galaxy.system.machine import best_precision, keep_freed_memory, use_tf32

MODELS = ("small_cnn", "deep_cnn", "resnet18", "resnet50")
AUGMENTS = ("none", "affine")
MODES = ("false", "default", "reduce-overhead", "max-autotune")
GPU = torch.cuda.is_available()
# A row of the table: model, side in pixels, augmentation.
Case = tuple[str, int, str]
GPU_CASES: list[Case] = [
    ("resnet18", 64, "affine"),
    ("small_cnn", 64, "affine"),
    ("small_cnn", 128, "affine"),
    ("resnet50", 128, "affine"),
]


def program_speed(run: Path, overrides: list[str]) -> float:
    """Returns the images/s of `python train.py` after its first epoch. Leaves the run without its weights."""
    shutil.rmtree(run, ignore_errors=True)
    programs.run("train.py", *overrides, f"hydra.run.dir={run}")
    shutil.rmtree(RunFolder(run).checkpoints)  # small_cnn has 700 MB of weights in each
    speeds = pd.read_csv(run / "metrics.csv")["images_per_second"].dropna()[1:]
    return float(len(speeds) / (1 / speeds).sum())


def loop_speed(run: Path) -> float:
    """Returns the images/s of a loop that trains as the finished `run` did, in a new process."""
    # The server has imported torch and never used it, so its children start at once and without warm caches.
    context = get_context("forkserver")
    context.set_forkserver_preload(["galaxy.models.resnet"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_loop, run).result()


def _loop(run: Path) -> float:
    folder = RunFolder(run)
    config = folder.config()
    meta = json.loads(folder.meta_file.read_text(encoding="utf-8"))
    count, mixed = meta["data"]["train"], meta["precision"] == "bf16-mixed"
    size, channels = config["crop"]["size"], config["crop"]["channels"]
    epochs, batch_size = config["trainer"]["max_epochs"], config["data"]["batch_size"]
    device = torch.device("cuda" if GPU else "cpu")
    if not GPU:
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            ""  # train.py does the same, because optimizers look for GPUs in each step
        )
    keep_freed_memory()  # train.py does the same, and only the framework shall be compared
    use_tf32(config["trainer"]["tf32"])
    torch.manual_seed(0)
    # Noise takes as long as galaxies. Images of shape (N, S, S, C) make every batch channels_last.
    images = torch.randn(count, size, size, channels, device=device)
    targets = torch.rand(count, GALAXY_ZOO_2.size, device=device)
    encoder = instantiate(config["model"], "model")
    head = instantiate(config["head"], "head")(in_features=encoder.num_features, questions=GALAXY_ZOO_2)
    network = nn.Sequential(encoder, head).to(device).to(memory_format=torch.channels_last)
    if config["trainer"]["compile"]:
        network.compile(mode=config["trainer"]["compile"], dynamic=False)
    optimizer = instantiate(config["optimizer"], "optimizer")(network.parameters())
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=mixed)
    whole = count - count % batch_size or count  # a smaller last batch would slow the loop
    started = 0.0
    for epoch in range(epochs):
        if epoch == 1:
            started = _now()
        for rows in torch.randperm(count, device=device)[:whole].split(batch_size):
            batch = images.index_select(0, rows).permute(0, 3, 1, 2)
            if config["augment"]["rotate"] == "full":
                batch = _affine(batch)
            with autocast:
                loss = F.mse_loss(network(batch).fractions, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return whole * (epochs - 1) / (_now() - started)


def _affine(images: Tensor) -> Tensor:
    """Augments as conf/augment/affine.yaml does, with the functions of torch."""
    angle, zoom, mirror, right, down = torch.rand(5, len(images), device=images.device)
    angle, zoom, mirror = 2 * math.pi * angle, 1.3 ** (2 * zoom - 1), torch.sign(mirror - 0.5)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    right, down = 0.04 * (2 * right - 1), 0.04 * (2 * down - 1)
    inverse = torch.stack([mirror * cos, -mirror * sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)
    # grid_sample is twice as fast with contiguous images on CPUs, the copies included.
    turned = F.grid_sample(images.contiguous(), grid, padding_mode="reflection", align_corners=False)
    return turned.contiguous(memory_format=torch.channels_last)


def _now() -> float:
    """Returns the time when the device has finished its work."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(cases: list[Case], options: argparse.Namespace, folder: Path) -> Report:
    """Measures each model, size and augmentation, in one row of the table."""
    report = Report(
        program="bench_training_gpu" if GPU else "bench_training",
        title="Training speed in images/s: train.py compared with a loop written by hand",
        columns=("model", "pixels", "augment", "train.py", "loop", "ratio"),
        packages=("torch", "lightning"),
        notes=[
            _setting(options),
            "Both keep freed memory (galaxy.system.machine): as much as a third of the speed on CPUs.",
        ],
    )
    common = [
        "data=simulated",
        f"data.root={folder / 'galaxies'}",
        f"data.cache={folder / 'cache'}",
        f"data.catalog.count={options.galaxies}",
        f"data.batch_size={options.batch_size}",
        f"data.residence={options.residence}",
        f"trainer.max_epochs={options.epochs}",
        f"trainer.compile={options.compile}",
        f"trainer.tf32={options.tf32}",
        "crop=center64",
    ]
    run = folder / "run"
    for model, size, augment in cases:
        chosen = [*common, f"crop.size={size}", f"model={model}", f"augment={augment}"]
        ours, loop = interleaved(
            [partial(program_speed, run, chosen), partial(loop_speed, run)], options.repeats
        )
        speeds = (spread(ours, ",.0f"), spread(loop, ",.0f"), spread(ratios(ours, loop), ".2f"))
        report.rows.append((model, str(size), augment, *speeds))
    if not GPU:
        for model, size, augment in GPU_CASES:
            report.rows.append((f"{model} on a GPU", str(size), augment, f"{NOT_MEASURED}: no GPU", "", ""))
    return report


def _setting(options: argparse.Namespace) -> str:
    return (
        f"Precision {best_precision('auto')}, trainer.compile={options.compile}, "
        f"trainer.tf32={str(options.tf32).lower()}, data.residence={options.residence}, channels_last, "
        f"batches of {options.batch_size}; "
        f"epochs 2 to {options.epochs} of the training split of {options.galaxies:,} simulated galaxies; "
        f"n = {options.repeats} interleaved repeats, mean (least..greatest)."
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sides = "sides of the images in pixels (default 64 128)"
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help=sides)
    parser.add_argument("--models", nargs="+", choices=MODELS, help="default: all but resnet50")
    parser.add_argument("--augments", nargs="+", default=AUGMENTS, choices=AUGMENTS, help="default: both")
    mode = "reduce-overhead" if GPU else "false"
    parser.add_argument(
        "--compile", default=mode, choices=MODES, help=f"mode of torch.compile in both (default {mode})"
    )
    parser.add_argument("--tf32", default=True, action=argparse.BooleanOptionalAction, help="in both")
    places = ("auto", "disk", "memory", "device")
    parser.add_argument(
        "--residence", default="auto", choices=places, help="where the pixels are in train.py (default auto)"
    )
    # A GPU gets as many galaxies as Kaggle has, because an epoch of fewer would be too short to measure.
    galaxies, epochs, batch = (61_578, 11, 512) if GPU else (2000, 6, 64)
    add_count(parser, "galaxies", galaxies, "galaxies, a tenth of which validate", least=100)
    add_count(parser, "epochs", epochs, "epochs; the first is left out", least=2)
    add_count(parser, "batch-size", batch, "images in a step")
    add_repeats(parser, 2)
    options = parser.parse_args()
    if GPU and not options.sizes and not options.models:
        cases = GPU_CASES
    else:
        models, sizes = options.models or MODELS[:3], options.sizes or [64, 128]
        cases = [(model, size, augment) for size, model, augment in product(sizes, models, options.augments)]
    with TemporaryDirectory() as folder:
        report = measure(cases, options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
