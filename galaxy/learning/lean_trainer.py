"""The one place that works around Lightning: what it costs in each step, and what it cannot do.

The figures are milliseconds of a training step on one CPU core, with Lightning 2.6.6 and torch 2.15. A step
of a tiny network takes about a millisecond in all, and one of a ResNet-18 on an H200 about four.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim import Optimizer

from galaxy.learning.progress_bar import EpochBar
from galaxy.system.machine import use_tf32

# The hooks that Lightning calls in every step, of all callbacks and of the module.
STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


class Trainer(pl.Trainer):
    """Lightning's trainer with less between two steps.

    Args:
        tf32: Whether GPUs multiply float32 matrices in TF32, with 10 bits of mantissa instead of 23.
        compile: Whether `torch.compile` translates the network, or the mode in which it does.
        callbacks: The callbacks. At a terminal a progress bar is added unless there is one.
        **arguments: The arguments of Lightning's trainer.

    Attributes:
        compile_mode: The mode for `torch.compile`; None leaves the network as it is.
    """

    def __init__(
        self,
        *,
        tf32: bool = True,
        compile: bool | Literal["default", "reduce-overhead", "max-autotune"] = False,  # noqa: A002  the name
        callbacks: Sequence[pl.Callback] = (),
        **arguments: Any,
    ) -> None:
        _hide_absent_gpus()
        arguments.setdefault("profiler", _NoProfiler())
        callbacks = list(callbacks)
        own = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if not own and arguments.get("enable_progress_bar") is not False:  # Lightning takes None for true
            # A bar redraws its line, which would fill a file with copies.
            arguments["enable_progress_bar"] = sys.stdout.isatty()
            callbacks += [EpochBar()] if sys.stdout.isatty() else []
        super().__init__(callbacks=callbacks, **arguments)
        for callback in callbacks:
            _drop_empty_hooks(callback, pl.Callback)
        self.compile_mode = ("default" if compile is True else compile) or None
        use_tf32(tf32)

    def fit(self, model: pl.LightningModule, *arguments: Any, **named: Any) -> None:
        """Trains the model; see Lightning's `Trainer.fit`."""
        _drop_empty_hooks(model, pl.LightningModule)
        super().fit(model, *arguments, **named)


class LeanModule(pl.LightningModule):
    """Lightning's module with a cheaper way to log, and gradient clipping for fused optimizers."""

    def log_at_once(self, name: str, value: float) -> None:
        """Logs a number that is already on the CPU, without `self.log`.

        A call of `self.log` costs 0.23 ms a step, and Lightning fetches its value from the device again in
        every later step (Lightning issue 20995). The number reaches the loggers at once, so a checkpoint
        after this step knows what has been logged.
        """
        for logger in self.loggers:
            logger.log_metrics({name: value, "epoch": self.current_epoch}, step=self.global_step)
        self.trainer.callback_metrics[name] = torch.tensor(value)
        self.trainer.progress_bar_metrics[name] = value

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradients, of fused optimizers too.

        Lightning 2.6 refuses to clip for a fused optimizer in any mixed precision (Lightning issue 21435,
        mended in its main branch). Only float16 has a loss scale that such an optimizer divides by too late,
        in the middle of its step; that combination must be refused before the training starts.
        """
        plugin = self.trainer.precision_plugin
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)


def _drop_empty_hooks(owner: object, base: type) -> None:
    """Sets the step's hooks that nobody has written to None, which Lightning skips.

    Otherwise Lightning prepares the call of each hook of each callback, some 40 times a step: 0.05 ms.
    """
    for name in STEP_HOOKS:
        if name not in vars(owner) and getattr(type(owner), name) is getattr(base, name):
            setattr(owner, name, None)


class _NoProfiler(PassThroughProfiler):
    """A profiler that does nothing at no cost.

    Lightning's own makes and closes a generator in each of the places of a step that it could time, some 45:
    0.03 ms.
    """

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Times nothing."""
        return self._nothing


def _hide_absent_gpus() -> None:
    """Tells torch that there is no GPU, where there is none.

    Otherwise every step of an optimizer looks for one anew, because it checks for CUDA graphs: 0.12 ms.
    """
    if not torch.cuda.is_available():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
