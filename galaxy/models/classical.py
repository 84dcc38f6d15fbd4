"""Classical methods on the pixels, fitted by scikit-learn.

Sirressi put 72 % of 100 galaxies into the right one of three classes with logistic regression, after learning
from 800. github.com/Alexandria-Ransom/Galaxy_DECALS_10 used 2,672 galaxies of ten equal classes of Galaxy10.
Of these, 22 % were right with logistic regression, 24 % with a decision tree, 29 % with nearest neighbours
and 39 % with a random forest.

scikit-learn fits, and PyTorch predicts from the arrays that the fit left. A checkpoint then holds numbers
instead of Python objects: reading it runs no code, needs no scikit-learn of the same version, and the model
predicts on any device.

Decision trees, forests and nearest neighbours average the targets of training galaxies. Such an average obeys
the same sums as the targets, the tree of questions included. For one-hot targets it is what scikit-learn's
classifiers call a probability. The squared error of one-hot targets is proportional to Gini's impurity, so
regression grows the same trees as classification. One model therefore serves fractions and classes.
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
from galaxy.models.heads.head import Output
from galaxy.system.errors import UserError

log = logging.getLogger(__name__)

Array = NDArray[np.float32]


class PixelModel(Fitted):
    """A model that learns from all training images at once, each a row of D = C x pixels x pixels numbers.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        labels: The labels that the targets hold.
    """

    def __init__(self, pixels: int, labels: Labels) -> None:
        super().__init__()
        check_whole("pixels", pixels, 1)
        self.pixels = pixels
        self.labels = labels

    @abstractmethod
    def learn(self, features: Array, targets: Array) -> None:
        """Fills the buffers from features (N, D) and targets (N, K)."""

    @abstractmethod
    def predict(self, features: Tensor) -> Output:
        """Predicts (B, K) float32 from features (B, D) float32."""

    def check(self, images: int, size: int) -> None:
        """Refuses images that are smaller than what they are reduced to."""
        self._check_size(size)

    def _check_size(self, size: int) -> None:
        if size < self.pixels:
            raise ValueError(f"pixels is {self.pixels}; the images are {size} pixels wide")

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Reduces all images and learns from them; see `Fitted.fit`.

        These methods know no missing targets. Galaxies without any target are left out, and other unknown
        targets are set to the mean of the known ones.
        """
        rows = [(self.features(images), targets) for images, targets in batches]
        features, targets = (torch.cat(parts).numpy() for parts in zip(*rows, strict=True))
        unknown = np.isnan(targets)
        if unknown.any():
            features, targets, unknown = (part[~unknown.all(axis=1)] for part in (features, targets, unknown))
            means = np.where(unknown, 0, targets).sum(axis=0) / (~unknown).sum(axis=0).clip(1)
            targets = np.where(unknown, means, targets).astype(np.float32)
        log.info(
            "%s: fitting %s images of %s numbers", type(self).__name__, *map("{:,}".format, features.shape)
        )
        self.learn(features, targets)

    def forward(self, images: Tensor) -> Output:
        """Predicts (B, K) float32 from images (B, C, H, W)."""
        return self.predict(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Reduces images (B, C, H, W) to (B, C x pixels x pixels), each number a mean over an area."""
        self._check_size(images.shape[-1])
        return F.interpolate(images, size=(self.pixels, self.pixels), mode="area").flatten(1)


class LogisticRegression(PixelModel):
    """Multinomial logistic regression on the likeliest class of each galaxy, as Sirressi's.

    Pixels are scaled to mean 0 and variance 1 before the fit, and the scaling becomes part of the weights.
    The L2-penalised loss has one minimum. L-BFGS finds it in fewer passes than Sirressi's `sag`, because its
    steps take account of how strongly neighbouring pixels are correlated. A class without training galaxies
    has probability 0.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        C: The inverse of the penalty, above 0; smaller is smoother.
        max_iter: The number of steps after which the fit stops, converged or not.
        labels: The labels that the targets hold; they must be classes.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, pixels: int, C: float, max_iter: int, labels: Labels) -> None:  # noqa: N803  scikit-learn's
        super().__init__(pixels, labels)
        if labels.kind != "classes":
            raise ValueError("logistic regression predicts classes, not fractions: use target=question1")
        if not 0 < C < np.inf:
            raise ValueError(f"C is {C}; it must be a number above 0")
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
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # the log says so below
            model.fit(scaler.transform(features), classes)
        if model.n_iter_[0] >= self.max_iter:
            log.warning(
                "the logistic regression had not converged after %d steps: raise model.max_iter, "
                "or lower model.C",
                self.max_iter,
            )
        # For two classes scikit-learn only has the weights of the second: the logit between the two.
        first = np.zeros((1 if len(present) == 2 else 0, 1))
        weight = np.vstack([first * model.coef_[:1], model.coef_]) / scaler.scale_
        bias = np.append(first, model.intercept_) - weight @ scaler.mean_
        self.weight = self.weight.new_zeros(len(self.bias), features.shape[1])
        self.weight[present] = torch.from_numpy(weight)
        self.bias.fill_(-torch.inf)
        self.bias[present] = torch.from_numpy(bias)

    def predict(self, features: Tensor) -> Output:
        """Predicts logits and probabilities (B, K) from features (B, D)."""
        logits = F.linear(features.double(), self.weight, self.bias).float()
        return Output(logits, logits.softmax(dim=1))


