"""A search space is read in Hydra's words, and its mistakes are named before anything starts."""

from pathlib import Path

import pytest

from galaxy.config import ConfigError, check_command_line
from galaxy.config.paths import CONF
from galaxy.config.plan import Plan


def check(*overrides: str) -> Plan:
    """Checks a sweep as the command line does."""
    plan = check_command_line(check, str(CONF), "train", ["-m", "data.root=x", *overrides])
    assert plan is not None
    return plan


def mistakes(*overrides: str) -> str:
    """The message about a search with these overrides."""
    with pytest.raises(ConfigError) as error:
        check("sweep=search", *overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=interval(1,2)", "optimizer.lrr does not exist; did you mean optimizer.lr?"),
        ("crop.size=interval(32,64)", "must be a whole number; did you mean int(interval(32,64))?"),
        ("loss=interval(1,2)", "loss is a group of options: write choice(a,b)"),
        ("model=choice(mlp,deepcnn)", "model has no option deepcnn; did you mean deep_cnn?"),
        ("model=choice(mlp,mlp)", "model has the choice mlp more than once"),
        ("optimizer.lr=interval(2,1)", "optimizer.lr holds no two numbers"),
        ("crop.size=range(64,32,8)", "crop.size holds no two numbers"),
        ("optimizer.lr=tag(log,interval(0,1))", "optimizer.lr begins at 0, which has no logarithm"),
        ("crop.size=tag(log,range(32,65,8))", "crop.size has steps, which a logarithmic scale has not"),
        (
            "optimizer.lr=tag(log,range(0.5,8.5,1))",
            "optimizer.lr has steps, which a logarithmic scale has not",
        ),
        ("loss=tag(log,choice(mse,huber))", "loss has choices, which have no logarithm"),
        ("seed=tag(foo,range(1,5))", "seed has the tag foo"),
        ("objective.metric=choice(val/rmse,val/r2)", "objective.metric cannot be searched"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials is 0; it must be 1 or more"),
        ("hydra.sweeper.sampler=tpee", "hydra.sweeper.sampler is tpee, but must be"),
        ("hydra.sweeper.pruner=medium", "did you mean median?"),
        ("hydra.sweeper.trials=3", "hydra.sweeper.trials does not exist; did you mean"),
    ],
)
def test_a_mistake_in_a_space_names_its_key_once(override: str, message: str) -> None:
    text = mistakes(override)
    assert "The configuration has a mistake; nothing was started." in text
    assert message in text
    if not override.startswith("hydra."):
        assert f"set in: {override}" in text


def test_a_space_without_anything_to_search_is_refused() -> None:
    fixed = ["optimizer.lr=1e-3", "optimizer.weight_decay=0", "model=mlp"]
    assert "hydra.sweeper.params has nothing to search" in mistakes(*fixed)


def test_an_interval_belongs_to_a_search() -> None:
    with pytest.raises(ConfigError, match=r"only a search draws from: add sweep=search"):
        check("optimizer.lr=interval(1e-4,1e-2)")


@pytest.mark.parametrize(
    ("key", "space", "ends"),
    [
        ("crop.size", "range(64,32,-8)", {"crop.size=40", "crop.size=64"}),
        ("optimizer.lr", "range(0.1,1,0.1)", {"optimizer.lr=0.1", "optimizer.lr=0.9"}),
        ("crop.size", "tag(log,int(interval(32,64)))", {"crop.size=32", "crop.size=64"}),
    ],
)
def test_both_ends_of_every_kind_of_dimension_are_checked(key: str, space: str, ends: set[str]) -> None:
    plan = check("sweep=search", f"{key}={space}")
    assert {setting for job in plan.jobs for setting in job if setting.startswith(key)} == ends


@pytest.mark.parametrize("missing", ["optuna", "cmaes"])
def test_a_package_that_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galaxy.config.search.find_spec", lambda name: None if name == missing else name)
    assert f"needs the package {missing}: pip install" in mistakes("hydra.sweeper.sampler=cmaes")


def test_a_search_and_a_grid_do_not_share_a_folder(tmp_path: Path) -> None:
    grid, search = tmp_path / "grid", tmp_path / "search"
    for folder, file in ((grid, "multirun.yaml"), (search, "study.journal")):
        folder.mkdir()
        (folder / file).touch()
    assert f"hydra.sweep.dir is {grid}, which holds a sweep" in mistakes(f"hydra.sweep.dir={grid}")
    check("sweep=search", f"hydra.sweep.dir={search}")
    check("model=mlp,deep_cnn", f"hydra.sweep.dir={grid}")
    with pytest.raises(ConfigError, match=f"hydra.sweep.dir is {search}, which holds a search"):
        check("model=mlp,deep_cnn", f"hydra.sweep.dir={search}")
    assert "hydra.sweep.dir names no folder" in mistakes("hydra.sweep.dir=${oc.env:NO_SUCH_NAME}")


def test_a_search_has_no_launcher() -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert "start the command several times with the same hydra.sweep.dir" in mistakes(
        "hydra/launcher=joblib"
    )
