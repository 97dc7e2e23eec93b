"""Calibration in equal-count bins: how far confidence is from accuracy, over the whole range.

The three published measures (RMS, mean absolute, maximum) differ only in how they average the gaps of
the bins, and each exists twice: right, and as published. The published code (``calibration_tools.py`` of
Outlier Exposure, Natural Adversarial Examples, PixMix and IPMix) loops over ``range(number_of_bins - 1)``
and so never counts the most confident bin. Compare published tables with the ``_hendrycks`` functions,
and everything else with the plain ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, IntArray, confidence_and_correct, count_option
from robustbench_safety.metrics.ranking import by_confidence

__all__ = [
    "maximum_calibration_error",
    "maximum_calibration_error_hendrycks",
    "mean_absolute_calibration_error",
    "mean_absolute_calibration_error_hendrycks",
    "rms_calibration_error",
    "rms_calibration_error_hendrycks",
]


def rms_calibration_error(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the root mean square gap between confidence and accuracy. Lower is better.

    ``sqrt(sum_b (n_b / N) (mean confidence_b - accuracy_b)^2)`` over bins of ``bin_size`` images in order of
    confidence; the last bin is extended to hold the rest.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1]. Chance alone gives a perfectly calibrated model about
        ``sqrt(accuracy (1 - accuracy) / bin_size)``.

    Raises:
        UndefinedMetricError: Fewer images than ``bin_size``, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        All bins count; the published code leaves out the most confident one
        (:func:`rms_calibration_error_hendrycks`). Images of equal confidence share their mean accuracy,
        so the order in the file is without effect. Confidence is the maximum softmax of the logits
        scored: after slicing for ImageNet-A, -R and -O.

    Source:
        Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, appendix
        (calibration), ICLR 2019; after Nguyen and O'Connor, EMNLP 2015.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> round(rms_calibration_error(confidence, correct, bin_size=2), 4)  # gaps 0.1 and -0.1
        0.1
    """
    sizes, gaps = equal_count_gaps(*_ordered(confidence, correct, bin_size), bin_size=bin_size)
    return float(_rms(sizes, gaps, n=int(sizes.sum())))


def rms_calibration_error_hendrycks(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the RMS calibration error as published, without the most confident bin. Lower is better.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1]; never above :func:`rms_calibration_error` where no confidences are tied.

    Raises:
        UndefinedMetricError: Fewer images than two bins (the published code returns 0), a NaN, shapes
            differ, or a value is outside its range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        The last bin is skipped while N stays the full count. Ties keep their order in the file, as in
        a stable sort by confidence, so with ties the value depends on that order.

    Source:
        ``calib_err(p='2')`` in ``calibration_tools.py`` of Hendrycks et al., Outlier Exposure (2019), Natural
        Adversarial Examples (2021), PixMix (2022).

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> round(rms_calibration_error_hendrycks(confidence, correct, bin_size=2), 4)  # sqrt(0.01 / 2)
        0.0707
    """
    sizes, gaps, n = _published_gaps(confidence, correct, bin_size)
    return float(_rms(sizes, gaps, n=n))


def mean_absolute_calibration_error(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the mean absolute gap between confidence and accuracy (MAD). Lower is better.

    ``sum_b (n_b / N) |mean confidence_b - accuracy_b|`` over bins as in :func:`rms_calibration_error`.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1]; never above the RMS calibration error.

    Raises:
        UndefinedMetricError: Fewer images than ``bin_size``, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        Also called adaptive or equal-mass ECE. All bins count; see
        :func:`mean_absolute_calibration_error_hendrycks` for the published value.

    Source:
        As :func:`rms_calibration_error`, p = 1.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> round(mean_absolute_calibration_error(confidence, correct, bin_size=2), 4)  # gaps 0.1 and -0.1
        0.1
    """
    sizes, gaps = equal_count_gaps(*_ordered(confidence, correct, bin_size), bin_size=bin_size)
    return float(np.sum(sizes * np.abs(gaps)) / sizes.sum())


