"""What the LightningModule does around the network."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from galaxy.learning.callbacks import ProgressiveResizing
from galaxy.learning.losses import Loss
from galaxy.learning.losses.weighted_mse import WeightedMSE
from galaxy.learning.optim import Schedule, one_cycle
from galaxy.learning.task import DivergedError, GalaxyTask
from galaxy.learning.transfer import Transfer
from galaxy.models.encoder import Encoder
from galaxy.surveys.kaggle import LABELS


class TinyEncoder(Encoder):
    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def tiny_task(
    encoder: Encoder | None = None,
    lr: float = 0.1,
    loss: Loss | None = None,
    schedule: Schedule | None = None,
    transfer: Transfer | None = None,
) -> GalaxyTask:
    return GalaxyTask(
        encoder=encoder or TinyEncoder(),
        labels=LABELS,
        loss=loss,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=lr),
        schedule=schedule,
        transfer=transfer,
    )


def batches(count: int = 4) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.rand(8, 3, 8, 8, generator=generator),
            "target": torch.rand(8, 37, generator=generator),
            "row": torch.arange(8),
        }
        for _ in range(count)
    ]


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., pl.Trainer]:
    def run(
        task: GalaxyTask, epochs: int, *callbacks: Callback, train: list | None = None, **more: Any
    ) -> pl.Trainer:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[*callbacks],
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            default_root_dir=tmp_path,
            **more,
        )
        trainer.fit(
            task, DataLoader(train or batches(), batch_size=None), DataLoader(batches(1), batch_size=None)
        )
        return trainer

    return run


pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*' does not have many workers",
    # Lightning 2.6.6 with torch 2.15; mended in Lightning's main branch.
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*isinstance.treespec, LeafSpec.*:DeprecationWarning",
)


class Snapshots(Callback):
    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.statistics: list[Tensor] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module.encoder, TinyEncoder)
        self.weights.append(pl_module.encoder.layers[0].weight.detach().clone())
        self.statistics.append(pl_module.encoder.layers[1].running_mean.clone())


def test_a_frozen_body_stays_as_it_is_and_then_learns(fit: Callable[..., pl.Trainer]) -> None:
    seen = Snapshots()
    task = tiny_task(transfer=Transfer(frozen_epochs=2))
    before = task.encoder.layers[0].weight.detach().clone()
    fit(task, 3, seen)
    assert torch.equal(seen.weights[0], before)
    assert torch.equal(seen.weights[1], before)
    assert not torch.equal(seen.weights[2], before)
    assert torch.equal(seen.statistics[1], torch.zeros(4))
    assert not torch.equal(seen.statistics[2], torch.zeros(4))


def test_the_body_may_learn_at_its_own_rate(fit: Callable[..., pl.Trainer]) -> None:
    trainer = fit(tiny_task(transfer=Transfer(body_lr_factor=0.1), lr=0.5), 1)
    rates = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}
    assert rates == pytest.approx({"encoder": 0.05, "head": 0.5})


def test_what_an_encoder_never_trains_stays_as_it_is(fit: Callable[..., pl.Trainer]) -> None:
    task = tiny_task(transfer=Transfer(frozen_epochs=1))
    task.encoder.layers[0].bias.requires_grad_(False)  # as an encoder may do in its constructor
    before = {name: value.clone() for name, value in task.encoder.named_parameters()}
    fit(task, 3)
    after = dict(task.encoder.named_parameters())
    assert torch.equal(before["layers.0.bias"], after["layers.0.bias"])
    assert not torch.equal(before["layers.0.weight"], after["layers.0.weight"])


@pytest.mark.parametrize(("interval", "epochs", "lr"), [("step", 2, 0.0), ("epoch", 2, 0.0)])
def test_a_scheduler_is_told_the_length_of_the_training(
    fit: Callable[..., pl.Trainer], interval: str, epochs: int, lr: float
) -> None:
    schedule = Schedule(torch.optim.lr_scheduler.CosineAnnealingLR, interval=interval, length="T_max")  # type: ignore[arg-type]
    trainer = fit(tiny_task(schedule=schedule), epochs)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(lr, abs=1e-9)


def test_one_cycle_keeps_the_ratio_of_the_rates(fit: Callable[..., pl.Trainer]) -> None:
    class Highest(Callback):
        rates: list[tuple[float, ...]]

        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.rates = []

        def on_train_batch_start(self, trainer: pl.Trainer, *args: object) -> None:
            self.rates.append(tuple(group["lr"] for group in trainer.optimizers[0].param_groups))

    seen = Highest()
    schedule = Schedule(partial(one_cycle, pct_start=0.5), interval="step", length="total_steps")
    fit(tiny_task(transfer=Transfer(body_lr_factor=0.1), lr=0.5, schedule=schedule), 2, seen)
    assert max(head for _, head in seen.rates) == pytest.approx(0.5, rel=0.1)
    assert all(body == pytest.approx(0.1 * head) for body, head in seen.rates)
    assert seen.rates[-1][1] < 0.05


def test_one_cycle_leaves_the_momentum_alone_if_told() -> None:
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.5)
    one_cycle(sgd, 10, cycle_momentum=False)
    assert sgd.param_groups[0]["momentum"] == 0.5
    one_cycle(sgd, 10)
    assert sgd.param_groups[0]["momentum"] == 0.95
    adagrad = torch.optim.Adagrad(sgd.param_groups[0]["params"])
    with pytest.raises(ValueError, match=r"^cycle_momentum is true; Adagrad has no momentum"):
        one_cycle(adagrad, 10)


def test_metrics_are_those_of_the_whole_validation_split(fit: Callable[..., pl.Trainer]) -> None:
    task = tiny_task()
    trainer = fit(task, 1)
    batch = batches(1)[0]
    with torch.inference_mode():
        error = task.eval()(batch["image"]).fractions - batch["target"]
    assert trainer.callback_metrics["val/rmse"] == pytest.approx(
        float(error.square().mean().sqrt()), rel=1e-5
    )
    logged = {name for name in trainer.callback_metrics if name.startswith("val/rmse/")}
    assert len(logged) == 11
    assert {"train/rmse", "train/r2", "val/r2", "val/loss", "train/loss"} <= set(trainer.callback_metrics)


def test_a_loss_that_is_no_number_stops_the_run(fit: Callable[..., pl.Trainer]) -> None:
    poisoned = batches()
    poisoned[2]["target"][0, 0] = torch.nan
    with pytest.raises(DivergedError, match=r"step \d.*learning rate 0\.1"):
        fit(tiny_task(), 2, train=poisoned)


def test_loss_weights_travel_with_the_checkpoint(tmp_path: Path) -> None:
    loss = WeightedMSE()
    loss.prepare(torch.rand(10, 37), LABELS)
    state = tiny_task(loss=loss).state_dict()
    other = tiny_task(loss=WeightedMSE())
    other.load_state_dict(state)
    assert torch.equal(other.state_dict()["loss.weights"], loss.weights)


def test_a_loaded_head_is_not_started_again() -> None:
    task = tiny_task()
    assert task.starts_at_mean
    task.load_state_dict(task.state_dict())
    assert not task.starts_at_mean


@pytest.mark.parametrize("channels", [1, 3])
def test_the_encoder_sees_images_centred_and_divided(channels: int) -> None:
    seen: list[Tensor] = []

    class Seeing(Encoder):
        num_features = channels

        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean(dim=(2, 3))

    generator = torch.Generator().manual_seed(0)
    mean, std = torch.rand(2, channels, 1, 1, generator=generator).double()
    task = GalaxyTask(Seeing(), LABELS, channels=channels).double()
    task.load_state_dict({**task.state_dict(), "mean": mean, "std": std + 0.1})
    images = torch.rand(4, channels, 6, 10, generator=generator).double().requires_grad_()
    with torch.inference_mode():
        task(images)
    task(images).fractions.sum().backward()  # what was made for inference must do for gradients
    assert images.grad is not None
    task.load_state_dict({**task.state_dict(), "mean": torch.full((channels, 1, 1), 0.25)})
    task(images[..., :5])
    task(images)
    expected = [
        (images.detach() - m.view(-1, 1, 1)) / (std + 0.1).view(-1, 1, 1) for m in (mean, mean * 0 + 0.25)
    ]
    for inputs, wanted in zip(
        seen, [expected[0], expected[0], expected[1][..., :5], expected[1]], strict=True
    ):
        torch.testing.assert_close(inputs, wanted)
        assert inputs.is_contiguous(memory_format=torch.channels_last)


class Sides(TinyEncoder):
    """Notes the sides of the images that it trains on, and of those that it validates."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[int] = []
        self.validated: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        (self.trained if self.training else self.validated).append(images.shape[-1])
        return super().forward(images)


