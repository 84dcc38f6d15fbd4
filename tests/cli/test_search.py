"""A search from its first trial to its end, with a kill in between."""

from pathlib import Path
from typing import Any

import pytest

from galaxy.learning.task import GalaxyTask
from galaxy.reports.search import read_search
from tests.conftest import Command


class Killed(BaseException):
    """What SIGKILL is to a process: nothing in the program catches it."""


SEARCH = [
    "sweep=search",
    "optimizer.lr=choice(1e-3,1e-2,1e30)",
    "optimizer.weight_decay=0",
    "head=choice(tree,sigmoid)",
    "loss=choice(mse,cross_entropy)",
    "hydra.sweeper.n_trials=9",
    "hydra.sweeper.startup_trials=1",
]


def test_a_search_is_killed_goes_on_and_says_what_it_has_found(
    command: Command,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original, steps = GalaxyTask.training_step, 0

    def step(self: GalaxyTask, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 11:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(GalaxyTask, "training_step", step)
    folder = tmp_path / "search"
    with pytest.raises(Killed):
        command("train.py", *quick, *SEARCH, f"hydra.sweep.dir={folder}")
    before = read_search(folder)
    assert before is not None
    assert command("train.py", f"resume={folder}") == 0
    said = capsys.readouterr().out
    report = read_search(folder)
    assert report is not None
    print([(t.number, t.status, t.value, t.settings, t.same_as) for t in report.trials], said)
    raise AssertionError
