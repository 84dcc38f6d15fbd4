"""When and how the learning rate moves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from galaxy.system.errors import UserError


def one_cycle(optimizer: Optimizer, total_steps: int, pct_start: float = 0.3) -> OneCycleLR:
    """Torch's OneCycleLR, with each group's own learning rate as its highest.

    Args:
        optimizer: Whose rates are moved.
        total_steps: Length of the whole training.
        pct_start: Share of it that warms up.
    """
    if not 0 < pct_start < 1:
        raise UserError(f"scheduler.scheduler.pct_start is {pct_start}; it must be between 0 and 1")
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=highest, total_steps=total_steps, pct_start=pct_start)


class Schedule:
    """Any scheduler of torch, how often it moves, and what it watches.

    Args:
        scheduler: Called with the optimizer; None keeps the learning rate constant.
        interval: The scheduler moves after each "step" or each "epoch" ...
        frequency: ... or after every so many of them.
        monitor: The metric that ReduceLROnPlateau watches.
        length: Name of the scheduler's parameter that takes the length of the whole training, counted in
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
            raise UserError(f"scheduler.frequency is {frequency}; it must be 1 or more")
        self.scheduler = scheduler
        self.interval = interval
        self.frequency = frequency
        self.monitor = monitor
        self.length = length

    def configure(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> dict[str, Any]:
        """What `LightningModule.configure_optimizers` returns."""
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
