"""Averaged weights: one and the same weights are validated, saved, scored and handed out.

`EMA` is Galaxy's average. The functions complete it and any other subclass of Lightning's `WeightAveraging`.
The private attributes are those of Lightning 2.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import AveragedModel


class EMA(WeightAveraging):
    """Keeps an exponential moving average of the weights, and of buffers such as batch-norm statistics.

    The average takes over more of each of the first steps, so that short trainings do not average their
    initial weights: step n leaves (1 + n) / (10 + n) of the average, and never more than `decay`.

    Args:
        decay: The share that a step leaves of the average.

    Raises:
        ValueError: `decay` is not 0 or more and less than 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must be 0 or more and less than 1")
        # One call for all tensors takes 4 ms a step of a ResNet-18 on a CPU core; a call for each, as in
        # Lightning's EMAWeightAveraging, takes 60 ms, a tenth of a whole step at 64 pixels.
        super().__init__(multi_avg_fn=partial(_blend, decay=decay))


@torch.no_grad()
def _blend(averages: list[Tensor], currents: list[Tensor], count: Tensor | int, decay: float) -> None:
    """Moves averages, tensors of one type, towards the current weights."""
    if averages[0].is_floating_point() or averages[0].is_complex():
        steps = int(count)
        torch._foreach_lerp_(averages, currents, 1 - min(decay, (1 + steps) / (10 + steps)))


def prepare(task: pl.LightningModule) -> None:
    """Gives the average the number format of the model, and its device unless the user named another.

    Lightning copies the model before it converts it and moves it to a GPU.
    """
    for callback in task.trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            for _, current, averaged in _pairs(task, callback._average_model):
                device = current.device if callback._device is None else averaged.device
                averaged.data = averaged.data.to(device, current.dtype)


def complete(task: pl.LightningModule) -> None:
    """Gives the average what is not to be averaged: integers, and buffers that no checkpoint keeps.

    Lightning averages them with the rest, and rounds integers down. Before the first update the average gets
    all weights, because Lightning would validate the initial ones (Lightning issue 21724).
    """
    kept = task.state_dict().keys()
    for average in _averages(task):
        empty = int(average.n_averaged) == 0
        for name, current, averaged in _pairs(task, average):
            averages = current.is_floating_point() or current.is_complex()
            if empty or name not in kept or not averages:
                averaged.data.copy_(current.data)


def save(task: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
    """Puts the average into a checkpoint that holds nothing but weights, as Lightning does into any other.

    Lightning asks callbacks only when it saves the whole state of a training.
    """
    if "callbacks" in checkpoint:
        return
    for average in _averages(task):
        weights = average.module.state_dict()
        checkpoint["state_dict"] = {name: weights[name] for name in checkpoint["state_dict"]}


def _averages(task: pl.LightningModule) -> list[AveragedModel]:
    callbacks = task.trainer.callbacks  # type: ignore[attr-defined]
    found = [callback._average_model for callback in callbacks if isinstance(callback, WeightAveraging)]
    return [average for average in found if average is not None]


def _pairs(task: pl.LightningModule, average: AveragedModel) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yields the name of each weight and buffer, the current one and the averaged one."""
    currents = (*task.named_parameters(), *task.named_buffers())
    averages = (*average.module.parameters(), *average.module.buffers())
    for (name, current), averaged in zip(currents, averages, strict=True):
        yield name, current, averaged
