"""Says which settings can be told from the best one, and how sure that is.

A setting is judged by the mean of a metric over its replicates, which are runs that differ in their seed
only. Two things make that mean uncertain: another seed gives another network, and another sample of
validation galaxies gives another error. Bouthillier et al. (2021, arXiv:2103.03098) show that a comparison
must count both.

- The galaxies are the same for all settings, so their part is that of the paired difference. It follows from
  the influence of each galaxy on the metric (the infinitesimal jackknife, Efron 1982).
- The spread over seeds is measured with two or three replicates, and so is itself uncertain. A t-test counts
  that. Where several settings have replicates, each spread is drawn towards the common one as far as the
  spreads agree with each other (Smyth 2004, "moderated" t). Without that, three seeds decide next to nothing.
  A test that flips signs can reach no p below 0.25 with three seeds, and a bootstrap over three seeds takes
  their spread for smaller than it is by a factor of sqrt(2/3).
- Each setting is compared with the best of all. The best of many equal settings looks better than it is, so
  the differences are held to Tukey's studentized range, which is the distribution of the largest difference.

With folds, a replicate is a seed with the runs of all folds: its value is the metric of their predictions put
together. The folds train on much the same galaxies, so their values are not independent, and no estimate of
their variance from the folds alone is unbiased (Bengio and Grandvalet 2004). The spread over folds is
therefore never used: with one seed each, settings are not told apart. The intervals hold for the networks
that are trained on these folds, for which galaxies may be counted as independent (Bayle et al. 2020,
arXiv:2007.12671). That other training galaxies would give other networks is not counted, with folds or
without (Nadeau and Bengio 2003 correct for it, at a price that few runs cannot pay).

The benchmark `benchmarks.bench_comparison` measures how often these rules call equal settings different.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, polygamma

# The share of comparisons of equal settings in which none is called different.
LEVEL = 0.95
# The chance to see a difference of the size that `Comparison.detectable` names.
POWER = 0.8
# A spread over seeds that agrees with the others to more than this is taken for the same.
_MANY = 1e6
# So many draws stand for the studentized range.
_DRAWS = 100_000


@dataclass(frozen=True)
class Setting:
    """The runs of one setting.

    Attributes:
        values: (S,) float64, the metric of each replicate.
        influence: (N,) float64, the influence of each galaxy on the mean of the values: the sum of their
            squares is the variance of that mean over samples of galaxies. None if it is unknown.
        seeded: Whether another seed gives another model. If not, one run says all.
    """

    values: NDArray[np.float64]
    influence: NDArray[np.float64] | None = None
    seeded: bool = True

    @property
    def mean(self) -> float:
        """The mean over the replicates."""
        return float(self.values.mean())

    @property
    def spread(self) -> float | None:
        """The standard deviation over the replicates; None if there is only one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """How a setting differs from the best one. Positive numbers mean that it is worse.

    Attributes:
        value: The difference of the means.
        low: The lower end of its interval; None if the uncertainty is unknown.
        high: The upper end.
        worse: Whether the setting can be told from the best one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    worse: bool = False


@dataclass(frozen=True)
class Comparison:
    """What a comparison of settings says.

    Attributes:
        best: The index of the setting with the best mean.
        differences: The difference of each setting to the best one.
        detectable: The difference that such runs would show with a chance of `POWER`; None if unknown.
    """

    best: int
    differences: list[Difference]
    detectable: float | None


def compare(settings: Sequence[Setting], larger_is_better: bool) -> Comparison:
    """Compares each setting with the best one.

    Args:
        settings: The settings, with values of the same metric on the same galaxies.
        larger_is_better: Whether a larger metric is better.

    Returns:
        The intervals hold all together with a probability of `LEVEL`. A setting without a known spread over
        seeds, of which there is one run only, has no interval, and no setting is called worse than it.
    """
    sign = -1.0 if larger_is_better else 1.0
    best = int(np.argmin([sign * setting.mean for setting in settings]))
    variances = _seed_variances(settings)
    differences, errors = [], []
    for index, setting in enumerate(settings):
        value = sign * (setting.mean - settings[best].mean)
        error = None if index == best else _error(settings, variances, index, best)
        if error is None:
            differences.append(Difference(max(value, 0.0)))
            continue
        half = error.size * _critical(len(settings), error.freedom)
        differences.append(Difference(value, value - half, value + half, worse=value > half))
        errors += [error] if error.size else []  # settings that predict the same show nothing
    return Comparison(best, differences, _detectable(len(settings), errors))


def average(settings: Sequence[Setting], chosen: Sequence[int]) -> tuple[float, float | None]:
    """Returns the mean of some settings, and half its interval over seeds.

    Args:
        settings: All settings of a comparison. Their spreads over seeds are moderated together.
        chosen: The indices of those that are averaged. One that is named several times counts as often.

    Returns:
        The mean, and half the interval that holds it with a probability of `LEVEL`: None if a chosen setting
        has one run only, so that its spread over seeds is unknown.
    """
    mean = float(np.mean([settings[index].mean for index in chosen]))
    variances = _seed_variances(settings)
    parts = []
    for index, times in Counter(chosen).items():
        variance = variances[index]
        if variance is None:
            return mean, None
        share = times / len(chosen)
        parts.append(_Variance(share**2 * variance.size / len(settings[index].values), variance.freedom))
    total = _limited(_sum(parts), settings)
    return mean, math.sqrt(total.size) * float(stats.t.ppf((1 + LEVEL) / 2, total.freedom))


def runs_needed(
    difference: float, settings: int, spread: float, galaxies: float = 0.0, most: int = 100
) -> int | None:
    """Counts the runs that each of two settings needs before their difference would be told.

    Args:
        difference: The difference of the means, above 0.
        settings: The number of settings that are compared, these two and others.
        spread: The standard deviation over seeds.
        galaxies: The standard error that comes from the galaxies, which more seeds do not make smaller.
        most: The largest number that is tried.

    Returns:
        The smallest number of runs a setting with which such a difference is told with a chance of `POWER`;
        None if even `most` are too few.
    """
    for runs in range(2, most + 1):
        seeds = _Variance(2 * spread**2 / runs, 2 * (runs - 1))
        total = _sum([seeds, _Variance(galaxies**2, math.inf)])
        needed = _critical(settings, total.freedom) + float(stats.t.ppf(POWER, total.freedom))
        if math.sqrt(total.size) * needed <= difference:
            return runs
    return None


@dataclass(frozen=True)
class _Variance:
    """The variance of one value over seeds, and the degrees of freedom with which it is known."""

    size: float
    freedom: float


@dataclass(frozen=True)
class _Error:
    """The standard error of a difference, and its degrees of freedom."""

    size: float
    freedom: float


def _seed_variances(settings: Sequence[Setting]) -> list[_Variance | None]:
    """Returns the moderated variance over seeds of each setting; None if it cannot be known."""
    measured = [
        _Variance(float(setting.values.var(ddof=1)), len(setting.values) - 1)
        if setting.seeded and len(setting.values) > 1
        else None
        for setting in settings
    ]
    # A variance of exactly 0 says that the seed decides nothing; it tells nothing about the others.
    prior = _prior([variance for variance in measured if variance is not None and variance.size > 0])
    moderated: list[_Variance | None] = []
    for setting, variance in zip(settings, measured, strict=True):
        if not setting.seeded:
            moderated.append(_Variance(0.0, math.inf))
        elif variance is None or variance.size == 0 or prior is None:
            moderated.append(variance)
        else:
            freedom = variance.freedom + prior.freedom
            size = (variance.size * variance.freedom + prior.size * prior.freedom) / freedom
            # Another kind of model may really scatter more; its own spread is never made smaller.
            moderated.append(_Variance(max(size, variance.size), freedom))
    return moderated


def _prior(variances: Sequence[_Variance]) -> _Variance | None:
    """Fits the distribution that the variances of all settings come from (Smyth 2004, section 6.2).

    Returns:
        Its typical variance, and how far the variances agree, as degrees of freedom; None of fewer than three
        variances, which do not tell.
    """
    if len(variances) < 3:
        return None
    freedom = np.array([variance.freedom for variance in variances])
    logs = np.log([variance.size for variance in variances])
    centred = logs - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(centred.var(ddof=1) - polygamma(1, freedom / 2).mean())
    # Without any excess over the scatter that so few runs have, the spreads are taken for one.
    shared = 2 * _inverse_trigamma(excess) if excess > 0 else _MANY
    size = float(np.exp(centred.mean() + digamma(shared / 2) - math.log(shared / 2)))
    # So many settings do not know the common spread better than the runs together.
    return _Variance(size, min(shared, float(len(variances))))


def _inverse_trigamma(value: float) -> float:
    """Returns the x above 0 with trigamma(x) = value, by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def _error(
    settings: Sequence[Setting], variances: Sequence[_Variance | None], first: int, second: int
) -> _Error | None:
    """Returns the standard error of the difference of two settings; None if it cannot be known."""
    seeds = []
    for index in (first, second):
        variance = variances[index]
        if variance is None:
            return None
        seeds.append(_Variance(variance.size / len(settings[index].values), variance.freedom))
    one, other = settings[first].influence, settings[second].influence
    if one is None or other is None:
        return None
    galaxies = _Variance(float(np.square(one - other).sum()), max(len(one) - 1, 1))
    total = _sum([_limited(_sum(seeds), settings), galaxies])
    return _Error(math.sqrt(total.size), total.freedom)


