"""The classes in a notebook: a data module, a task and Lightning's trainer, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import Batch
from galaxy.images.augment import AFFINE, Augment
from galaxy.images.crops.center import CenterCrop
from galaxy.learning.lean_trainer import Trainer
from galaxy.learning.losses import Loss
from galaxy.learning.losses.weighted_mse import WeightedMSE
from galaxy.learning.optim import Schedule
from galaxy.learning.task import GalaxyTask
from galaxy.models.deep_cnn import DeepCNN
from galaxy.models.heads import Output
from galaxy.models.heads.sigmoid import SigmoidHead
from galaxy.runs.model import TrainedModel
from galaxy.surveys.kaggle import read_kaggle
from galaxy.system.errors import UserError
from tests.conftest import PROJECT

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, about few batches and no logger


def module(survey: Path, cache: Path, **settings: Any) -> GalaxyDataModule:
    shares = {"val_fraction": 0.2, "test_fraction": 0.0}
    return GalaxyDataModule(
        read_kaggle(survey), crop=CenterCrop(32), batch_size=16, cache=str(cache), **shares, **settings
    )


def network(data: GalaxyDataModule, **settings: Any) -> GalaxyTask:
    torch.manual_seed(0)
    return GalaxyTask(DeepCNN(data.crop.channels, 32), data.labels, **settings)


def fit(task: GalaxyTask, data: GalaxyDataModule, kind: Any = pl.Trainer, **settings: Any) -> pl.Trainer:
    arguments = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer: pl.Trainer = kind(**{**arguments, **quiet, **settings})
    trainer.fit(task, data)
    return trainer


def test_a_task_measures_its_training_split(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    task = network(data, loss=WeightedMSE())
    before = next(task.parameters()).clone()
    fit(task, data)
    mean, std = data.channel_statistics()
    np.testing.assert_array_equal(task.mean.flatten(), mean)
    np.testing.assert_array_equal(task.std.flatten(), std)
    shares = data.targets[data.rows["train"]].sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(task.loss.weights, shares / shares.sum(), rtol=1e-6)
    assert not torch.equal(next(task.parameters()), before)


def test_a_head_starts_at_the_mean_of_the_known_targets(survey: Path, cache: Path) -> None:
    catalog = read_kaggle(survey)
    assert catalog.targets is not None
    known = np.ones_like(catalog.targets)
    known[::2, 3:5] = 0
    catalog = replace(catalog, targets=catalog.targets * known, weights=known)
    data = GalaxyDataModule(catalog, crop=CenterCrop(32), cache=str(cache))
    task = network(data, head=SigmoidHead(DeepCNN(3, 32).num_features, data.labels.questions))
    fit(task, data, limit_train_batches=0)
    rows = data.rows["train"]
    mean = np.average(data.targets[rows], axis=0, weights=data.catalog.weights[rows])
    np.testing.assert_allclose(task.head.linear.bias.detach().sigmoid(), mean, atol=2e-4)


def test_lightnings_trainer_and_the_lean_one_train_the_same(survey: Path, cache: Path) -> None:
    weights = []
    for kind in (pl.Trainer, Trainer):
        data = module(survey, cache)
        task = network(data, schedule=Schedule(torch.optim.lr_scheduler.CosineAnnealingLR, length="T_max"))
        fit(task, data, kind, max_epochs=2)
        weights.append(task.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_a_trained_task_predicts_and_learns_on(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    task = network(data)
    fit(task, data)
    images = survey / "images_training_rev1"
    first = TrainedModel(task, data.labels, data.crop).predict(images)
    fit(task.eval(), data)
    assert task.training
    assert not first.equals(TrainedModel(task, data.labels, data.crop).predict(images))


def test_averaged_weights_know_what_was_measured(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    task = network(data, loss=WeightedMSE())
    fit(task, data, callbacks=[EMAWeightAveraging(decay=0.5)])
    np.testing.assert_allclose(task.mean.flatten(), data.channel_statistics()[0], rtol=1e-6)


def test_a_schedule_follows_a_training_that_counts_steps(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    schedule = Schedule(torch.optim.lr_scheduler.CosineAnnealingLR, interval="step", length="T_max")
    trainer = fit(network(data, schedule=schedule), data, max_epochs=-1, max_steps=8)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match=r"^max_epochs is -1; "):
        fit(network(data, schedule=schedule), data, max_epochs=-1)


def test_what_cannot_be_trained_is_named(survey: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"^channels is 1; it must be 3"):
        fit(network(data := module(survey, cache), channels=1), data)
    data = module(survey, cache)
    task = network(data)
    with pytest.raises(UserError, match="has no labels"):
        fit(task, GalaxyDataModule(replace(read_kaggle(survey), targets=None), cache=str(cache)))
    with pytest.raises(UserError, match="the val split is empty"):
        fit(task, GalaxyDataModule(read_kaggle(survey), cache=str(cache), val_fraction=0))


def test_the_default_augmentation_is_that_of_the_program() -> None:
    node = yaml.safe_load((PROJECT / "conf" / "augment" / "affine.yaml").read_text())
    del node["_target_"]
    assert vars(AFFINE) == vars(Augment(**node))


class Nearby(Loss):
    """Counts near galaxies more: a loss that reads a column of the user's table."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        assert batch["redshift"].dtype == torch.float32
        assert set(batch) >= {"redshift", "row"}
        assert "survey" not in batch
        errors = (output.fractions - batch["target"]).square().mean(dim=1)
        return (errors / (1 + batch["redshift"])).mean()


def test_a_loss_reads_further_columns_of_the_catalog(survey: Path, cache: Path) -> None:
    catalog = read_kaggle(survey)
    extra = pd.DataFrame({"redshift": np.arange(80) / 80, "survey": "SDSS"})
    with_extra = replace(catalog, extra_columns=extra)
    data = GalaxyDataModule(with_extra, crop=CenterCrop(32), batch_size=16, cache=str(cache), limit=60)
    fit(network(data, loss=Nearby()), data)
    row = {int(i): number for number, i in enumerate(catalog.ids)}
    for batch in data.loader("val"):
        expected = [extra["redshift"][row[int(data.catalog.ids[r])]] for r in batch["row"]]
        np.testing.assert_allclose(batch["redshift"], expected, rtol=1e-6)
    plain = GalaxyDataModule(catalog, crop=CenterCrop(32), batch_size=16, cache=str(cache), limit=60)
    plain.setup()
    with_columns, without = data.description(), plain.description()
    # A loss may read them, so they belong to what a resumed run must find again; errors compare all the same.
    assert with_columns["fingerprint"] != without["fingerprint"]
    assert with_columns["fingerprints"] == without["fingerprints"]
