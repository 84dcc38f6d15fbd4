"""The page of a comparison."""

import html
import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from galaxy.cli.compare import main
from galaxy.config.search import SearchSettings
from galaxy.reports.compare import compare_runs
from galaxy.reports.comparison_words import conclusions
from galaxy.reports.curves import read_curves
from galaxy.reports.effects import effects
from galaxy.reports.page import charts
from galaxy.reports.page.search import section_of
from galaxy.reports.records import read_record
from galaxy.reports.search import search_in
from galaxy.runs.folder import RunFolder, find_runs
from galaxy.runs.result import Objective, Result
from galaxy.runs.study import Study
from tests.reports.test_compare import write_other, write_predicted
from tests.runs.test_study import SPACE, done, opened, search

NAMES = 'column,key,question,answer\na,q1,Is it <b>round</b> & [red]?,"yes, <i>very"\nb,q2,$bar$?,no\n'
EMPTY = {"meta", "line", "circle", "polyline", "polygon", "br", "img", "source"}


class Page(HTMLParser):
    """What a page holds; a tag that is closed wrongly is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def links(self) -> list[str]:
        return [str(values["href"]) for tag, values in self.tags if tag == "a"]


def write_grid(folder: Path) -> None:
    """Two losses, two rates and two seeds, without the last cell; a run that failed, and one at work."""
    cells = itertools.product((("mse", 0.1), ("huber", 0.12)), ((0.1, 1.0), (0.2, 1.3)), (0, 1))
    for (loss, rmse), (lr, factor), seed in cells:
        if (loss, lr) == ("huber", 0.2):
            continue
        path = folder / f"loss={loss},lr={lr},seed={seed}"
        write_predicted(path, [f"loss={loss}", f"optimizer.lr={lr}"], seed, rmse * factor)
        run = RunFolder(path)
        result = run.result()
        result.metrics |= {"val/rmse/q1": rmse, "val/rmse/q2": rmse * factor, "val/rmse/q3": math.nan}
        run.write_result(replace(result, parameters=1_234_567, seconds=10 * factor, epochs=2))
        run.columns_file.write_text(NAMES)
        (path / "metrics.csv").write_text(
            "epoch,train/rmse,val/rmse\n0,0.4,\n0,,0.3\n1,0.3,\n1,,0.2\n2,,0.1"  # cut in the middle
        )
    write_other(folder / "failed", "kaggle", "/k", "cumulative", ["loss=<b>own</b>"])
    failed = RunFolder(folder / "failed")
    failed.write_result(replace(failed.result(), epochs=1, error="<script>alert(1)</script> & [bold]"))
    write_other(folder / "running", "kaggle", "/k", "cumulative", ["loss=running"])
    (folder / "running" / "result.json").unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder)
    assert main([str(folder), "--all", "--html", str(folder / "out" / "page.html")]) == 0
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "out" / "page.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_else(text: str) -> None:
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not any("src" in values or "srcset" in values for _, values in page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert [link for link in page.links() if link.startswith("http")] == ["https://arxiv.org/abs/2103.03098"]
    assert len(text) < 100_000


def test_what_users_have_named_stays_text(text: str) -> None:
    assert "<script" not in text
    words = Page(text).words
    assert "<script>alert(1)</script> & [bold]" in words
    assert "Is it <b>round</b> & [red]?" in words
    assert "loss=<b>own</b>" in words


def test_the_page_draws_the_conclusions_of_the_terminal(folder: Path, text: str) -> None:
    (group,) = [
        group for group in compare_runs([read_record(run) for run in find_runs(folder)]) if group.best
    ]
    words = Page(text).words
    for sentence in conclusions(group):
        for line in (sentence.text, *sentence.commands):
            assert line.strip() in words
    for shown in ("worse", "1,234,567", "Learning curves", "val/rmse against seconds of a run", "$bar$?"):
        assert shown in words


def test_links_lead_to_the_run_folders(folder: Path, text: str) -> None:
    links = [unquote(link) for link in Page(text).links() if not link.startswith(("http", "#"))]
    led = {(folder / "out" / link).resolve() for link in links}
    assert led == {path.resolve() for path in folder.iterdir() if path.name != "out"}


def test_equal_runs_give_equal_pages(folder: Path, text: str, tmp_path: Path) -> None:
    again = folder / "out" / "again.html"
    assert main([str(folder), "--all", "--html", str(again)]) == 0
    assert again.read_text(encoding="utf-8") == text


def test_an_effect_is_averaged_over_the_complete_part_of_the_grid(folder: Path, text: str) -> None:
    records = [read_record(run) for run in find_runs(folder)]
    (group,) = [group for group in compare_runs(records) if group.best]
    means = {row.settings: row.mean for row in group.rows}
    found = {effect.key: effect for effect in effects(group)}
    # Of the loss, only the rate 0.1 was run with both values.
    assert {level.value: level.mean for level in found["loss"].levels} == {
        loss: pytest.approx(means[f"loss={loss} lr=0.1"]) for loss in ("mse", "huber")
    }
    assert (found["loss"].combinations, found["loss"].of) == (1, 2)
    assert all(level.half is not None and level.half > 0 for level in found["loss"].levels)
    assert "The grid is not complete" in Page(text).words


def test_labels_of_one_question_come_with_an_error_for_each_answer(tmp_path: Path) -> None:
    write_predicted(tmp_path / "run", ["loss=mse"], 0, 0.1)
    RunFolder(tmp_path / "run").columns_file.write_text(NAMES.replace("q2", "q1"))
    assert main([str(tmp_path), "--html", str(tmp_path / "page.html")]) == 0
    words = Page((tmp_path / "page.html").read_text(encoding="utf-8")).words
    assert "Validation RMSE of each answer" in words
    assert "yes, <i>very" in words


def test_numbers_beside_points_lie_on_nothing_else() -> None:
    rng = np.random.default_rng(0)
    marks = [
        charts.Mark(10 ** rng.uniform(0, 5), rng.uniform(0.1, 0.2), 0.002, number, "", "worse")
        for number in range(1, 60)
    ]
    chart = charts.scatter_chart("seconds", "val/rmse", marks)
    assert chart.x.log
    assert not chart.y.log
    labelled = [point for point in chart.points if point.label]
    assert 10 < len(labelled) < 60
    for one, other in itertools.combinations(labelled, 2):
        apart = abs(one.label_x - other.label_x), abs(one.label_y - other.label_y)
        assert apart[0] >= 7 or apart[1] >= 12
    for label, point in itertools.product(labelled, chart.points):
        assert abs(label.label_x - point.x) >= 8 or abs(label.label_y - 4 - point.y) >= 10


def test_curves_of_a_run_at_work_are_read_up_to_its_last_whole_line(folder: Path, tmp_path: Path) -> None:
    run = find_runs(folder)[1]
    assert read_curves(run, ["val/rmse", "none"]) == {"val/rmse": {1: 0.3, 2: 0.2}, "none": {}}
    for text in ("", "epoch", "a,b\n1,2\n", "epoch,val/rmse\nx,1\n0,y\n0\n", "epoch,val/rmse\n\0\n"):
        (tmp_path / "metrics.csv").write_text(text)
        assert read_curves(RunFolder(tmp_path), ["val/rmse"]) == {"val/rmse": {}}
    assert read_curves(RunFolder(tmp_path / "none"), ["val/rmse"]) == {"val/rmse": {}}


def test_a_page_without_a_finished_run_says_so(tmp_path: Path) -> None:
    write_other(tmp_path / "a", "kaggle", "/k", "cumulative", [])
    assert main([str(tmp_path), "--all", "--html", str(tmp_path / "page.html")]) == 0
    words = Page((tmp_path / "page.html").read_text(encoding="utf-8")).words
    assert "No run has finished." in words
    assert html.unescape("there is no table\nin the folder") in words


def test_a_model_that_ignores_a_choice_says_nothing_about_it(tmp_path: Path) -> None:
    for seed in (0, 1):
        for loss, crop in (("mse", "a"), ("huber", "a"), ("mse", "b"), ("huber", "b")):
            write_predicted(
                tmp_path / f"cnn-{loss}-{crop}-{seed}",
                [f"loss={loss}", f"crop={crop}"],
                seed,
                0.1 if loss == "mse" else 0.12,
            )
    for crop in "abcd":
        write_predicted(tmp_path / f"mean-{crop}", ["model=mean", f"crop={crop}"], 0, 0.2, seeded=False)
    (group,) = compare_runs([read_record(run) for run in find_runs(tmp_path)])
    found = {effect.key: effect for effect in effects(group)}
    assert found.keys() == {"loss", "crop"}
    assert all((effect.combinations, effect.of) == (2, 2) for effect in found.values())
    assert [level.value for level in found["loss"].levels] == ["mse", "huber"]
    assert max(level.mean for effect in found.values() for level in effect.levels) < 0.15


def test_a_search_is_drawn_with_its_pruned_and_failed_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predicted(tmp_path / "1-x", ["loss=mse"], 0, 0.1)
    search(opened(tmp_path, n_trials=24))
    page, table = tmp_path / "page.html", tmp_path / "table.json"
    markdown = tmp_path / "table.md"
    options = ["--html", str(page), "--json", str(table), "--markdown", str(markdown)]
    assert main([str(tmp_path), *options]) == 0
    drawn = Page(page.read_text(encoding="utf-8"))
    shown = capsys.readouterr().out
    # The terminal, the page and the other forms say the same.
    (found,) = json.loads(table.read_text())["searches"]
    counts = Counter(trial["status"] for trial in found["trials"])
    assert min(counts[status] for status in ("done", "pruned", "failed")) >= 2
    for said in (f"Best trial: {found['best']}, val/rmse ", "24 trials: ", f"{counts['pruned']} pruned"):
        assert all(said in text for text in (shown, drawn.words, markdown.read_text()))
    assert list(found["importance"]) == sorted(found["importance"], key=found["importance"].get, reverse=True)
    for title in (
        "of each trial",
        "of each trial by epoch",
        *(f"against {key}" for key in found["importance"]),
    ):
        assert f"val/rmse {title}" in drawn.words
    # Each trial is a point of the history and of each chart of a setting; a pruned one ends a curve as well.
    classes = Counter(values["class"] for tag, values in drawn.tags if tag == "g" and "class" in values)
    crosses = sum(tag == "path" for tag, _ in drawn.tags)
    assert crosses == 4 * counts["failed"] + 1  # and one in the legend
    assert classes["pruned"] == (4 + 2) * counts["pruned"] + 1
    assert "model=deep_cnn" in drawn.words
    assert "it cannot" in drawn.words


def test_a_page_without_optuna_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_predicted(tmp_path / "1-x", ["loss=mse"], 0, 0.1)
    opened(tmp_path)
    monkeypatch.setattr("galaxy.reports.search.find_spec", lambda _: None)
    assert main([str(tmp_path), "--html", str(tmp_path / "page.html")]) == 0
    assert "pip install 'galaxy-morphology[search]'" in Page((tmp_path / "page.html").read_text()).words


def test_a_trial_that_is_far_worse_does_not_squeeze_the_others(tmp_path: Path) -> None:
    study = opened(tmp_path, n_trials=9)
    for trial in study.trials():
        study.tell(trial.number, done(1e6 if trial.number == 4 else 0.1 + trial.number / 1000), "x")
    section = section_of(search_in(tmp_path))
    assert section.beyond
    assert section.history is not None
    heights = [point.y for point in section.history.points]
    assert min(heights) == charts.TOP
    assert sorted(heights)[1] > charts.TOP + 10


def test_a_value_without_a_logarithm_lies_at_the_end_of_a_logarithmic_axis(tmp_path: Path) -> None:
    values = (0.60, 0.58, 0.52, 0.46, 0.46, 0.40, 0.30, -1.0)
    study = Study(tmp_path, SearchSettings(n_trials=len(values)), SPACE, "val/r2", "max", 4)
    for trial, value in zip(study.trials(), values, strict=True):
        objective: Objective = {"metric": "val/r2", "mode": "max", "value": value}
        study.tell(trial.number, Result(status="done", objective=objective), "x")
    history = section_of(search_in(tmp_path)).history
    assert history is not None
    assert history.y.log
    assert max(point.y for point in history.points) == charts.HEIGHT - charts.BOTTOM
