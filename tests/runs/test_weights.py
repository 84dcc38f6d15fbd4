"""A run starts from the weights of another run, of a file, or of torchvision."""

import dataclasses
import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor

from galaxy.config import ConfigError, check_command_line, plain
from galaxy.config.paths import CONF
from galaxy.learning import checkpoint_files
from galaxy.learning.task import GalaxyTask
from galaxy.runs.experiment import Experiment, build_model
from galaxy.runs.folder import RunFolder
from galaxy.runs.learners import TrainsByGradients
from galaxy.runs.weights import StartingWeights
from galaxy.surveys.kaggle import LABELS
from galaxy.system.errors import UserError
from tests.conftest import Command
from tests.runs.test_resume import Killed, kill, same_runs

# One option for each network, small where the published one has millions of weights.
NETWORKS = [
    ["model=deep_cnn"],
    ["model=sirressi_cnn"],
    ["model=small_cnn", "model.filters=[4,4]"],
    ["model=mlp", "model.hidden=[16,8]"],
    ["model=resnet18"],
    ["model=dieleman", "crop.size=49", "model.filters=[4,4,4,4]", "model.dense=[8,8]"],
    ["model=timm", "model.name=test_efficientnet"],
    [
        "model._target_=tests.helpers.own_model.OwnModel",
        *(f"~model.{key}" for key in ("channels", "size", "filters", "dense", "dropout")),
    ],
]

Experiments = Callable[..., Experiment]


@cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*overrides])


def settings_of(*overrides: str) -> dict[str, Any]:
    config = plain(composed(*overrides))
    return {key: value for key, value in config.items() if key not in ("resume", "like")}


@pytest.fixture
def experiment(quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiments:
    """Builds the experiment of some settings, which reads no image and trains nothing."""
    monkeypatch.setattr("galaxy.runs.experiment.rehearse", lambda *_: None)

    def build(*settings: str, weights: str | Path | None = None) -> Experiment:
        config = settings_of(*quick, *settings)
        config["model"]["weights"] = None if weights is None else str(weights)
        return Experiment(config, tmp_path / "new")

    return build


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first") / "run"


@pytest.fixture
def trained(first: Path, command: Command, quick: list[str]) -> RunFolder:
    """A run of deep_cnn, which the first test trains."""
    if not first.exists():
        assert command("train.py", *quick, "trainer.max_epochs=1", f"hydra.run.dir={first}") == 0
    return RunFolder(first)


def state(model: Any) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def write_checkpoint(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """Writes a checkpoint of an untrained model as a run does, and returns its weights."""
    torch.manual_seed(5)
    model = build_model(config, LABELS)
    recipe = {"config": config, "labels": LABELS.plain()}
    checkpoint_files.save({"state_dict": model.state_dict(), "hyper_parameters": recipe}, path)
    return state(model)


def of_encoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key.startswith("encoder.")}


def starts_from(learner: Any, weights: dict[str, Tensor], part: str) -> bool:
    own = {key: value for key, value in state(learner.task).items() if key.startswith(part)}
    assert own
    return all(torch.equal(value, weights[key]) for key, value in own.items())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network[0].rpartition(".")[2])
def test_every_network_starts_from_a_checkpoint_and_from_a_state_dict(
    network: list[str], quick: list[str], experiment: Experiments, tmp_path: Path
) -> None:
    weights = write_checkpoint(tmp_path / "a.ckpt", settings_of(*quick, *network))
    torch.save(of_encoder(weights), tmp_path / "a.pt")
    random = experiment(*network)
    assert random.weights is None
    assert not starts_from(random.learner, weights, "encoder.")
    whole = experiment(*network, weights=tmp_path / "a.ckpt")
    assert starts_from(whole.learner, weights, "encoder.")
    assert starts_from(whole.learner, weights, "head.")
    made = experiment(*network, weights=tmp_path / "a.pt")
    assert starts_from(made.learner, weights, "encoder.")
    assert not starts_from(made.learner, weights, "head.")


