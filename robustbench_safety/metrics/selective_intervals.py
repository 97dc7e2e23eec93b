"""Confidence intervals of what is computed from confidence and correctness together, such as AURC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.metrics.checks import FloatArray, confidence_and_correct
from robustbench_safety.metrics.intervals import Interval, constant_interval
from robustbench_safety.metrics.resampling import check_options, percentiles

__all__ = ["selective_interval"]


def selective_interval(
    statistic: Callable[[FloatArray, FloatArray], float],
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far a statistic of confidence may lie from its true value. Narrower is better.

    Args:
        statistic: From (confidence [N], correct [N]) to a number, e.g. ``aurc``.
        confidence: [N] in [0, 1].
        correct: [N], 0 or 1.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval. If all draws agree, the Clopper-Pearson bound for N units.

    Raises:
        UndefinedMetricError: The input is empty or not finite, or the statistic is undefined.
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Not for calibration errors, which are biased upwards: ``rms_calibration_interval``, ``ece_interval``.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3, 1993.

    Example:
        >>> from robustbench_safety.metrics import aurc
        >>> confidence = np.array([0.9, 0.8, 0.7, 0.6])
        >>> interval = selective_interval(aurc, confidence, np.array([1, 1, 0, 1]), seed=0, draws=200)
        >>> interval.low <= aurc(confidence, np.array([1, 1, 0, 1])) <= interval.high
        True
    """
    check_options(seed=seed, draws=draws, level=level)
    conf, right = confidence_and_correct(confidence, correct)
    # Sorted first, so that for one seed the interval does not depend on the order of the samples.
    order = np.lexsort((right, conf))
    conf, right = conf[order], right[order]
    rng = np.random.default_rng(seed)
    n = len(conf)
    rows = (rng.integers(n, size=n) for _ in range(draws))
    drawn = np.array([statistic(conf[row], right[row]) for row in rows])
    if drawn.min() == drawn.max():
        return constant_interval(float(drawn[0]), n, smallest=0.0, level=level)
    low, high = percentiles(drawn, level)
    return Interval(low=low, high=high, method=f"percentile bootstrap, {draws} draws", level=level)
