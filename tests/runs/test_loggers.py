"""W&B and MLflow, both without a network: a run for each run folder, which ends as the training does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from galaxy.runs.folder import RunFolder, find_runs
from tests.conftest import Command
from tests.docs.pages import FILES, PAGES
from tests.helpers.wandb_file import contents, contents_of
from tests.runs.test_resume import SETTINGS, at_step  # noqa: F401  a fixture

BOTH = ["logger=[tensorboard,wandb,mlflow]", "logger.wandb.mode=offline"]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs, which takes seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> str:
    """The address of a store for one test."""
    return f"sqlite:///{shutil.copy(empty, tmp_path)}"


def runs_in(store: str) -> list[Run]:
    """All runs of the experiment, the first to begin first."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("galaxy")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def test_each_job_of_a_sweep_is_a_run_of_its_own_that_is_closed(
    command: Command, quick: list[str], empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty, tmp_path / "runs")
    sweep = ["-m", "hydra.sweep.dir=mine", "optimizer.lr=1e-3,1e30", "pictures=2"]
    assert command("train.py", *quick, *BOTH, *sweep) == 1
    done, diverged = find_runs(tmp_path / "mine")
    assert (done.result().status, diverged.result().status) == ("done", "diverged")
    assert list(done.path.glob("events.out.tfevents.*"))
    result = done.result().metrics

    first, second = contents(done.path), contents(diverged.path)
    assert first["id"] != second["id"]
    assert (first["exit_code"], second["exit_code"]) == (0, 1)
    for run, shown in ((done, first), (diverged, second)):
        assert (shown["project"], shown["group"], shown["name"]) == ("galaxy", "mine", run.path.name)
        assert {"data=kaggle", "model=deep_cnn", "loss=mse"} <= set(shown["tags"])
        shown["config"].pop("_wandb")
        assert shown["config"] == run.config()
    assert result.items() <= first["summary"].items()
    assert first["summary"]["pictures/worst/count"] == second["summary"]["pictures/crops/count"] == 1
    assert "pictures/worst/count" not in second["summary"]
    assert first["summary"]["best/test_rmse"] == result["test/rmse"]
    assert "test/rmse" not in second["summary"]
    assert len([row for row in first["history"] if "val/rmse" in row]) == 2  # the best is no third epoch

    first_run, second_run = runs_in("sqlite:///runs/mlflow.db")
    assert (first_run.info.status, second_run.info.status) == ("FINISHED", "FAILED")
    assert first_run.info.run_name == done.path.name
    assert first_run.data.params["optimizer.lr"] == "0.001"
    assert second_run.data.params["optimizer.lr"] == "1e+30"
    assert first_run.data.params["data.catalog._target_"] == done.config()["data"]["catalog"]["_target_"]
    assert first_run.data.tags.items() >= {"sweep": "mine", "model": "deep_cnn"}.items()
    assert result.items() <= first_run.data.metrics.items()
    assert "test/rmse" not in second_run.data.metrics


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_run(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    store: str,
    at_step: Callable[..., None],  # noqa: F811
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = [*quick, *SETTINGS, *BOTH, f"logger.mlflow.tracking_uri={store}"]
    at_step(10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert command("train.py", *settings, f"hydra.run.dir={run.path}") == 128 + signal.SIGTERM
    assert contents(run.path)["exit_code"] != 0
    assert [one.info.status for one in runs_in(store)] == ["KILLED"]

    assert command("train.py", f"resume={run.path}", "data.workers=0") == 0
    files = sorted(run.path.glob("wandb/offline-run-*/*.wandb"))
    before, after = map(contents_of, files)
    assert before["id"] == after["id"] == run.meta()["loggers"]["wandb"]
    assert after["exit_code"] == 0
    assert after["summary"]["test/rmse"] == run.result().metrics["test/rmse"]
    (only,) = runs_in(store)
    assert only.info.run_id == run.meta()["loggers"]["mlflow"]
    assert only.info.status == "FINISHED"
    history = MlflowClient(store).get_metric_history(only.info.run_id, "train/rmse")
    assert [metric.step for metric in history] == [7, 15, 23]


@pytest.mark.slow
def test_a_run_that_mlflow_has_lost_begins_anew(
    command: Command, quick: list[str], tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = [*quick, "model=mean", "logger=mlflow", f"logger.mlflow.tracking_uri={store}"]
    assert command("train.py", *settings, f"hydra.run.dir={run.path}") == 0
    run.add_meta(loggers={"mlflow": "0" * 32})
    run.result_file.unlink()
    assert command("train.py", f"resume={run.path}") == 0
    assert f"there is no MLflow run {'0' * 32} at {store}" in capsys.readouterr().err
    assert [one.info.status for one in runs_in(store)] == ["FINISHED", "FINISHED"]
    assert run.meta()["loggers"]["mlflow"] == runs_in(store)[1].info.run_id


def test_names_that_mlflow_refuses_are_changed(tmp_path: Path, store: str) -> None:
    from lightning.pytorch.loggers import MLFlowLogger

    from galaxy.runs.loggers import _log_parameters

    logger = MLFlowLogger("galaxy", tracking_uri=store)
    columns = [f"a long name of a column, number {i}" for i in range(50)]
    _log_parameters(logger, {"data": {"columns": {"Is it smooth? (yes)": "a"}, "list": columns}})
    (run,) = runs_in(store)
    assert run.data.params == {"data.columns.Is it smooth_ _yes_": "a", "data.list": str(columns)}


@pytest.fixture
def refusal(
    command: Command, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The last line of a run that is refused before it looks for images."""

    def call(*settings: str) -> str:
        run = f"hydra.run.dir={tmp_path}/run"
        assert command("train.py", *quick, *settings, run, "data.root=/nowhere") == 1
        return capsys.readouterr().err.splitlines()[-1]

    return call


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_the_images_are_read(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == logger]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, logger, None)
    message = refusal(f"logger={logger}")
    assert message.startswith(f"logger.{logger}: ")
    assert message.endswith(f"pip install 'galaxy-morphology[{logger}]'")


def test_wandb_without_a_key_does_not_wait_for_a_login(
    refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    message = refusal("logger=wandb", "logger.wandb.mode=online")
    assert message.startswith("logger.wandb: W&B has no API key: log in with `wandb login`")
    assert "WANDB_MODE=offline" in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["logger=wandb", "logger.wandb.mode=ofline"], "Input should be 'online', 'offline'"),
        (["logger=wandb", "logger.wandb.mode=offline", "logger.wandb.project=a/b"], "Invalid project name"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=foo://x"], "unsupported URI 'foo://x'"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=mlruns"], "use a file of SQLite"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:////proc/no/x.db"], "/proc/no"),
    ],
)
def test_what_a_service_refuses_is_one_line(
    refusal: Callable[..., str], settings: list[str], said: str
) -> None:
    message = refusal(*settings)
    assert message.startswith(f"logger.{settings[0].partition('=')[2]}")
    assert said in message


def test_wandb_can_be_switched_off(command: Command, quick: list[str], tmp_path: Path) -> None:
    settings = [*quick, "model=mean", "logger=wandb", "logger.wandb.mode=disabled"]
    assert command("train.py", *settings, f"hydra.run.dir={tmp_path}/run") == 0
    assert not (tmp_path / "run" / "wandb").exists()


@pytest.mark.slow
def test_other_runs_import_neither() -> None:
    program = "import sys, json, galaxy.runs.train; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"wandb", "mlflow"} & set(json.loads(done.stdout))


def test_a_logger_of_ones_own_is_told_everything(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in FILES.findall(PAGES["docs/guides/own_logger.md"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    run = RunFolder(tmp_path / "run")
    own = ["--config-dir", f"{tmp_path}/mine/conf", "logger=lines", f"hydra.run.dir={run.path}"]
    assert command("train.py", *own, *quick) == 0
    first, *told, last = map(json.loads, (run.path / "lines.jsonl").read_text().splitlines())
    assert first == {"config": run.config()}
    assert last == {"status": "success"}
    final = [line["metrics"] for line in told if "metrics" in line][-1]
    assert run.result().metrics.items() <= final.items()
