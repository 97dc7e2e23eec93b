"""Confidence intervals of rates and means; the unit is the source image or the clip.

750,000 rows of CIFAR-10-C are 10,000 images: pass one value an image, its mean over the conditions.
Intervals of AUROC, AUPR and FPR are in ``detection_intervals``, of calibration errors in
``calibration_intervals``. Every bootstrap sorts its units first, so that for one seed the interval does
not depend on the order of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import (
    FloatArray,
    finite,
    fraction_option,
    same_length,
    scores,
)
from robustbench_safety.metrics.resampling import blocks, check_options, draw_units, percentiles

__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_interval",
    "clopper_pearson_interval",
    "paired_difference",
    "two_sample_bootstrap_interval",
    "wilson_interval",
]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    method: str
    """How it was made; names the fallback where one was taken."""
    level: float
    """Aimed-at coverage, a fraction."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Difference of two means over the same units."""

    difference: float
    """Mean of the first minus mean of the second."""
    interval: Interval
    """Interval of the difference."""


def wilson_interval(n_events: int, n: int, *, level: float = 0.95) -> Interval:
    """Measure how far the rate behind a count may lie from ``n_events / n``. Narrower is better.

    Args:
        n_events: How often it happened, 0..n.
        n: How many independent units, at least 1.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval within [0, 1], never of zero width.

    Raises:
        UndefinedMetricError: There is no unit, or the count is outside 0..n.
        UsageError: ``level`` is outside (0, 1).

    Conventions:
        Score interval without continuity correction: covers ``level`` on average, not for every rate.
        For at least ``level`` everywhere take :func:`clopper_pearson_interval`.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Example:
        >>> interval = wilson_interval(0, 10)  # high = z^2 / (10 + z^2), z = 1.96
        >>> interval.low, round(interval.high, 4)
        (0.0, 0.2775)
    """
    _check_events(n_events, n, level)
    z = float(ndtri((1 + level) / 2))
    rate = n_events / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if n_events == 0 else max(0.0, centre - reach)
    high = 1.0 if n_events == n else min(1.0, centre + reach)
    return Interval(low=low, high=high, method="wilson", level=level)


def clopper_pearson_interval(n_events: int, n: int, *, level: float = 0.95) -> Interval:
    """Measure how far the rate behind a count may lie, with guaranteed coverage. Narrower is better.

    Args:
        n_events: How often it happened, 0..n.
        n: How many independent units, at least 1.
        level: Coverage guaranteed, a fraction in (0, 1).

    Returns:
        Interval within [0, 1], never of zero width; contains ``n_events / n``.

    Raises:
        UndefinedMetricError: There is no unit, or the count is outside 0..n.
        UsageError: ``level`` is outside (0, 1).

    Conventions:
        Exact, hence wider than Wilson's. Both tails take ``(1 - level) / 2``, also at 0 and n events.

    Source:
        Clopper and Pearson, The Use of Confidence or Fiducial Limits, Biometrika 1934.

    Example:
        >>> interval = clopper_pearson_interval(0, 10)  # high = 1 - 0.025^(1/10)
        >>> interval.low, round(interval.high, 4)
        (0.0, 0.3085)
    """
    _check_events(n_events, n, level)
    tail = (1 - level) / 2
    low = 0.0 if n_events == 0 else float(betaincinv(n_events, n - n_events + 1, tail))
    high = 1.0 if n_events == n else float(betaincinv(n_events + 1, n - n_events, 1 - tail))
    return Interval(low=low, high=high, method="clopper-pearson", level=level)


def bootstrap_interval(values: FloatArray, *, seed: int, draws: int = 2000, level: float = 0.95) -> Interval:
    """Measure how far the mean over all units may lie from that of these units. Narrower is better.

    Percentile bootstrap of the mean of one value a unit.

    Args:
        values: One value a unit, [N]: an image's mean error over its conditions, a clip's flip rate.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval of the mean. If all N values are one and the same fraction, where a bootstrap would
        return zero width, it is the Clopper-Pearson bound on the share of units that differ, and
        ``method`` says so.

    Raises:
        UndefinedMetricError: There is no unit, a NaN, or all values are one number outside [0, 1].
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Resampling rows instead of source images would make the interval of a 75-condition mean too narrow.
        With very few events it is a little short; for the rate of one condition take an exact interval.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13, 1993.

    Example:
        >>> interval = bootstrap_interval(np.zeros(10), seed=0)  # as clopper_pearson_interval(0, 10)
        >>> interval.low, round(interval.high, 4), interval.method
        (0.0, 0.3085, 'clopper-pearson (all 10 values equal)')
    """
    check_options(seed=seed, draws=draws, level=level)
    units = np.sort(finite(values, "values"))
    if units[0] == units[-1]:
        return constant_interval(float(units[0]), len(units), smallest=0.0, level=level)
    low, high = percentiles(_bootstrap_means(units, seed=seed, draws=draws), level)
    return Interval(low=low, high=high, method=f"percentile bootstrap, {draws} draws", level=level)


