"""The classical methods that Galaxy Zoo's images were first tried on, learned by scikit-learn.

Sirressi classified with logistic regression (72 % of 100 galaxies into three classes, 800 to learn from);
github.com/Alexandria-Ransom/Galaxy_DECALS_10 with logistic regression (22 %), a decision tree (24 %), nearest
neighbours (29 %) and a random forest (39 %) on 2,672 galaxies of ten equal classes of Galaxy10.

scikit-learn fits, PyTorch predicts, from the arrays that the fit left: a checkpoint then holds numbers
instead of Python objects, so that reading it runs no code, needs no scikit-learn of the same version, and
predicts on any device.

Trees, forests and neighbours average the targets of training galaxies. Such an average obeys whatever sums
the targets obey, the tree of questions included; and of one-hot targets it is what scikit-learn's
classifiers call a probability. The squared error of one-hot targets is moreover proportional to Gini's
impurity, so that regression grows the trees that a classifier would: one model serves fractions and classes.
"""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from galaxy.labels.labels import Labels
from galaxy.models.fitted import Fitted
from galaxy.models.output import Output
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)

Array = NDArray[np.float32]


class Classical(Fitted):
    """A method that learns from all training images at once, each a row of D = C x pixels x pixels numbers.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        labels: What the targets are.
    """

    def __init__(self, pixels: int, labels: Labels) -> None:
        super().__init__()
        check_whole("pixels", pixels, 1)
        self.pixels = pixels
        self.labels = labels

    @abstractmethod
    def learn(self, features: Array, targets: Array) -> None:
        """Fills the buffers from (N, D) features and (N, K) targets."""

    @abstractmethod
    def predict(self, features: Tensor) -> Output:
        """(B, D) float32 to an output of (B, K) float32."""

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Reduces all images, and learns."""
        rows = [(self.features(images), targets) for images, targets in batches]
        features, targets = (torch.cat(parts).numpy() for parts in zip(*rows, strict=True))
        log.info(
            "%s: fitting %s images of %s numbers", type(self).__name__, *map("{:,}".format, features.shape)
        )
        self.learn(features, targets)

    def forward(self, images: Tensor) -> Output:
        """(B, C, H, W) to an output of (B, K) float32."""
        return self.predict(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C x pixels x pixels), each a mean over an area of the image."""
        if images.shape[-1] < self.pixels:
            raise UserError(f"model.pixels is {self.pixels}; it must not exceed crop.size={images.shape[-1]}")
        return F.interpolate(images, size=(self.pixels, self.pixels), mode="area").flatten(1)


