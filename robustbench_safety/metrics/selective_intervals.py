"""Confidence intervals of what is computed from confidence and correctness together, such as AURC.

Each of these measures is smooth in the shares of the images, so to first order it is a mean over them. One
value an image (its influence, by the infinitesimal jackknife) serves any number of conditions, and
resampling costs as much for 75 of them as for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.accuracy import error_detection_auroc
from robustbench_safety.metrics.checks import FloatArray, confidence_and_correct, fraction_option
from robustbench_safety.metrics.intervals import Interval, bootstrap_interval, constant_interval
from robustbench_safety.metrics.ranking import mean_within_ties
from robustbench_safety.metrics.reliability import soft_f1_score
from robustbench_safety.metrics.selective import n_answered

__all__ = [
    "SelectiveStatistic",
    "accuracy_at_coverage_interval",
    "accuracy_at_coverage_values",
    "aurc_values",
    "selective_interval",
    "selective_values",
]

SelectiveStatistic = Literal[
    "aurc",
    "augrc",
    "excess_aurc",
    "aurra",
    "soft_f1_score",
    "error_detection_auroc",
    "prediction_rejection_ratio",
]
"""Metrics by their names."""

ValuesOf = Callable[[FloatArray, FloatArray], FloatArray]


def selective_interval(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    statistic: SelectiveStatistic,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far a (mean) statistic of confidence may lie from its true value. Narrower is better.

    The target is the statistic of the whole population. Each image gets the value that it adds to the
    statistic, ``statistic + influence``, whose mean is the statistic; over conditions it gets the mean
    of these, and they are resampled.

    Args:
        confidence: Confidence in the predicted class, fraction, [N] or [C conditions, N source images].
        correct: 1 where the prediction is right, else 0, same shape.
        statistic: Name of the metric.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100; each draws source images with all their conditions.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval of the statistic, or of its mean over the C conditions, within [0, 1], or [-1, 1]
        of a PRR. If all images have one value (no error at all, say), the Clopper-Pearson bound for N images.

    Raises:
        UndefinedMetricError: The input is empty or not finite, or the statistic is undefined on a condition.
        UsageError: ``statistic`` is not known, or ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Agrees with resampling the whole statistic to first order. Not for calibration errors, which are
        biased upwards: they have ``rms_calibration_interval``, ``ece_interval`` and
        ``mean_absolute_calibration_interval``.
        Simulated coverage at 95 %: see ``tests/metrics/test_selective_intervals.py``.

    Source:
        Jaeckel, The Infinitesimal Jackknife, 1972; Davison and Hinkley, Bootstrap Methods and their
        Application, section 2.7 (nonparametric delta method), 1997.

    Example:
        >>> confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 0, 1])
        >>> interval = selective_interval(confidence, correct, statistic="aurc", seed=0)
        >>> interval.low < 0.1458 < interval.high  # risks 0, 0, 1/3 and 1/4
        True
    """
    if statistic not in _VALUES:
        raise UsageError("statistic cannot be used", expected=" or ".join(_VALUES), found=repr(statistic))
    values, n_conditions = _values_of_each(confidence, correct, _VALUES[statistic])
    # PRR is the one that may be negative.
    lowest = -1.0 if statistic == "prediction_rejection_ratio" else 0.0
    shares = (values - lowest) / (1.0 - lowest)
    interval = bootstrap_interval(shares, seed=seed, draws=draws, level=level)
    return _named(interval, lowest, n_conditions)


