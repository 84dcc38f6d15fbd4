"""Checkpoints are whole or absent, checked before they are read, and run no code."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from galaxy.config.trust import check_trusted
from galaxy.learning import checkpoint_files
from galaxy.learning.checkpoint_files import WholeCheckpointIO
from galaxy.learning.resuming import ResumePoint
from galaxy.models.baselines import Mean
from galaxy.runs.experiment import PREDICTING, load
from galaxy.surveys.kaggle import LABELS
from galaxy.system.errors import UserError
from galaxy.system.terminal import quieten_libraries
from tests.conftest import PROJECT
from tests.helpers.full_disk import file_size_limit

CONFIG: dict[str, Any] = {
    "target": {"_target_": "galaxy.data.targets.as_labelled.AsLabelled"},
    "crop": {"_target_": "galaxy.images.crops.center.CenterCrop", "size": 8, "channels": 3},
    "augment": {"_target_": "galaxy.images.augment.Augment"},
    "model": {"_target_": "galaxy.models.baselines.Mean", "_partial_": True},
    "head": {"_target_": "galaxy.models.heads.linear.LinearHead", "_partial_": True},
    "loss": {"_target_": "galaxy.learning.losses.mse.MSE"},
}


@pytest.fixture
def best(tmp_path: Path) -> Path:
    """The checkpoint of the mean of one galaxy, 0.25 throughout."""
    model = Mean(LABELS)
    model.fit([(torch.zeros(1, 3, 8, 8), torch.full((1, 37), 0.25))])
    path = tmp_path / "checkpoints" / "best.ckpt"
    recipe = {"config": CONFIG, "labels": LABELS.plain()}
    checkpoint_files.save({"state_dict": model.state_dict(), "hyper_parameters": recipe}, path)
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_was_written_is_read(best: Path) -> None:
    trained = load(best)
    assert torch.allclose(trained.model(torch.zeros(2, 3, 8, 8)).fractions, torch.full((2, 37), 0.25))
    assert trained.labels.plain() == LABELS.plain()
    assert trained.config == CONFIG


def test_a_flipped_bit_is_refused_or_does_no_harm(best: Path) -> None:
    """The bits between the parts of the file, and copies of what stands elsewhere, do no harm."""
    data = best.read_bytes()
    weights = checkpoint_files.load(best)["state_dict"]["coefficients"]
    pixels = data.index(weights.numpy().tobytes())
    harmless = 0
    for place in {*range(0, len(data), 23), *range(pixels, pixels + weights.nbytes, 7)}:
        best.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with suppress(UserError):
            content = checkpoint_files.load(best)
            assert not pixels <= place < pixels + weights.nbytes
            assert torch.equal(content["state_dict"]["coefficients"], weights)
            assert content["hyper_parameters"]["config"] == CONFIG
            harmless += 1
    assert harmless < len(data) / 23
    best.write_bytes(data[:pixels] + bytes([data[pixels] ^ 4]) + data[pixels + 1 :])
    assert "has changed" in message(best)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99, 1 - 1e-9])
def test_a_truncated_checkpoint_is_refused(best: Path, kept: float) -> None:
    data = best.read_bytes()
    best.write_bytes(data[: int(kept * len(data))])
    assert "damaged" in message(best)


def test_the_message_names_another_checkpoint(best: Path) -> None:
    last = best.with_name("last.ckpt")
    last.write_bytes(best.read_bytes())
    best.write_bytes(b"not a checkpoint")
    assert f"Use {last} instead" in message(best)
    last.unlink()
    assert "Train the model again" in message(best)


def test_a_missing_checkpoint_or_a_folder_is_said(best: Path) -> None:
    assert "there is no checkpoint" in message(best.with_name("lost.ckpt"))
    assert "run=" in message(best.parent)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"hyper_parameters": {"config": {}}}, {"hyper_parameters": 3}]
)
def test_somebody_elses_file_is_refused(best: Path, content: Any) -> None:
    torch.save(content, best)
    assert "not a checkpoint of this project" in message(best)


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"mkdir {self.folder}",)


@pytest.mark.parametrize("form", ["in the weights", "in the configuration", "alone", "old", "bare"])
def test_a_malicious_pickle_is_refused(best: Path, tmp_path: Path, form: str) -> None:
    content = checkpoint_files.load(best)
    evil = Malicious(tmp_path / "executed")
    if form == "in the weights":
        content["state_dict"]["coefficients"] = evil
    elif form == "in the configuration":
        content["hyper_parameters"]["config"]["model"] = evil
    if form == "bare":
        best.write_bytes(pickle.dumps(evil))
    elif form == "old":
        torch.save(evil, best, _use_new_zipfile_serialization=False)
    else:
        torch.save(evil if form == "alone" else content, best)
    said = message(best)
    if form not in {"old", "bare"}:  # which are no archives, and refused before anything in them is read
        assert "posix.system" in said
    with pytest.raises(UserError):
        WholeCheckpointIO().load_checkpoint(best, weights_only=False)
    assert not evil.folder.exists()
    with suppress(RuntimeError):  # nothing is left to load of the bare one
        torch.load(best, weights_only=False)
    assert evil.folder.exists()  # it would have worked


@pytest.mark.parametrize("group", PREDICTING)
@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.mkdir", "path": "executed"},
        {"_target_": "galaxy.system.files.os.mkdir", "path": "executed"},
        {"_target_": "galaxy.models.resnet.Path.mkdir", "self": "executed"},
        {"_target_": "galaxy.system.files.write_text", "path": "executed", "text": ""},
        {"_target_": "galaxy.models.no_such_module.Model"},
        {"inside": [{"_target_": "os.mkdir", "path": "executed"}]},
        {"inside": "${oc.create:{_target_: os.mkdir, path: executed}}"},
    ],
)
def test_a_configuration_calls_nothing_but_what_predicting_needs(
    best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, node: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = checkpoint_files.load(best)
    content["hyper_parameters"]["config"][group] = {**CONFIG[group], **node}
    checkpoint_files.save(content, best)
    assert "would call" in message(best)
    assert not Path("executed").exists()


@pytest.mark.parametrize("group", PREDICTING)
def test_every_option_may_stand_in_a_checkpoint(best: Path, group: str) -> None:
    files = sorted((PROJECT / "conf" / group).glob("*.yaml"))
    for file in files:
        node = yaml.safe_load(file.read_text())
        if "_target_" in node:
            check_trusted({group: {"_target_": node["_target_"]}}, best)
    assert files


def test_other_weights_than_the_configuration_says_are_refused(best: Path) -> None:
    content = checkpoint_files.load(best)
    content["state_dict"]["coefficients"] = torch.zeros(2, 5)
    checkpoint_files.save(content, best)
    assert "other weights" in message(best)


def test_progress_travels_as_plain_values(best: Path) -> None:
    progress = ResumePoint(epochs=3, finished=True, seconds=1.5, metrics="step\n1\n")
    checkpoint_files.save({**checkpoint_files.load(best), "progress": asdict(progress)}, best)
    assert ResumePoint(**checkpoint_files.load(best)["progress"]) == progress


def test_a_full_disk_leaves_the_checkpoint_that_was_there(best: Path) -> None:
    content = best.read_bytes()
    with file_size_limit(len(content) // 2), pytest.raises(UserError) as caught:
        checkpoint_files.save({"weights": torch.zeros(10**6)}, best)
    said = str(caught.value)
    assert f"{best} cannot be written: File too large. It needs 4.0 MB" in said
    assert "resume the run" in said
    assert best.read_bytes() == content
    assert list(best.parent.iterdir()) == [best]


class Line(pl.LightningModule):
    """Learns y = w x; the weight is padded to a megabyte."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(250_000))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        (x,) = batch
        return ((self.weight[0] * x - 2 * x) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, epochs: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, filename="last", enable_version_counter=False)],
        plugins=[WholeCheckpointIO()],
    )


def test_lightning_writes_and_resumes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quieten_libraries()
    data = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)
    path = tmp_path / "last.ckpt"
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: flushed.append(handle) or fsync(handle))
    trainer(tmp_path, 1).fit(Line(), data)
    assert len(flushed) == 2  # the file and its folder
    first = checkpoint_files.load(path)
    assert first["epoch"] == 0

    with (
        file_size_limit(500_000),
        pytest.raises(UserError, match=r"last\.ckpt cannot be written: .* 1\.0 MB"),
    ):
        trainer(tmp_path, 2).fit(Line(), data, ckpt_path=path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(checkpoint_files.load(path)["state_dict"]["weight"], first["state_dict"]["weight"])

    trainer(tmp_path, 2).fit(Line(), data, ckpt_path=path)  # some space was freed
    assert checkpoint_files.load(path)["epoch"] == 1
    whole = Line()
    trainer(tmp_path / "whole", 2).fit(whole, data)
    assert torch.equal(checkpoint_files.load(path)["state_dict"]["weight"], whole.weight.detach())

    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged"):
        trainer(tmp_path, 3).fit(Line(), data, ckpt_path=path)
