"""Finds the run or the checkpoint that a person names, and says what a name is that is neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from galaxy.runs.folder import Result, RunFolder, find_runs
from galaxy.system.errors import UserError, meant, pasteable

# conf/train.yaml puts runs and sweeps below this folder.
RUNS = Path("runs")


def find_run(name: str, key: str = "run") -> RunFolder:
    """Finds a run by the name that a command line gives.

    Args:
        name: The folder of a run, or `latest` for the last run below `runs` that finished.
        key: The key of the setting that names it, for the message.

    Raises:
        UserError: There is no such run. The message says what is there, and names the run that may be meant.
    """
    if name == "latest":
        for run in _newest("result.json"):
            if _result(run).status == "done":
                return run
        raise UserError(f"no run below {RUNS.absolute()} has finished, so there is no latest one")
    path = Path(name).expanduser()
    run = RunFolder(path)
    if run.begun or run.config_file.exists():
        return run
    around = next((RunFolder(folder) for folder in path.parents if RunFolder(folder).begun), None)
    if path.is_file():
        if path.suffix == ".ckpt":
            raise UserError(f"{path} is a checkpoint, not a run folder: write {_given('checkpoint', path)}")
        hint = f": write {_given(key, around.path)}" if around else ""
        raise UserError(f"{path} is a file, not a run folder{hint}")
    if not path.is_dir():
        raise UserError(f"there is no run folder {path}{_alike(path)}")
    if around:
        raise UserError(f"{path} is a part of a run folder: write {_given(key, around.path)}")
    try:
        runs = find_runs(path)
    except UserError:
        raise UserError(f"{path} is not a run folder: it has no config.yaml") from None
    raise UserError(_several(path, runs, key))


def find_unfinished() -> RunFolder:
    """Finds the run below `runs` that was begun last and has not finished.

    Raises:
        UserError: There is none.
    """
    for run in _newest("meta.json"):
        if _result(run).status != "done":
            return run
    raise UserError(f"every run below {RUNS.absolute()} has finished, so there is none to go on with")


def find_checkpoint(name: str) -> Path:
    """Checks that a file is there that may be a checkpoint, and returns it.

    Raises:
        UserError: It is missing, or it is a folder or another file.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        hint = f": write {_given('run', path)}" if RunFolder(path).begun else ""
        raise UserError(f"checkpoint={path} is a folder, not a checkpoint{hint}")
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


def _several(path: Path, runs: list[RunFolder], key: str) -> str:
    """Says that a folder holds runs, and names the best of those that finished."""
    results = {run: _result(run) for run in runs}
    best = min(runs, key=lambda run: results[run].to_minimise)
    objective = results[best].objective
    what = "a sweep" if (path / "multirun.yaml").exists() else "no run folder, but a folder"
    text = f"{path} is {what} of {len(runs)} run{'s' if len(runs) > 1 else ''}"
    if objective is None or objective["value"] is None:
        return f"{text}, none of which has finished"
    score = f"a {objective['metric']} of {objective['value']:.5f}"
    return f"{text}: name one of them. The best has {score}: {_given(key, best.path)}"


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
