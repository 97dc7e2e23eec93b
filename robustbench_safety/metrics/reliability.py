"""Calibration in equal-width bins of confidence, and the soft F1 score of doubt as an alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, IntArray, confidence_and_correct, count_option
from robustbench_safety.metrics.ranking import by_confidence

__all__ = ["ReliabilityBins", "expected_calibration_error", "reliability_bins", "soft_f1_score"]


def expected_calibration_error(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bins: int = 15
) -> float:
    """Measure the mean gap between confidence and accuracy in equal-width bins (ECE). Lower is better.

    ``sum_b (n_b / N) |mean confidence_b - accuracy_b|`` over ``bins`` bins of (0, 1], closed on the right.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bins: Number of bins of width 1 / bins; empty ones count nothing.

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``bins`` is below 1.

    Conventions:
        A confidence of exactly 0, which the paper's half-open bins leave out, joins the first bin.
        OpenOOD bins the maximum logit instead of the softmax; that is not this measure.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, equation 3, ICML 2017; bins after Naeini
        et al., AAAI 2015.

    Example:
        >>> confidence, correct = np.array([0.4, 0.6, 0.8]), np.array([0, 1, 0])
        >>> round(expected_calibration_error(confidence, correct, bins=2), 4)  # 0.4 / 3 and 2/3 of 0.2
        0.2667
    """
    sums = _sums(confidence, correct, bins)
    return float(np.sum(np.abs(sums.confidence - sums.correct)) / np.sum(sums.n))


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """A reliability diagram as numbers; one entry a bin, from the least confident up."""

    lower: tuple[float, ...]
    """Lower edge, open (the first bin also holds confidence 0)."""
    upper: tuple[float, ...]
    """Upper edge, closed."""
    n: tuple[int, ...]
    """Images in the bin."""
    mean_confidence: tuple[float | None, ...]
    """Mean confidence, None for an empty bin."""
    accuracy: tuple[float | None, ...]
    """Share of right answers, None for an empty bin."""


def reliability_bins(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bins: int = 15
) -> ReliabilityBins:
    """Draw the reliability diagram: accuracy against confidence. Accuracy equal to confidence is best.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bins: Number of bins of width 1 / bins.

    Returns:
        The bins that :func:`expected_calibration_error` averages over, empty ones included.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``bins`` is below 1.

    Conventions:
        As :func:`expected_calibration_error`.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, figure 1, ICML 2017.

    Example:
        >>> diagram = reliability_bins(np.array([0.75, 1.0]), np.array([0, 1]), bins=2)
        >>> diagram.n, diagram.mean_confidence, diagram.accuracy
        ((0, 2), (None, 0.875), (None, 0.5))
    """
    sums = _sums(confidence, correct, bins)
    edges = [b / bins for b in range(bins + 1)]
    return ReliabilityBins(
        lower=tuple(edges[:-1]),
        upper=tuple(edges[1:]),
        n=tuple(sums.n.tolist()),
        mean_confidence=_means(sums.confidence, sums.n),
        accuracy=_means(sums.correct, sums.n),
    )


def soft_f1_score(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure how well low confidence points out wrong answers, without a threshold. Higher is better.

    ``2 sum((1 - confidence) wrong) / sum(1 - confidence + wrong)``: F1 of ``1 - confidence`` as a soft alarm.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, 1]; 1 is confidence 1 on right answers and 0 on wrong ones. A model without errors
        gets 0.

    Raises:
        UndefinedMetricError: All answers are right with confidence exactly 1 (0 / 0), there is no image,
            a NaN, shapes differ, or a value is outside its range.

    Conventions:
        A maximum softmax over K classes cannot fall below 1 / K, so 1 is out of reach in practice.

    Source:
        Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, appendix
        (soft F1 score), ICLR 2019.

    Example:
        >>> soft_f1_score(np.array([1.0, 0.5]), np.array([1, 0]))  # 2 * 0.5 / (0.5 + 1)
        0.6666666666666666
    """
    conf, right = confidence_and_correct(confidence, correct)
    doubt, wrong = 1.0 - conf, 1.0 - right
    total = math.fsum(doubt) + math.fsum(wrong)
    if total == 0:
        raise UndefinedMetricError(
            "soft F1 has neither doubt nor error to weigh",
            expected="a wrong answer or a confidence below 1",
            found="only right answers of confidence 1",
        )
    return 2.0 * math.fsum(doubt * wrong) / total


def equal_width_bin(confidence: FloatArray, bins: int) -> IntArray:
    """Return the bin b of each confidence, ``b / bins < confidence <= (b + 1) / bins``; 0 joins bin 0."""
    inner_edges = np.arange(1, bins) / bins
    return np.searchsorted(inner_edges, confidence, side="left").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _BinSums:
    n: IntArray
    confidence: FloatArray
    correct: FloatArray


def _sums(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], bins: int) -> _BinSums:
    count_option(bins, "bins")
    conf, right = by_confidence(*confidence_and_correct(confidence, correct))
    index = equal_width_bin(conf, bins)
    return _BinSums(
        n=np.bincount(index, minlength=bins).astype(np.int64),
        confidence=np.asarray(np.bincount(index, weights=conf, minlength=bins), dtype=np.float64),
        correct=np.asarray(np.bincount(index, weights=right, minlength=bins), dtype=np.float64),
    )


def _means(sums: FloatArray, n: IntArray) -> tuple[float | None, ...]:
    return tuple(float(s / k) if k else None for s, k in zip(sums, n, strict=True))
