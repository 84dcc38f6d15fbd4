"""Every file of conf/ composes, passes the check and builds what it describes."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import OmegaConf

from galaxy.config import check_command_line
from galaxy.config.instantiation import instantiate
from galaxy.config.paths import CONF
from galaxy.labels.labels import class_labels
from galaxy.learning.task import GalaxyTask
from galaxy.models.encoder import Encoder
from galaxy.models.fitted import Fitted
from galaxy.models.heads import Output
from galaxy.runs.experiment import build_data, build_model
from galaxy.runs.folder import RunFolder
from galaxy.runs.learners import Model
from galaxy.runs.loggers import COMPARED_GROUPS, close_loggers, open_loggers
from galaxy.runs.settings import check_settings
from galaxy.runs.trainer import build_callbacks, build_trainer
from galaxy.surveys.kaggle import LABELS
from galaxy.system.terminal import quieten_libraries

CLASSES = class_labels(("a", "b", "c"), "Which?")
PRIMARY = ("train", "evaluate", "explore", "demo")
# Options that only work beside others say so in `requires`; these are the others.
COMPANIONS = {
    "loss=dirichlet_multinomial": ["head=tree", "data.counts=true"],
    "logger=wandb": ["logger.wandb.mode=offline"],
    "target=question": ["target.question=q03"],
}
# What the files of `data` share, and the logging of Hydra itself, are no choices of a user.
GROUPS = sorted({path.name for path in CONF.iterdir() if path.is_dir()} - {"datamodule", "hydra"})
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


def composed(*overrides: str, name: str = "train") -> dict[str, Any]:
    """Composes and checks as the command line does; returns the plain values that it would begin with."""
    checked: list[dict[str, Any]] = []
    check_command_line(composed, str(CONF), name, overrides, refuse=checked.append)
    return checked[0]


def rooted(*overrides: str) -> list[str]:
    """Surveys that are not simulated have no default folder."""
    return [
        "data.root=somewhere",
        *overrides,
        *(o for option in overrides for o in COMPANIONS.get(option, [])),
    ]


# Of the others the next test says more, and of the sweeps test_plan.py, which composes all their jobs.
@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("experiment")])
def test_every_option_composes_and_is_right(option: str) -> None:
    config = composed(*rooted(option))
    assert {"data", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler"} <= set(config)


@pytest.mark.parametrize("name", PRIMARY)
def test_every_primary_file_composes(name: str) -> None:
    assert composed("data=kaggle", "data.root=somewhere", name=name)["data"]["root"] == "somewhere"


def test_every_group_of_the_folder_is_offered() -> None:
    offered = set(composed("data.root=x")) | {"experiment", "sweep"}
    assert set(GROUPS) <= offered


# test_loggers.py trains with these two, which take seconds to start.
LOGGED = ("logger=mlflow", "logger=wandb")


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(option, marks=pytest.mark.slow) if option in LOGGED else option
        for option in OPTIONS
        if not option.startswith(("sweep", "experiment"))
    ],
)
def test_every_option_builds_what_it_describes(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow keeps its runs below the working directory
    # TensorBoard takes longest to open, and has an option of its own.
    config = composed("logger=none", *rooted(option))
    assert {"data", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler"} <= set(config)
    if config["trainer"]["accelerator"] == "gpu":
        config["trainer"] |= {"accelerator": "cpu", "devices": 1}
    build_data(config)
    crop = instantiate(config["crop"], "crop")
    assert crop(torch.zeros(424, 424, 3, dtype=torch.uint8).numpy()).shape == (
        crop.size,
        crop.size,
        crop.channels,
    )
    channels = crop.channels
    model = built(config)
    output = model.eval()(torch.rand(2, channels, crop.size, crop.size))
    assert isinstance(output, Output)
    assert output.fractions.shape == (
        2,
        len(CLASSES.columns if isinstance(model, Fitted) else LABELS.columns),
    )
    callbacks = build_callbacks(config["callbacks"], tmp_path / "checkpoints")
    assert all(isinstance(callback, pl.Callback) for callback in callbacks.values())
    check_settings(config)
    choices = dict.fromkeys(COMPARED_GROUPS, "")
    quieten_libraries()
    run = RunFolder(tmp_path)
    run.begin(config, [], choices, resume=False)
    loggers = open_loggers(run, config, choices, [])
    close_loggers(loggers, "done")
    trainer = build_trainer(config["trainer"], callbacks, loggers)
    if isinstance(model, GalaxyTask):
        model.trainer = trainer
        model.optimizer = instantiate(config["optimizer"], "optimizer")
        model.schedule = instantiate(config["scheduler"], "scheduler")
        model.steps_per_epoch = 3
        assert isinstance(model.configure_optimizers()["optimizer"], torch.optim.Optimizer)


def built(config: dict[str, Any]) -> Model:
    """The model of a configuration; of classes and fitted to a few images if it is not a network."""
    channels, size = config["crop"]["channels"], config["crop"]["size"]
    labels = LABELS if isinstance(instantiate(config["model"], "model"), Encoder) else CLASSES
    model = build_model(config, labels)
    if isinstance(model, Fitted):
        images = torch.rand(24, channels, size, size, generator=torch.Generator().manual_seed(0))
        model.fit([(images, torch.eye(3).repeat(8, 1))])
    return model


# These are the sizes of all crops. The options above are built at the first of them, in colour.
SIZES = (64, 106, 128, 212)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_works_at_every_size(size: int, channels: int) -> None:
    for option in (o for o in OPTIONS if o.startswith("model=") and o != "model=resnet50"):
        config = composed(f"crop.size={size}", f"crop.channels={channels}", option)
        if "size" not in config["model"]:
            continue  # these average the images to a size of their own
        model = build_model(config, LABELS)
        with torch.inference_mode():
            assert model.eval()(torch.rand(2, channels, size, size)).fractions.shape == (2, 37)


def test_the_sizes_above_are_those_of_all_crops() -> None:
    files = [OmegaConf.load(file) for file in (CONF / "crop").glob("*.yaml")]
    assert {file["size"] for file in files} == set(SIZES)
