"""What TensorBoard shows of runs and sweeps, read back from the event files that they leave."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from galaxy.data.datamodule import GalaxyDataModule
from galaxy.images.augment import Augment
from galaxy.images.crops.center import CenterCrop
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.learning.task import GalaxyTask
from galaxy.models.deep_cnn import DeepCNN
from galaxy.runs.folder import find_runs
from galaxy.runs.pictures import crops_picture, prediction_pictures
from galaxy.runs.predict import Predictions
from galaxy.runs.tensorboard import TensorBoard
from galaxy.surveys.kaggle import read_kaggle
from tests.conftest import PROJECT, Command


@pytest.fixture(scope="module")
def sweep(survey: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two jobs; the second one diverges."""
    folder = tmp_path_factory.mktemp("sweep")
    settings = ["data=kaggle", f"data.root={survey}", f"data.cache={cache}", "data.batch_size=16"]
    settings += ["data.val_fraction=0.2", "data.test_fraction=0.2", "crop.size=32", "model=deep_cnn"]
    settings += ["trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "pictures=3"]
    swept = ["-m", "optimizer.lr=1e-3,1e30", f"hydra.sweep.dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(PROJECT / "train.py"), *settings, *swept])
        with pytest.raises(SystemExit):
            runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
    return folder


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    found.Reload()
    return found


def text(found: EventAccumulator, name: str) -> str:
    return found.Tensors(name)[0].tensor_proto.string_val[0].decode()


def test_choices_that_differ_come_first_in_the_hparams_tab_and_the_objective_first_of_the_metrics(
    sweep: Path,
) -> None:
    done, diverged = find_runs(sweep)
    columns, metrics, sessions = hparams_tab(sweep)
    assert columns[0] == "optimizer.lr"
    assert {"model", "loss", "seed", "crop.size"} < set(columns)
    assert not {"data.root", "data.cache", "overrides"} & set(columns)
    assert metrics[:3] == ["best/objective", "best/test_rmse", "best/val_rmse"]
    assert set(sessions) == {done.path.name, diverged.path.name}
    good, bad = sessions[done.path.name], sessions[diverged.path.name]
    assert (good["status"], bad["status"]) == (api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE)
    assert (good["hparams"]["optimizer.lr"], bad["hparams"]["model"]) == (1e-3, "deep_cnn")
    result = done.result().metrics
    assert good["metrics"]["best/objective"] == pytest.approx(result["val/rmse"], rel=1e-6)
    assert good["metrics"]["best/test_rmse"] == pytest.approx(result["test/rmse"], rel=1e-6)
    assert "best/objective" not in bad["metrics"]


def test_there_are_no_cards_of_what_is_not_there(sweep: Path) -> None:
    done, diverged = find_runs(sweep)
    cards = set(events(done.path).scalars.Keys())
    assert {"train/rmse", "val/rmse", "val/rmse/q01", "best/val_rmse", "images_per_second"} < cards
    assert not {"epoch", "hp_metric", "best/test_accuracy"} & cards
    assert not any(name.startswith("best/") for name in events(diverged.path).scalars.Keys())


def test_curves_of_one_metric_share_a_chart_and_questions_are_named_in_words(sweep: Path) -> None:
    found = events(find_runs(sweep)[0].path)
    layout = layout_pb2.Layout()
    layout.ParseFromString(found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for group in layout.category for chart in group.chart}
    shown = {
        title: {name for name in found.scalars.Keys() if any(re.match(tag, name) for tag in tags)}
        for title, tags in charts.items()
    }
    assert shown["rmse"] == {"train/rmse", "val/rmse"}
    assert shown["loss"] == {"train/loss", "val/loss"}
    assert "accuracy" not in shown
    first = next(iter(GALAXY_ZOO_2))
    assert shown[f"q01 {first.text}"] == {"val/rmse/q01"}
    assert all(shown.values())


def test_the_configuration_the_overrides_and_the_comparison_can_be_read(sweep: Path) -> None:
    run = find_runs(sweep)[0]
    found = events(run.path)
    assert yaml.safe_load(text(found, "configuration").strip("`").removeprefix("yaml")) == run.config()
    assert "optimizer.lr=0.001" in text(found, "overrides")
    comparison = text(events(sweep / "comparison"), "comparison")
    assert "data: kaggle" in comparison
    assert "optimizer.lr=0.001" in comparison


def test_pictures_show_crops_at_the_start_and_predictions_of_the_best_checkpoint(sweep: Path) -> None:
    done, diverged = (events(run.path) for run in find_runs(sweep))
    names = ["pictures/crops", "pictures/predictions", "pictures/worst"]
    assert done.images.Keys() == names
    assert diverged.images.Keys() == names[:1]
    for name in names:
        (image,) = done.Images(name)
        picture = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (image.height, image.width, 3)
        assert picture.std() > 10


def test_a_run_that_failed_and_was_resumed_has_ended_well(tmp_path: Path) -> None:
    for status in ("failed", "interrupted", "done"):
        logger = TensorBoard(str(tmp_path / "run"), name=None, version="")
        logger.begin({"model": "mean"})
        logger.log_metrics({"best/objective": 1.0, "epoch": 3}, 1)
        logger.finalize("success")
        logger.end(status)
        _, _, sessions = hparams_tab(tmp_path)
        expected = {"failed": api_pb2.STATUS_FAILURE, "done": api_pb2.STATUS_SUCCESS}
        assert sessions["run"]["status"] == expected.get(status, api_pb2.STATUS_UNKNOWN)


@pytest.fixture(scope="module")
def data(survey: Path, cache: Path) -> GalaxyDataModule:
    # Galaxies of this size are drawn pixel for pixel.
    crop, augment = CenterCrop(112), Augment(rotate="full", brightness=0.5)
    data = GalaxyDataModule(read_kaggle(survey), crop=crop, augment=augment, cache=str(cache), batch_size=16)
    data.setup()
    return data


def test_the_crops_are_those_that_the_network_sees(data: GalaxyDataModule) -> None:
    task = GalaxyTask(DeepCNN(3, 56), data.labels, input_size=56)
    state = torch.get_rng_state()
    picture = crops_picture(data, len(data.rows["train"]), task)
    assert torch.equal(torch.get_rng_state(), state)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    batch = data.on_after_batch_transfer(next(iter(loader)), 0)
    place = data.rows["train"].tolist().index(int(batch["row"][0]))
    seen = batch["image"][0].unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(-1, -2))  # 56 pixels a side
    seen = (seen.permute(1, 2, 0) * 255).round().byte().numpy()
    top, left = 2 * 120 + 4, 64 + place * 120  # below the crop and the first epoch
    drawn = picture[top : top + 112, left : left + 112].astype(int)
    assert np.abs(drawn - seen.repeat(2, axis=0).repeat(2, axis=1)).max() <= 1
    plain = crops_picture(data, 2, task=None)
    assert plain.shape == (120, 64 + 2 * 120, 3)


def test_the_galaxy_with_the_largest_error_is_the_worst(data: GalaxyDataModule) -> None:
    rows = data.rows["val"]
    fractions = data.targets[rows].copy()
    fractions[-1] = 1 - fractions[-1]
    pictures = prediction_pictures(data, Predictions(data.labels, data.catalog, rows, fractions), 1)
    galaxy = data.pixels.gather(torch.from_numpy(rows[-1:])).numpy()[0]
    for name, shown in (("worst", True), ("predictions", False)):
        _, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(pictures[name], galaxy, cv2.TM_SQDIFF))
        assert np.array_equal(pictures[name][y : y + 112, x : x + 112], galaxy) == shown