def mean_absolute_calibration_error_hendrycks(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the mean absolute gap (MAD) as published, without the most confident bin. Lower is better.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: Fewer images than two bins, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        As :func:`rms_calibration_error_hendrycks`: last bin skipped, full N, stable sort.

    Source:
        ``calib_err(p='1')`` in ``calibration_tools.py`` of the papers named there.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> round(mean_absolute_calibration_error_hendrycks(confidence, correct, bin_size=2), 4)  # 0.1 / 2
        0.05
    """
    sizes, gaps, n = _published_gaps(confidence, correct, bin_size)
    return float(np.sum(sizes * np.abs(gaps)) / n)


def maximum_calibration_error(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the largest gap between confidence and accuracy in any bin. Lower is better.

    ``max_b |mean confidence_b - accuracy_b|`` over bins as in :func:`rms_calibration_error`.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1]; never below the RMS calibration error.

    Raises:
        UndefinedMetricError: Fewer images than ``bin_size``, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        Naeini et al. define it on equal-width bins, where it may rest on one image; here each bin
        holds ``bin_size`` of them.

    Source:
        As :func:`rms_calibration_error`, p = infinity.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 0])
        >>> round(maximum_calibration_error(confidence, correct, bin_size=2), 4)  # gaps 0.1 and 0.4
        0.4
    """
    _, gaps = equal_count_gaps(*_ordered(confidence, correct, bin_size), bin_size=bin_size)
    return float(np.max(np.abs(gaps)))


def maximum_calibration_error_hendrycks(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, bin_size: int = 100
) -> float:
    """Measure the largest gap of any bin as published, without the most confident bin. Lower is better.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin.

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: Fewer images than two bins, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        As :func:`rms_calibration_error_hendrycks`: last bin skipped, stable sort.

    Source:
        ``calib_err(p='infty')`` in ``calibration_tools.py`` of the papers named there.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 0])
        >>> round(maximum_calibration_error_hendrycks(confidence, correct, bin_size=2), 4)  # 0.4 is skipped
        0.1
    """
    _, gaps, _ = _published_gaps(confidence, correct, bin_size)
    return float(np.max(np.abs(gaps)))


def equal_count_starts(n: int, bin_size: int) -> IntArray:
    """Return where the bins start: every ``bin_size`` images, the rest joined to the last bin."""
    return np.arange(n // bin_size, dtype=np.int64) * bin_size


def equal_count_gaps(
    confidence: FloatArray, correct: FloatArray, *, bin_size: int
) -> tuple[IntArray, FloatArray]:
    """Return the size and the gap (mean confidence minus accuracy) of each bin of the sorted images."""
    starts = equal_count_starts(len(confidence), bin_size)
    sizes = np.diff(starts, append=len(confidence))
    return sizes, (np.add.reduceat(confidence, starts) - np.add.reduceat(correct, starts)) / sizes


def require_images(n: int, needed: int) -> None:
    """Refuse fewer images than the binning needs."""
    if n < needed:
        raise UndefinedMetricError(
            "too few images to bin",
            expected=f"at least {needed}",
            found=str(n),
            fix="use more images or a smaller bin_size",
        )


def _ordered(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], bin_size: int
) -> tuple[FloatArray, FloatArray]:
    count_option(bin_size, "bin_size")
    conf, right = confidence_and_correct(confidence, correct)
    require_images(len(conf), bin_size)
    return by_confidence(conf, right)


def _published_gaps(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], bin_size: int
) -> tuple[IntArray, FloatArray, int]:
    """Return sizes and gaps of all bins but the last, and the full N, as the published code has them."""
    count_option(bin_size, "bin_size")
    conf, right = confidence_and_correct(confidence, correct)
    require_images(len(conf), 2 * bin_size)
    order = np.argsort(conf, kind="stable")
    sizes, gaps = equal_count_gaps(conf[order], right[order], bin_size=bin_size)
    return sizes[:-1], gaps[:-1], len(conf)


def _rms(sizes: IntArray, gaps: FloatArray, *, n: int) -> float:
    return math.sqrt(np.sum(sizes * gaps**2) / n)
