"""Pictures inside the page: galaxies, where a model looks, and densities of points."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from galaxy.reports.evaluation.sample import Array

# Pixels of a galaxy in the file; larger crops are reduced.
_SIDE = 160
_CELLS = 32


def galaxy_picture(pixels: NDArray[np.uint8], side: int = _SIDE) -> str:
    """Returns pixels (H, W, C) uint8 as the address of an image whose longer side has `side` at most."""
    return _address(_fitting(pixels, side), "JPEG")


def jpeg_of(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Returns the same as a JPEG file."""
    return _written(_fitting(pixels, side), "JPEG")


def attention_picture(crop: NDArray[np.uint8], weights: Array) -> str:
    """Returns a grey crop (S, S, C) with its pixels coloured by weights (S, S), which are 0 or more."""
    grey = crop.mean(axis=-1, keepdims=True).repeat(3, axis=-1) / 255
    share = (weights / weights.max())[..., None] if weights.max() > 0 else np.zeros((*weights.shape, 1))
    colours = colormaps["inferno"](share[..., 0])[..., :3]
    mixed = grey * (1 - 0.6 * share) + colours * 0.6 * share
    return _address(_fitting((mixed * 255).round().astype(np.uint8)), "JPEG")


def density_picture(predicted: Array, true: Array) -> str | None:
    """Returns how many galaxies have which prediction (across) and truth (up), from 0 to 1 each.

    Args:
        predicted: (N,) fractions; those beyond 0 and 1 lie at the edge.
        true: (N,) fractions, NaN where they are unknown.

    Returns:
        The address of an image; None if nothing is known. The colour is the logarithm of the number.
    """
    known = np.isfinite(true)
    if not known.any():
        return None
    ends = [(0, 1), (0, 1)]
    pairs = np.clip(predicted[known], 0, 1), np.clip(true[known], 0, 1)
    counts = np.histogram2d(*pairs, bins=_CELLS, range=ends)[0].T[::-1]
    depth = np.log1p(counts) / np.log1p(counts.max())
    # Empty cells show the paper; the others begin at a blue that is seen on white and on black.
    colours = colormaps["viridis"](0.15 + 0.85 * depth)
    colours[..., 3] = counts > 0
    return _address(Image.fromarray((colours * 255).round().astype(np.uint8)), "PNG")


def _fitting(pixels: NDArray[np.uint8], side: int = _SIDE) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def _address(image: Image.Image, written_as: str) -> str:
    return f"data:image/{written_as.lower()};base64,{base64.b64encode(_written(image, written_as)).decode()}"


def _written(image: Image.Image, written_as: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, written_as, **({"quality": 90} if written_as == "JPEG" else {}))
    return buffer.getvalue()
