"""The optimizer of a network, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from galaxy.learning.transfer import Transfer
from galaxy.models.encoder import Encoder


def build_optimizer(
    make: Callable[..., Optimizer],
    encoder: Encoder,
    head: Collection[nn.Parameter],
    transfer: Transfer,
    weight_decay_exclude_1d: bool = False,
) -> Optimizer:
    """Builds the optimizer. The layers of the encoder may learn at rates of their own.

    Args:
        make: A function from parameter groups to an optimizer, such as a partial `torch.optim.AdamW`. Its
            learning rate is the head's.
        encoder: The encoder.
        head: All other parameters that learn.
        transfer: The rates of the encoder's layers.
        weight_decay_exclude_1d: Whether biases and the weights of norms get no weight decay.

    Raises:
        ValueError: The optimizer refuses its settings, such as a learning rate below 0.
    """
    groups = transfer.groups(encoder, head, weight_decay_exclude_1d)
    scales = [group.pop("lr_scale") for group in groups]
    try:
        optimizer = make(groups)
    except (ValueError, RuntimeError, TypeError) as error:
        settings = getattr(make, "keywords", {}).items()
        given = ", ".join(f"{name}={value}" for name, value in settings)
        raise ValueError(f"{error} ({given})") from error
    for group, scale in zip(optimizer.param_groups, scales, strict=True):
        group["lr"] *= scale
    return optimizer


def one_cycle(
    optimizer: Optimizer, total_steps: int, pct_start: float = 0.3, cycle_momentum: bool = True
) -> OneCycleLR:
    """Builds torch's OneCycleLR with the learning rate of each group as that group's highest.

    Args:
        optimizer: The optimizer whose learning rates move.
        total_steps: The length of the whole training in steps.
        pct_start: The share of the training that warms up.
        cycle_momentum: Whether the momentum, or the first of Adam's betas, falls from 0.95 to 0.85 while the
            learning rate rises, and comes back. Otherwise it is the optimizer's.

    Raises:
        ValueError: `pct_start` is not between 0 and 1, it is exactly one step, or the optimizer has no
            momentum that could move.
    """
    if not 0 < pct_start < 1:
        raise ValueError(f"pct_start is {pct_start}; it must be above 0 and below 1")
    if pct_start * total_steps == 1:  # torch would divide by 0
        raise ValueError(
            f"pct_start is {pct_start}, a warm-up of exactly one of {total_steps} steps; it must be more or "
            "less"
        )
    highest = [group["lr"] for group in optimizer.param_groups]
    if cycle_momentum and not optimizer.defaults.keys() & {"momentum", "betas"}:
        raise ValueError(f"cycle_momentum is true; {type(optimizer).__name__} has no momentum (false)")
    return OneCycleLR(
        optimizer,
        max_lr=highest,
        total_steps=total_steps,
        pct_start=pct_start,
        cycle_momentum=cycle_momentum,
    )


class Schedule:
    """A scheduler of torch, how often it moves, and the metric that it watches.

    Args:
        scheduler: A function from the optimizer to a scheduler; None keeps the learning rate constant.
        interval: The scheduler moves after a "step" or after an "epoch".
        frequency: The number of steps or epochs between two moves.
        monitor: The metric that ReduceLROnPlateau watches.
        length: The name of the scheduler's parameter that takes the length of the whole training, counted in
            moves of the scheduler: `T_max` of CosineAnnealingLR, `total_steps` of OneCycleLR.
    """

    def __init__(
        self,
        scheduler: Callable[..., Any] | None = None,
        interval: Literal["step", "epoch"] = "epoch",
        frequency: int = 1,
        monitor: str | None = None,
        length: str | None = None,
    ) -> None:
        if frequency < 1:
            raise ValueError(f"frequency is {frequency}; it must be 1 or more")
        self.scheduler = scheduler
        self.interval = interval
        self.frequency = frequency
        self.monitor = monitor
        self.length = length

    def configure(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> dict[str, Any]:
        """Returns what `LightningModule.configure_optimizers` must return.

        Args:
            optimizer: The optimizer whose learning rates move.
            epochs: The length of the whole training in epochs.
            steps_per_epoch: The number of the optimizer's steps in an epoch.
        """
        if self.scheduler is None:
            return {"optimizer": optimizer}
        scheduler = self.scheduler
        if self.length is not None:
            total = epochs * (steps_per_epoch if self.interval == "step" else 1)
            scheduler = partial(scheduler, **{self.length: max(1, total // self.frequency)})
        config = {"scheduler": scheduler(optimizer), "interval": self.interval, "frequency": self.frequency}
        if self.monitor is not None:
            config["monitor"] = self.monitor
        return {"optimizer": optimizer, "lr_scheduler": config}