class NearestNeighbors(PixelModel):
    """The mean targets of the training galaxies whose pixels are nearest.

    Nothing is fitted: the checkpoint holds the reduced training images. Pixels are compared without scaling,
    because they share a unit. Scaled to equal variance, the empty corners would count as much as the galaxy.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        n_neighbors: The number of training galaxies that are averaged.
        labels: The labels that the targets hold.
    """

    known: Tensor
    answers: Tensor

    def __init__(self, pixels: int, n_neighbors: int, labels: Labels) -> None:
        super().__init__(pixels, labels)
        check_whole("n_neighbors", n_neighbors, 1)
        self.n_neighbors = n_neighbors
        self.register_buffer("known", torch.zeros(0, 0))
        self.register_buffer("answers", torch.zeros(0, labels.questions.size))

    def check(self, images: int, size: int) -> None:
        """Refuses fewer images than are averaged as well."""
        super().check(images, size)
        if images < self.n_neighbors:
            raise ValueError(f"n_neighbors is {self.n_neighbors}; the training split has {images} images")

    def learn(self, features: Array, targets: Array) -> None:
        """Keeps all features and targets."""
        self.check(len(features), self.pixels)
        self.known, self.answers = torch.from_numpy(features), torch.from_numpy(targets)

    def predict(self, features: Tensor) -> Output:
        """Predicts (B, K) from features (B, D)."""
        nearest = torch.cdist(features, self.known).topk(self.n_neighbors, largest=False).indices
        fractions = self.answers[nearest].mean(dim=1)
        return Output(fractions, fractions)


class RegressionTrees(PixelModel):
    """Regression trees whose predictions are averaged.

    The arrays hold one tree after the other, with M nodes in all. Both ways from a leaf lead to the leaf.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        labels: The labels that the targets hold.
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
        for name in ("feature", "left", "right", "leaf"):  # (M,): pixel, next nodes, row of `answers`
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(0, dtype=torch.float64))  # (M,): left if <= this
        self.register_buffer("roots", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))
        self.register_buffer("answers", torch.zeros(0, labels.questions.size))  # (leaves, K)

    def keep(self, trees: list[Any]) -> None:
        """Fills the buffers with fitted trees.

        Args:
            trees: The attributes `tree_` of scikit-learn's regressors.
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
        """Predicts (B, K) from features (B, D). All galaxies walk down all trees at the same time."""
        node = self.roots.expand(len(features), -1)
        for _ in range(int(self.depth)):
            goes_left = features.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        fractions = self.answers[self.leaf[node]].mean(dim=1)
        return Output(fractions, fractions)


class DecisionTree(RegressionTrees):
    """One decision tree. Each node splits galaxies by the pixel that leaves the smallest squared error.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        min_samples_leaf: The smallest number of training galaxies in a leaf.
        max_depth: The largest number of splits from the root to a leaf; None for no limit.
        seed: The seed that decides between equally good splits.
        labels: The labels that the targets hold.
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
        """Grows the tree from features (N, D) and targets (N, K)."""
        from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415  takes a second

        self.keep([DecisionTreeRegressor(**self.options).fit(features, _outputs(targets)).tree_])


class RandomForest(RegressionTrees):
    """Many decision trees. Each sees galaxies drawn with replacement, and other pixels at each split.

    Args:
        pixels: The side in pixels that images are reduced to, by pixel area.
        n_estimators: The number of trees.
        min_samples_leaf: The smallest number of training galaxies in a leaf.
        max_depth: The largest number of splits from the root to a leaf; None for no limit.
        max_features: The number of pixels that a split chooses from: the root of D, its logarithm, or a
            share.
        n_jobs: The number of trees grown at a time; -1 for one on each processor. It changes no tree.
        seed: The seed that draws the galaxies and the pixels.
        labels: The labels that the targets hold.
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
            raise ValueError(f"max_features is {max_features}; as a share it must be above 0 and at most 1")
        if n_jobs != -1 and n_jobs < 1:
            raise ValueError(f"n_jobs is {n_jobs}; it must be 1 or more, or -1 for all processors")
        self.options = {
            "n_estimators": n_estimators,
            "min_samples_leaf": min_samples_leaf,
            "max_depth": max_depth,
            # scikit-learn takes a whole number as a count, so 1 would be one pixel instead of all.
            "max_features": max_features if isinstance(max_features, str) else float(max_features),
            "n_jobs": n_jobs,
            "random_state": seed,
        }

    def learn(self, features: Array, targets: Array) -> None:
        """Grows the trees from features (N, D) and targets (N, K)."""
        from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415  takes a second

        forest = RandomForestRegressor(**self.options).fit(features, _outputs(targets))
        self.keep([tree.tree_ for tree in forest.estimators_])


def _outputs(targets: Array) -> Array:
    """Returns targets (N, K) as scikit-learn wants them, which is (N,) where K is 1."""
    return targets[:, 0] if targets.shape[1] == 1 else targets


def check_whole(name: str, value: int | None, smallest: int, largest: int = 2**31 - 1) -> None:
    """Raises ValueError where a parameter is too small, or too large for scikit-learn; None passes."""
    if value is not None and not smallest <= value <= largest:
        raise ValueError(f"{name} is {value}; it must be from {smallest:,} to {largest:,}")