class LogisticRegression(Classical):
    """Multinomial logistic regression on the likeliest class of each galaxy, as Sirressi's.

    Pixels are scaled to mean 0 and variance 1 before the fit, and the scaling becomes part of the weights.
    The L2-penalised loss has one minimum, which L-BFGS finds in fewer passes than Sirressi's `sag`: its
    steps know how strongly neighbouring pixels go together. A class without training galaxies has
    probability 0.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        C: The inverse of the penalty, above 0; smaller is smoother.
        max_iter: Steps after which the fit stops, converged or not.
        labels: What the targets are: classes.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, pixels: int, C: float, max_iter: int, labels: Labels) -> None:  # noqa: N803  scikit-learn's
        super().__init__(pixels, labels)
        if labels.kind != "classes":
            raise UserError("model=logistic predicts classes, not fractions: use target=question1")
        if not 0 < C < np.inf:
            raise UserError(f"model.C is {C}; it must be a number above 0")
        check_whole("max_iter", max_iter, 1)
        self.C = C
        self.max_iter = max_iter
        classes = labels.questions.size
        self.register_buffer("weight", torch.zeros(classes, 0, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(classes, dtype=torch.float64))

    def learn(self, features: Array, targets: Array) -> None:
        """Maximises the likelihood of the likeliest classes."""
        from sklearn import exceptions, linear_model, preprocessing  # noqa: PLC0415  takes a second

        classes = targets.argmax(axis=1)
        present = np.unique(classes)
        if len(present) < 2:
            name = self.labels.columns[present[0]]
            raise UserError(
                f"model=logistic needs galaxies of two classes; in the training split all are {name}"
            )
        scaler = preprocessing.StandardScaler().fit(features)
        model = linear_model.LogisticRegression(C=self.C, max_iter=self.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # said in our words below
            model.fit(scaler.transform(features), classes)
        if model.n_iter_[0] >= self.max_iter:
            log.warning(
                "the logistic regression had not converged after %d steps: raise model.max_iter, "
                "or lower model.C",
                self.max_iter,
            )
        # Of two classes scikit-learn only has the second one's weights: the logit between the two.
        first = np.zeros((1 if len(present) == 2 else 0, 1))
        weight = np.vstack([first * model.coef_[:1], model.coef_]) / scaler.scale_
        bias = np.append(first, model.intercept_) - weight @ scaler.mean_
        self.weight = self.weight.new_zeros(len(self.bias), features.shape[1])
        self.weight[present] = torch.from_numpy(weight)
        self.bias.fill_(-torch.inf)
        self.bias[present] = torch.from_numpy(bias)

    def predict(self, features: Tensor) -> Output:
        """(B, D) to logits and probabilities (B, K)."""
        logits = F.linear(features.double(), self.weight, self.bias).float()
        return Output(logits, logits.softmax(dim=1))


class NearestNeighbors(Classical):
    """The mean targets of the training galaxies whose pixels are nearest.

    Nothing is fitted: the checkpoint holds the training images, reduced. Pixels are compared as they are,
    for they share a unit; scaled to equal variance, the empty corners would count as much as the galaxy.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        n_neighbors: How many training galaxies are averaged.
        labels: What the targets are.
    """

    known: Tensor
    answers: Tensor

    def __init__(self, pixels: int, n_neighbors: int, labels: Labels) -> None:
        super().__init__(pixels, labels)
        check_whole("n_neighbors", n_neighbors, 1)
        self.n_neighbors = n_neighbors
        self.register_buffer("known", torch.zeros(0, 0))
        self.register_buffer("answers", torch.zeros(0, labels.questions.size))

    def learn(self, features: Array, targets: Array) -> None:
        """Keeps everything."""
        if len(features) < self.n_neighbors:
            raise UserError(
                f"model.n_neighbors is {self.n_neighbors}; the training split has {len(features)} images"
            )
        self.known, self.answers = torch.from_numpy(features), torch.from_numpy(targets)

    def predict(self, features: Tensor) -> Output:
        """(B, D) to (B, K)."""
        nearest = torch.cdist(features, self.known).topk(self.n_neighbors, largest=False).indices
        fractions = self.answers[nearest].mean(dim=1)
        return Output(fractions, fractions)


class Trees(Classical):
    """Regression trees, whose predictions are averaged.

    The trees stand one after the other in arrays over all M nodes; a leaf leads to itself.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        labels: What the targets are.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    leaf: Tensor
    roots: Tensor
    depth: Tensor
    answers: Tensor

    def __init__(self, pixels: int, labels: Labels) -> None:
        super().__init__(pixels, labels)
        for name in ("feature", "left", "right", "leaf"):  # (M,): which pixel, next nodes, row of `answers`
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(0, dtype=torch.float64))  # (M,): left up to and with it
        self.register_buffer("roots", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))
        self.register_buffer("answers", torch.zeros(0, labels.questions.size))  # (leaves, K)

    def take(self, trees: list[Any]) -> None:
        """Fills the buffers.

        Args:
            trees: The `tree_` of fitted scikit-learn regressors.
        """
        roots = np.cumsum([0] + [tree.node_count for tree in trees[:-1]])
        leaf = np.concatenate([tree.children_left for tree in trees]) < 0
        itself = np.arange(len(leaf))
        for name in ("left", "right"):
            children = [
                getattr(tree, f"children_{name}") + root for tree, root in zip(trees, roots, strict=True)
            ]
            setattr(self, name, torch.from_numpy(np.where(leaf, itself, np.concatenate(children))))
        feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in trees]))
        self.feature = torch.from_numpy(feature)
        self.threshold = torch.from_numpy(np.concatenate([tree.threshold for tree in trees]))
        self.leaf = torch.from_numpy(np.cumsum(leaf) - 1)
        answers = np.concatenate([tree.value[tree.children_left < 0, :, 0] for tree in trees])
        self.answers = torch.from_numpy(answers).float()
        self.roots = torch.from_numpy(roots)
        self.depth = torch.tensor(max(tree.max_depth for tree in trees))

    def predict(self, features: Tensor) -> Output:
        """(B, D) to (B, K): every galaxy walks down all trees at once."""
        node = self.roots.expand(len(features), -1)
        for _ in range(int(self.depth)):
            goes_left = features.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        fractions = self.answers[self.leaf[node]].mean(dim=1)
        return Output(fractions, fractions)


