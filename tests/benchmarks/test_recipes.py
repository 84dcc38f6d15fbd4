"""The programs that compare recipes, and training sets of several sizes."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.recipes import STUDIES, Outcome, Recipe, Study, make_table
from galaxy.runs.folder import SPLIT_SETTINGS
from galaxy.runs.settings import check_settings
from tests.config.test_every_option import composed

# A study of two small recipes, made by the program as the real ones are.
SMALL = """
import sys
from benchmarks import recipes
small = ("data=kaggle", "crop.size=32", "trainer=cpu", "trainer.max_epochs=1")
recipes.STUDIES["kaggle"] = recipes.Study(
    "Two recipes: RMSE", "rmse",
    (recipes.Recipe("default", (*small, "model=mlp")),
     recipes.Recipe("other", (*small, "model=mlp", "seed=1"), views=(4,)),
     recipes.Recipe("both", members=("default", "other"))), baseline="default")
sys.argv = ["recipes", "kaggle", "--root", sys.argv[1], "--runs", "runs", "--cache", "cache"]
recipes.main()
"""
NOISE_FLOOR = [
    "--counts",
    "40",
    "80",
    "--seen",
    "80",
    "--epochs",
    "1",
    "--new",
    "30",
    "--views",
    "1",
    "--picture",
    "picture.png",
]


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_the_recipes_of_a_study_predict_the_same_of_the_same_shares(study: Study) -> None:
    asked = []
    for recipe in study.recipes:
        if recipe.members:
            continue
        config = composed(*recipe.settings, "data.root=x")
        check_settings(config)
        asked.append((config["target"], [config["data"][key] for key in ("catalog", *SPLIT_SETTINGS)]))
    assert asked == asked[:1] * len(asked)


def test_a_difference_is_that_of_the_same_galaxies() -> None:
    true = [0.0, 1.0, 0.5, 0.5]
    table = pd.DataFrame({"id": list("abcd"), "x": [0.1, 0.9, 0.6, 0.4], "true/x": true})
    worse = table.assign(x=[0.2, 0.8, 0.7, 0.3]).iloc[::-1]
    recipes = (Recipe("one"), Recipe("other", published="0.3", differs="twice as wrong"))
    study = Study("Two", "rmse", recipes, views=(), baseline="one")
    outcomes = {
        "one": Outcome({1: table}, seconds=10),
        "other": Outcome({1: worse}, seconds=30, parameters=7),
    }
    one, other = make_table(study, "two", outcomes, 5.0).rows
    assert one[1:3] == ("0.1000 (0.1000..0.1000)", "")
    assert other[1:] == (
        "0.2000 (0.2000..0.2000)", "+0.1000 (+0.1000..+0.1000)", "30", "6.00", "7", "0.3", "twice as wrong"
    )  # fmt: skip


@pytest.mark.slow
def test_recipes_are_trained_scored_and_compared(project: Path, survey: Path) -> None:
    (project / "docs" / "images").mkdir(parents=True)
    for _ in range(2):  # the second time, all is there
        subprocess.run([sys.executable, "-c", SMALL, str(survey)], check=True, cwd=project, timeout=300)
    results = project / "benchmarks" / "results"
    rows = [line for line in (results / "recipes_kaggle.md").read_text().splitlines() if line[:2] == "| "][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| default", "| other", "| both"]
    assert "default" in (results / "time_to_accuracy.md").read_text()
    assert (project / "docs" / "images" / "time_to_accuracy.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_noise_floor_is_below_the_network(project: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.noise_floor", *NOISE_FLOOR]
    subprocess.run(command, check=True, cwd=project, timeout=300)
    lines = (project / "benchmarks" / "results" / "noise_floor.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["| 40", "| 80"]
    assert all(float(row[4]) < float(row[3]) for row in rows)
    assert (project / "picture.png").stat().st_size > 1000