def accuracy_at_coverage_interval(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    coverage: float,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far a (mean) accuracy at coverage may lie from its true value. Narrower is better.

    With another sample another confidence parts the answered images from the rest. To first order the
    answered share moves along the images near the threshold, so an answered image adds its own error less
    the error rate there, which is taken from the ranks within ``N^(2/3)`` of the threshold.

    Args:
        confidence: Confidence in the predicted class, fraction, [N] or [C conditions, N source images].
        correct: 1 where the prediction is right, else 0, same shape.
        coverage: Least share of the images to answer, a fraction in (0, 1].
        seed: Seed of the draws.
        draws: Number of resamples, at least 100; each draws source images with all their conditions.
        level: Coverage aimed at by the interval, a fraction in (0, 1).

    Returns:
        Percentile interval of the accuracy, or of its mean over the C conditions, within [0, 1]. If no answer
        that counts is wrong, the Clopper-Pearson bound for the images answered.

    Raises:
        UndefinedMetricError: The input is empty or not finite.
        UsageError: ``coverage``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        The binomial interval of the images answered takes their choice for known: it is too narrow where the
        error rate at the threshold is well above that of the answered. With very few errors among the
        answered (three, say) this one is a little short too.

    Source:
        As :func:`selective_interval`.

    Example:
        >>> confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 1])
        >>> interval = accuracy_at_coverage_interval(confidence, correct, coverage=0.5, seed=0)
        >>> interval.low < 0.5 < interval.high
        True
    """
    fraction_option(coverage, "coverage", one_allowed=True)
    values, n_conditions = _values_of_each(
        confidence, correct, partial(accuracy_at_coverage_values, coverage=coverage)
    )
    if values.min() == values.max():
        answered = n_answered(len(values), coverage)
        interval = constant_interval(float(values[0]), answered, smallest=0.0, level=level)
    else:
        interval = bootstrap_interval(values, seed=seed, draws=draws, level=level)
    return _named(interval, 0.0, n_conditions)


def selective_values(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, statistic: SelectiveStatistic
) -> FloatArray:
    """Return the value of each image, [N], whose mean the statistic is; see :func:`selective_interval`.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        statistic: Name of the metric.

    Raises:
        UndefinedMetricError: The input is empty or not finite, or the statistic is undefined on it.

    Example:
        >>> values = selective_values(np.array([0.9, 0.8]), np.array([1, 0]), statistic="aurc")
        >>> values.tolist(), float(values.mean())  # risks 0 and 1/2
        ([-0.25, 0.75], 0.25)
    """
    return _VALUES[statistic](*confidence_and_correct(confidence, correct))


def _values_of_each(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], values_of: ValuesOf
) -> tuple[FloatArray, int | None]:
    """Return the value of each image, over conditions its mean, and of how many; None where there is one."""
    conf, right = confidence_and_correct(confidence, correct, ndim=2 if np.ndim(confidence) == 2 else 1)
    rows = zip(np.atleast_2d(conf), np.atleast_2d(right), strict=True)
    values = np.mean([values_of(*row) for row in rows], axis=0)
    return values, len(conf) if conf.ndim == 2 else None


def _named(interval: Interval, lowest: float, n_conditions: int | None) -> Interval:
    """Return the interval of shares on the range from ``lowest`` to 1, and say what it was made of."""
    method = f"{interval.method}, influence of each image"
    if n_conditions is not None:
        method += f", mean over {n_conditions} conditions"
    low, high = (lowest + (1.0 - lowest) * min(max(end, 0.0), 1.0) for end in (interval.low, interval.high))
    return Interval(low=low, high=high, method=method, level=interval.level)


def aurc_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    """Return the derivative of AURC by the share of each image, which is its value: AURC is of degree 1.

    Image i at rank p adds the risk there, and moves the risk R_k of every later rank k by (error - R_k) / k.
    """
    order = np.lexsort((correct, confidence))[::-1]
    falling = confidence[order]
    wrong = 1.0 - correct[order]
    ranks = np.arange(1, len(wrong) + 1)
    risks = np.cumsum(mean_within_ties(falling, wrong)) / ranks
    later = np.cumsum(1.0 / ranks[::-1])[::-1]
    later_risk = np.cumsum((risks / ranks)[::-1])[::-1]
    # A tied image stands at each rank of its group in turn.
    at_rank = mean_within_ties(falling, risks - later_risk)
    values = np.empty(len(wrong))
    values[order] = at_rank + wrong * mean_within_ties(falling, later)
    return values


def _augrc_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    """Return the derivative of AUGRC less AUGRC, which is of degree 2: of pairs of an error and a later rank.

    An image adds the errors up to its rank, and if it is wrong the ranks from its own on.
    """
    order = np.lexsort((correct, confidence))[::-1]
    falling, wrong = confidence[order], 1.0 - correct[order]
    n = len(wrong)
    kept = np.cumsum(mean_within_ties(falling, wrong))
    from_here = mean_within_ties(falling, np.arange(n, 0.0, -1.0))
    values = np.empty(n)
    values[order] = (mean_within_ties(falling, kept) + wrong * from_here) / n - math.fsum(kept) / n**2
    return values


def _excess_aurc_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    wrong = 1.0 - correct
    risk = math.fsum(wrong) / len(wrong)
    if risk == 1:
        return np.zeros(len(wrong))
    optimum = risk + (1 - risk) * math.log1p(-risk)
    return aurc_values(confidence, correct) - optimum + math.log1p(-risk) * (wrong - risk)


def _aurra_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    return 1.0 - aurc_values(confidence, correct)


def _soft_f1_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    """Return the values of a ratio of two means."""
    score = soft_f1_score(confidence, correct)
    doubt, wrong = 1.0 - confidence, 1.0 - correct
    weight = math.fsum(doubt + wrong) / len(wrong)
    return score + (2.0 * doubt * wrong - score * (doubt + wrong)) / weight


def _error_detection_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    """Return the values of an area: the share of pairs that an image has in order, per share of its group."""
    area = error_detection_auroc(confidence, correct)
    right = correct == 1
    of_right, of_wrong = np.sort(confidence[right]), np.sort(confidence[~right])
    share = np.where(right, _share_below(of_wrong, confidence), 1.0 - _share_below(of_right, confidence))
    in_group = np.where(right, len(of_right), len(of_wrong)) / len(confidence)
    return area + (share - area) / in_group


def _rejection_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    return 2.0 * _error_detection_values(confidence, correct) - 1.0


def accuracy_at_coverage_values(
    confidence: FloatArray, correct: FloatArray, *, coverage: float
) -> FloatArray:
    """Return the values of the accuracy of the answered images; tied ones at the threshold are so in part."""
    order = np.lexsort((correct, confidence))[::-1]
    falling, wrong = confidence[order], 1.0 - correct[order]
    n, spread = len(wrong), mean_within_ties(falling, wrong)
    answered = n_answered(n, coverage)
    part = mean_within_ties(falling, (np.arange(n) < answered).astype(np.float64))
    # As far on either side, or the rate would be that of images on one side of the threshold.
    reach = max(1, min(round(n ** (2 / 3)), answered, n - answered))
    at_threshold = float(np.mean(spread[max(0, answered - reach) : answered + reach]))
    share, risk = answered / n, math.fsum(part * wrong) / n
    moved = part * (wrong - at_threshold) - (risk - at_threshold * share)
    values = np.empty(n)
    values[order] = 1.0 - (risk + moved) / share
    return values


def _share_below(ordered: FloatArray, values: FloatArray) -> FloatArray:
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2.0 * len(ordered)))


_VALUES: dict[str, ValuesOf] = {
    "aurc": aurc_values,
    "augrc": _augrc_values,
    "excess_aurc": _excess_aurc_values,
    "aurra": _aurra_values,
    "soft_f1_score": _soft_f1_values,
    "error_detection_auroc": _error_detection_values,
    "prediction_rejection_ratio": _rejection_values,
}
