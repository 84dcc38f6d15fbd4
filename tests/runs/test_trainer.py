"""The trainer of a process that torchrun or srun has started beside others."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from galaxy.runs.trainer import build_trainer, check_hardware
from galaxy.system.errors import UserError
from galaxy.system.launchers import Group

DDP = {
    "_target_": "galaxy.learning.lean_trainer.Trainer",
    "accelerator": "cpu",
    "devices": "auto",
    "strategy": "ddp",
    "precision": "32-true",
    "max_epochs": 1,
}


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    """The second of two processes on the second of two machines. It has met no others."""
    for name, value in (("RANK", 3), ("WORLD_SIZE", 4), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    group = object.__new__(Group)
    group.starter, group.rank, group.size, group.per_machine = "torchrun", 3, 4, 2
    monkeypatch.setattr(Group, "current", group)
    return group


def test_processes_of_a_launcher_train_together(group: Group) -> None:
    check_hardware(DDP)
    trainer = build_trainer(DDP, {}, [])
    assert isinstance(trainer._accelerator_connector.cluster_environment, TorchElasticEnvironment)
    assert (trainer.world_size, trainer.num_nodes, trainer.num_devices) == (4, 2, 2)
    assert (trainer.global_rank, trainer.local_rank) == (3, 1)


def test_without_a_launcher_lightning_starts_the_processes() -> None:
    trainer = build_trainer({**DDP, "devices": 2}, {}, [])
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)
    assert (trainer.world_size, trainer.global_rank) == (2, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strategy": "auto"}, "and each would work by itself: use trainer=ddp"),
        ({"devices": 4}, "2 times on a machine, but trainer.devices is 4: leave it out"),
        ({"accelerator": "gpu"}, "2 times on a machine, but each process sees 0 GPUs"),
    ],
)
def test_a_trainer_that_does_not_fit_the_launcher_is_refused(
    group: Group, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"^torchrun started this program 4 times, {message}"):
        check_hardware({**DDP, **changed})