def test_too_many_galaxies_in_a_picture_are_refused(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train.py", *quick, "pictures=65", f"hydra.run.dir={tmp_path}/run") == 2
    assert "pictures is 65; it must be from 0 (none) to 64" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def hparams_tab(folder: Path) -> tuple[list[str], list[str], dict[str, dict[str, Any]]]:
    """What the HParams tab shows, from TensorBoard's own backend: its columns, its metrics and its runs."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = RequestContext()
    experiment = context.experiment_from_metadata(
        asked,
        "",
        include_metrics=True,
        hparams_run_to_tag_to_content=context.hparams_metadata(asked, ""),
        data_provider_hparams=context.hparams_from_data_provider(asked, "", limit=None),
    )
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=list(api_pb2.Status.values()),
        include_metrics=True,
        col_params=[api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos],
    )
    sessions = {}
    for group in list_session_groups.Handler(asked, context, "", request).run().session_groups:
        for session in group.sessions:
            sessions[session.name] = {
                "status": session.status,
                "hparams": {
                    name: value.string_value or value.number_value for name, value in group.hparams.items()
                },
                "metrics": {value.name.tag: value.value for value in session.metric_values},
            }
    columns = [info.name for info in experiment.hparam_infos]
    return columns, [info.name.tag for info in experiment.metric_infos], sessions
