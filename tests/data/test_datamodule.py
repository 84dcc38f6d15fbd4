"""Batches: who is in them, in which order, and what is done to them."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.data.loader import Order
from galaxy.data.targets.as_labelled import AsLabelled
from galaxy.data.targets.one_question import OneQuestion
from galaxy.images.augment import Augment
from galaxy.images.crops.center import CenterCrop
from galaxy.surveys import Catalog
from galaxy.surveys.kaggle import read_kaggle
from galaxy.system.errors import UserError
from tests.conftest import PROJECT, pixels_of


def module(survey: Path, cache: Path, **settings: Any) -> GalaxyDataModule:
    defaults: dict[str, Any] = {
        "crop": CenterCrop(16),
        "augment": Augment(rotate="full", flip=0.5),
        "batch_size": 8,
        "seed": 1,
        "val_fraction": 0.2,
        "test_fraction": 0.2,
    }
    data = GalaxyDataModule(
        partial(read_kaggle, part="training"),
        str(survey),
        cache=str(cache),
        **({"target": AsLabelled()} | defaults | settings),
    )
    data.setup()
    return data


def test_splits_share_no_galaxy_and_miss_none(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    seen = [batch["row"] for split in ("train", "val", "test") for batch in data.loader(split)]
    assert sorted(torch.cat(seen).tolist()) == list(range(80))
    assert [len(data.rows[split]) for split in ("train", "val", "test")] == [
        data.description()[split] for split in ("train", "val", "test")
    ]


def test_pixels_and_labels_belong_together(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    for batch in data.loader("all"):
        for row, image, target in zip(batch["row"], batch["image"], batch["target"], strict=True):
            assert np.array_equal(image.permute(1, 2, 0), pixels_of(data.images)[row])
            assert np.array_equal(target, data.targets[row])
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)


def test_order_and_augmentation_follow_seed_and_epoch_alone(survey: Path, cache: Path) -> None:
    def epoch(number: int, **settings: Any) -> dict[int, torch.Tensor]:
        data = module(survey, cache, **settings)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(number)  # as Lightning does
        images = {}
        for pixels in loader:
            batch = data.on_after_batch_transfer(pixels, 0)
            images |= dict(zip(batch["row"].tolist(), batch["image"], strict=True))
        return images

    first = epoch(3)
    again, next_epoch, reseeded, rebatched = epoch(3), epoch(4), epoch(3, seed=2), epoch(3, batch_size=5)
    assert list(first) == list(again)
    assert list(first) != list(next_epoch)
    assert list(first) != list(reseeded)
    assert all(torch.equal(first[row], again[row]) for row in first)
    assert all(torch.equal(first[row], rebatched[row]) for row in first)  # whatever batch it is in
    assert not any(torch.equal(first[row], next_epoch[row]) for row in first)


class Recorder(pl.LightningModule):
    """Learns nothing, and notes which galaxies each epoch saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        assert batch["image"].dtype == torch.float32
        assert 0 <= batch["image"].min() < batch["image"].max() <= 1
        self.epochs[-1] += batch["row"].tolist()
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")  # Lightning's, about a trainer without checkpoints and validation
def test_lightning_walks_another_order_each_epoch(survey: Path, cache: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(recorder, datamodule=module(survey, cache))
    assert len({tuple(rows) for rows in recorder.epochs}) == 3
    assert len({tuple(sorted(rows)) for rows in recorder.epochs}) == 1


@pytest.mark.slow
def test_workers_do_not_change_what_albumentations_draws(survey: Path, cache: Path) -> None:
    augment = Augment(engine="albumentations", rotate="full", flip=0.5)

    def images(workers: int) -> torch.Tensor:
        data = module(survey, cache, augment=augment, workers=workers)
        return torch.cat([batch["image"] for batch in data.train_dataloader()])

    assert torch.equal(images(0), images(2))


@pytest.mark.slow
def test_a_program_ends_although_workers_ignore_its_signals(survey: Path, cache: Path) -> None:
    code = f"""
from pathlib import Path
from tests.data.test_datamodule import Augment, module

augment = Augment(engine="albumentations", flip=0.5)
loader = module(Path({str(survey)!r}), Path({str(cache)!r}), augment=augment, workers=1).train_dataloader()
assert len(list(loader)) == len(loader)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, timeout=60)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [7, 9, 17, 24, 25, 26, 29])
def test_processes_share_each_epoch_without_overlap(world: int, count: int) -> None:
    rows = np.arange(100, 100 + count)
    parts = [Order(rows, 4, True, seed=0, rank=rank, world_size=world) for rank in range(world)]
    taken = [[batch.tolist() for batch in part.batches()] for part in parts]
    assert sorted(row for part in taken for batch in part for row in batch) == rows.tolist()
    assert {len(part) for part in taken} == {len(parts[0])}  # all take the same number of steps
    if count >= 2 * world:
        assert min(len(batch) for part in taken for batch in part) >= 2  # enough for batch statistics


def test_statistics_are_those_of_the_training_images(survey: Path, cache: Path) -> None:
    data = module(survey, cache)
    pixels = pixels_of(data.images)[data.rows["train"]].reshape(-1, 3) / 255
    mean, std = data.channel_statistics()
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-5)


def test_a_limit_is_a_sample_that_larger_ones_contain(survey: Path, cache: Path) -> None:
    small, large = (set(module(survey, cache, limit=n).catalog.ids.tolist()) for n in (30, 50))
    assert len(small) == 30
    assert small < large


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 0}, "^batch_size is 0; "),
        ({"limit": 0}, "^limit is 0; "),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "^val_fraction is 0.6 and test_fraction is 0.4; "),
        ({"split_seed": -1}, "^split_seed is -1; "),
        ({"workers": -1}, "^workers is -1; "),
        ({"folds": 2, "fold": 0}, "^folds is 2; it must be 3 or more"),
        ({"folds": 5}, "^fold is null; it must be from 0 to 4, because data.folds is 5"),
        ({"folds": 5, "fold": -1}, "^fold is -1; it must be from 0 to 4"),
        ({"fold": 1}, "^fold is 1, but folds is null"),
    ],
)
def test_settings_that_cannot_be_are_named(
    survey: Path, cache: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        module(survey, cache, **settings)


def test_vote_counts_that_a_survey_does_not_have_are_refused(survey: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="no vote counts"):
        module(survey, cache, counts=True)


def test_what_reader_and_target_refuse_is_named_by_its_key(survey: Path, cache: Path) -> None:
    def reader(root: Path, on_bad: str) -> Catalog:
        raise ValueError("softening is -1; it must be above 0")

    data = GalaxyDataModule(
        reader, str(survey), AsLabelled(), CenterCrop(16), Augment(), 8, 1, cache=str(cache)
    )
    with pytest.raises(UserError, match=r"^data\.catalog\.softening is -1; "):
        data.read()
    with pytest.raises(UserError, match=r"^target\.question is q12; .*did you mean q1"):
        module(survey, cache, target=OneQuestion("q12"))


def test_the_fingerprint_of_a_split_is_of_its_galaxies_and_labels_alone(
    survey: Path, cache: Path, tmp_path: Path
) -> None:
    data = module(survey, cache)
    found = data.fingerprint("test")
    assert data.description()["fingerprints"] == {"val": data.fingerprint("val"), "test": found}
    assert data.fingerprint("val") != found

    def changed(change: Callable[[Catalog], Catalog], **settings: Any) -> str:
        other = module(survey, tmp_path / "other", target=change, crop=CenterCrop(8), **settings)
        return other.fingerprint("test")

    def moved(by: float) -> Callable[[Catalog], Catalog]:
        return lambda catalog: replace(catalog, targets=catalog.targets.round(6) + np.float32(by))

    def renamed(catalog: Catalog) -> Catalog:
        assert catalog.labels is not None
        return replace(catalog, labels=replace(catalog.labels, meaning="debiased"))

    assert changed(lambda catalog: replace(catalog, weights=catalog.targets + 1)) == found
    # An unknown target, whose weight is 0, is no part of the error.
    assert changed(lambda catalog: replace(catalog, weights=np.rint(catalog.targets))) != found
    assert changed(lambda catalog: catalog.take(np.arange(len(catalog))[::-1])) == found
    assert changed(lambda catalog: replace(catalog, names=tuple(map(str, catalog.ids)))) == found
    assert changed(moved(1e-7)) == changed(moved(0))
    assert changed(moved(1e-5)) != changed(moved(0))
    assert changed(renamed) != found
    assert changed(AsLabelled(), split_seed=1) != found
    assert changed(AsLabelled(), limit=60) != found


def test_runs_of_all_folds_share_a_fingerprint_and_no_validation_galaxies(survey: Path, cache: Path) -> None:
    runs = [module(survey, cache, folds=3, fold=fold) for fold in range(3)]
    found = [data.description()["fingerprints"] for data in runs]
    assert len({each["folds"] for each in found}) == 1
    assert len({each["val"] for each in found}) == 3
    assert found[1]["val"] == found[2]["test"]
    validated = np.concatenate([data.catalog.ids[data.rows["val"]] for data in runs])
    assert sorted(validated) == sorted(runs[0].catalog.ids)
    for other in ({"folds": 4}, {"folds": 3, "split_seed": 1}, {"folds": 3, "limit": 60}):
        changed = module(survey, cache, fold=0, **other).description()["fingerprints"]
        assert changed["folds"] != found[0]["folds"]


def test_an_empty_fold_is_refused_by_the_runs_of_all_folds(survey: Path, cache: Path) -> None:
    data = module(survey, cache, folds=5, fold=0, limit=4)
    with pytest.raises(UserError, match=r"^data\.folds is 5, but none of the 4 galaxies falls into fold \d"):
        data.check_trainable()

    def grouped(root: Path, on_bad: str) -> Catalog:
        catalog = read_kaggle(root, on_bad)  # type: ignore[arg-type]
        return replace(catalog, groups=catalog.ids % 2)

    data = GalaxyDataModule(grouped, str(survey), cache=str(cache), folds=3, fold=0)
    data.read()
    with pytest.raises(UserError, match="none of the 2 groups of galaxies that stay together falls into"):
        data.check_trainable()


def test_where_and_in_how_many_runs_images_were_decoded_does_not_change_the_fingerprint(
    survey: Path, tmp_path: Path
) -> None:
    whole = module(survey, tmp_path / "one").description()
    module(survey, tmp_path / "two", limit=20)
    data = module(survey, tmp_path / "two")
    assert len(data.images.shards) == 2
    assert data.description() == whole
    assert whole["skipped"] == 0


def test_an_empty_split_is_named(survey: Path, cache: Path) -> None:
    data = module(survey, cache, val_fraction=0.0)
    with pytest.raises(UserError, match="val split is empty"):
        data.val_dataloader()


def test_the_groups_of_a_catalog_share_a_split(survey: Path, cache: Path) -> None:
    def paired(root: Path, on_bad: str) -> Catalog:
        catalog = read_kaggle(root, on_bad)  # type: ignore[arg-type]
        return replace(catalog, groups=np.repeat(catalog.ids[::2], 2))

    data = GalaxyDataModule(
        paired,
        str(survey),
        AsLabelled(),
        CenterCrop(16),
        Augment(),
        8,
        1,
        cache=str(cache),
        test_fraction=0.3,
    )
    data.setup()
    assert (data.splits[::2] == data.splits[1::2]).all()
    assert len(np.unique(data.splits)) == 3


def test_weights_are_in_the_batches(survey: Path, cache: Path) -> None:
    def weighted(root: Path, on_bad: str) -> Catalog:
        catalog = read_kaggle(root, on_bad)  # type: ignore[arg-type]
        return replace(catalog, weights=catalog.targets)

    data = GalaxyDataModule(
        weighted, str(survey), AsLabelled(), CenterCrop(16), Augment(), 8, 1, cache=str(cache)
    )
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["weight"], batch["target"])
