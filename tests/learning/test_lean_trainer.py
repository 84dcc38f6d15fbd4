"""What is dropped between two steps, and what is not."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.demos.boring_classes import BoringModel

from galaxy.learning.lean_trainer import Trainer


@pytest.mark.filterwarnings(
    "ignore:The '.*' does not have many workers",
    # Lightning 2.6.6 with torch 2.15; mended in Lightning's main branch.
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*isinstance.treespec, LeafSpec.*:DeprecationWarning",
)
def test_hooks_of_callbacks_and_models_are_called() -> None:
    called: list[str] = []

    class Model(BoringModel):
        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            called.append("model")

    class Own(pl.Callback):
        def on_train_batch_end(self, *arguments: object) -> None:
            called.append("class")

    def note(*arguments: object) -> None:
        called.append("instance")

    trainer = Trainer(
        accelerator="cpu",
        max_steps=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Own(), LambdaCallback(on_train_batch_end=note)],
    )
    model = Model()
    trainer.fit(model)
    assert called == ["model", "class", "instance"] * 2
    # Hooks that nobody filled, which Lightning would prepare for in every step.
    assert model.on_after_backward is None
    assert all(callback.on_before_zero_grad is None for callback in trainer.callbacks)
