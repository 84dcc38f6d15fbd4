"""The metric that runs are judged by, and its direction, before anything is started."""

from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from galaxy.config import ConfigError, check_command_line, plain
from galaxy.config.objective import Direction, direction
from galaxy.config.paths import CONF

SECOND = "+callbacks.second={_target_:lightning.pytorch.callbacks.ModelCheckpoint,monitor:val/accuracy"
STOPPING = "callbacks.early_stopping"


def composed(*overrides: str) -> dict[str, Any]:
    """Checks and composes as the command line does."""
    check_command_line(composed, str(CONF), "train", overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train", [*overrides]))


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("val/rmse", "min"),
        ("val/rmse/q07", "min"),
        ("val/loss", "min"),
        ("val/r2", "max"),
        ("val/balanced_accuracy", "max"),
    ],
)
def test_everything_that_watches_goes_by_the_objective(metric: str, better: Direction) -> None:
    config = composed(f"objective.metric={metric}", "scheduler=plateau")
    assert config["objective"] == {"metric": metric, "mode": better}
    watchers = [config["callbacks"]["best"], config["callbacks"]["early_stopping"]]
    assert [(node["monitor"], node["mode"]) for node in watchers] == [(metric, better)] * 2
    assert (config["scheduler"]["monitor"], config["scheduler"]["scheduler"]["mode"]) == (metric, better)


def test_a_metric_of_ones_own_has_the_direction_that_is_given() -> None:
    config = composed("objective.metric=val/own", "objective.mode=max", f"{STOPPING}.monitor=val/rmse",
                      f"{STOPPING}.mode=min", SECOND.replace("accuracy", "other") + ",mode:min}")  # fmt: skip
    assert config["callbacks"]["best"]["mode"] == "max"
    assert direction("val/own") is None


@pytest.mark.parametrize("every", [1, 2])
def test_a_plateau_is_looked_for_after_each_validation(every: int) -> None:
    config = composed("scheduler=plateau", f"+trainer.check_val_every_n_epoch={every}")
    assert config["scheduler"]["frequency"] == every


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("objective.metric=val/rsme", "objective.metric is val/rsme, which Galaxy does not log"),
        ("objective.metric=val/rsme", "did you mean val/rmse?"),
        ("objective.metric=val/own", "needs objective.mode=min or max"),
        ("objective.metric=null", "objective.metric must be the name of a metric"),
        ("objective.metric=train/rmse", "judged by the validation split; did you mean val/rmse?"),
        ("objective.mode=mx", "objective.mode is mx; did you mean max?"),
        ("objective.mode=max", "objective.mode is max, but a smaller val/rmse is better"),
        ("objective.metric=val/r2 objective.mode=min", "a larger val/r2 is better"),
        ("objective=val/r2", "write objective.metric=val/r2"),
        ("~objective.mode", "objective.mode is required"),
        ("callbacks.best.monitor=val/r2", "callbacks.best.monitor is val/r2"),
        ("callbacks.best.monitor=val/r2", "set objective.metric=val/r2"),
        ("callbacks.best.mode=max", "use callbacks.best.mode=min"),
        (f"{STOPPING}.monitor=val/r2", f"{STOPPING}.mode is min, but a larger val/r2 is better"),
        (f"{STOPPING}.monitor=val/own", f"needs {STOPPING}.mode=min or max"),
        (SECOND + "}", "callbacks.second.mode is not given, but a larger val/accuracy is better"),
        (SECOND + ",mode:min}", "use callbacks.second.mode=max"),
        ("scheduler=plateau scheduler.monitor=val/r2", "use scheduler.scheduler.mode=max"),
        ("scheduler=plateau ~scheduler.scheduler.mode objective.metric=val/r2", "mode is not given"),
    ],
)  # fmt: skip
def test_a_wrong_objective_or_direction_is_the_one_mistake(overrides: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        composed(*overrides.split())
    (problem,) = raised.value.problems
    assert said in str(problem)
