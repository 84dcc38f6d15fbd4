"""Finds the run or the checkpoint that a person names, and says what a name is that is neither."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from galaxy.config.plan import SWEEP_FILE
from galaxy.runs.folder import RunFolder, find_runs
from galaxy.runs.result import Result
from galaxy.system.errors import UserError, meant, pasteable

log = logging.getLogger(__name__)

# conf/train.yaml puts runs and sweeps below this folder.
RUNS = Path("runs")


def find_run(name: str, key: str = "run") -> RunFolder:
    """Finds a run by the name that a setting gives.

    Args:
        name: The folder of a run, or `latest` for the last run below `runs` that finished.
        key: The key of the setting, for the message.

    Raises:
        UserError: There is no such run. The message says what is there, and names the run that may be meant.
    """
    if name == "latest":
        for run in _newest("result.json"):
            if _result(run).status == "done":
                return run
        raise UserError(f"{key}=latest: no run below {RUNS.absolute()} has finished")
    path = Path(name).expanduser()
    run, given = RunFolder(path), f"{key}={path}"
    if run.begun or run.config_file.exists():
        return run
    around = next((RunFolder(folder) for folder in path.parents if RunFolder(folder).begun), None)
    hint = f": write {_given(key, around.path)}" if around else ""
    if path.is_file() and key == "run" and path.suffix == ".ckpt":
        raise UserError(f"{given} is not a run folder, but a checkpoint: write {_given('checkpoint', path)}")
    if path.is_file():
        raise UserError(f"{given} is not a run folder, but a file{hint}")
    if not path.is_dir():
        raise UserError(f"{given} is not a run folder: there is no such folder{_alike(path)}")
    if around:
        raise UserError(f"{given} is not a run folder, but a part of one{hint}")
    try:
        runs = find_runs(path)
    except UserError:
        raise UserError(f"{given} is not a run folder: a run folder has an overrides.yaml") from None
    raise UserError(_several(key, path, runs))


def find_runs_of(names: Sequence[str]) -> list[RunFolder]:
    """Finds the runs that a list in `run=` names; a folder that holds runs stands for those that are done.

    Raises:
        UserError: There is no such run, none of those in a folder is done, or one is named twice.
    """
    found: list[RunFolder] = []
    for name in names:
        path = Path(name).expanduser()
        if name == "latest" or RunFolder(path).config_file.exists() or not any(path.rglob("overrides.yaml")):
            found.append(find_run(name))
            continue
        runs = find_runs(path)
        done = [run for run in runs if _result(run).status == "done"]
        if not done:
            raise UserError(f"run=[{path}] holds {len(runs)} runs, none of which has finished")
        if others := len(runs) - len(done):
            log.warning(
                "%d of the %d runs in %s have not finished, and are left out", others, len(runs), path
            )
        found += sorted(done, key=lambda run: (run.path.parent, _job_number(run)))
    if not found:
        raise UserError("run=[] names no run")
    places = [run.path.resolve() for run in found]
    twice = next((run for run, place in zip(found, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UserError(f"run names {twice.path} twice, which would count twice: leave one out")
    return found


def find_unfinished() -> RunFolder:
    """Finds the run below `runs` that was begun last and has not finished.

    Raises:
        UserError: There is none.
    """
    runs = list(_newest("meta.json"))
    for run in runs:
        result = _result(run)
        # A run that failed before its first checkpoint has nothing to go on with.
        if result.status in ("running", "interrupted") or (not result.finished and run.last.exists()):
            return run
    if not runs:
        raise UserError(f"resume=latest: there is no run below {RUNS.absolute()}")
    raise UserError(
        f"resume=latest: no run below {RUNS.absolute()} can go on, because each has finished or has failed "
        "before its first checkpoint"
    )


def find_checkpoint(name: str) -> Path:
    """Checks that a file is there that may be a checkpoint, and returns it.

    Raises:
        UserError: It is missing, or it is a folder or another file.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise UserError(f"checkpoint={path} is a folder: for a run folder write {_given('run', path)}")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}{_alike(path)}")
    best = RunFolder(path.parent).best
    if path.suffix != ".ckpt" and best.exists():
        raise UserError(f"{path} is not a checkpoint, but {best} is: write {_given('checkpoint', best)}")
    return path


def _newest(file: str) -> Iterator[RunFolder]:
    """Yields the runs below `runs` that have a file, the last written first."""
    try:
        runs = find_runs(RUNS)
    except UserError:
        return
    times = {run: (run.path / file).stat().st_mtime_ns for run in runs if (run.path / file).exists()}
    yield from sorted(times, key=times.__getitem__, reverse=True)


def _several(key: str, path: Path, runs: list[RunFolder]) -> str:
    """Says that a folder holds runs, and names the best of those that finished.

    Values of different objectives do not compare, so it is the best by the commonest one.
    """
    what = "is the folder of a sweep, which holds" if (path / SWEEP_FILE).exists() else "holds"
    text = f"{key}={path} {what} {len(runs)} run{'s' if len(runs) > 1 else ''}, and one is needed"
    if key == "run":
        text += f" ({pasteable(f'run=[{path}]')} puts all of them that have finished together)"
    done = {run: result for run in runs if (result := _result(run)).status == "done"}
    if not done:
        return f"{text}; none of them has finished"
    judged = {run: _judged_by(result) for run, result in done.items()}
    ((commonest, _),) = Counter(judged.values()).most_common(1)
    best = min(
        (run for run in done if judged[run] == commonest),
        key=lambda run: (done[run].to_minimise, done[run].metrics.get("val/rmse", math.inf)),
    )
    metric, _ = commonest
    return f"{text}; the best by {metric} is {_given(key, best.path)}"


def _job_number(run: RunFolder) -> int:
    """Returns the number that the folder of a sweep's job begins with; -1 for any other folder."""
    number = re.match(r"\d+", run.path.name)
    return int(number[0]) if number else -1


def _judged_by(result: Result) -> tuple[str, str]:
    """Returns the metric of a run's objective, and which way it is better."""
    objective = result.objective
    return ("val/rmse", "min") if objective is None else (objective["metric"], objective["mode"])


def _result(run: RunFolder) -> Result:
    """Returns how a run ended. One damaged folder must not hide the others."""
    try:
        return run.result()
    except UserError:
        return Result(status="failed")


def _given(key: str, path: Path) -> str:
    """Writes an argument so that it can be pasted into a shell."""
    return pasteable(f"{key}={path}")


def _alike(path: Path) -> str:
    """Ends a sentence about a path that is not there with the one beside it that was most likely meant."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = meant(path.name, names)
    return near.replace("mean ", f"mean {path.parent}/", 1) if near and path.parent != Path() else near
