"""The loggers of a run: how they are opened, what they are told, and how they are closed."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from galaxy.config.check import leaves
from galaxy.config.instantiation import instantiate, naming
from galaxy.config.overrides import key_of
from galaxy.labels.labels import Labels
from galaxy.runs.folder import RESUMABLE_SETTINGS, RunFolder
from galaxy.runs.result import FINISHED, Result, Status
from galaxy.runs.tensorboard import TensorBoard
from galaxy.system.errors import UserError
from galaxy.system.files import write_text

log = logging.getLogger(__name__)

# Runs are compared by the options of these groups.
COMPARED_GROUPS = ("data", "target", "crop", "augment", "model", "head", "loss", "optimizer", "scheduler")
# Runs are also compared by these settings, and by every setting that the command line changes.
COMPARED_SETTINGS = ("seed", "optimizer.lr", "data.batch_size", "data.limit", "trainer.max_epochs")

# These loggers write to a service, which has runs of its own; each comes with an extra of this name.
_SERVICES: dict[type[Logger], str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
_PACKAGES = ("lightning", "wandb", "mlflow", "sqlalchemy", "pydantic_core")
_WANDB_TAG = 64  # W&B refuses longer tags
_MLFLOW_BATCH = 100  # MLflow refuses more parameters at once
# W&B's own code for Ctrl-C is 255. Any code but 0 marks the run as failed.
_WANDB_EXIT_CODES = {**dict.fromkeys(FINISHED, 0), "interrupted": 255}


def open_loggers(
    run: RunFolder,
    config: dict[str, Any],
    choices: dict[str, str],
    overrides: Sequence[str],
    metrics: str = "",
    sweep: str | None = None,
) -> list[Logger]:
    """Opens the chosen loggers and metrics.csv, which belongs to every run folder.

    The run is declared at once, before anything can fail. TensorBoard and hparams.yaml get the short table
    that runs are compared by, and all loggers but hparams.yaml the whole configuration. A run of W&B or
    MLflow that was begun for this folder before goes on.

    Args:
        run: The run folder, which has been begun.
        config: The configuration of the run.
        choices: The option taken in each group.
        overrides: What the command line changed.
        metrics: What metrics.csv holds already, if the run is resumed.
        sweep: The name of the sweep that the run is a job of.

    Raises:
        UserError: A logger refuses its settings, its package is not installed, or its service cannot be used.
    """
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # further processes log nothing
    begun: dict[str, str] = run.meta().get("loggers", {}) if first else {}
    opened: dict[str, Logger] = {}
    try:
        for name, node in config["logger"].items():
            if node is not None:
                with _refusals(f"logger.{name}"):
                    logger = _build(node, f"logger.{name}", run, choices, sweep, begun.get(name))
                    if not isinstance(logger, Logger):
                        raise ValueError(f"it is a {type(logger).__name__}, and not a logger of Lightning")
                    opened[name] = logger
                    _declare(logger, config, choices, overrides)
                if first and isinstance(logger, WandbLogger) and not logger.experiment.disabled:
                    _say_where(logger)
        table = _metrics_file(run.path, metrics)
        _declare(table, config, choices, overrides)
        identifiers = {name: logger.version for name, logger in opened.items() if _service(type(logger))}
        if first and identifiers != begun:
            run.add_meta(loggers=identifiers)
    except BaseException:
        close_loggers([*opened.values()], "failed")
        raise
    return [*opened.values(), table]


def log_final(loggers: Sequence[Logger], result: Result, step: int) -> None:
    """Logs the metrics of the best checkpoint, which are known when the training is over.

    Args:
        loggers: The loggers of the run.
        result: What goes into result.json.
        step: The number of steps that were trained.
    """
    best: dict[str, Any] = {
        f"best/{name.replace('/', '_')}": result.metrics[name]
        for name in ("val/rmse", "test/rmse", "test/accuracy")
        if name in result.metrics
    }
    if result.objective is not None and result.objective["value"] is not None:
        best["best/objective"] = result.objective["value"]
    log.info("best checkpoint: %s", ", ".join(f"{name} {value:.5f}" for name, value in best.items()))
    for logger in loggers:
        if isinstance(logger, TensorBoard | CSVLogger):
            logger.log_metrics(best, step)
        elif isinstance(logger, WandbLogger):
            # The summary is what W&B's tables show. Logged as a step, "val/rmse" would end its curve.
            logger.experiment.summary.update({**result.metrics, **best})
        else:
            logger.log_metrics({**result.metrics, **best}, step)


def lay_out_charts(loggers: Sequence[Logger], labels: Labels, weighted: bool) -> None:
    """Tells TensorBoard which curves belong together; see `TensorBoard.lay_out`."""
    for logger in loggers:
        if isinstance(logger, TensorBoard):
            logger.lay_out(labels, weighted)


def takes_pictures(loggers: Sequence[Logger]) -> bool:
    """Whether one of the loggers shows pictures."""
    return any(isinstance(logger, TensorBoard | WandbLogger) for logger in loggers)


def log_pictures(loggers: Sequence[Logger], pictures: Mapping[str, NDArray[np.uint8]], step: int) -> None:
    """Shows pictures in TensorBoard and W&B. MLflow would upload them to a store that may refuse them.

    Args:
        loggers: The loggers of the run.
        pictures: (H, W, 3) uint8 each, by their names.
        step: The number of steps that have been trained.
    """
    for name, picture in pictures.items():
        for logger in loggers:
            if isinstance(logger, TensorBoard):
                logger.log_picture(f"pictures/{name}", picture, step)
            elif isinstance(logger, WandbLogger):
                logger.log_image(f"pictures/{name}", [picture])


def close_loggers(loggers: Sequence[Logger], status: Status) -> None:
    """Closes all loggers. One that cannot be closed is named in a warning, because the run is over.

    Args:
        loggers: The loggers of the run.
        status: How the run ended.
    """
    for logger in loggers:
        try:
            if isinstance(logger, TensorBoard):
                logger.end(status)
            if isinstance(logger, MLFlowLogger) and status == "interrupted":
                logger.finalize("KILLED")  # MLflow's own word; Lightning passes it on
            else:
                logger.finalize("success" if status in FINISHED else "failed")
            if isinstance(logger, WandbLogger):
                _finish_wandb(status)
        except Exception as error:
            log.warning("%s could not be closed: %s", type(logger).__name__, error)


def _service(kind: Any) -> str | None:
    """Returns the name of the service that a class of loggers writes to, if there is one."""
    names = (name for base, name in _SERVICES.items() if isinstance(kind, type) and issubclass(kind, base))
    return next(names, None)


@contextmanager
def _refusals(key: str) -> Iterator[None]:
    """Puts the key of a logger in front of what its package or service refuses.

    Raises:
        UserError: The block raised an exception of such a package.
    """
    with naming(key):
        try:
            yield
        except Exception as error:
            # The packages may not be installed, so that their exceptions cannot be named here.
            if type(error).__module__.partition(".")[0] not in _PACKAGES:
                raise
            raise UserError(f"{key}: {' '.join(str(error).split())}") from error


def _build(
    node: dict[str, Any],
    key: str,
    run: RunFolder,
    choices: dict[str, str],
    sweep: str | None,
    identifier: str | None,
) -> Logger:
    """Builds a logger. A partial one is given the run folder, and a service is told about the run."""
    made = instantiate(node, key)
    if not isinstance(made, partial):
        return made
    service = _service(made.func)
    given = {"save_dir": str(run.path), **_details(service, run, choices, sweep)}
    given |= {name: value for name, value in made.keywords.items() if value is not None}
    try:
        if service == "wandb":
            _prepare_wandb(given, key)
            if identifier is not None:
                given |= {"id": identifier, "resume": "allow"}
            logger = made.func(**given)
            # W&B warns of this argument, which Lightning 2.6 always passes on.
            logger._wandb_init.pop("anonymous", None)
            return logger
        if service == "mlflow":
            _check_store(given.get("tracking_uri"), key)
            return _mlflow_logger(made.func, given, identifier)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{key}: {error}; install what it needs: pip install 'galaxy-morphology[{service}]'"
        ) from None
    except OSError as error:
        raise UserError(f"{key}: {error}") from error
    return made(save_dir=str(run.path))


def _details(
    service: str | None, run: RunFolder, choices: dict[str, str], sweep: str | None
) -> dict[str, Any]:
    """Returns what a service is told about a run unless the configuration says otherwise."""
    chosen = {group: str(choices[group]) for group in COMPARED_GROUPS}
    if service == "wandb":
        tags = [f"{group}={option}"[:_WANDB_TAG] for group, option in chosen.items()]
        return {"name": run.path.name, "group": sweep, "tags": tags, "resume": None}
    if service == "mlflow":
        return {"run_name": run.path.name, "tags": chosen if sweep is None else {**chosen, "sweep": sweep}}
    return {}


def _prepare_wandb(given: dict[str, Any], key: str) -> None:
    """Makes W&B quiet, and sees to it that it will not wait for somebody to log in."""
    import wandb  # noqa: PLC0415  it takes seconds, and most runs do without it

    # W&B would take hold of the terminal, which train.log and the progress bar are written from.
    session = wandb.setup(wandb.Settings(show_info=False, console="off"))
    mode = "offline" if given.get("offline") else given.get("mode") or session.settings.mode
    if mode not in ("online", "shared"):
        return
    way_on = "or set WANDB_MODE=offline, and upload the run later with `wandb sync`"
    try:
        known = wandb.login(prompt=False)
    except wandb.Error as error:
        raise UserError(f"{key}: {error} Log in with `wandb login`, {way_on}") from error
    if not known:
        raise UserError(f"{key}: W&B has no API key: log in with `wandb login`, {way_on}")


def _say_where(logger: WandbLogger) -> None:
    run = logger.experiment
    where = f"not uploaded: wandb sync {Path(run.dir).parent}" if run.offline else run.url
    log.info("W&B run %s: %s", run.id, where)


def _finish_wandb(status: Status) -> None:
    """Ends the W&B run of this process. Lightning does not, and would log the next job to the same run."""
    import wandb  # noqa: PLC0415

    if wandb.run is not None:
        wandb.finish(exit_code=_WANDB_EXIT_CODES.get(status, 1))


def _check_store(address: str | None, key: str) -> None:
    """Refuses MLflow's file store, where a metric would be both a file and a folder.

    MLflow itself has closed this store, and opens it only if MLFLOW_ALLOW_FILE_STORE is set.
    """
    if address is not None and re.match(r"file:|(?!\w+:|databricks)", address):
        raise UserError(
            f"{key}.tracking_uri is {address}, but MLflow cannot keep val/rmse beside val/rmse/q01 in a "
            "folder: use a file of SQLite, such as sqlite:///runs/mlflow.db, or a server"
        )


def _mlflow_logger(
    kind: Callable[..., MLFlowLogger], given: dict[str, Any], identifier: str | None
) -> MLFlowLogger:
    """Builds MLflow's logger and begins its run, or goes on with the run that has the identifier."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  see above

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
    if identifier is not None:
        logger = kind(**{**given, "run_id": identifier})
        try:
            logger.experiment.update_run(identifier, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            address = given.get("tracking_uri")
            log.warning("there is no MLflow run %s at %s: a new one is begun", identifier, address)
        else:
            return logger
    logger = kind(**given)
    try:
        _ = logger.experiment
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        _ = logger.experiment  # another job of the sweep has made the experiment at the same time
    return logger


def _declare(
    logger: Logger, config: dict[str, Any], choices: dict[str, str], overrides: Sequence[str]
) -> None:
    """Tells a logger what is run."""
    if isinstance(logger, MLFlowLogger):
        _log_parameters(logger, config)
    elif isinstance(logger, CSVLogger):
        logger.log_hyperparams(_compared(config, choices, overrides))
    elif isinstance(logger, TensorBoard):
        logger.begin(_compared(config, choices, overrides))
        logger.log_text("overrides", f"```bash\n{shlex.join(overrides) or '# none'}\n```")
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        logger.log_text("configuration", f"```yaml\n{text}```")
    else:
        logger.log_hyperparams(config)


def _compared(
    config: dict[str, Any], choices: dict[str, str], overrides: Sequence[str]
) -> dict[str, bool | float | str]:
    """Returns what a run is compared by: its options, and the values of the settings that the user chose."""
    table: dict[str, bool | float | str] = {group: choices[group] for group in COMPARED_GROUPS}
    table["objective"] = config["objective"]["metric"]
    values = dict(leaves(config))
    for key in (*COMPARED_SETTINGS, *map(key_of, overrides)):
        if key in values and key not in RESUMABLE_SETTINGS:
            value = values[key]
            table[key] = value if isinstance(value, bool | int | float | str) else json.dumps(value)
    return table


def _log_parameters(logger: MLFlowLogger, config: dict[str, Any]) -> None:
    """Logs the configuration to MLflow under dotted keys.

    Lightning would cut values at 250 characters, and MLflow refuses keys with other characters than these.
    Parameters of a run never change, so a resumed run keeps those that it has.
    """
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return
    from mlflow.entities import Param  # noqa: PLC0415

    known = logger.experiment.get_run(logger.run_id).data.params
    named = {re.sub(r"[^\w/.: -]", "_", key): str(value) for key, value in leaves(config)}
    new = [Param(key, value) for key, value in named.items() if key not in known]
    for start in range(0, len(new), _MLFLOW_BATCH):
        logger.experiment.log_batch(logger.run_id, params=new[start : start + _MLFLOW_BATCH])


def _metrics_file(folder: Path, metrics: str) -> CSVLogger:
    """Opens metrics.csv, with what a run that is resumed had logged."""
    table = CSVLogger(save_dir=str(folder), name="", version="")
    writer = table.experiment  # this deletes an older metrics.csv
    if metrics:
        write_text(Path(writer.metrics_file_path), metrics)
        writer.metrics_keys = metrics.splitlines()[0].split(",")
    return table
