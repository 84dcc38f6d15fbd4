"""How fast `train.py` trains, beside a loop written by hand.

The loop trains the same network in the same precision with the same optimizer and batch size, on images that
lie ready on the device: no loader, no metrics, no logging, no checkpoints. Both run in processes of their own
and count the same images, from the first step on.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from table import Report, interleaved, ratios, spread
from torch import Tensor, nn

from galaxy.allocator import keep_freed_memory
from galaxy.precision import best_precision
from galaxy.questions import GALAXY_ZOO_2
from galaxy.runs import RunFolder

TRAIN = Path(__file__).parent.parent / "train.py"
MODELS = ("small_cnn", "deep_cnn", "resnet18")
AUGMENTS = ("none", "affine")


def program_speed(run: Path, overrides: list[str]) -> float:
    """Images/s of `python train.py`, as its result.json says; leaves the run without its weights."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, str(TRAIN), *overrides, f"hydra.run.dir={run}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    folder = RunFolder(run)
    shutil.rmtree(folder.checkpoints)  # 700 MB each with small_cnn
    speed = folder.result().images_per_second
    assert speed is not None
    return speed


def loop_speed(run: Path) -> float:
    """Images/s of a loop that trains as the finished `run` did, in a process as fresh as train.py's."""
    # The server has imported torch and never used it: its children start at once, and cold.
    context = get_context("forkserver")
    context.set_forkserver_preload(["galaxy.models.resnet"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_loop, run).result()


def _loop(run: Path) -> float:
    folder = RunFolder(run)
    config = folder.config()
    count = json.loads(folder.meta_file.read_text(encoding="utf-8"))["data"]["train"]
    size, channels = config["crop"]["size"], config["crop"]["channels"]
    epochs, batch_size = config["trainer"]["max_epochs"], config["data"]["batch_size"]
    device = _device()
    keep_freed_memory()  # as train.py does: what is compared is the framework
    torch.manual_seed(0)
    # Noise costs what galaxies cost. (N, S, S, C) seen as (N, C, S, S): channels_last, in every batch too.
    images = torch.randn(count, size, size, channels, device=device)
    targets = torch.rand(count, GALAXY_ZOO_2.size, device=device)
    encoder = instantiate(config["model"])
    head = instantiate(config["head"])(in_features=encoder.num_features, questions=GALAXY_ZOO_2)
    network = nn.Sequential(encoder, head).to(device).to(memory_format=torch.channels_last)
    optimizer = instantiate(config["optimizer"])(network.parameters())
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=best_precision("auto") == "bf16-mixed")
    _wait(device)
    started = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(count, device=device).split(batch_size):
            batch = images[rows].permute(0, 3, 1, 2)
            if config["augment"]["rotate"] == "full":
                batch = _affine(batch)
            with autocast:
                loss = F.mse_loss(network(batch).fractions, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    _wait(device)
    return count * epochs / (time.perf_counter() - started)


def _affine(images: Tensor) -> Tensor:
    """What conf/augment/affine.yaml does, with what torch has for it."""
    angle, zoom, mirror, right, down = torch.rand(5, len(images), device=images.device)
    angle, zoom, mirror = 2 * math.pi * angle, 1.3 ** (2 * zoom - 1), torch.sign(mirror - 0.5)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    right, down = 0.04 * (2 * right - 1), 0.04 * (2 * down - 1)
    inverse = torch.stack([mirror * cos, -mirror * sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)
    # grid_sample is twice as fast with contiguous images on CPUs, the copies included.
    turned = F.grid_sample(images.contiguous(), grid, padding_mode="reflection", align_corners=False)
    return turned.contiguous(memory_format=torch.channels_last)


def _device() -> torch.device:
    """The device that Lightning's accelerator=auto takes."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """One row for each size, model and augmentation."""
    report = Report(
        program="bench_training",
        title="Training speed in images/s: train.py over a loop written by hand",
        columns=("model", "pixels", "augment", "train.py", "loop", "ratio"),
        packages=("galaxy", "torch", "lightning"),
        notes=[
            _setting(options),
            "Both keep freed memory (galaxy.allocator), which is as much as a third of the speed on CPUs.",
        ],
    )
    common = [
        "data=simulated",
        f"data.root={folder / 'galaxies'}",
        f"data.cache={folder / 'cache'}",
        f"data.catalog.count={options.galaxies}",
        f"data.batch_size={options.batch_size}",
        f"trainer.max_epochs={options.epochs}",
        "crop=center64",
    ]
    run = folder / "run"
    for size, model, augment in product(options.sizes, options.models, AUGMENTS):
        chosen = [*common, f"crop.size={size}", f"model={model}", f"augment={augment}"]
        ours, loop = interleaved(
            [partial(program_speed, run, chosen), partial(loop_speed, run)], options.repeats
        )
        speeds = (spread(ours, ",.0f"), spread(loop, ",.0f"), spread(ratios(ours, loop), ".2f"))
        report.rows.append((model, str(size), augment, *speeds))
    return report


def _setting(options: argparse.Namespace) -> str:
    device = _device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    return (
        f"Device {name}, precision {best_precision('auto')}, batches of {options.batch_size}, "
        f"{options.epochs} epoch(s) of the training split of {options.galaxies:,} simulated galaxies; "
        f"n = {options.repeats} interleaved repeats, mean (least..greatest)."
    )


def main() -> None:
    """The command line."""
    few = _device().type == "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = partial(parser.add_argument, metavar="N", type=int)
    add("--sizes", nargs="+", default=[64], help="sides of the images in pixels (default 64)")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, help="default: all")
    add(
        "--galaxies", default=1000 if few else 16_000, help="a tenth validates (default 1000, on a GPU 16000)"
    )
    add("--epochs", default=1 if few else 3, help="default 1, on a GPU 3")
    add("--batch-size", default=64, help="images a step (default 64)")
    add("--repeats", default=3, help="of each measurement (default 3)")
    options = parser.parse_args()
    for name in ("galaxies", "epochs", "batch_size", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
