"""Confidence intervals of what is computed from confidence and correctness together, such as AURC.

Each of these measures is smooth in the shares of the images, so to first order it is a mean over them. One
value an image (its influence, by the infinitesimal jackknife) serves any number of conditions, and
resampling costs as much for 75 of them as for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.accuracy import error_detection_auroc
from robustbench_safety.metrics.checks import FloatArray, confidence_and_correct
from robustbench_safety.metrics.intervals import Interval, bootstrap_interval
from robustbench_safety.metrics.ranking import mean_within_ties
from robustbench_safety.metrics.reliability import soft_f1_score

__all__ = ["SelectiveStatistic", "selective_interval"]

SelectiveStatistic = Literal["aurc", "excess_aurc", "aurra", "soft_f1_score", "error_detection_auroc"]
"""Metrics by their names."""


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
        Percentile interval of the statistic, or of its mean over the C conditions, within [0, 1]. If all
        images have one value (no error at all, say), the Clopper-Pearson bound for N images.

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
    conf, right = confidence_and_correct(confidence, correct, ndim=2 if np.ndim(confidence) == 2 else 1)
    values_of = _VALUES[statistic]
    rows = zip(np.atleast_2d(conf), np.atleast_2d(right), strict=True)
    values = np.mean([values_of(*row) for row in rows], axis=0)
    interval = bootstrap_interval(values, seed=seed, draws=draws, level=level)
    method = f"{interval.method}, influence of each image"
    if conf.ndim == 2:
        method += f", mean over {len(conf)} conditions"
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return Interval(low=min(low, 1.0), high=max(high, 0.0), method=method, level=level)


def _aurc_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
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


def _excess_aurc_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    wrong = 1.0 - correct
    risk = math.fsum(wrong) / len(wrong)
    if risk == 1:
        return np.zeros(len(wrong))
    optimum = risk + (1 - risk) * math.log1p(-risk)
    return _aurc_values(confidence, correct) - optimum + math.log1p(-risk) * (wrong - risk)


def _aurra_values(confidence: FloatArray, correct: FloatArray) -> FloatArray:
    return 1.0 - _aurc_values(confidence, correct)


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


def _share_below(ordered: FloatArray, values: FloatArray) -> FloatArray:
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2.0 * len(ordered)))


_VALUES: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "aurc": _aurc_values,
    "excess_aurc": _excess_aurc_values,
    "aurra": _aurra_values,
    "soft_f1_score": _soft_f1_values,
    "error_detection_auroc": _error_detection_values,
}
