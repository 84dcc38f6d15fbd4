"""Averaged weights are one and the same in validation and in checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from torch import Tensor

from galaxy.learning.averaging import EMA
from tests.helpers.own_callbacks import OwnAverage
from tests.learning.test_task import TinyEncoder, fit, pytestmark, tiny_task

__all__ = ["fit", "pytestmark"]


class Counting(TinyEncoder):
    """An encoder with integers, of which one is in no checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(90, 100))
        self.register_buffer("hidden", torch.arange(90, 100), persistent=False)


class Seen(pl.Callback):
    """Keeps the weights after each step, and those that are validated."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *arguments: Any) -> None:
        self.steps.append(pl_module.encoder.layers[0].weight.detach().clone())

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *arguments: Any) -> None:
        if not trainer.sanity_checking:
            tensors = {**dict(pl_module.named_buffers()), **pl_module.state_dict()}
            self.validated.append({name: tensor.clone() for name, tensor in tensors.items()})


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize(
    "average",
    [lambda: EMA(0.9), lambda: EMAWeightAveraging(decay=0.9), OwnAverage, WeightAveraging],
    ids=["ema", "lightning", "own", "mean"],
)
def test_a_checkpoint_holds_what_was_validated(
    fit: Callable[..., pl.Trainer], tmp_path: Path, average: Callable[[], pl.Callback], weights_only: bool
) -> None:
    seen, task = Seen(), tiny_task(Counting())
    best = ModelCheckpoint(
        tmp_path,
        "{epoch}",
        save_top_k=-1,
        monitor="val/rmse",
        save_weights_only=weights_only,
        save_on_train_epoch_end=False,
    )
    fit(task, 3, average(), seen, best)
    for epoch, validated in enumerate(seen.validated):
        saved = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)["state_dict"]
        assert list(saved) == list(task.state_dict())
        assert all(torch.equal(saved[name], validated[name]) for name in saved)
        assert not torch.equal(saved["encoder.layers.0.weight"], seen.steps[4 * epoch + 3])
        assert torch.equal(validated["encoder.order"], torch.arange(90, 100))
        assert torch.equal(validated["encoder.hidden"], torch.arange(90, 100))
        assert saved["encoder.layers.1.num_batches_tracked"] == 4 * (epoch + 1)
    assert torch.equal(task.encoder.hidden, torch.arange(90, 100))


def test_the_average_is_exponential_and_takes_over_more_of_the_first_steps(
    fit: Callable[..., pl.Trainer],
) -> None:
    seen = Seen()
    fit(tiny_task(), 2, seen, EMA(0.25))
    expected = seen.steps[0]
    for count, weights in enumerate(seen.steps[1:], 1):
        decay = min(0.25, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(seen.validated[-1]["encoder.layers.0.weight"], expected)


def test_before_the_first_average_the_weights_themselves_are_validated(
    fit: Callable[..., pl.Trainer],
) -> None:
    seen = Seen()
    fit(tiny_task(), 2, seen, EMAWeightAveraging(decay=0.5, update_starting_at_step=5))
    first, second = (validated["encoder.layers.0.weight"] for validated in seen.validated)
    assert torch.equal(first, seen.steps[3])
    assert not torch.equal(second, seen.steps[7])


def test_an_average_has_the_number_format_of_the_weights(
    fit: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    # Lightning makes the average before it converts the model.
    best = ModelCheckpoint(tmp_path, "best", monitor="val/rmse", save_weights_only=True)
    fit(tiny_task(), 1, EMA(0.5), best, precision="64-true")
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert saved["encoder.layers.0.weight"].dtype == torch.float64


@pytest.mark.parametrize("decay", [-0.1, 1])
def test_an_average_that_forgets_everything_or_learns_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"^decay is .*; it must be"):
        EMA(decay)
