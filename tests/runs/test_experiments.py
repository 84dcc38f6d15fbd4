"""Published results train their first step, on a tiny survey and small networks."""

from pathlib import Path

import pytest
import torch

from galaxy.runs.experiment import Experiment, build_model
from galaxy.surveys.kaggle import LABELS
from tests.config.test_every_option import composed

# What makes each small enough for a test.
SMALLER = {
    "speidell": ["model.filters=[4,4]"],
    "sirressi": ["crop.size=64"],
    "sirressi_question1": ["crop.size=64"],
    "dieleman": ["model.filters=[4,4,4,4]", "model.dense=[8,8]"],
    "resnet50_transfer": ["crop.size=32", "model.depth=18"],
    "zoobot": ["crop.size=32", "model.name=test_convnext"],
}


@pytest.mark.parametrize("name", SMALLER)
def test_an_experiment_trains_its_first_step(name: str, survey: Path, cache: Path, tmp_path: Path) -> None:
    own = [f"data.root={survey}", f"data.cache={cache}", "trainer=cpu", "logger=none", *SMALLER[name]]
    config = composed(f"experiment={name}", *own)
    config = {key: value for key, value in config.items() if key not in ("resume", "like")}
    if config["model"]["weights"] is not None:  # they would be downloaded
        config["model"]["weights"] = str(tmp_path / "stub.pt")
        torch.save(build_model(config, LABELS).encoder.state_dict(), tmp_path / "stub.pt")  # type: ignore[union-attr]
    made = Experiment(config, tmp_path / "run")  # a copy of the network trains for one step
    assert (made.weights is not None) == (config["model"]["weights"] is not None)
    assert made.learner.recipe["config"]["data"]["root"] == str(survey)
