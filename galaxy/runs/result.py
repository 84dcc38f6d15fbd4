"""The result of a run, as its file result.json holds it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

from galaxy.config.objective import Direction

Status = Literal["running", "done", "pruned", "failed", "diverged", "interrupted"]
# A run with one of these is over for good.
FINISHED: tuple[Status, ...] = ("done", "pruned")


class Objective(TypedDict):
    """What a run is judged by; the value is None until its best checkpoint has been scored."""

    metric: str
    mode: Direction
    value: float | None


@dataclass
class Result:
    """What `result.json` says.

    Attributes:
        status: How the run ended. A search ends a run early ("pruned") if others do better.
        metrics: The metrics of the best checkpoint: "val/rmse", "test/rmse", "test/rmse/q01", "test/r2" and
            so on. Runs on classes add "test/accuracy", "test/balanced_accuracy" and "test/f1".
        baselines: The metrics of simple predictors on the same galaxies, by the predictor's name: "mean" (the
            mean of the training labels), "center_pixel" (a linear regression on the central pixel) and, where
            the survey knows the probabilities that the votes were drawn from, "noise_floor".
        labels: What the targets mean, and so what every RMSE here is on.
        epochs: The number of epochs trained.
        seconds: The time from start to end.
        images_per_second: The training speed of an epoch in the middle, validation not counted: the first
            epoch may also compile the network.
        parameters: The number of weights of the network, frozen ones counted; None for a model that is fitted
            in one go.
        checkpoint: The best checkpoint, relative to the run folder.
        error: What went wrong, if anything did.
        objective: What the run is judged by, and its value at the best checkpoint: that of the scored
            predictions, or of a metric that they do not have, such as "val/loss", that of the validation.
    """

    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    labels: str | None = None
    epochs: int = 0
    seconds: float = 0.0
    images_per_second: float | None = None
    parameters: int | None = None
    checkpoint: str | None = None
    error: str | None = None
    objective: Objective | None = None

    @property
    def finished(self) -> bool:
        """Whether the run is over for good."""
        return self.status in FINISHED

    @property
    def to_minimise(self) -> float:
        """What sweepers minimise: the objective, negated if more of it is better.

        A run that came to no value is the worst there is: infinity.
        """
        value = None if self.objective is None else self.objective["value"]
        if self.objective is None or value is None or math.isnan(value):
            return math.inf
        return value if self.objective["mode"] == "min" else -value


def check_types(result: Result) -> None:
    """Refuses values of other types than a run writes."""
    texts: list[Any] = [result.status, result.labels, result.checkpoint, result.error]
    figures: list[Any] = [result.images_per_second, result.parameters, *result.metrics.values()]
    figures += [figure for metrics in result.baselines.values() for figure in metrics.values()]
    if result.objective is not None:
        texts.append(result.objective["metric"])
        figures.append(result.objective["value"])
        if result.objective["mode"] not in get_args(Direction):
            raise TypeError(f"its mode is {result.objective['mode']!r}")
    for figure in [result.epochs, result.seconds, *(figure for figure in figures if figure is not None)]:
        if not isinstance(figure, int | float):
            raise TypeError(f"{figure!r} is no number")
    for text in texts:
        if not isinstance(text, str | None):
            raise TypeError(f"{text!r} is no text")
