"""The report on a survey: its numbers, its pictures and its page."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.roi import RoiCrop
from galaxy.labels.labels import Labels
from galaxy.reports.explore.duplicates import NEAR, equal_pictures, nearest_pairs
from galaxy.reports.explore.pictures import look_at, thumbnail
from galaxy.reports.explore.report import write_report
from galaxy.reports.explore.tables import counts_in_words, sums_in_words, tables_of
from galaxy.surveys import Catalog
from galaxy.surveys.kaggle import read_kaggle
from galaxy.surveys.table import read_table
from tests.reports.test_page import Page

TREE = {
    "shape": {"text": "Is it $smooth$ & <b>round</b>?", "answers": ["smooth", "disk", "artefact"]},
    "bar": {"answers": {"bar": "a <i>bar</i>", "no_bar": "no bar"}, "parent": "disk"},
    "arms": {"answers": ["tight", "loose"], "parent": "bar"},
}
# Four kinds of galaxies. The arms of the last kind sum to 0.24, not to 0.25.
KINDS = [
    (0.8, 0.2, 0.0, 0.1, 0.1, 0.05, 0.05),
    (0.3, 0.7, 0.0, 0.5, 0.2, 0.5, 0.0),
    (0.1, 0.9, 0.0, 0.0, 0.9, 0.0, 0.0),
    (0.0, 0.5, 0.5, 0.25, 0.25, 0.2, 0.04),
]
COLUMNS = ["smooth", "disk", "artefact", "bar", "no_bar", "tight", "loose"]
CROPS = {"center64": CenterCrop(64), "roi64": RoiCrop(64)}


def picture(seed: int) -> NDArray[np.uint8]:
    """A galaxy among stars of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] - 48
    image = 180 * np.exp(-(x**2 + y**2) / 120) + rng.normal(14, 3, (96, 96))
    for left, top in rng.integers(5, 91, (8, 2)):
        image[top - 2 : top + 3, left - 2 : left + 3] += 90
    return np.repeat(image[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 galaxies, six of each kind. The second looks like the first, the fourth like the third."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "images").mkdir()
    for number in range(24):
        image = picture(number)
        if number == 1:
            image = picture(0)
        if number == 3:  # turned, mirrored and darker
            image = np.rot90(picture(2))[:, ::-1] * 0.9
        cv2.imwrite(str(folder / "images" / f"g{number}.png"), np.ascontiguousarray(image).astype(np.uint8))
    table = pd.DataFrame([KINDS[number % 4] for number in range(24)], columns=COLUMNS)
    table.insert(0, "name", [f"g{number}" for number in range(24)])
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def test_the_numbers_of_a_table_of_three_questions(root: Path) -> None:
    tables = tables_of(read_table(root, "error", questions=TREE))
    assert tables is not None
    assert [row.instances for row in tables.answers] == [6, 18, 6, 6, 6, 6, 0]
    means = [0.3, 0.575, 0.125, 0.2125, 0.3625, 0.1875, 0.0225]
    assert [row.mean for row in tables.answers] == pytest.approx(means, abs=1e-6)
    assert [row.zeros for row in tables.answers] == [0.25, 0, 0.75, 0.25, 0, 0.25, 0.5]
    assert [sums.rule for sums in tables.sums] == ["1", "disk", "a <i>bar</i>"]
    assert [(sums.checked, sums.slightly, sums.clearly) for sums in tables.sums] == [
        (24, 0, 0),
        (24, 0, 0),
        (24, 6, 0),
    ]
    assert tables.sums[2].largest == pytest.approx(0.01, abs=1e-6)
    assert tables.sums[2].mean == pytest.approx(-0.0025, abs=1e-6)
    assert tables.correlation is not None
    frame = pd.DataFrame(KINDS, columns=COLUMNS)
    assert tables.correlation == pytest.approx(frame.corr().to_numpy(), abs=1e-5)
    assert counts_in_words(tables).splitlines() == [
        "There are 24 images in the dataset.",
        "There are 24 truth values.",
        "There are 7 categories for classification.",
        "",
        "Sum of instances of terminal classes where the confidence level is above 0.5.",
        "",
        "smooth: 6",
        "artefact: 6",
        "no_bar: 6",
        "tight: 6",
        "loose: 0",
    ]


def test_the_counts_of_galaxy_zoo_2_have_the_layout_of_the_notebook(survey: Path) -> None:
    tables = tables_of(read_kaggle(survey, "error"))
    assert tables is not None
    count = (pd.read_csv(survey / "training_solutions_rev1.csv") >= 0.5).sum()
    lines = counts_in_words(tables).splitlines()
    terminal = ["Class1.3", "Class6.2", *(f"Class8.{answer}" for answer in range(1, 8))]
    assert lines[6:15] == [f"{name}: {count[name]}" for name in terminal]
    odd, even = count["Class6.1"], count["Class6.2"]
    assert lines[16:] == [
        f"Odd: {odd:,} or {100 * odd / (odd + even):0.1f}%",
        f"Not Odd: {even:,} or {100 * even / (odd + even):0.1f}%",
    ]


def test_conditional_answers_sum_to_one_where_somebody_was_asked(root: Path) -> None:
    labels = Labels.from_plain({"questions": {"bar": {"answers": ["bar", "no_bar"]}}, "meaning": "debiased"})
    catalog = read_table(root, "error", questions=TREE)
    targets = np.array([(0.4, 0.6), (0.5, 0.6), (0.0, 0.0), (0.2, 0.8)] * 6, np.float32)
    weights = np.ones_like(targets)
    weights[3::4] = 0
    tables = tables_of(replace(catalog, labels=labels, targets=targets, weights=weights))
    assert tables is not None
    (sums,) = tables.sums
    assert (sums.checked, sums.unasked, sums.clearly) == (12, 12, 6)
    assert sums.largest == pytest.approx(0.1, abs=1e-6)
    assert tables.answers[0].known == 18
    assert "Hart et al. (2016)" in sums_in_words(tables)


def test_copies_are_found_whatever_their_orientation(root: Path) -> None:
    catalog = read_table(root, "error", questions=TREE)
    looked = look_at(np.arange(24), catalog.images, CROPS, 2)
    assert equal_pictures(looked.digests) == [[0, 1]]
    pairs = nearest_pairs(looked.thumbnails, looked.digests)
    assert (pairs[0].first, pairs[0].second) == (2, 3)
    assert pairs[0].distance < NEAR
    assert all(pair.distance > NEAR for pair in pairs[1:])
    assert not thumbnail(np.full((50, 70, 3), 90, np.uint8)).any()


def test_what_crops_keep_is_measured(tmp_path: Path) -> None:
    images = []
    for number in range(3):
        frame = np.zeros((100, 100, 3), np.uint8)
        if number < 2:
            frame[40:60, 40:60] = 200  # the padded square has 28 pixels
        images.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(images[-1]), frame)
    images.append(tmp_path / "3.png")
    images[-1].write_bytes(b"")
    looked = look_at(np.arange(4), images, CROPS, 1)
    center, roi = looked.crops
    assert center.shares.tolist() == [0.25] * 3
    assert (center.whole, center.enlarged) == (0, 3)
    assert roi.shares == pytest.approx([0.28**2, 0.28**2, 1])
    assert (roi.whole, roi.enlarged) == (1, 2)
    assert looked.shapes == {(100, 100): 3}
    assert looked.bad == (f"{images[3]}: the file is empty",)


def test_the_page_holds_everything_in_itself(root: Path, tmp_path: Path) -> None:
    catalog = read_table(root, "error", questions=TREE)
    splits = np.array([0, 2, 0, 1] * 6, np.int8)
    said = write_report(catalog, splits, CROPS, 4, None, 2, tmp_path / "out")
    assert "2 of 24 galaxies have exactly the pixels of another one, in 1 case(s) across splits" in said
    assert "1 pair(s) of other pictures look nearly the same, 1 of them across splits" in said
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    pictures = [str(values["src"]) for tag, values in page.tags if tag == "img"]
    files = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert {"means.png", "correlation.png", "question_bar.png", "highest_shape.png", "crops.png"} <= files
    assert len(pictures) == len(files) - 1  # the contact sheet is not in the page
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    png = (tmp_path / "out" / "means.png").read_bytes()
    assert f"data:image/png;base64,{base64.b64encode(png).decode()}" in pictures
    assert not re.search(r"(src|href)=.https?:", text)
    assert "Is it $smooth$ & <b>round</b>?" in page.words
    assert "g0 (train) and g1 (test): equal" in page.words
    assert "g2 (train) and g3 (val): distance" in page.words


@pytest.mark.slow
def test_noise_under_many_crops_stays_below_20_mb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = tuple(tmp_path / f"{number}.png" for number in range(30))
    for path in images:
        cv2.imwrite(str(path), rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    crops = {f"c{number}": CenterCrop(128, 1 - number / 20) for number in range(9)}
    columns = tuple(f"a{number}" for number in range(40))
    labels = Labels.from_plain({"questions": {name: {"answers": [name]} for name in columns}})
    targets = rng.uniform(0, 1, (30, 40)).astype(np.float32)
    catalog = Catalog("own", np.arange(30), images, labels, targets)
    write_report(catalog, np.zeros(30, np.int8), crops, 2, None, 2, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size < 20e6


def test_classes_are_counted(survey: Path, tmp_path: Path) -> None:
    catalog = read_kaggle(survey, "error")
    labels = Labels.from_plain(
        {
            "questions": {"class": {"text": "Which?", "answers": ["round", "flat"]}},
            "meaning": "classes",
            "kind": "classes",
        }
    )
    targets = np.eye(2, dtype=np.float32)[np.arange(80) % 4 // 3]
    catalog = replace(catalog, labels=labels, targets=targets, strata=np.arange(80) % 4 // 3)
    said = write_report(catalog, np.zeros(80, np.int8), {"roi64": RoiCrop(64)}, 2, 10, 1, tmp_path / "out")
    assert "Instances of each class.\n\nround: 60\nflat: 20\n" in said
    assert "10 of 80 images looked at" in said
    assert "pictures=null looks at all" in said
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"classes.png", "highest_class.png"} <= files
    assert "correlation.png" not in files
