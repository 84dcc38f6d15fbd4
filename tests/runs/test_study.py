"""The study of a search: shared by processes, whole after any of them was killed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from galaxy.config.search import Dimension, SearchSettings, Space
from galaxy.reports.search import read_search
from galaxy.runs.result import Objective, Result
from galaxy.runs.study import Study, Trial
from galaxy.system.errors import UserError

SPACE = Space(
    ("trainer=cpu",),
    (
        Dimension("optimizer.lr", "tag(log,interval(1e-4,1e-2))", low=1e-4, high=1e-2, log=True),
        Dimension("+crop.size", "range(32,65,16)", low=32, high=64, step=16),
        Dimension("model", "choice(mlp,deep_cnn)", choices=("mlp", "deep_cnn")),
    ),
)
CHOICES = Space((), (Dimension("model", "a,b", choices=("a", "b")),))


def opened(folder: Path, space: Space = SPACE, **settings: object) -> Study:
    """The study as a process opens it."""
    given = SearchSettings(**{"n_trials": 6, "startup_trials": 2, **settings})  # type: ignore[arg-type]
    return Study(folder, given, space, "val/rmse", "min", 4)


def value_of(trial: Trial) -> float:
    """An objective that is least where the learning rate is 0.001."""
    return abs(math.log10(float(trial.overrides[0].partition("=")[2])) + 3)


def done(value: float) -> Result:
    return Result(status="done", objective=Objective(metric="val/rmse", mode="min", value=value))


def run(study: Study, count: int | None = None) -> list[Trial]:
    """Runs trials to their end."""
    found = []
    trials = study.trials()
    while count is None or len(found) < count:
        if (trial := next(trials, None)) is None:
            break
        study.tell(trial.number, done(value_of(trial) if study.space is SPACE else 1.0), f"{trial.number}-x")
        found.append(trial)
    trials.close()  # type: ignore[attr-defined]  as the end of a process does
    return found


def search(study: Study) -> None:
    """Runs trials of four epochs, some of which are pruned; each fifth one fails."""
    for trial in study.trials():
        should_prune, level = study.should_prune(trial.number), value_of(trial)
        if trial.number % 5 == 4:
            study.tell(trial.number, Result(status="failed", error="it cannot"), f"{trial.number}-x")
        elif any(should_prune(epoch, level + 1 / epoch) for epoch in range(1, 5)):
            study.tell(trial.number, Result(status="pruned"), f"{trial.number}-x")
        else:
            study.tell(trial.number, done(level + 1 / 4), f"{trial.number}-x")


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes"])
def test_every_sampler_draws_within_the_space(sampler: str, tmp_path: Path) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    trials = run(opened(tmp_path, sampler=sampler, n_trials=8))
    assert [trial.number for trial in trials] == list(range(8))
    for trial in trials:
        lr, size, model = (override.partition("=") for override in trial.overrides)
        assert lr[0] == "optimizer.lr"
        assert 1e-4 <= float(lr[2]) <= 1e-2
        assert size[0] == "+crop.size"
        assert size[2] in ("32", "48", "64")
        assert model[2] in ("mlp", "deep_cnn")
    assert len({trial.overrides[0] for trial in trials}) == 8


def test_all_processes_together_draw_what_one_would(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone = run(opened(tmp_path / "one"))
    first, second = opened(tmp_path / "two"), opened(tmp_path / "two")
    shared = [trial for study in (first, second, first, second) for trial in run(study, count=2)]
    assert shared == alone
    assert len(alone) == 6


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    first, second = opened(tmp_path, n_trials=3), opened(tmp_path, n_trials=3)
    running = first.trials()
    theirs = next(running)
    assert [trial.number for trial in run(second)] == [1, 2]
    first.tell(theirs.number, done(1.0), "0-x")
    assert list(running) == []
    assert not list(tmp_path.glob(".trial-*"))


def test_a_trial_whose_process_was_killed_is_taken_over_as_it_was(tmp_path: Path) -> None:
    first = opened(tmp_path)
    running = first.trials()
    killed = next(running)
    running.close()  # type: ignore[attr-defined]  the system frees the lock of a killed process
    assert run(opened(tmp_path))[0] == killed


def test_without_locks_only_trials_of_ended_processes_of_this_machine_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unlocked(path: Path, wait: bool = True) -> Iterator[bool]:
        yield False

    monkeypatch.setattr("galaxy.runs.study.locked", unlocked)
    left = opened(tmp_path, n_trials=3).trials()
    killed = next(left)
    left.close()
    assert [trial.number for trial in run(opened(tmp_path), count=1)] == [1]
    monkeypatch.setattr("psutil.pid_exists", lambda _: False)
    assert run(opened(tmp_path), count=1) == [killed]


def test_a_trial_that_was_killed_while_it_was_drawn_is_drawn_to_its_end(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = run(opened(whole), count=1)
    study = opened(tmp_path)
    study.study.ask()
    assert run(opened(tmp_path), count=1) == expected


def test_an_interrupted_trial_stays_and_is_not_tried_twice_at_once(tmp_path: Path) -> None:
    study = opened(tmp_path, n_trials=1)
    numbers = []
    for trial in study.trials():
        study.tell(trial.number, Result(status="interrupted"))
        numbers.append(trial.number)
    assert numbers == [0]
    assert [trial.number for trial in run(opened(tmp_path, n_trials=1))] == [0]


def test_half_a_line_of_a_killed_process_is_no_part_of_the_study(tmp_path: Path) -> None:
    run(opened(tmp_path), count=2)
    open_before = opened(tmp_path)
    journal = tmp_path / "study.journal"
    for study, count in ((open_before, 2), (opened(tmp_path), 2)):
        with journal.open("ab") as file:
            file.write(b'{"op_code":4,"worker')
        assert len(run(study, count=count)) == 2
    report = read_search(tmp_path)
    assert report is not None
    assert [trial.status for trial in report.trials] == ["done"] * 6


def test_settings_that_were_tried_are_not_trained_again(tmp_path: Path) -> None:
    trials = run(opened(tmp_path, CHOICES))
    assert len(trials) == 2
    report = read_search(tmp_path)
    assert report is not None
    assert len(report.trials) == 6
    first = {trial.settings["model"]: trial.number for trial in report.trials[::-1] if trial.same_as is None}
    assert all(trial.same_as in (None, first[trial.settings["model"]]) for trial in report.trials)
    assert {trial.value for trial in report.trials} == {1.0}


def test_a_failed_trial_is_the_worst_and_its_settings_are_avoided(tmp_path: Path) -> None:
    study = opened(tmp_path, n_trials=30, startup_trials=10)
    models = []
    for trial in study.trials():
        model = trial.overrides[2].partition("=")[2]
        models.append(model)
        ok = model == "mlp"
        result = done(value_of(trial)) if ok else Result(status="diverged", error="it diverged")
        study.tell(trial.number, result, f"{trial.number}-x")
    assert models[:10].count("deep_cnn") >= 3
    assert models[-10:].count("deep_cnn") <= 3
    report = read_search(tmp_path)
    assert report is not None
    assert {trial.status for trial in report.trials} == {"done", "diverged"}
    assert report.best is not None
    assert report.best.value == report.trials[-1].best == min(t.value for t in report.trials if t.value)
    assert sum(report.importance.values()) == pytest.approx(1)
    assert report.counted == models.count("mlp")


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband", "none"])
def test_a_pruner_ends_a_bad_trial_after_an_epoch(pruner: str, tmp_path: Path) -> None:
    study = opened(tmp_path, pruner=pruner, n_trials=12, sampler="random")
    pruned = []
    for trial in study.trials():
        should_prune = study.should_prune(trial.number)
        level = trial.number % 4
        bad = any(should_prune(epoch, level + 1 / epoch) for epoch in range(1, 5))
        pruned += [level] if bad else []
        result = Result(status="pruned") if bad else done(level + 1 / 4)
        study.tell(trial.number, result, f"{trial.number}-x")
    assert bool(pruned) == (pruner != "none")
    assert 0 not in pruned
    report = read_search(tmp_path)
    assert report is not None
    ended = [trial for trial in report.trials if trial.status == "pruned"]
    assert len(ended) == len(pruned)
    assert all(len(trial.validated) >= 1 for trial in ended)
    assert report.best is not None
    assert report.best.number % 4 == 0


def test_an_epoch_that_a_resumed_training_repeats_is_reported_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    number = next(study.trials()).number
    assert not study.should_prune(number)(1, 0.5)
    assert not opened(tmp_path).should_prune(number)(1, 0.5)  # Optuna would warn, which fails a test


def test_a_folder_holds_one_search(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(UserError, match=r'(?s)another search.*space.model was "choice.*hydra.sweep.dir'):
        opened(tmp_path, CHOICES)


def test_a_larger_metric_can_be_better(tmp_path: Path) -> None:
    study = Study(tmp_path, SearchSettings(n_trials=3), SPACE, "val/r2", "max", 4)
    for trial in study.trials():
        objective = Objective(metric="val/r2", mode="max", value=trial.number / 10 if trial.number else None)
        study.tell(trial.number, Result(status="done", objective=objective), "x")
    report = read_search(tmp_path)
    assert report is not None
    assert [trial.best for trial in report.trials] == [None, 0.1, 0.2]


def test_a_file_that_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("nothing\nof this\n")
    with pytest.raises(UserError, match=r"study\.journal is damaged"):
        read_search(tmp_path)


def test_the_study_cannot_be_read_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_search(tmp_path) is None
    opened(tmp_path)
    monkeypatch.setattr("galaxy.reports.search.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'galaxy-morphology\[search\]'"):
        read_search(tmp_path)