def test_the_encoder_sees_images_reduced_by_area() -> None:
    encoder = Sides()
    task = GalaxyTask(encoder, LABELS, input_size=4).eval()
    images = torch.rand(2, 3, 8, 8)
    coarse = images.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-1, -2))
    torch.testing.assert_close(task(images).fractions, task(coarse).fractions)
    assert encoder.validated == [4, 4]


def test_training_images_grow_and_validation_sees_whole_ones(fit: Callable[..., pl.Trainer]) -> None:
    encoder, task = Sides(), tiny_task()
    task.encoder, task.input_size = encoder, 6
    fit(task, 4, ProgressiveResizing(initial_scale=0.5, delay_fraction=0.25, size_increment=1))
    assert encoder.trained[::4] == [3, 4, 6, 6]
    assert set(encoder.validated) == {6}
    task.train()(torch.rand(2, 3, 8, 8))
    assert encoder.trained[-1] == 6  # the callback has left the task as it was


@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        ({"initial_scale": 0.75, "delay_fraction": 0.4, "finetune_fraction": 0.3}, [48, 48, 56, 64, 64]),
        ({"initial_scale": 0.5, "delay_fraction": 0.6, "finetune_fraction": 0.4}, [32, 32, 32, 64, 64]),
        ({"initial_scale": 1.0}, [64] * 5),
    ],
)
def test_the_side_depends_on_the_epoch_alone(settings: dict[str, float], sides: list[int]) -> None:
    assert [ProgressiveResizing(**settings).side(64, epoch, 5) for epoch in range(5)] == sides


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"initial_scale": 0}, "initial_scale is 0; it must be above 0 and at most 1"),
        ({"delay_fraction": 2}, "delay_fraction is 2; it must be between 0 and 1"),
        ({"delay_fraction": 0.6, "finetune_fraction": 0.6}, "they must not exceed 1 together"),
        ({"size_increment": 0}, "size_increment is 0; it must be 1 or more"),
    ],
)
def test_progressive_resizing_names_what_is_wrong(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ProgressiveResizing(**settings)
