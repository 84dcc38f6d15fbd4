"""The base of all losses."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from galaxy.data.loader import Batch
from galaxy.labels.labels import Labels
from galaxy.models.heads.head import Output


class Loss(nn.Module, ABC):
    """The number that training makes small.

    A new loss writes `forward`. It also writes `prepare` if it has to know the labels or measures something
    on the training targets. Measured values belong in buffers, which checkpoints carry. A loss whose buffers
    get their shape from the labels inherits from `galaxy.models.late_buffers.LateBuffers` as well.
    """

    def prepare(self, targets: Tensor, labels: Labels) -> None:
        """Looks at the training targets once, before training.

        Args:
            targets: (N, K) float32, all training targets. An unknown one is NaN.
            labels: The labels that the K columns of the targets hold.
        """

    @abstractmethod
    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Computes the loss of a batch.

        Args:
            output: Logits and fractions, (B, K) float32 each.
            batch: "target" (B, K) float32. There is also "weight" (B, K) float32 where some targets can be
                trusted more than others, and "counts" (B, K) float32 where the data has votes. An unknown
                target has the weight 0, and is not NaN here.

        Returns:
            A scalar, float32; float64 where the targets are float64.
        """


def weighted_mean(errors: Tensor, batch: Batch) -> Tensor:
    """Returns the mean of errors (B, K), weighted where the batch has weights."""
    if "weight" not in batch:
        return errors.mean()
    # A batch of galaxies that nobody was asked about adds 0 rather than 0/0.
    return (errors * batch["weight"]).sum() / batch["weight"].sum().clamp_min(1e-6)
