"""Code of one's own through training, resuming, sweeps and evaluation, and folders that name other code."""

import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from galaxy.cli.sweep import summarise
from galaxy.learning import checkpoint_files
from galaxy.learning.task import GalaxyTask
from galaxy.runs.experiment import PREDICTING, load
from galaxy.runs.folder import RunFolder, find_runs
from galaxy.runs.result import Objective, Result
from tests.conftest import Command
from tests.helpers import stranger
from tests.helpers.own_package import OPTIONS, install, write_package

PACKAGE = "own_galaxies"
TRUST = f"trust=[{PACKAGE}]"
CHOICES = [f"{group}={option}" for group, option in OPTIONS.items()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package of one's own, with a class for each group."""
    root = tmp_path_factory.mktemp("own")
    write_package(root, PACKAGE)
    return root


@pytest.fixture
def own(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The options of the package, which Python finds."""
    monkeypatch.syspath_prepend(root)
    return root / PACKAGE / "conf"


@pytest.fixture
def settings(quick: list[str]) -> list[str]:
    """What makes a run short, without the choices that are one's own."""
    return [o for o in quick if not o.startswith(("data=", "crop=", "model="))]


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words of the command that a refusal tells the user to give."""
    return shlex.split(capsys.readouterr().err.strip().splitlines()[-1])


def test_a_class_of_each_group_is_trained_resumed_and_evaluated(
    command: Command,
    own: Path,
    settings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    original, steps = GalaxyTask.training_step, []

    def interrupted(self: GalaxyTask, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(GalaxyTask, "training_step", interrupted)
    begin = ["--config-dir", str(own), *CHOICES, *settings, f"hydra.run.dir={run.path}"]
    assert command("train.py", *begin) == 130
    how = shlex.join(["galaxy", "train", f"resume={run.path}", TRUST])
    assert f"Interrupted. Go on with: {how}\n" in capsys.readouterr().err
    assert command("train.py", f"resume={run.path}") == 1
    assert told(capsys)[2:] == [f"resume={run.path}", TRUST]
    assert run.result().status == "interrupted"
    assert command("train.py", f"resume={run.path}", TRUST) == 0
    assert run.result().status == "done"
    assert (own.parent / "fitted").exists()
    assert (run.path / "second" / "metrics.csv").exists()
    files = (run.config_file, run.overrides_file, run.meta_file)
    assert not any(TRUST in file.read_text() or "\ntrust" in file.read_text() for file in files)

    capsys.readouterr()
    assert command("evaluate.py", f"run={run.path}") == 1
    words = told(capsys)
    assert words[2:] == [f"run={run.path}", TRUST]
    assert command("evaluate.py", *words[2:]) == 0
    metrics = json.loads((run.path / "evaluation" / "own_survey-test-tta1" / "metrics.json").read_text())
    assert metrics["metrics"]["rmse"] == pytest.approx(run.result().metrics["test/rmse"], abs=1e-6)
    assert load(run.best, trust=[PACKAGE]).config["model"]["_target_"] == f"{PACKAGE}.models.Tiny"
    assert "GALAXY_TRUST" not in os.environ


def test_the_same_command_again_needs_no_trust(
    command: Command, own: Path, settings: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    begin = ["--config-dir", str(own), "data=kaggle", "model=own_tiny", *settings]
    begin += ["trainer.max_epochs=1", f"hydra.run.dir={run.path}", "resume=auto"]
    assert command("train.py", *begin) == 0
    run.result_file.unlink()
    assert command("train.py", *begin) == 0
    assert run.result().status == "done"


@pytest.mark.slow
def test_own_code_is_swept_and_the_sweep_goes_on(
    command: Command, own: Path, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["-m", "--config-dir", str(own), "data=own_survey", "model=own_half,mean", *settings]
    assert command("train.py", *sweep, f"hydra.sweep.dir={tmp_path}/sweep") == 0
    first, second = find_runs(tmp_path / "sweep")
    first.result_file.unlink()
    capsys.readouterr()
    assert command("train.py", f"resume={tmp_path}/sweep") == 1
    words = told(capsys)
    assert words[2:] == [f"resume={tmp_path}/sweep", TRUST]
    assert command("train.py", *words[2:]) == 0
    assert [run.result().status for run in (first, second)] == ["done", "done"]
    # Hydra records the command of the sweep again, and the packages are not in it.
    assert TRUST not in (tmp_path / "sweep" / "multirun.yaml").read_text()


def test_the_table_of_a_sweep_says_commands_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        run = RunFolder(tmp_path / str(number))
        config = {"seed": 0, "model": {"_target_": f"{PACKAGE}.models.Tiny", "width": number}}
        run.begin(config, [f"model.width={number}"], {}, resume=False)
        objective = Objective(metric="val/rmse", mode="min", value=0.1 + number / 100)
        metrics = {"val/rmse": 0.1 + number / 100}
        if number:
            run.write_result(Result(status="done", metrics=metrics, objective=objective))
    assert summarise(tmp_path, 3) == 1
    said = capsys.readouterr().out
    asked = [line.split() for line in said.splitlines() if "like=" in line]
    assert [words[3] for words in asked] == [f"like={tmp_path}/1", f"like={tmp_path}/2"]
    assert all(words[4].startswith("seed=1") and words[5] == f"'{TRUST}'" for words in asked)
    assert f"Run what is missing with: galaxy train resume={tmp_path} '{TRUST}'\n" in said
    assert "GALAXY_TRUST" not in os.environ


def test_a_plugin_needs_neither_its_folder_nor_trust(
    command: Command,
    own: Path,
    settings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(tmp_path / "site", PACKAGE)
    install(tmp_path / "site", "no_such_plugin")
    monkeypatch.syspath_prepend(tmp_path / "site")
    run = RunFolder(tmp_path / "run")
    begin = ["data=own_survey", "crop=own_corner", "model=own_half", *settings, f"hydra.run.dir={run.path}"]
    assert command("train.py", *begin) == 0
    assert "The plugin no_such_plugin adds no options: Python finds no package" in capsys.readouterr().err
    run.result_file.unlink()
    assert command("train.py", f"resume={run.path}") == 0
    assert command("evaluate.py", f"run={run.path}") == 0


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("strangers")
    stranger.write_stranger(root)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `run` copies; the first test fills it."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def run(
    command: Command,
    quick: list[str],
    strangers: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[RunFolder]:
    """A run that was not finished; the code of a stranger is on Python's path and must not be touched."""
    monkeypatch.syspath_prepend(strangers)
    if not trained.exists():
        shorter = [o for o in quick if not o.startswith("model=")]
        assert command("train.py", *shorter, "model=mean", f"hydra.run.dir={trained}") == 0
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    capsys.readouterr()
    yield RunFolder(tmp_path / "run")
    assert stranger.traces(strangers) == []
    assert stranger.NAME not in sys.modules
    assert "STRANGE" not in os.environ


CALL = f"{stranger.NAME}.call"
NODE = f"{{_target_:{CALL}}}"
ALLOWED = f"trust=[{stranger.NAME}]"


def test_a_checkpoint_that_names_other_code_is_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    content = checkpoint_files.load(run.best)
    for group in PREDICTING:
        content["hyper_parameters"]["config"][group] |= {"_target_": CALL}
    checkpoint_files.save(content, run.best)
    assert command("evaluate.py", f"run={run.path}", "split=all") == 1
    shown = capsys.readouterr().err
    assert [group for group in PREDICTING if f"{run.best}: {group} would call {CALL}" not in shown] == []
    assert shlex.split(shown.splitlines()[-1])[2:] == [f"run={run.path}", "split=all", ALLOWED]


def test_a_configuration_that_names_other_code_is_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.config()
    config["data"]["catalog"]["_target_"] = CALL
    for group in ("data", *PREDICTING):
        config[group]["_target_"] = CALL
    run.config_file.write_text(yaml.safe_dump(config))
    assert command("evaluate.py", f"checkpoint={run.best}") == 1
    shown = capsys.readouterr().err
    groups = ("data", "data.catalog", *PREDICTING)
    assert [group for group in groups if f"{run.config_file}: {group} would call {CALL}" not in shown] == []
    assert shlex.split(shown.splitlines()[-1])[2:] == [f"checkpoint={run.best}", ALLOWED]


TARGETS = [
    *(f"{group}._target_={CALL}" for group in (*PREDICTING, "data", "data.catalog", "optimizer")),
    *(f"{node}._target_={CALL}" for node in ("scheduler", "scheduler.scheduler", "trainer")),
    f"+callbacks.other={NODE}",
    f"+logger.other={NODE}",
    f"+model.inside=[{NODE}]",
    f"+trainer.plugins=[{NODE}]",
    f"+_target_={CALL}",
]


@pytest.mark.parametrize("form", ["run", "sweep"])
def test_overrides_that_name_other_code_are_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    folder = recorded(run, form, [*TARGETS, ALLOWED])
    assert command("train.py", f"resume={folder}") == 1
    shown = capsys.readouterr().err
    assert shown.count(f"would call {CALL}") == len(TARGETS)
    assert [override for override in TARGETS if f"({override})" not in shown] == []
    assert shlex.split(shown.splitlines()[-1])[2:] == [f"resume={folder}", ALLOWED]


def recorded(run: RunFolder, form: str, overrides: list[str]) -> Path:
    """Adds overrides to what a run has recorded, or what a sweep has with the run as its job."""
    old = run.overrides()
    if form == "run":
        run.overrides_file.write_text(yaml.safe_dump([*old, *overrides]))
        return run.path
    hydra = [override for override in overrides if "hydra" in override]
    task = [*old, "loss=mse,huber", *(override for override in overrides if override not in hydra)]
    content = {"hydra": {"overrides": {"task": task, "hydra": hydra}}}
    (run.path.parent / "multirun.yaml").write_text(yaml.safe_dump(content))
    return run.path.parent


HYDRA = [
    f"hydra.callbacks.sweep._target_={CALL}",
    f"+hydra.callbacks.other={NODE}",
    f"hydra.launcher._target_={CALL}",
    f"+hydra.job_logging.handlers.file.()={CALL}",
    f"hydra.job_logging.handlers.console.class={CALL}",
    "hydra.job_logging.handlers.console.stream=ext://strangers_code.x",
    f"+hydra.hydra_logging.filters={{a:{{(): {CALL}}}}}",
    "hydra/job_logging=none",
    f"hydra.searchpath=[pkg://{stranger.NAME}]",
    "+hydra.job.env_set.STRANGE=1",
    "+model@hydra.callbacks.other=mean",
    "~hydra.callbacks.sweep",
]


@pytest.mark.parametrize("form", ["run", "sweep"])
def test_settings_of_hydra_are_not_taken_from_a_folder(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    folder = recorded(run, form, HYDRA)
    assert command("train.py", f"resume={folder}") == 1
    shown = capsys.readouterr().err
    assert "type them yourself" in shown
    assert shlex.split(shown.splitlines()[-1])[2:] == [f"resume={folder}", *HYDRA]


def test_interpolations_that_may_become_a_target_are_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"+model.inside='${{oc.create:{NODE}}}'", "loss._target_=${oc.env:HOME}"]
    assert command("train.py", f"resume={recorded(run, 'run', overrides)}") == 1
    shown = capsys.readouterr().err
    assert f"model.inside would call ${{oc.create:{NODE}}} (what this becomes is not known" in shown
    assert "loss would call ${oc.env:HOME} (what this becomes is not known" in shown


@pytest.mark.parametrize("option", ["--config-path=/somewhere", "--info=all"])
def test_options_of_the_command_line_are_not_taken_from_a_folder(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert command("train.py", f"resume={recorded(run, 'run', [option])}") == 1
    assert f"holds {option}, which is no override" in capsys.readouterr().err


def test_a_path_of_the_data_cannot_become_a_target(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.config()
    config["data"]["root"] = f"${{oc.create:{NODE}}}"
    run.config_file.write_text(yaml.safe_dump(config))
    for program, key in (("train.py", "resume"), ("evaluate.py", "run")):
        assert command(program, f"{key}={run.path}") == 1
        assert "not known before it is called" in capsys.readouterr().err


def test_like_is_held_to_the_same(
    command: Command, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(run, "run", [f"+trainer.plugins=[{NODE}]"])
    new = ["seed=1", f"hydra.run.dir={tmp_path}/new"]
    assert command("train.py", f"like={run.path}", *new) == 1
    assert told(capsys)[2:] == [f"like={run.path}", *new, ALLOWED]
    assert not (tmp_path / "new").exists()


OPTION_FILES: dict[str, dict[str, Any]] = {
    "model/theirs": {"_target_": CALL},
    "experiment/callback": {"hydra": {"callbacks": {"other": {"_target_": CALL}}}},
    "experiment/handler": {"hydra": {"job_logging": {"handlers": {"file": {"()": CALL}}}}},
    "experiment/environment": {"hydra": {"job": {"env_set": {"STRANGE": "1"}}}},
    "experiment/launcher": {"hydra": {"launcher": {"_target_": CALL}}},
    "experiment/params": {
        "hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"+hydra.callbacks.other": NODE}}}
    },
    "experiment/path": {
        "hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"hydra.searchpath": f"[pkg://{stranger.NAME}]"}}}
    },
    "experiment/hidden": {
        "hydra": {"sweeper": {"params": {"x": {"_target_": CALL}}}},
        "model": {"inside": "${hydra.sweeper.params.x}"},
    },
    "hydra/launcher/theirs": {"_target_": CALL},
}


@pytest.mark.parametrize("option", OPTION_FILES)
def test_options_of_a_folder_that_meta_json_names_are_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    conf = run.path / "conf"
    file = conf / f"{option}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\n" * option.startswith("exp") + yaml.safe_dump(OPTION_FILES[option]))
    group, _, name = option.rpartition("/")
    form = "sweep" if option in ("experiment/params", "experiment/path") else "run"
    folder = recorded(run, form, [f"{group}={name}"])
    meta = run.meta()
    run.meta_file.write_text(json.dumps(meta | {"command": f"python train.py --config-dir {conf}"}))
    assert command("train.py", f"resume={folder}") == 1
    shown = capsys.readouterr().err
    if option in ("model/theirs", "experiment/hidden"):
        assert f"({file}, line " in shown
        assert f"would call {CALL}" in shown
        assert shown.rstrip().endswith(f"'{ALLOWED}'")
    else:
        assert f"{conf} yourself" in shown or "type them yourself" in shown
    assert not list(run.path.glob("evaluation/*"))


def test_trust_that_names_no_package_is_refused(
    command: Command, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate.py", f"run={run.path}", "trust=[own/models.py]") == 1
    assert "trust=own/models.py names no package" in capsys.readouterr().err


def test_a_package_that_python_cannot_find_is_named_with_the_remedy(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "lost.yaml").write_text("_target_: no_such_package.Tiny\n")
    assert command("train.py", "--config-dir", str(tmp_path / "conf"), "model=lost") == 2
    assert "install it, or add the folder that holds it to PYTHONPATH" in capsys.readouterr().err
