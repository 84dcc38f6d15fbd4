"""Classical methods: what they predict is scikit-learn's, and what they learned is plain numbers."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn import ensemble, linear_model, neighbors, pipeline, preprocessing, tree

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.labels.labels import Labels, class_labels
from galaxy.models.classical import (
    DecisionTree,
    LogisticRegression,
    NearestNeighbors,
    PixelModel,
    RandomForest,
)
from galaxy.system.errors import UserError

SIDE, PIXELS = 12, 4
CLASSES = class_labels(("round", "disc", "edge-on", "merger"), "What is it?")
TWICE = class_labels(("smooth", "again"), "Is it?")
FRACTIONS = Labels(GALAXY_ZOO_2, KAGGLE_COLUMNS, "cumulative")

Maker = Callable[[Labels], PixelModel]
AVERAGES: dict[str, Maker] = {
    "knn": lambda labels: NearestNeighbors(PIXELS, 5, labels),
    "decision_tree": lambda labels: DecisionTree(PIXELS, 3, None, 1, labels),
    "random_forest": lambda labels: RandomForest(PIXELS, 7, 2, None, "sqrt", 2, 1, labels),
}
ALL: dict[str, Maker] = {"logistic": lambda labels: LogisticRegression(PIXELS, 0.1, 500, labels), **AVERAGES}


def images_of(answer: np.ndarray, seed: int = 0) -> torch.Tensor:
    """Noise, brighter in the quarter of the frame that the answer (0 to 3) names."""
    images = np.random.default_rng(seed).random((len(answer), 3, SIDE, SIDE), dtype=np.float32) * 0.7
    half = SIDE // 2
    for image, quarter in zip(images, answer, strict=True):
        row, column = divmod(int(quarter), 2)
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += 0.15
    return torch.from_numpy(images)


def classes(count: int = 150, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    answer = np.random.default_rng(seed + 100).integers(0, 4, count)
    return images_of(answer, seed), torch.from_numpy(np.eye(4, dtype=np.float32)[answer])


def fractions(count: int = 150, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed + 100)
    conditional = np.concatenate(
        [rng.dirichlet(np.ones(len(q.answers)), count) for q in GALAXY_ZOO_2], axis=1
    )
    targets = GALAXY_ZOO_2.cumulative(conditional).astype(np.float32)
    return images_of(targets[:, :3].argmax(axis=1), seed), torch.from_numpy(targets)


def fitted(model: PixelModel, images: torch.Tensor, targets: torch.Tensor) -> PixelModel:
    model.fit(zip(images.split(64), targets.split(64), strict=True))
    return model


def predicted(model: PixelModel, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        found = model(images).fractions
    assert found.dtype == torch.float32
    return found.numpy()


def pixels(images: torch.Tensor) -> np.ndarray:
    """Means of 3 x 3 blocks, written another way than the models do."""
    blocks = images.numpy().reshape(len(images), 3, PIXELS, 3, PIXELS, 3)
    return blocks.mean(axis=(3, 5)).reshape(len(images), -1)


def test_images_are_reduced_by_area() -> None:
    images, _ = classes(5)
    model = NearestNeighbors(PIXELS, 1, CLASSES)
    np.testing.assert_allclose(model.features(images).numpy(), pixels(images), atol=1e-6)


def test_knn_gives_the_classifiers_probabilities() -> None:
    images, targets = classes()
    new, _ = classes(seed=1)
    expected = (
        neighbors.KNeighborsClassifier(5).fit(pixels(images), targets.argmax(1)).predict_proba(pixels(new))
    )
    found = predicted(fitted(AVERAGES["knn"](CLASSES), images, targets), new)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["decision_tree", "random_forest"])
def test_trees_of_one_hot_targets_are_the_classifiers(name: str) -> None:
    images, targets = classes()
    new, _ = classes(seed=1)
    model = fitted(ALL[name](CLASSES), images, targets)
    features = model.features(images).numpy()
    classifier = (
        tree.DecisionTreeClassifier(min_samples_leaf=3, random_state=1)
        if name == "decision_tree"
        else ensemble.RandomForestClassifier(7, min_samples_leaf=2, random_state=1)
    ).fit(features, targets.argmax(1))
    expected = classifier.predict_proba(model.features(new).numpy())
    np.testing.assert_allclose(predicted(model, new), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["decision_tree", "random_forest"])
def test_trees_of_fractions_are_scikit_learns(name: str) -> None:
    images, targets = fractions()
    new, _ = fractions(seed=1)
    model = fitted(ALL[name](FRACTIONS), images, targets)
    regressor = (
        tree.DecisionTreeRegressor(min_samples_leaf=3, random_state=1)
        if name == "decision_tree"
        else ensemble.RandomForestRegressor(7, min_samples_leaf=2, max_features="sqrt", random_state=1)
    ).fit(model.features(images).numpy(), targets.numpy())
    for split in (images, new):
        expected = regressor.predict(model.features(split).numpy())
        np.testing.assert_allclose(predicted(model, split), expected, atol=1e-6)


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_obey_the_tree_and_beat_the_mean(name: str) -> None:
    images, targets = fractions(400)
    new, truth = fractions(seed=1)
    found = predicted(fitted(AVERAGES[name](FRACTIONS), images, targets), new)
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.abs(GALAXY_ZOO_2.residuals(found)).max() < 1e-5
    first = slice(0, 3)  # the answers that can be seen in the image
    error = np.square(found - truth.numpy())[:, first].mean()
    assert error < (targets.mean(0) - truth).square()[:, first].mean()


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 2, 3), (1, 3)])
def test_logistic_is_the_scaled_regression(present: tuple[int, ...]) -> None:
    answer = np.random.default_rng(5).choice(present, 150)
    images, targets = images_of(answer), torch.from_numpy(np.eye(4, dtype=np.float32)[answer])
    new, _ = classes(seed=1)
    model = fitted(ALL["logistic"](CLASSES), images, targets)
    expected = np.zeros((len(new), 4))
    reference = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(C=0.1, max_iter=500)
    ).fit(model.features(images).numpy(), answer)
    expected[:, list(present)] = reference.predict_proba(model.features(new).numpy())
    np.testing.assert_allclose(predicted(model, new), expected, atol=1e-5)
    assert (predicted(model, images).argmax(1) == answer).mean() > 0.9


def test_logistic_takes_the_likeliest_of_soft_targets() -> None:
    images, hard = classes()
    soft = 0.6 * hard + 0.1
    models = [fitted(ALL["logistic"](CLASSES), images, targets) for targets in (hard, soft)]
    assert np.array_equal(*(predicted(model, images) for model in models))


def test_logistic_refuses_what_has_no_classes() -> None:
    with pytest.raises(ValueError, match=r"predicts classes, not fractions: use target=question1"):
        ALL["logistic"](FRACTIONS)
    images = images_of(np.zeros(20))
    with pytest.raises(UserError, match=r"two classes; in the training split all are disc"):
        fitted(ALL["logistic"](CLASSES), images, torch.eye(4)[[1] * 20])


def test_a_fit_cut_short_says_what_to_raise(caplog: pytest.LogCaptureFixture) -> None:
    images, targets = classes()
    with caplog.at_level(logging.WARNING):
        fitted(ALL["logistic"](CLASSES), images, targets)
        assert not caplog.messages
        fitted(LogisticRegression(PIXELS, 0.1, 1, CLASSES), images, targets)
    (message,) = caplog.messages
    assert "after 1 steps: raise model.max_iter" in message


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_carries_the_fit_as_plain_numbers(name: str, tmp_path: Path) -> None:
    images, targets = classes()
    new, _ = classes(seed=1)
    model = fitted(ALL[name](CLASSES), images, targets)
    torch.save(model.state_dict(), tmp_path / "best.ckpt")
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert all(type(value) is torch.Tensor for value in state.values())
    copy = ALL[name](CLASSES)
    copy.load_state_dict(state)
    assert np.array_equal(predicted(copy, new), predicted(model, new))
    copy.load_state_dict(state)  # a model that has been filled before is filled again
    assert np.array_equal(predicted(copy, new), predicted(model, new))


@pytest.mark.parametrize("name", ALL)
def test_a_state_of_other_answers_is_refused(name: str) -> None:
    images, targets = classes()
    state = fitted(ALL[name](CLASSES), images, targets).state_dict()
    other = ALL[name](class_labels(("round", "disc", "edge-on"), "What is it?"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(state)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_a_pickled_estimator_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, targets = classes()
    state = fitted(ALL["knn"](CLASSES), images, targets).state_dict()
    torch.save({**state, "known": Malicious()}, "pickled.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load("pickled.ckpt", weights_only=True)
    payload = torch.frombuffer(bytearray(pickle.dumps(Malicious())), dtype=torch.uint8)
    torch.save({**state, "known": payload}, "bytes.ckpt")
    with pytest.raises(RuntimeError, match="size mismatch for known"):
        ALL["knn"](CLASSES).load_state_dict(torch.load("bytes.ckpt", weights_only=True))
    torch.save({**state, "_extra_state": payload}, "extra.ckpt")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        ALL["knn"](CLASSES).load_state_dict(torch.load("extra.ckpt", weights_only=True))
    assert not Path("executed").exists()


def test_forests_depend_on_the_seed_alone() -> None:
    images, targets = classes()

    def forest(n_jobs: int, seed: int) -> np.ndarray:
        model = RandomForest(PIXELS, 5, 1, None, 0.5, n_jobs, seed, CLASSES)
        return predicted(fitted(model, images, targets), images)

    assert np.array_equal(forest(1, 7), forest(2, 7))
    assert not np.array_equal(forest(1, 7), forest(1, 8))


def test_a_whole_share_of_the_features_is_all_of_them() -> None:
    images, targets = classes()
    states = [
        fitted(RandomForest(PIXELS, 2, 1, 3, share, 1, 0, CLASSES), images, targets).state_dict()
        for share in (1, 1.0)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


MOST = "2,147,483,647"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NearestNeighbors(0, 5, CLASSES), f"^pixels is 0; it must be from 1 to {MOST}"),
        (
            lambda: NearestNeighbors(PIXELS, 0, CLASSES),
            "^n_neighbors is 0",
        ),
        (lambda: NearestNeighbors(PIXELS, 2**63, CLASSES), "^n_neighbors is 9223372036854775808"),
        (lambda: LogisticRegression(PIXELS, 0.0, 9, CLASSES), "^C is 0.0; it must be a number above 0"),
        (lambda: LogisticRegression(PIXELS, np.nan, 9, CLASSES), "^C is nan"),
        (lambda: LogisticRegression(PIXELS, np.inf, 9, CLASSES), "^C is inf"),
        (lambda: LogisticRegression(PIXELS, 1.0, 0, CLASSES), "^max_iter is 0"),
        (lambda: DecisionTree(PIXELS, 0, None, 0, CLASSES), "^min_samples_leaf is 0"),
        (lambda: DecisionTree(PIXELS, 1, 0, 0, CLASSES), "^max_depth is 0"),
        (
            lambda: DecisionTree(PIXELS, 1, None, -1, CLASSES),
            "^seed is -1; it must be from 0 to 4,294",
        ),
        (lambda: RandomForest(PIXELS, 0, 1, None, "sqrt", 1, 0, CLASSES), "^n_estimators is 0"),
        (lambda: RandomForest(PIXELS, 1, 1, 2**31, "sqrt", 1, 0, CLASSES), "^max_depth is 2147483648"),
        (lambda: RandomForest(PIXELS, 1, 1, None, 1.5, 1, 0, CLASSES), "^max_features is 1.5"),
        (lambda: RandomForest(PIXELS, 1, 1, None, np.nan, 1, 0, CLASSES), "^max_features is nan"),
        (lambda: RandomForest(PIXELS, 1, 1, None, "sqrt", 0, 0, CLASSES), "^n_jobs is 0"),
        (lambda: RandomForest(PIXELS, 1, 1, None, "sqrt", 1, 2**32, CLASSES), "^seed is 4294967296"),
    ],
)
def test_options_are_checked(make: Callable[[], PixelModel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", AVERAGES)
def test_a_single_column_is_learned_as_several_are(name: str) -> None:
    """And without a warning, which would be an error here."""
    images, targets = fractions()
    new, _ = fractions(seed=1)
    alone = class_labels(("smooth",), "Is it?")
    one = predicted(fitted(AVERAGES[name](alone), images, targets[:, :1]), new)
    assert one.shape == (len(new), 1)
    # Twice the same column leads to the same splits.
    both = predicted(fitted(AVERAGES[name](TWICE), images, targets[:, [0, 0]]), new)
    np.testing.assert_allclose(one, both[:, :1], atol=1e-6)
    assert one.std() > 0


def test_data_that_are_too_small_are_named() -> None:
    images, targets = classes(4)
    with pytest.raises(ValueError, match=r"^n_neighbors is 5; the training split has 4 images"):
        fitted(ALL["knn"](CLASSES), images, targets)
    with pytest.raises(ValueError, match=rf"^pixels is {SIDE + 1}; the images are {SIDE} pixels wide"):
        fitted(NearestNeighbors(SIDE + 1, 1, CLASSES), images, targets)


@pytest.mark.parametrize("name", ALL)
def test_options_fit_their_models(name: str) -> None:
    """The shipped YAML gives every argument but the labels."""
    from hydra.utils import instantiate

    node = OmegaConf.load(Path(__file__).parents[2] / f"conf/model/{name}.yaml")
    requires = node.pop("requires", None)
    del node["ignores"]  # the program reads it
    model = instantiate(OmegaConf.create({"seed": 3, "model": node}).model)(labels=CLASSES)
    assert isinstance(model, type(ALL[name](CLASSES)))
    assert (requires is not None) == (name == "logistic")
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    _, targets = classes(40)
    probabilities = predicted(fitted(model, images, targets), images)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_unknown_targets_become_the_mean_of_the_known_ones() -> None:
    images, targets = fractions()
    holey = targets.clone()
    holey[0] = torch.nan  # nothing is known of this galaxy
    holey[1:40, 3] = torch.nan
    filled = targets[1:].clone()
    filled[:39, 3] = targets[40:, 3].mean()
    model = fitted(AVERAGES["knn"](FRACTIONS), images, holey)
    expected = fitted(AVERAGES["knn"](FRACTIONS), images[1:], filled)
    np.testing.assert_allclose(predicted(model, images), predicted(expected, images), atol=1e-6)