class DecisionTree(Trees):
    """One tree: galaxies are split by one pixel after the other, each time to the smallest squared error.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        min_samples_leaf: The fewest training galaxies that an answer is the mean of.
        max_depth: The most pixels that are asked about one galaxy; None for no limit.
        seed: Decides between splits that are equally good.
        labels: What the targets are.
    """

    def __init__(
        self, pixels: int, min_samples_leaf: int, max_depth: int | None, seed: int, labels: Labels
    ) -> None:
        super().__init__(pixels, labels)
        check_whole("min_samples_leaf", min_samples_leaf, 1)
        check_whole("max_depth", max_depth, 1)
        check_whole("seed", seed, 0, 2**32 - 1)
        self.options = {
            "min_samples_leaf": min_samples_leaf,
            "max_depth": max_depth,
            "random_state": seed,
        }

    def learn(self, features: Array, targets: Array) -> None:
        """Grows the tree."""
        from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415  takes a second

        self.take([DecisionTreeRegressor(**self.options).fit(features, _outputs(targets)).tree_])


class RandomForest(Trees):
    """Trees that see different galaxies, drawn with replacement, and different pixels at each split.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        n_estimators: The number of trees.
        min_samples_leaf: The fewest training galaxies that an answer is the mean of.
        max_depth: The most pixels that are asked about one galaxy; None for no limit.
        max_features: How many of the D numbers a split chooses from: their root, their logarithm, or a share.
        n_jobs: Trees grown at a time; -1 for as many as there are processors. It changes no tree.
        seed: Of what the trees see.
        labels: What the targets are.
    """

    def __init__(
        self,
        pixels: int,
        n_estimators: int,
        min_samples_leaf: int,
        max_depth: int | None,
        max_features: Literal["sqrt", "log2"] | float,
        n_jobs: int,
        seed: int,
        labels: Labels,
    ) -> None:
        super().__init__(pixels, labels)
        check_whole("n_estimators", n_estimators, 1)
        check_whole("min_samples_leaf", min_samples_leaf, 1)
        check_whole("max_depth", max_depth, 1)
        check_whole("seed", seed, 0, 2**32 - 1)
        if not isinstance(max_features, str) and not 0 < max_features <= 1:
            raise UserError(
                f"model.max_features is {max_features}; as a share it must be above 0 and at most 1"
            )
        if n_jobs != -1 and n_jobs < 1:
            raise UserError(f"model.n_jobs is {n_jobs}; it must be 1 or more, or -1 for all processors")
        self.options = {
            "n_estimators": n_estimators,
            "min_samples_leaf": min_samples_leaf,
            "max_depth": max_depth,
            # scikit-learn takes a whole number for a count: 1 would be one pixel instead of all.
            "max_features": max_features if isinstance(max_features, str) else float(max_features),
            "n_jobs": n_jobs,
            "random_state": seed,
        }

    def learn(self, features: Array, targets: Array) -> None:
        """Grows the trees."""
        from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415  takes a second

        forest = RandomForestRegressor(**self.options).fit(features, _outputs(targets))
        self.take([tree.tree_ for tree in forest.estimators_])


def _outputs(targets: Array) -> Array:
    """(N, K) targets as scikit-learn wants them: (N,) where K is 1."""
    return targets[:, 0] if targets.shape[1] == 1 else targets


def check_whole(key: str, value: int | None, smallest: int, largest: int = 2**31 - 1) -> None:
    """Raises UserError where an option is too small, or too large for scikit-learn; None passes."""
    if value is not None and not smallest <= value <= largest:
        raise UserError(f"model.{key} is {value}; it must be from {smallest:,} to {largest:,}")
