"""`like=RUN` begins with another run's settings, and the command line's own win."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from galaxy.cli import arguments
from galaxy.runs.folder import FORMAT, RunFolder, find_runs
from galaxy.system.errors import UserError
from tests.conftest import Command

ROOT = "/whole/path"  # config.yaml has it, whatever the command line said
RECORDED = [
    "data=kaggle",
    "data.root='/whole/path'",
    "model=resnet18",
    "model.depth=34",
    "optimizer.lr=0.1",
    "~callbacks.x",
]


def with_like(words: list[str]) -> list[str]:
    return arguments.with_like(words)[0]


def write_run(path: Path, overrides: list[str], command: str = "train.py") -> Path:
    """Writes the files of a run that was begun."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump({"data": {"root": ROOT}}))
    (path / "meta.json").write_text(json.dumps({"format": FORMAT, "command": command}))
    (path / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    return path


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ([], []),
        (["optimizer.lr=0.2"], ["optimizer.lr=0.1"]),
        (["+optimizer.lr=0.2"], ["optimizer.lr=0.1"]),
        (["model=mlp"], ["model=resnet18", "model.depth=34"]),
        (["~model"], ["model=resnet18", "model.depth=34"]),
        (["data=kaggle", "data.limit=9"], []),
        (["data=gz2", "data.root=there"], ["data=kaggle", f"data.root='{ROOT}'"]),
        (["data.root=there"], [f"data.root='{ROOT}'"]),
        (["optimizer={lr: 1}"], ["optimizer.lr=0.1"]),
        (["callbacks.x.patience=2"], ["~callbacks.x"]),
        (["modeling.depth=3"], []),
        (["resume=auto"], []),
    ],
)
@pytest.mark.parametrize("order", ["before", "after"])
def test_what_is_given_replaces_what_was_recorded(
    given: list[str], left_out: list[str], order: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", ["data.root=path", *(o for o in RECORDED if ROOT not in o)])
    like = [f"like={run}"]
    written = with_like([*given, *like] if order == "before" else [*like, *given])
    expected = {*RECORDED, f"like='{run}'", *given}.difference(left_out)
    assert sorted(written) == sorted(expected)  # each is there once
    if given and given[0] not in RECORDED:
        assert all(written.index(given[0]) > written.index(o) for o in RECORDED if o not in left_out)


def test_options_stay_in_front(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["model=mean"], "train.py --config-dir mine model=mean")
    root = [f"data.root='{ROOT}'"]
    assert with_like(["-m", f"like={run}", "seed=1,2"])[:4] == ["--config-dir", "mine", "-m", "model=mean"]
    own = with_like(["--config-dir", "other", "seed=1", f"like={run}"])
    assert own == ["--config-dir", "other", "model=mean", *root, f"like='{run}'", "seed=1"]


def test_without_a_name_nothing_changes() -> None:
    assert with_like(["seed=1"]) == ["seed=1"]
    assert with_like(["like=null", "seed=1"]) == ["like=null", "seed=1"]


def test_a_job_of_a_ready_made_sweep_is_one_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["sweep=crops", "crop=roi64"])
    taken = ["sweep=crops", "crop=roi64", f"data.root='{ROOT}'"]
    assert with_like([f"like={run}"]) == [*taken, "hydra.mode=RUN", f"like='{run}'"]
    assert with_like([f"like={run}", "seed=1,2", "-m"]) == [*taken, f"like='{run}'", "seed=1,2", "-m"]


def test_what_names_no_run_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["model=mean"])
    sweep = tmp_path / "sweep"
    for name, rmse in (("0", 0.2), ("1", 0.1), ("2", None)):
        write_run(sweep / name, ["model=mean"])
        objective = {"metric": "val/rmse", "mode": "min", "value": rmse}
        result = {"status": "failed" if rmse is None else "done", "objective": objective}
        (sweep / name / "result.json").write_text(json.dumps(result))
    (tmp_path / "empty").mkdir()
    for name, said in {
        f"{tmp_path}/none": "is not a run folder: there is no such folder",
        f"{tmp_path}/empty": "is not a run folder",
        f"{sweep}": f"runs, and one is needed; the best by val/rmse is like={sweep}/1",
    }.items():
        with pytest.raises(UserError, match=re.escape(said)):
            with_like([f"like={name}", "seed=1"])
    with pytest.raises(UserError, match=r"starts a new run, and resume=there goes on with one: give one"):
        with_like([f"like={run}", "resume=there"])


