"""Where in an image a model looks: what its answers lose when a patch is covered.

Occlusion (Zeiler and Fergus 2014, arXiv:1311.2901) needs nothing of a model but its predictions, so it works
for every network and also for forests and neighbours. captum covers the patches.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import torch
from torch import Tensor

from galaxy.reports.evaluation.sample import Array
from galaxy.runs.learners import Model
from galaxy.runs.predict import predicting
from galaxy.system.terminal import tracked

MISSING = "captum is not installed: pip install 'galaxy-morphology[report]'"
# A patch is this part of the image's side wide, and moves by half of its width.
_PARTS = 8
# Images that are predicted at once.
_BATCH = 64


def has_captum() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("captum") is not None


def attention(model: Model, images: Tensor, device: torch.device) -> Array:
    """Measures how much each pixel matters to all answers together.

    A covered patch has the colour of the sky, the median of the image's border. What is measured is the root
    mean square over the answers of how far their fractions move.

    Args:
        model: The model.
        images: (N, C, S, S) float32 in [0, 1].
        device: Where to compute.

    Returns:
        (N, S, S), 0 where covering a pixel changes nothing.
    """
    from captum.attr import Occlusion  # noqa: PLC0415  an optional library

    side = images.shape[-1]
    width = max(side // _PARTS, 1)
    window, step = (images.shape[1], width, width), (images.shape[1], max(width // 2, 1), max(width // 2, 1))
    maps = []
    with predicting(model, device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns of its own use of torch
        single = images.split(1)
        for image in tracked(single, "Where the model looks") if len(single) > 1 else single:
            whole = image.to(device)
            before = model(whole).fractions

            def moved(covered: Tensor, before: Tensor = before) -> Tensor:
                return (model(covered).fractions - before).square().mean(dim=1).sqrt()

            # captum subtracts what a covered image gives from what the whole one gives, which is 0.
            found = Occlusion(moved).attribute(
                whole, window, strides=step, baselines=_sky(whole), perturbations_per_eval=_BATCH
            )
            maps.append(-found.mean(dim=1).double().cpu().numpy())
    return np.clip(np.concatenate(maps), 0, None)


def _sky(images: Tensor) -> Tensor:
    """The median colour of the border of images (N, C, S, S), in their shape."""
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    return border.median(dim=-1).values[..., None, None].expand_as(images).contiguous()
