"""What a model's file lists as ignored does not change its result."""

from pathlib import Path
from typing import Any

import pytest
import torch

from galaxy.runs import experiment as room
from galaxy.runs.experiment import Experiment
from galaxy.runs.predict import predict
from tests.config.test_every_option import composed

MODELS = ("mean", "center_pixel", "average_color", "knn", "logistic", "decision_tree", "random_forest")
# Other values of everything that a model may ignore.
OTHERS = {
    "seed": ["seed=7"],
    "crop": ["crop=roi64", "crop.size=40"],
    "augment": ["augment=colour"],
    "head": ["head=sigmoid"],
    "loss": ["loss=huber"],
    "optimizer": ["optimizer=sgd"],
    "scheduler": ["scheduler=step"],
    "trainer": ["trainer.max_epochs=7"],
    "callbacks": ["callbacks=ema"],
    "model.input_size": ["model.input_size=16"],
    "model.normalisation": ["model.normalisation=pretrained"],
    "model.frozen_epochs": ["model.frozen_epochs=1"],
    "model.trained_layers": ["model.trained_layers=1"],
    "model.body_lr_factor": ["model.body_lr_factor=0.5"],
    "model.layer_decay": ["model.layer_decay=0.5"],
}


def fitted(
    overrides: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[torch.Tensor], set[str], list[str]]:
    """Returns the predictions of a fitted model, the nodes that were built, and what its file ignores."""
    config = composed(*overrides)
    built: set[str] = set()
    original = room.instantiate

    def watched(node: Any, key: str, **arguments: Any) -> Any:
        built.add(key)
        return original(node, key, **arguments)

    monkeypatch.setattr(room, "instantiate", watched)
    experiment = Experiment(config, folder)
    monkeypatch.undo()
    experiment.read_images()
    model = experiment.fit()
    predictions = [
        torch.from_numpy(
            predict(model, experiment.data.labels, experiment.data, split, torch.device("cpu")).fractions
        )
        for split in ("val", "test")
    ]
    return predictions, built, config["model"]["ignores"]


@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_ignores_does_not_change_its_result(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    settings = [*quick, f"model={model}", "target=question1"]
    if model == "random_forest":
        settings.append("model.n_estimators=3")
    first, _, ignored = fitted(settings, tmp_path / "first", monkeypatch)
    changed = [override for name in ignored for override in OTHERS[name]]
    second, built, _ = fitted([*settings, *changed], tmp_path / "second", monkeypatch)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    # The data needs a crop and an augmentation, which a fit does not look at. Nothing else is made.
    assert built.intersection(ignored) <= {"crop", "augment"}


def test_another_seed_makes_another_forest(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*quick, "model=random_forest", "model.n_estimators=3"]
    (one, _), _, ignored = fitted(settings, tmp_path / "one", monkeypatch)
    (other, _), _, _ = fitted([*settings, "seed=7"], tmp_path / "other", monkeypatch)
    assert "seed" not in ignored
    assert not torch.equal(one, other)
