"""Simulated galaxies: crowd, pictures and the survey on disk."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.surveys.simulated.crowd import vote, vote_fractions
from galaxy.surveys.simulated.light import Array, paint_odd_galaxy, pixel_grid
from galaxy.surveys.simulated.picture import add_artefact, render
from galaxy.surveys.simulated.population import (
    ARTEFACTS,
    ODD_FEATURES,
    SimulatedGalaxy,
    answer_probabilities,
    draw_galaxy,
)
from galaxy.surveys.simulated.survey import (
    IMAGES,
    PROBABILITIES,
    SOLUTIONS,
    VOTES,
    SimulatedSurvey,
    write_survey,
)
from galaxy.system.errors import UserError
from tests.helpers.full_disk import file_size_limit

# Of the Galaxy Challenge's labels, 12,316 rows.
REAL_MEANS = np.array(
    [
        0.4355,
        0.5387,
        0.0257,
        0.1046,
        0.4342,
        0.1016,
        0.3325,
        0.2165,
        0.2177,
        0.0416,
        0.1800,
        0.1760,
        0.0366,
        0.2294,
        0.7706,
        0.1723,
        0.2093,
        0.0540,
        0.0333,
        0.0135,
        0.0326,
        0.0402,
        0.0642,
        0.0421,
        0.0036,
        0.0631,
        0.0104,
        0.0311,
        0.0937,
        0.0847,
        0.0381,
        0.0161,
        0.0939,
        0.0179,
        0.0077,
        0.0073,
        0.0735,
    ]
)
REAL_DEVIATIONS = np.array(
    [
        0.2853,
        0.2980,
        0.0392,
        0.2102,
        0.3025,
        0.1764,
        0.2483,
        0.2870,
        0.1790,
        0.0892,
        0.1933,
        0.1787,
        0.0603,
        0.2266,
        0.2266,
        0.2405,
        0.2168,
        0.1098,
        0.0979,
        0.0276,
        0.0517,
        0.0815,
        0.0902,
        0.1076,
        0.0240,
        0.1376,
        0.0377,
        0.0943,
        0.1485,
        0.1401,
        0.0943,
        0.0543,
        0.1935,
        0.0666,
        0.0382,
        0.0383,
        0.1071,
    ]
)

SPIRAL = SimulatedGalaxy(
    structure=0.95,
    axis_ratio=1.0,
    bulge=0.3,
    boxiness=0.0,
    bar=0.0,
    arms=1.0,
    arm_count=2,
    clarity=1.0,
    looseness=0.5,
    odd_feature="ring",
    oddness=0.0,
    artefact="trail",
    damage=0.0,
    redness=0.3,
    resolution=200,
    position_angle=0.4,
    handedness=1,
)


def answer(column: str) -> int:
    return KAGGLE_COLUMNS.index(column)


def paint(galaxy: SimulatedGalaxy, seed: int = 0) -> Array:
    x, y = pixel_grid(galaxy.resolution)
    return paint_odd_galaxy(galaxy, x, y, np.random.default_rng(seed))


def harmonics(light: Array, radius: float) -> np.ndarray:
    """The strength of each m-fold symmetry on a circle, relative to its mean light."""
    n = len(light)
    scale = n / 2 / pixel_grid(n)[0].max()
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    columns = (n / 2 + scale * radius * np.cos(angles)).astype(int)
    rows = (n / 2 + scale * radius * np.sin(angles)).astype(int)
    spectrum = np.abs(np.fft.rfft(light.mean(-1)[rows, columns]))
    return spectrum / spectrum[0]


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray]:
    """Vote fractions and cumulative probabilities of 3,000 galaxies, without their pictures."""
    fractions, expected = [], []
    for index in range(3000):
        rng = np.random.default_rng([0, index])
        probabilities = answer_probabilities(draw_galaxy(rng))
        fractions.append(vote_fractions(vote(probabilities, 45, rng)))
        expected.append(GALAXY_ZOO_2.cumulative(probabilities))
    return np.array(fractions), np.array(expected)


def test_class_means_and_spreads_are_near_the_real_ones(crowd):
    fractions, _ = crowd
    np.testing.assert_allclose(fractions.mean(0), REAL_MEANS, atol=0.02)
    np.testing.assert_allclose(fractions.std(0), REAL_DEVIATIONS, atol=0.04)
    rmse_of_mean = np.sqrt(np.square(fractions - fractions.mean(0)).mean())
    assert rmse_of_mean == pytest.approx(0.164, abs=0.005)  # the real one


def test_noise_floor_is_that_of_45_independent_votes(crowd):
    fractions, expected = crowd
    floor = np.sqrt(np.square(fractions - expected).mean())
    assert 0.03 < floor < 0.05
    first = GALAXY_ZOO_2.slices[0]  # all 45 answer it, so its variance is p (1 - p) / 45
    variance = expected[:, first] * (1 - expected[:, first]) / 45
    assert np.square(fractions - expected)[:, first].mean() == pytest.approx(variance.mean(), rel=0.05)


def test_fractions_are_unbiased_and_obey_the_tree(crowd):
    fractions, expected = crowd
    assert np.abs(GALAXY_ZOO_2.residuals(fractions)).max() < 1e-12
    assert np.abs(GALAXY_ZOO_2.residuals(expected)).max() < 1e-12
    np.testing.assert_allclose(fractions.mean(0), expected.mean(0), atol=0.005)
    assert (fractions == 0).mean() > 0.3  # exact zeros, as real volunteers leave


def test_volunteers_meet_only_the_questions_on_their_way():
    probabilities = answer_probabilities(SPIRAL)
    votes = vote(probabilities, 500, np.random.default_rng(1))
    asked = dict(
        zip(
            [q.key for q in GALAXY_ZOO_2],
            [int(votes[columns].sum()) for columns in GALAXY_ZOO_2.slices],
            strict=True,
        )
    )
    assert asked["q01"] == 500
    assert asked["q02"] == votes[answer("Class1.2")]
    assert asked["q03"] == asked["q04"] == asked["q05"] == votes[answer("Class2.2")]
    assert asked["q06"] == 500 - votes[answer("Class1.3")]
    assert asked["q07"] == votes[answer("Class1.1")]
    assert asked["q08"] == votes[answer("Class6.1")]
    assert asked["q09"] == votes[answer("Class2.1")]
    assert asked["q10"] == asked["q11"] == votes[answer("Class4.1")]


def test_the_odd_question_is_shared_out_among_those_who_met_it():
    votes = np.zeros(37, np.int64)
    votes[answer("Class1.3")] = 30
    votes[answer("Class1.1")] = votes[answer("Class7.1")] = 10
    votes[answer("Class6.1")] = votes[answer("Class8.6")] = 4
    votes[answer("Class6.2")] = 6
    fractions = vote_fractions(votes)
    assert fractions[answer("Class1.3")] == pytest.approx(0.75)
    assert fractions[answer("Class6.1")] == pytest.approx(0.4)
    assert fractions[answer("Class8.6")] == pytest.approx(0.4)
    assert fractions[answer("Class7.1")] == pytest.approx(0.25)


def test_a_galaxy_that_all_call_an_artefact_is_not_odd():
    votes = np.zeros(37, np.int64)
    votes[answer("Class1.3")] = 45
    expected = np.zeros(37)
    expected[[answer("Class1.3"), answer("Class6.2")]] = 1
    np.testing.assert_array_equal(vote_fractions(votes), expected)


@pytest.mark.parametrize(
    ("column", "property_name", "low", "high"),
    [
        ("Class1.2", "structure", 0.1, 0.9),
        ("Class1.3", "damage", 0.0, 1.0),
        ("Class2.1", "axis_ratio", 0.9, 0.2),
        ("Class3.1", "bar", 0.1, 0.9),
        ("Class4.1", "arms", 0.1, 0.9),
        ("Class5.4", "bulge", 0.1, 0.9),
        ("Class6.1", "oddness", 0.1, 0.9),
        ("Class7.3", "axis_ratio", 0.9, 0.2),
        ("Class9.2", "boxiness", 0.1, 0.9),
        ("Class10.3", "looseness", 0.1, 0.9),
        ("Class11.6", "clarity", 0.9, 0.1),
    ],
)
def test_the_crowd_sees_what_is_there(column, property_name, low, high):
    less, more = (
        answer_probabilities(replace(SPIRAL, **{property_name: value}))[answer(column)]
        for value in (low, high)
    )
    assert more > 1.5 * less


@pytest.mark.parametrize("arm_count", [1, 2, 3, 4, 6])
def test_arms_can_be_counted_in_the_light(arm_count):
    strength = harmonics(paint(replace(SPIRAL, arm_count=arm_count)), 0.6)
    assert int(np.argmax(strength[1:9])) + 1 == arm_count
    faint = harmonics(paint(replace(SPIRAL, arm_count=arm_count, arms=0.2)), 0.6)
    assert strength[arm_count] > 3 * faint[arm_count]


def test_bar_stretches_the_centre():
    barred, plain = (harmonics(paint(replace(SPIRAL, arms=0.0, bar=bar)), 0.3)[2] for bar in (1.0, 0.0))
    assert barred > 0.3
    assert barred > 3 * plain


@pytest.mark.parametrize("structure", [0.0, 1.0])
def test_axis_ratio_is_that_of_the_light(structure):
    x, y = pixel_grid(SPIRAL.resolution)
    for axis_ratio in (0.3, 0.6, 1.0):
        galaxy = replace(SPIRAL, structure=structure, axis_ratio=axis_ratio, arms=0.0, bulge=0.0)
        light = paint(galaxy).mean(-1).ravel()
        moments = np.linalg.eigvalsh(np.cov(np.stack([x.ravel(), y.ravel()]), aweights=light))
        assert np.sqrt(moments[0] / moments[1]) == pytest.approx(axis_ratio, abs=0.1)


def test_bulge_stands_out_of_a_disc_seen_edge_on():
    x, y = pixel_grid(SPIRAL.resolution)
    above = (np.abs(x) < 0.1) & (np.abs(y) > 0.15) & (np.abs(y) < 0.35)
    disc = replace(SPIRAL, axis_ratio=0.15, position_angle=0.0, arms=0.0)
    light = [paint(replace(disc, bulge=bulge))[above].sum() for bulge in (0.0, 0.9)]
    assert light[1] > 3 * light[0]


@pytest.mark.parametrize("odd_feature", ODD_FEATURES)
def test_each_odd_feature_changes_the_light(odd_feature):
    galaxy = replace(SPIRAL, odd_feature=odd_feature)
    plain, slight, strong = (paint(replace(galaxy, oddness=oddness)) for oddness in (0.0, 0.5, 1.0))
    total = np.abs(plain).sum()
    assert np.abs(strong - plain).sum() > 0.05 * total
    assert np.abs(slight - plain).sum() < np.abs(strong - plain).sum()


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_each_artefact_spoils_the_image(artefact):
    x, y = pixel_grid(100)
    clean = np.full((100, 100, 3), 0.1, np.float32)
    spoilt = []
    for damage in (0.0, 0.2, 1.0):
        seen = clean.copy()
        add_artefact(seen, x, y, replace(SPIRAL, artefact=artefact, damage=damage), np.random.default_rng(0))
        spoilt.append(np.abs(seen - clean).mean())
    assert spoilt[0] == 0
    assert 0 < spoilt[1] < spoilt[2]


def test_pictures_look_like_the_survey():
    """Levels measured on 300 images of the Galaxy Challenge: the 5th to the 95th percentile, widened."""
    centres, skies, redness = [], [], []
    for index in range(24):
        rng = np.random.default_rng(index)
        galaxy = replace(draw_galaxy(rng), damage=0.0)
        picture = render(galaxy, rng)
        assert picture.shape == (424, 424, 3)
        assert picture.dtype == np.uint8
        centres.append(picture[202:222, 202:222].mean((0, 1)))
        skies.append(np.median(picture, (0, 1)))
        redness.append(galaxy.redness)
    assert np.all((np.median(skies, 0) >= 1) & (np.median(skies, 0) <= 12))
    assert np.all((np.median(centres, 0) > [110, 90, 60]) & (np.median(centres, 0) < [235, 200, 160]))
    ratio = np.array(centres)[:, 0] / np.array(centres)[:, 2]
    assert np.corrcoef(ratio, redness)[0, 1] > 0.7


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def _small_pieces(monkeypatch):
    """A few galaxies are work for two."""
    monkeypatch.setattr("galaxy.surveys.simulated.survey.CHUNK", 4)


@pytest.mark.usefixtures("_small_pieces")
def test_survey_is_the_same_whatever_the_number_of_workers(tmp_path):
    survey = SimulatedSurvey(count=6, seed=3, volunteers=45)
    alone = write_survey(tmp_path / "alone", survey, workers=1)
    together = write_survey(tmp_path / "together", survey, workers=2)
    files = files_of(alone)
    assert len([name for name in files if name.startswith(IMAGES)]) == 6
    assert {SOLUTIONS, VOTES, PROBABILITIES} < set(files)
    assert files_of(together) == files


def test_small_survey_begins_a_larger_one_and_votes_leave_the_pictures_alone(tmp_path):
    small, large, fewer, other = (
        files_of(write_survey(tmp_path, survey, workers=1))
        for survey in (
            SimulatedSurvey(2, 0, 45),
            SimulatedSurvey(4, 0, 45),
            SimulatedSurvey(2, 0, 9),
            SimulatedSurvey(2, 1, 45),
        )
    )
    pictures = [name for name in small if name.startswith(IMAGES)]
    assert all(small[name] == large[name] == fewer[name] for name in pictures)
    assert large[SOLUTIONS].startswith(small[SOLUTIONS])
    assert small[SOLUTIONS] != fewer[SOLUTIONS]
    assert small[PROBABILITIES] == fewer[PROBABILITIES]
    others = [name for name in other if name.startswith(IMAGES)]
    assert not {*pictures} & {*others}  # another seed makes other galaxies, which have other names
    assert not {small[name] for name in pictures} & {other[name] for name in others}


def test_survey_cut_short_is_written_again(tmp_path):
    survey = SimulatedSurvey(2, 0, 45)
    part = tmp_path / f".{survey.folder}.part-1" / IMAGES
    part.mkdir(parents=True)
    (part / "1.jpg").write_bytes(b"half a pict")
    folder = write_survey(tmp_path, survey, workers=1)
    assert sorted(path.name for path in (folder / IMAGES).iterdir()) == ["100001.jpg", "100002.jpg"]
    assert not part.exists()


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("workers", [1, 2])
def test_survey_that_does_not_fit_leaves_nothing(tmp_path, workers):
    survey = SimulatedSurvey(6, 0, 45)
    with (
        file_size_limit(1000),
        pytest.raises(UserError, match="v2 cannot be written: File too large"),
    ):
        write_survey(tmp_path, survey, workers)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_survey_is_written_once_by_those_who_start_together(tmp_path):
    survey = SimulatedSurvey(6, 0, 45)
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: write_survey(tmp_path, survey, workers=1), range(3)))
    assert set(folders) == {tmp_path / survey.folder}
    before = (folders[0] / SOLUTIONS).stat().st_mtime_ns
    write_survey(tmp_path, survey, workers=1)
    assert (folders[0] / SOLUTIONS).stat().st_mtime_ns == before
    assert cv2.imread(str(folders[0] / IMAGES / "100006.jpg")).shape == (424, 424, 3)