def test_a_state_dict_may_be_a_file_of_safetensors(
    quick: list[str], experiment: Experiments, tmp_path: Path
) -> None:
    weights = write_checkpoint(tmp_path / "a.ckpt", settings_of(*quick))
    save_file({key: x.contiguous() for key, x in of_encoder(weights).items()}, tmp_path / "a.safetensors")
    made = experiment(weights=tmp_path / "a.safetensors")
    assert starts_from(made.learner, weights, "encoder.")
    assert not starts_from(made.learner, weights, "head.")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ([], None),
        (["head=sigmoid"], "that one has other settings"),
        (["target=question1"], "that one answers other questions"),
        (["loss=huber", "optimizer=sgd", "augment=none", "data.batch_size=8"], None),
    ],
)
def test_the_head_is_taken_where_it_is_the_same(
    settings: list[str],
    why: str | None,
    trained: RunFolder,
    experiment: Experiments,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    made = experiment(*settings, weights=trained.path)
    weights = checkpoint_files.load(trained.best)["state_dict"]
    assert starts_from(made.learner, weights, "encoder.")
    assert made.weights is not None
    assert made.weights.parts == (["encoder", "head"] if why is None else ["encoder"])
    said = "the encoder and the head" if why is None else f"the encoder (a new head: {why})"
    assert f"starts from model.weights={trained.path}: {said}" in caplog.text
    if why is None:
        assert starts_from(made.learner, weights, "head.")


def test_a_run_says_where_its_weights_come_from(
    command: Command, quick: list[str], trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    begun = ["trainer.max_epochs=1", "optimizer.lr=1e-9", f"hydra.run.dir={run.path}"]
    assert command("train.py", *quick, *begun, f"model.weights={trained.path}") == 0
    assert run.meta()["weights"] == {
        "source": str(trained.path),
        "run": str(trained.path),
        "file": str(trained.best),
        "sha256": hashlib.sha256(trained.best.read_bytes()).hexdigest(),
        "parts": ["encoder", "head"],
    }
    # A learning rate of nearly nothing leaves the weights, and so the score, where they were.
    rmse = run.result().metrics["val/rmse"]
    assert rmse == pytest.approx(trained.result().metrics["val/rmse"], abs=1e-4)
    assert command("evaluate.py", f"run={run.path}") == 0


def test_torchvisions_weights_of_imagenet_are_taken_by_name(
    experiment: Experiments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = torchvision.models.resnet18()
    name = Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name
    torch.save(network.state_dict(), folder / name)
    made = experiment("model=resnet18", "crop.channels=1", weights="imagenet")
    assert made.weights is not None
    assert made.weights.description() == {
        "source": "imagenet",
        "run": None,
        "file": None,
        "sha256": None,
        "parts": ["encoder"],
    }
    own = state(made.learner.task)  # type: ignore[union-attr]
    assert torch.equal(own["encoder.body.layer1.0.conv1.weight"], network.layer1[0].conv1.weight)


def test_images_are_normalised_as_published_weights_expect(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = ["model=resnet18", "model.normalisation=pretrained", "data.limit=40", "trainer.max_epochs=1"]
    assert command("train.py", *quick, *settings, f"hydra.run.dir={run.path}") == 0
    weights = checkpoint_files.load(run.best)["state_dict"]
    assert weights["mean"].flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert weights["std"].flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


# What `model.weights` says, other settings, and the message. RUN is the run of deep_cnn; DIR is a folder.
MISTAKES: dict[str, tuple[str, list[str], str]] = {
    "nothing": ("DIR/none", [], "model.weights=DIR/none does not exist; it must be null, imagenet"),
    "a damaged file of a hub": ("DIR/a.safetensors", [], "model.weights=DIR/a.safetensors cannot be read: "),
    "a misspelt name": ("imagnet", [], "did you mean imagenet?"),
    "a folder": ("DIR/empty", [], "DIR/empty is not a run folder"),
    "a run without a checkpoint": ("DIR/failed", [], "has no checkpoint best.ckpt (the run: failed)"),
    "a damaged file": ("DIR/damaged.ckpt", [], "model.weights=DIR/damaged.ckpt cannot be read: "),
    "a text": ("DIR/text.pth", [], "cannot be read: it holds more than weights and plain values, or is no"),
    "code": ("DIR/code.pth", [], "cannot be read: it holds more than weights and plain values"),
    "a list": ("DIR/list.pth", [], "holds something else than a state dict"),
    "another network": ("RUN", ["model=mlp"], "that run trained model=deep_cnn, and this run has MLP"),
    "another size": ("RUN", ["crop.size=40"], "the shapes differ, because model.size was 32 and is 40"),
    "another colour": ("RUN", ["crop.channels=1"], "because model.channels was 3 and is 1"),
    "other widths": ("RUN", ["model.dense=[8,8]"], "because model.dense was [128, 64] and is [8, 8]"),
    "other names": ("DIR/other.pth", [], "the weights do not fit DeepCNN:\n  missing: layers.0.weight"),
    "a baseline's": ("DIR/mean.ckpt", [], "trained Mean in one go, which leaves nothing to start from"),
    "into a baseline": ("RUN", ["model=mean"], "but Mean is fitted in one go, from nothing: leave it out"),
    "nobody's": ("imagenet", [], "DeepCNN has no weights called imagenet; name a state dict or a run"),
    "of a hub": ("hf_hub:a/b", [], "DeepCNN has no weights called hf_hub:a/b"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_weights_that_cannot_be_had_are_named_before_the_images_are_read(
    case: str, trained: RunFolder, quick: list[str], experiment: Experiments, tmp_path: Path
) -> None:
    source, settings, said = MISTAKES[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.ckpt").write_bytes(trained.best.read_bytes()[:-1000])
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "a.safetensors").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": object}, tmp_path / "code.pth")
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "other.pth")
    write_checkpoint(tmp_path / "mean.ckpt", settings_of(*quick, "model=mean"))
    failed = tmp_path / "failed"
    shutil.copytree(trained.path, failed, ignore=shutil.ignore_patterns("checkpoints"))
    result = json.loads((failed / "result.json").read_text())
    (failed / "result.json").write_text(json.dumps(result | {"status": "failed"}))
    place = source.replace("RUN", str(trained.path)).replace("DIR", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(said.replace("DIR", str(tmp_path)))) as error:
        experiment(*settings, weights=place)
    assert str(error.value).startswith(f"model.weights={place}")
    assert str(error.value).count("model.weights=") == 1


def test_a_sweep_is_refused_and_its_best_run_named(
    trained: RunFolder, experiment: Experiments, tmp_path: Path
) -> None:
    for name, rmse in (("0-a", 0.2), ("1-b", 0.1)):
        shutil.copytree(trained.path, tmp_path / "sweep" / name)
        result = json.loads((trained.path / "result.json").read_text())
        result["objective"]["value"] = rmse
        (tmp_path / "sweep" / name / "result.json").write_text(json.dumps(result))
    best = f"the best by val/rmse is model.weights={tmp_path}/sweep/1-b"
    with pytest.raises(UserError, match=re.escape(best)):
        experiment(weights=tmp_path / "sweep")


def test_a_constructor_must_leave_the_name_to_the_program() -> None:
    said = r"model.weights is read by the program, so torchvision.models.resnet18 must call it something else"
    with pytest.raises(ConfigError, match=said):
        check_command_line(composed, str(CONF), "train", ["model._target_=torchvision.models.resnet18"])


def test_galaxies_that_the_weights_have_seen_neither_validate_nor_test(
    trained: RunFolder, experiment: Experiments
) -> None:
    recorded = pd.read_parquet(trained.splits_file).astype(str).set_index("id")["split"]
    anew = experiment("data.split_seed=4").data
    seen = {
        split: sum(recorded[str(i)] == "train" for i in anew.catalog.identifiers[anew.rows[split]])
        for split in ("val", "test")
    }
    sizes = {split: len(anew.rows[split]) for split in ("val", "test")}
    assert min(seen.values()) > 0
    with pytest.raises(UserError) as error:
        experiment("data.split_seed=4", weights=trained.path)
    assert str(error.value) == (
        f"model.weights={trained.path} was trained on {seen['val']} of {sizes['val']} validation galaxies "
        f"and {seen['test']} of {sizes['test']} test galaxies of this run, which would score too well: "
        f"data.split_file={trained.splits_file} gives each galaxy the split that it had there"
    )
    with pytest.raises(UserError, match=r"data\.folds=null data\.fold=null data\.split_file="):
        experiment("data.folds=3", "data.fold=0", weights=trained.path)
    with pytest.raises(UserError, match=f"was trained on {seen['val']} of"):
        experiment("data.split_seed=4", weights=trained.best)
    experiment("data.split_seed=4", f"data.split_file={trained.splits_file}", weights=trained.path)


@pytest.mark.parametrize(("own", "other"), [("kaggle", "gz2"), ("gz2", "kaggle")])
def test_weights_of_the_survey_with_the_same_galaxies_are_warned_of(
    own: str,
    other: str,
    quick: list[str],
    experiment: Experiments,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in (own, other):
        config = settings_of(*quick)
        config["data"]["catalog"]["_target_"] = f"galaxy.surveys.{name}.read_{name}"
        write_checkpoint(tmp_path / f"{name}.ckpt", config)
    made = experiment()
    made.data.catalog = dataclasses.replace(made.data.catalog, name=own)
    for name in (own, other):
        caplog.clear()
        model = build_model(settings_of(*quick), LABELS).encoder  # type: ignore[union-attr]
        config = settings_of(*quick)
        config["model"]["weights"] = str(tmp_path / f"{name}.ckpt")
        StartingWeights(model, config, tmp_path / "new").check_unseen(made.data)
        said = f"{name}.ckpt was trained on data={name}, so it has probably seen many of these"
        assert (said in caplog.text) == (name == other)


def test_a_checkpoint_without_its_folder_is_taken_with_a_warning(
    trained: RunFolder, experiment: Experiments, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(trained.best, tmp_path / "alone.ckpt")
    experiment("data.split_seed=4", weights=tmp_path / "alone.ckpt")
    assert "is not in its run folder, so nothing says which galaxies it was trained on" in caplog.text


def test_what_the_weights_of_the_weights_have_seen_is_not_forgotten(
    command: Command, quick: list[str], trained: RunFolder, experiment: Experiments, tmp_path: Path
) -> None:
    """The second run uses a sample, and the third all galaxies: those of the first run are known by then."""
    second = RunFolder(tmp_path / "second")
    sample = ["data.limit=30", "trainer.max_epochs=1", f"hydra.run.dir={second.path}"]
    assert command("train.py", *quick, *sample, f"model.weights={trained.path}") == 0
    first = pd.read_parquet(trained.splits_file).astype(str).set_index("id")["split"]
    table = pd.read_parquet(second.splits_file).set_index("id")["split"]
    assert not table.index.has_duplicates
    assert set(table.index[table == "train"]) == set(first.index[first == "train"])
    assert (table != "train").sum() < (first != "train").sum()
    with pytest.raises(UserError, match=f"model.weights={second.path} was trained on"):
        experiment("data.split_seed=4", weights=second.path)
    # An evaluation knows these galaxies too.
    assert command("evaluate.py", f"run={second.path}", "data.limit=null", "split=test") == 0
    predicted = pd.read_csv(next(second.path.glob("evaluation/*/predictions.csv")), dtype={"id": str})
    assert not set(predicted["id"]) & set(first.index[first == "train"])
    # More galaxies than those of the run are recognised, although those of the first run are not all there.
    assert command("evaluate.py", f"run={second.path}", "data.limit=45") == 0


def test_a_resumed_run_does_not_need_its_weights(
    command: Command, quick: list[str], trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    shutil.copytree(trained.path, old)
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    settings = [*quick, "data.limit=60", f"model.weights={old}", "callbacks.last.max_overhead=1"]
    assert command("train.py", *settings, f"hydra.run.dir={whole.path}") == 0
    with monkeypatch.context() as patch:
        original = GalaxyTask.on_train_epoch_start
        patch.setattr(
            GalaxyTask,
            "on_train_epoch_start",
            lambda task: kill() if task.current_epoch == 1 else original(task),
        )
        with pytest.raises(Killed):
            command("train.py", *settings, f"hydra.run.dir={broken.path}")
    shutil.rmtree(old)
    assert command("train.py", f"resume={broken.path}") == 0
    assert broken.meta()["weights"] == whole.meta()["weights"]
    assert broken.splits_file.read_bytes() == whole.splits_file.read_bytes()
    same_runs(whole, broken)


def test_weights_that_changed_before_the_first_checkpoint_are_refused(
    command: Command,
    quick: list[str],
    trained: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "start.ckpt"
    shutil.copy(trained.best, file)
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(TrainsByGradients, "fit", lambda *arguments: kill())
        with pytest.raises(Killed):
            command("train.py", *quick, f"model.weights={file}", f"hydra.run.dir={run.path}")
    shutil.copy(trained.last, file)
    assert command("train.py", f"resume={run.path}") == 1
    assert f"model.weights={file} has changed since {run.path} was begun" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        "model=sirressi_cnn",
        *(
            pytest.param(change, marks=pytest.mark.slow)
            for change in ("trainer.max_epochs=3", "optimizer.lr=1e-4", "target=question1")
        ),
    ],
)
def test_the_refusal_to_change_a_run_prints_a_command_that_works(
    command: Command,
    trained: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
) -> None:
    old = tmp_path / "my run"
    shutil.copytree(trained.path, old)
    monkeypatch.chdir(tmp_path)
    assert command("train.py", f"resume={old}", change) == 1
    said = capsys.readouterr().err
    assert "holds a run of another configuration, which cannot be resumed by this one" in said
    start = [] if change == "model=sirressi_cnn" else [f"model.weights={old}"]  # another network starts anew
    line = said.strip().splitlines()[-1].strip()
    assert shlex.split(line) == ["galaxy", "train", f"like={old}", change, *start]
    if change in ("optimizer.lr=1e-4", "model=sirressi_cnn"):
        assert command("train.py", *shlex.split(line)[2:], "hydra.run.dir=new") == 0
        meta = RunFolder(tmp_path / "new").meta()
        assert meta["like"] == str(old)
        assert ("weights" in meta) == bool(start)


@pytest.mark.slow
def test_a_network_that_has_learned_galaxies_learns_other_labels_faster(
    command: Command, cache: Path, tmp_path: Path
) -> None:
    common = [
        f"data.root={tmp_path}/simulated",
        "data.catalog.count=600",
        f"data.cache={cache}",
        "data.batch_size=32",
        "crop.size=32",
        "model=resnet18",
        "trainer=cpu",
        "logger=none",
    ]
    first = f"{tmp_path}/first"
    assert command("train.py", *common, "trainer.max_epochs=3", f"hydra.run.dir={first}") == 0
    new = [*common, "data.limit=300", "target=question1", "loss=cross_entropy", "trainer.max_epochs=1"]
    assert command("train.py", *new, f"hydra.run.dir={tmp_path}/random") == 0
    assert command("train.py", *new, f"hydra.run.dir={tmp_path}/start", f"model.weights={first}") == 0
    random, start = (RunFolder(tmp_path / name).result().metrics["val/rmse"] for name in ("random", "start"))
    assert start < 0.9 * random