def _limited(variance: _Variance, settings: Sequence[Setting]) -> _Variance:
    """Limits the freedom of a sum of variances over seeds to that of all runs.

    The parts may lean on the common variance, so together they know no more than all runs do.
    """
    runs = sum(len(setting.values) - 1 for setting in settings if setting.seeded)
    return _Variance(variance.size, min(variance.freedom, runs) if runs else math.inf)


def _sum(parts: Sequence[_Variance]) -> _Variance:
    """Adds variances, with the degrees of freedom that Welch and Satterthwaite give to their sum."""
    total = sum(part.size for part in parts)
    uncertain = sum(part.size**2 / part.freedom for part in parts)
    return _Variance(total, total**2 / uncertain if uncertain else math.inf)


def _critical(settings: int, freedom: float) -> float:
    """Returns how many standard errors the largest difference of so many equal settings may have.

    This is a quantile of Tukey's studentized range divided by sqrt(2). `scipy.stats.studentized_range` takes
    half a second for each, so the range is drawn: the error is below 0.3 %.
    """
    # Above a thousand degrees of freedom the quantile is that of known spreads.
    scale = np.ones(_DRAWS)
    if freedom < 1000:
        rng = np.random.default_rng(1)
        scale = np.sqrt(rng.chisquare(freedom, _DRAWS) / freedom)
    return float(np.quantile(_ranges(settings) / scale, LEVEL)) / math.sqrt(2)


@cache
def _ranges(settings: int) -> NDArray[np.float64]:
    """Draws the range of so many standard normal values."""
    rng = np.random.default_rng(0)
    least = greatest = rng.standard_normal(_DRAWS)
    for _ in range(settings - 1):  # the draws of hundreds of settings would fill the memory
        drawn = rng.standard_normal(_DRAWS)
        least, greatest = np.minimum(least, drawn), np.maximum(greatest, drawn)
    return greatest - least


def _detectable(settings: int, errors: Sequence[_Error]) -> float | None:
    """Returns the difference that would be told with a chance of `POWER`, for the typical pair."""
    if not errors:
        return None
    sizes = [
        error.size * (_critical(settings, error.freedom) + float(stats.t.ppf(POWER, error.freedom)))
        for error in errors
    ]
    return float(np.median(sizes))
