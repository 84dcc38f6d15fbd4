"""The generator of Jay Speidell's article, which feeds its network from the process that trains.

The article is "Galaxy Zoo Challenge - Image Classification with PyTorch". It cuts each galaxy out of its
frame and saves it as a PNG file. Its generator reads these files one by one, turns each image by a random
angle and collects a batch. This code was written anew from that description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.ndimage
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[Any]


def batches(files: Sequence[Path], size: int, read: Callable[[Path], Image]) -> Iterator[Tensor]:
    """Yields (B, C, S, S) float32 batches of all files in order, each image turned by a random angle."""
    angles = np.random.default_rng(0)
    for start in range(0, len(files), size):
        turned = [
            scipy.ndimage.rotate(read(file), angles.integers(360), reshape=False)
            for file in files[start : start + size]
        ]
        yield torch.from_numpy(np.array(turned, np.float32)).permute(0, 3, 1, 2)


def read_png(file: Path) -> Image:
    """Reads an image as (S, S, C) float32 in [0, 1]."""
    return imread(file)


def read_frame(file: Path, side: int) -> Image:
    """Reads the region of interest of a frame as (side, side, C) float32 in [0, 1]."""
    return cut_out(file, side).astype(np.float32) / 255


def cut_out(file: Path, side: int) -> Image:
    """Cuts out the largest box around something bright, made square and padded by a fifth.

    Returns:
        (side, side, C) uint8.
    """
    image = cv2.imread(str(file))
    assert image is not None
    _, bright = cv2.threshold(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 10, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(bright, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in contours]
    x, y, width, height = max(boxes, key=lambda box: box[2] * box[3], default=(0, 0, 0, 0))
    box = max(width, height)
    pad = int(box * 0.2)
    inside = min(x, y) >= pad and max(x, y) + box + pad < min(image.shape[:2])
    if box and inside:
        image = image[y - pad : y + box + pad, x - pad : x + box + pad]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def write_pngs(files: Sequence[Path], side: int, folder: Path) -> list[Path]:
    """Writes the cut-out of each file into `folder`, which the article does once."""
    written = [folder / f"{file.stem}.png" for file in files]
    for file, png in zip(files, written, strict=True):
        cv2.imwrite(str(png), cut_out(file, side))
    return written
