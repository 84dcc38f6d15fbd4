"""Callbacks that are not Galaxy's, as a user's own package would bring them."""

from typing import Any, ClassVar

import lightning.pytorch as pl
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback as HydraCallback
from lightning.pytorch.callbacks import WeightAveraging


class OwnMetric(pl.Callback):
    """Logs a metric of its own, which is best after the first epoch."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("val/own", 1 / (1 + trainer.current_epoch))


class OwnAverage(WeightAveraging):
    """The mean of every other step, and of the end of each epoch, from the third step on."""

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return epoch_idx is not None or (step_idx is not None and step_idx >= 2 and step_idx % 2 == 0)


class Returned(HydraCallback):
    """Keeps what the jobs of a sweep return to the sweeper."""

    values: ClassVar[list[float]] = []

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        Returned.values.append(job_return.return_value)
