"""Calibration in a fixed number of bins, and the soft F1 score of doubt as an alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import (
    FloatArray,
    IntArray,
    confidence_and_correct,
    count_option,
    finite,
)
from robustbench_safety.metrics.ranking import by_confidence

__all__ = [
    "Binning",
    "ReliabilityBins",
    "bin_of_each",
    "expected_calibration_error",
    "reliability_bins",
    "soft_f1_score",
]

Binning = Literal["equal_width", "equal_mass"]
"""Bins of one width on the scale of confidence, or of one number of images."""


def expected_calibration_error(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bins: int = 15,
    binning: Binning = "equal_width",
) -> float:
    """Measure the mean gap between confidence and accuracy in a fixed number of bins (ECE). Lower is better.

    ``sum_b (n_b / N) |mean confidence_b - accuracy_b|`` over ``bins`` bins: of (0, 1], each closed on the
    right, or of the images in order of confidence, their numbers differing by one at most.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bins: Number of bins; empty ones count nothing.
        binning: ``"equal_width"``, 1 / bins each, or ``"equal_mass"`` (adaptive ECE), N / bins images each.

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``bins`` is below 1, or ``binning`` is neither.

    Conventions:
        A confidence of exactly 0, which the paper's half-open bins leave out, joins the first bin.
        Of equal mass, images of equal confidence share their mean accuracy, so the order in the file is
        without effect; ``mean_absolute_calibration_error`` fixes the images a bin instead of the bins.
        The adaptive error of Nixon et al. also averages over the classes; here, as in what most call
        adaptive ECE, only the predicted class counts. OpenOOD bins the maximum logit instead of the softmax;
        that is not this measure.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, equation 3, ICML 2017; bins after Naeini
        et al., AAAI 2015. Equal mass: Nguyen and O'Connor, Posterior calibration and exploratory analysis,
        section 4, EMNLP 2015; Nixon et al., Measuring Calibration in Deep Learning, CVPR workshops 2019.

    Example:
        >>> confidence, correct = np.array([0.4, 0.6, 0.8]), np.array([0, 1, 0])
        >>> round(expected_calibration_error(confidence, correct, bins=2), 4)  # 0.4 / 3 and 2/3 of 0.2
        0.2667
        >>> round(expected_calibration_error(confidence, correct, bins=3, binning="equal_mass"), 4)  # 1.6 / 3
        0.5333
    """
    sums = _sums(confidence, correct, bins, binning)
    return float(np.sum(np.abs(sums.confidence - sums.correct)) / np.sum(sums.n))


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """A reliability diagram as numbers; one entry a bin, from the least confident up."""

    lower: tuple[float, ...]
    """Lower edge, open (the first bin also holds confidence 0); of equal mass the edge of the bin before."""
    upper: tuple[float, ...]
    """Upper edge, closed; of equal mass the largest confidence in the bin, and 1 for the last."""
    n: tuple[int, ...]
    """Images in the bin."""
    mean_confidence: tuple[float | None, ...]
    """Mean confidence, None for an empty bin."""
    accuracy: tuple[float | None, ...]
    """Share of right answers, None for an empty bin."""


def reliability_bins(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bins: int = 15,
    binning: Binning = "equal_width",
) -> ReliabilityBins:
    """Draw the reliability diagram: accuracy against confidence. Accuracy equal to confidence is best.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bins: Number of bins.
        binning: As for :func:`expected_calibration_error`.

    Returns:
        The bins that :func:`expected_calibration_error` averages over, empty ones included.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``bins`` is below 1, or ``binning`` is neither.

    Conventions:
        As :func:`expected_calibration_error`. Of equal mass, images of one confidence may fill parts of two
        bins, which then meet at that confidence.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, figure 1, ICML 2017.

    Example:
        >>> diagram = reliability_bins(np.array([0.75, 1.0]), np.array([0, 1]), bins=2)
        >>> diagram.n, diagram.mean_confidence, diagram.accuracy
        ((0, 2), (None, 0.875), (None, 0.5))
    """
    sums = _sums(confidence, correct, bins, binning)
    edges = [b / bins for b in range(bins + 1)]
    if binning == "equal_mass":
        ordered = np.sort(finite(confidence, "confidence"))
        ends = np.cumsum(sums.n)[:-1]
        edges = [0.0, *np.where(ends > 0, ordered[ends - 1], 0.0).tolist(), 1.0]
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


def bin_of_each(ordered: FloatArray, *, bins: int, binning: Binning) -> IntArray:
    """Return the bin of each of the sorted confidences, from 0."""
    count_option(bins, "bins")
    if binning not in get_args(Binning):
        raise UsageError(
            "binning cannot be used", expected=" or ".join(get_args(Binning)), found=repr(binning)
        )
    if binning == "equal_mass":
        return np.arange(len(ordered), dtype=np.int64) * bins // len(ordered)
    # Bin b holds b / bins < confidence <= (b + 1) / bins; 0 joins bin 0.
    inner_edges = np.arange(1, bins) / bins
    return np.searchsorted(inner_edges, ordered, side="left").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _BinSums:
    n: IntArray
    confidence: FloatArray
    correct: FloatArray


def _sums(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], bins: int, binning: Binning
) -> _BinSums:
    conf, right = by_confidence(*confidence_and_correct(confidence, correct))
    index = bin_of_each(conf, bins=bins, binning=binning)
    return _BinSums(
        n=np.bincount(index, minlength=bins).astype(np.int64),
        confidence=np.asarray(np.bincount(index, weights=conf, minlength=bins), dtype=np.float64),
        correct=np.asarray(np.bincount(index, weights=right, minlength=bins), dtype=np.float64),
    )


def _means(sums: FloatArray, n: IntArray) -> tuple[float | None, ...]:
    return tuple(float(s / k) if k else None for s, k in zip(sums, n, strict=True))