@pytest.mark.parametrize("value", ["a,b", "[a,b]", "choice(a,b)", "glob(*)"])
@pytest.mark.parametrize("key", ["like", "+like", "resume", "+resume"])
def test_a_sweep_over_runs_is_refused(key: str, value: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"{key}={value} names several runs: give one")):
        arguments.with_recorded(["-m", f"{key}={value}"])


def test_a_plus_makes_no_difference(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["model=mean"])
    assert with_like([f"+like={run}"]) == with_like([f"like={run}"])
    resumed = [arguments.with_resumed([f"{plus}resume={run}"])[0] for plus in ("", "+")]
    assert resumed[0] == resumed[1]
    assert resumed[0][-1] == "resume=auto"


def test_a_root_that_is_given_wins_over_the_recorded_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["data.root=path", "model=mean"])
    for words in (["data.root=new", f"resume={run}"], [f"resume={run}", "data.root=new"]):
        roots = [word for word in arguments.with_resumed(words)[0] if word.startswith("data.root=")]
        assert roots[-1] == "data.root=new"
    assert f"data.root='{ROOT}'" in arguments.with_resumed([f"resume={run}"])[0]


@pytest.mark.parametrize("config", ["{}", "{data: null}", "{data: {root: null}}", "{data: {root: [a]}}"])
@pytest.mark.parametrize("key", ["like", "resume"])
def test_a_configuration_without_its_root_is_damaged(key: str, config: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["model=mean"])
    (run / "config.yaml").write_text(config)
    with pytest.raises(UserError, match=r"config.yaml is damaged: it lacks data.root"):
        arguments.with_recorded([f"{key}={run}"])


def test_a_root_that_is_null_is_refused(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train.py", "data.root=null", f"hydra.run.dir={tmp_path}/run") == 1
    assert "data.root is null; it must be the folder of the data" in capsys.readouterr().err


def test_what_a_run_records_is_found_from_another_folder(
    command: Command, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "a" / "conf" / "experiment" / "own.yaml").write_text("# @package _global_\nseed: 3\n")
    monkeypatch.chdir(tmp_path / "a")
    for number, option in enumerate((["--config-dir", "conf"], ["--config-dir=conf"], ["-cd", "conf"])):
        own = [*option, *quick, "model=average_color", "experiment=own", f"hydra.run.dir=run{number}"]
        assert command("train.py", *own) == 0
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        recorded = arguments.with_like([f"like=a/run{number}"])[1]
        assert recorded is not None
        assert recorded.config_dir == str(tmp_path / "a" / "conf")
    assert command("train.py", "like=a/run1", "hydra.run.dir=new") == 0
    assert RunFolder(tmp_path / "new").config()["seed"] == 3


def test_a_folder_of_options_names_no_run_to_go_on_with(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\nresume: runs/x\n")
    own = ["--config-dir", str(tmp_path), "experiment=own", f"hydra.run.dir={tmp_path}/run"]
    assert command("train.py", *own) == 1
    assert "resume is runs/x; it must be null or auto" in capsys.readouterr().err


@pytest.mark.slow
def test_more_seeds_of_a_run(command: Command, quick: list[str], tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "first")
    begun = ["model=average_color", "target=question1", f"hydra.run.dir={first.path}"]
    assert command("train.py", *quick, *begun) == 0
    sweep = ["-m", f"like={first.path}", "seed=1,2", f"hydra.sweep.dir={tmp_path}/seeds"]
    assert command("train.py", *sweep) == 0
    jobs = find_runs(tmp_path / "seeds")
    assert [job.path.name for job in jobs] == ["0-seed=1", "1-seed=2"]
    for seed, job in enumerate(jobs, 1):
        assert job.config()["target"] == first.config()["target"]
        assert job.config()["seed"] == seed
        assert job.meta()["like"] == str(first.path)
        assert "target=question1" in job.overrides()
        assert f"seed={seed}" in job.overrides()
    shutil.rmtree(first.path)
    shutil.rmtree(jobs[0].path)
    assert command("train.py", f"resume={tmp_path}/seeds") == 0  # the sweep needs the first run no more
    assert [job.result().status for job in find_runs(tmp_path / "seeds")] == ["done", "done"]
