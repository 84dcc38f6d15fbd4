"""Settings of a run that are wrong by themselves, which is said before torch is imported."""

from __future__ import annotations

import re
from typing import Any

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.config.instantiation import instantiate, naming
from galaxy.data.split_settings import SplitSettings, check_amounts
from galaxy.runs.folder import SPLIT_SETTINGS
from galaxy.system.errors import UserError

# Other strategies share out the weights, or start their processes in ways that a run does not allow for.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")

# Lightning's form of a time.
_TIME = re.compile(r"\d+:\d\d:\d\d:\d\d")

# Every run reads these keys.
REQUIRED_KEYS = {
    "model": tuple(READ_BY_PROGRAM["model"]),
    "trainer": ("max_epochs", "accelerator", "precision", "devices"),
    "optimizer": ("lr", *READ_BY_PROGRAM["optimizer"]),
    "data": (*SPLIT_SETTINGS, "root", "limit", "batch_size", "on_bad", "catalog"),
}
# More galaxies would make a picture that no screen shows.
MOST_PICTURED = 64


def check_settings(config: dict[str, Any]) -> None:
    """Refuses settings that neither data nor hardware could make right.

    Args:
        config: The whole configuration, resolved, as plain dicts and lists.

    Raises:
        UserError: An argument is out of range, or does not fit another one. The message begins with its key.
    """
    for group, keys in REQUIRED_KEYS.items():
        for key in keys:
            if key not in config[group]:
                raise UserError(f"{group}.{key} is required: leave out ~{group}.{key}")
    if not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed is {config['seed']}; it must be 0 or more and less than 2**32")
    if not 0 <= config["pictures"] <= MOST_PICTURED:
        raise UserError(
            f"pictures is {config['pictures']}; it must be from 0 (none) to {MOST_PICTURED} galaxies"
        )
    for name in ("lr", "weight_decay"):  # of every optimizer of torch
        if isinstance(value := config["optimizer"].get(name), int | float) and value < 0:
            raise UserError(f"optimizer.{name} is {value:g}; it must be 0 or more")
    node = config["trainer"]
    seen, size = config["model"]["input_size"], config["crop"].get("size")
    if seen < 1 or (size is not None and seen > size):
        raise UserError(f"model.input_size is {seen}; it must be 1 or more and at most crop.size={size}")
    clip = node.get("gradient_clip_val") or 0
    if clip and node["precision"] == "16-mixed" and config["optimizer"].get("fused"):
        raise UserError(
            "trainer.gradient_clip_val fails with trainer.precision=16-mixed and optimizer.fused=true, "
            "which scales gradients back in its step: use optimizer.fused=false or precision=bf16-mixed"
        )
    _check_trainer(node)
    folds, file = config["data"]["folds"], config["data"]["split_file"]
    if folds is not None and file is not None:
        raise UserError(
            f"data.folds is {folds}, but data.split_file={file} fixes the splits of its galaxies: leave out "
            "one of the two (data.folds=null data.fold=null)"
        )
    data = config["data"]
    with naming("data"):
        SplitSettings(**{name: data[name] for name in SPLIT_SETTINGS})
        check_amounts(data["batch_size"], data["limit"], data.get("workers"))
    for name in ("target", "crop"):
        instantiate(config[name], name)
    if not config["callbacks"].get("best"):
        raise UserError("callbacks.best is missing, but a run is judged by its best checkpoint")


def _check_trainer(node: dict[str, Any]) -> None:
    duration = node.get("max_time")
    if isinstance(duration, int | float) or (isinstance(duration, str) and not _TIME.fullmatch(duration)):
        raise UserError(
            f"trainer.max_time is {duration}; it must be days, hours, minutes and seconds, such as "
            "00:00:30:00 for half an hour (in a file, with quotes)"
        )
    counted = ["max_epochs", "log_every_n_steps", "accumulate_grad_batches"]
    if node["max_epochs"] == -1:
        counted.remove("max_epochs")
        _check_budget(node)
    for name in counted:
        if node.get(name, 1) is None or node.get(name, 1) < 1:
            shown = "null" if node[name] is None else node[name]
            other = ", or -1 with trainer.max_time" if name == "max_epochs" else ""
            raise UserError(f"trainer.{name} is {shown}; it must be 1 or more{other}")
    if node["devices"] in (0, "0", []):
        raise UserError(f"trainer.devices is {node['devices']}; a run needs one device or more")
    if node.get("deterministic") not in (None, True, False, "warn"):
        raise UserError(f"trainer.deterministic is {node['deterministic']}; it must be true, false or warn")
    strategy = node.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        raise UserError(f"trainer.strategy is {strategy}; it must be {', '.join(STRATEGIES)}")
    _check_validation(node)
    clip = node.get("gradient_clip_val") or 0
    if clip < 0:
        raise UserError(f"trainer.gradient_clip_val is {clip}; it must be above 0, or null for no clipping")
    graphs = node.get("compile") in ("reduce-overhead", "max-autotune")
    if graphs and node.get("accumulate_grad_batches", 1) > 1:
        raise UserError(
            f"trainer.compile={node['compile']} uses CUDA graphs, whose gradients the next batch overwrites: "
            "use trainer.compile=true or trainer.accumulate_grad_batches=1"
        )


def _check_budget(node: dict[str, Any]) -> None:
    """Refuses what does not go with a number of epochs that is found by a trial."""
    if node.get("max_time") is None:
        raise UserError(
            "trainer.max_epochs is -1, as many as trainer.max_time has room for, and that is null: give a "
            "time, such as trainer.max_time=00:00:30:00 (days, hours, minutes, seconds)"
        )
    for name, usual in (("min_epochs", None), ("check_val_every_n_epoch", 1), ("val_check_interval", None)):
        if (value := node.get(name, usual)) != usual:
            shown = "null" if value is None else value
            raise UserError(
                f"trainer.{name} is {shown}, but trainer.max_epochs=-1 plans epochs with a validation at the "
                f"end of each: give a number of epochs, or leave out trainer.{name}"
            )


def _check_validation(node: dict[str, Any]) -> None:
    every, epochs = node.get("check_val_every_n_epoch", 1), node["max_epochs"]
    if every is not None and every < 1:
        raise UserError(f"trainer.check_val_every_n_epoch is {every}; it must be 1 or more, or null")
    if every is not None and every > epochs > 0:
        raise UserError(f"trainer.check_val_every_n_epoch is {every}, but there are {epochs} epochs")
    interval = node.get("val_check_interval")
    if isinstance(interval, str | dict):
        raise UserError(
            f"trainer.val_check_interval is {interval}; by the clock no run could be repeated, so it must be "
            "a number of batches, or a share of an epoch between 0 and 1"
        )
    if interval is not None and interval <= 0:
        raise UserError(
            f"trainer.val_check_interval is {interval}; it must be 1 or more batches, or a share of an epoch "
            "above 0 and up to 1.0"
        )
    if (least := node.get("min_epochs")) is not None and least > epochs:
        raise UserError(f"trainer.min_epochs is {least}, but there are {epochs} epochs (trainer.max_epochs)")
    for name in ("limit_train_batches", "limit_val_batches"):
        if node.get(name) == 0:
            raise UserError(f"trainer.{name} is 0, but a run both trains and validates")
