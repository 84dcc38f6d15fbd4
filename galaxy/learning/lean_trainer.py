"""Lightning's trainer, with less between two steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer.states import RunningStage

from galaxy.learning.progress_bar import SlowProgressBar
from galaxy.system.machine import use_tf32

# What Lightning calls in every step, of callbacks and of the module.
STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


class Trainer(pl.Trainer):
    """Lightning's trainer, with less between two steps.

    Args:
        tf32: Whether GPUs multiply float32 matrices in TF32, with 10 bits of mantissa instead of 23.
        compile: Whether, or in which mode, `torch.compile` translates the network.
        callbacks: What is called at each step; a progress bar is added if there is none and may be one, at a
            terminal.
        **arguments: Lightning's own.

    Attributes:
        compile_mode: That of `torch.compile`; None to leave the network as it is.
    """

    def __init__(
        self,
        *,
        tf32: bool = True,
        compile: bool | Literal["default", "reduce-overhead", "max-autotune"] = False,  # noqa: A002  the name
        callbacks: Sequence[pl.Callback] = (),
        **arguments: Any,
    ) -> None:
        arguments.setdefault("profiler", _NoProfiler())
        callbacks = list(callbacks)
        own = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks)
        if not own and arguments.get("enable_progress_bar") is not False:  # for Lightning, None is true
            # A file would fill with lines that were meant to be drawn over each other.
            arguments["enable_progress_bar"] = sys.stdout.isatty()
            callbacks += [SlowProgressBar()] if sys.stdout.isatty() else []
        super().__init__(callbacks=callbacks, **arguments)
        for callback in callbacks:
            _drop_empty_hooks(callback, pl.Callback)
        self.compile_mode = ("default" if compile is True else compile) or None
        use_tf32(tf32)

    @property
    def training(self) -> bool:
        """Lightning asks 16 times a step, and its own compares words in lower case."""
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, val: bool) -> None:
        pl.Trainer.training.fset(self, val)  # type: ignore[attr-defined]

    def fit(self, model: pl.LightningModule, *arguments: Any, **named: Any) -> None:
        """As Lightning's."""
        _drop_empty_hooks(model, pl.LightningModule)
        super().fit(model, *arguments, **named)


def _drop_empty_hooks(owner: object, base: type) -> None:
    """Sets the hooks of a step that nobody has filled to None, which Lightning passes over at once.

    Otherwise it prepares for each of them in each callback, some 40 times a step: 0.1 ms.
    """
    for name in STEP_HOOKS:
        if name not in vars(owner) and getattr(type(owner), name) is getattr(base, name):
            setattr(owner, name, None)


class _NoProfiler(PassThroughProfiler):
    """Lightning's own makes and closes a generator at each of the 60 places of a step that it could time."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Times nothing."""
        return self._nothing