def paired_difference(
    values_a: FloatArray, values_b: FloatArray, *, seed: int, draws: int = 2000, level: float = 0.95
) -> PairedDifference:
    """Measure the difference of two models on the same units: first minus second, so signed as the metric.

    Args:
        values_a: First model's value of each unit, [N], as for :func:`bootstrap_interval`.
        values_b: Second model's value of the same units in the same order, [N].
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Mean difference and its interval, made by resampling the shared units. If all units differ by one
        and the same number, it is the Clopper-Pearson bound on the share of units that do not.

    Raises:
        UndefinedMetricError: There is no unit, a NaN, lengths differ, or the one difference is outside
            [-1, 1].
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Two intervals that overlap do not mean no difference: images that are hard for both cancel here.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapters 8 and 13, 1993.

    Example:
        >>> a, b = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 0.0])
        >>> result = paired_difference(a, b, seed=0)  # a quarter of the units got worse
        >>> result.difference, result.interval.low, result.interval.high
        (0.25, 0.0, 0.75)
    """
    check_options(seed=seed, draws=draws, level=level)
    a, b = finite(values_a, "values_a"), finite(values_b, "values_b")
    same_length(a, b, "values_a and values_b")
    units = np.sort(a - b)
    if units[0] == units[-1]:
        interval = constant_interval(float(units[0]), len(units), smallest=-1.0, level=level)
    else:
        low, high = percentiles(_bootstrap_means(units, seed=seed, draws=draws), level)
        method = f"paired percentile bootstrap, {draws} draws"
        interval = Interval(low=low, high=high, method=method, level=level)
    return PairedDifference(difference=math.fsum(units) / len(units), interval=interval)


def two_sample_bootstrap_interval(
    statistic: Callable[[FloatArray, FloatArray], float],
    scores_in: FloatArray,
    scores_out: FloatArray,
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far a statistic of ID and OOD scores may lie from its true value. Narrower is better.

    Both groups are resampled apart, each at its own size. For AUROC, AUPR and FPR the functions of
    ``detection_intervals`` are many times faster.

    Args:
        statistic: Function of (scores_in, scores_out) that returns a fraction.
        scores_in: OOD scores of the ID images, [N].
        scores_out: OOD scores of the OOD images, [M].
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval. If all draws agree, the Clopper-Pearson bound for the smaller group.

    Raises:
        UndefinedMetricError: Either group is empty, a NaN, or all draws are one number outside [0, 1].
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Pooling before resampling would let the OOD share vary from draw to draw, and AUPR with it.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 8.3 (two-sample problem), 1993.

    Example:
        >>> def gap(inside: FloatArray, outside: FloatArray) -> float:
        ...     return float(outside.mean() - inside.mean())
        >>> interval = two_sample_bootstrap_interval(gap, np.array([0.0, 0.2]), np.array([0.5]), seed=0)
        >>> round(interval.low, 4), round(interval.high, 4)  # the ID mean is 0, 0.1 or 0.2
        (0.3, 0.5)
    """
    check_options(seed=seed, draws=draws, level=level)
    inside, outside = (np.sort(group) for group in scores(scores_in, scores_out))
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(_resample(rng, inside), _resample(rng, outside)) for _ in range(draws)])
    return percentile_interval(finite(drawn, "statistic"), min(len(inside), len(outside)), level=level)


def percentile_interval(drawn: FloatArray, n_smaller: int, *, level: float) -> Interval:
    """Return the percentile interval of the draws; if all agree, the bound for ``n_smaller`` units."""
    if drawn.min() == drawn.max():
        return constant_interval(float(drawn[0]), n_smaller, smallest=0.0, level=level)
    low, high = percentiles(drawn, level)
    method = f"two-sample percentile bootstrap, {len(drawn)} draws"
    return Interval(low=low, high=high, method=method, level=level)


def constant_interval(value: float, n: int, *, smallest: float, level: float) -> Interval:
    """Bound the mean of values in [smallest, 1] when all n units seen have the same ``value``.

    By Clopper and Pearson the share of all units that differ is at most ``share``; they lie at worst at
    either end of the range.
    """
    if not smallest <= value <= 1:
        raise UndefinedMetricError(
            "the values have no spread",
            expected=f"more than one value, or one within [{smallest:g}, 1]",
            found=f"{n} times {value:g}",
        )
    share = unseen_share(n, level=level)
    return Interval(
        low=value - share * (value - smallest),
        high=value + share * (1.0 - value),
        method=f"clopper-pearson (all {n} values equal)",
        level=level,
    )


def unseen_share(n: int, *, level: float) -> float:
    """Return the largest share that may go unseen in n units: the upper Clopper-Pearson end at 0 of n."""
    return clopper_pearson_interval(0, n, level=level).high


def _check_events(n_events: int, n: int, level: float) -> None:
    fraction_option(level, "level")
    whole = all(isinstance(count, int | np.integer) for count in (n_events, n))
    if not whole or n < 1 or not 0 <= n_events <= n:
        raise UndefinedMetricError(
            "the count is no part of its total",
            expected="0 to n events of at least 1, in whole numbers",
            found=f"{n_events} of {n}",
        )


def _bootstrap_means(units: FloatArray, *, seed: int, draws: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    n = len(units)
    means = [np.mean(units[draw_units(rng, rows, n)], axis=1) for rows in blocks(draws, n)]
    return np.asarray(np.concatenate(means))


def _resample(rng: np.random.Generator, group: FloatArray) -> FloatArray:
    return np.asarray(group[draw_units(rng, 1, len(group))[0]])
