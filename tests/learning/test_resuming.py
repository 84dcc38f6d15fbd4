"""Signals and checkpoints of a training in several processes, of which this is one."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from galaxy.learning.resuming import LastCheckpoint
from galaxy.system.interruption import Interrupted, listening


def test_a_signal_that_comes_while_all_write_a_checkpoint_waits_for_its_end(tmp_path: Path) -> None:
    saved = []

    def save_checkpoint(path: Path, weights_only: bool) -> None:
        signal.raise_signal(signal.SIGTERM)  # that of this process comes last
        saved.append(path)

    strategy = SimpleNamespace(root_device="cpu", reduce=lambda tensor, reduce_op: tensor + signal.SIGUSR1)
    trainer: Any = SimpleNamespace(
        world_size=2,
        strategy=strategy,
        save_checkpoint=save_checkpoint,
        fit_loop=SimpleNamespace(),
        is_last_batch=False,
        accumulate_grad_batches=1,
        val_check_batch=None,
        global_step=100,
    )
    callback = LastCheckpoint(str(tmp_path))
    with listening() as callback.interruption:
        callback.interruption.deferred = True
        with pytest.raises(Interrupted, match="SIGUSR1"):
            callback.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [tmp_path / "last.ckpt"]
