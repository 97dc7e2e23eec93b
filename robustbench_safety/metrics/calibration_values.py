"""What each image adds to the RMS calibration error: the values whose mean it is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.metrics.calibration import equal_count_starts, require_images
from robustbench_safety.metrics.calibration_intervals import LastBin
from robustbench_safety.metrics.checks import FloatArray, confidence_and_correct, count_option
from robustbench_safety.metrics.ranking import mean_within_ties

__all__ = ["rms_calibration_values"]


def rms_calibration_values(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bin_size: int = 100,
    last_bin: LastBin = "counted",
) -> FloatArray:
    """Measure what each image adds to the RMS calibration error. Lower is better.

    With g the gap of an image, G_b the mean gap of its bin and q the squared RMS, an image in bin b adds
    ``rms + (2 G_b g - G_b^2 - q) / (2 rms)``, whose mean is the RMS: its influence, the bins held.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        bin_size: Images a bin, as in ``rms_calibration_error``.
        last_bin: ``"skipped"`` for ``rms_calibration_error_hendrycks``.

    Returns:
        [N] as given; their mean is the error. All 0 where it is 0.

    Raises:
        UndefinedMetricError: Fewer images than the bins need, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size`` is below 1.

    Conventions:
        For the difference of two models on the same images, where the upward bias of both is nearly one. The
        interval of one model's error has to take it off: :func:`rms_calibration_interval`. Near a true error
        of 0 the spread is overstated (by the root of 2 where all gaps are noise), so a test finds less. Equal
        confidences share their places; the published code's last bin is parted from the rest by their order
        in the file.

    Source:
        As ``selective_interval``: the infinitesimal jackknife, Jaeckel 1972.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> values = rms_calibration_values(confidence, correct, bin_size=2)  # bins 0.1 and -0.1
        >>> [round(float(value), 4) for value in values]
        [0.5, -0.3, 0.2, 0.0]
    """
    count_option(bin_size, "bin_size")
    conf, right = confidence_and_correct(confidence, correct)
    n = len(conf)
    require_images(n, bin_size if last_bin == "counted" else 2 * bin_size)
    order = np.argsort(conf, kind="stable") if last_bin == "skipped" else np.lexsort((right, conf))
    ordered, gaps = conf[order], (conf - right)[order]
    starts = equal_count_starts(n, bin_size)
    sizes = np.diff(starts, append=n)
    # As published, ties keep their order in the file.
    shared = gaps if last_bin == "skipped" else mean_within_ties(ordered, gaps)
    of_bin = np.add.reduceat(shared, starts) / sizes
    if last_bin == "skipped":
        of_bin[-1] = 0.0
    squared = float(np.sum(sizes * of_bin**2) / n)
    if squared == 0:
        return np.zeros(n)
    rms, of_each = math.sqrt(squared), np.repeat(of_bin, sizes)
    if last_bin == "counted":
        # An image whose ties lie in several bins has a part in each of them.
        linear = mean_within_ties(ordered, of_each) * gaps
        less = mean_within_ties(ordered, of_each**2)
    else:
        linear, less = of_each * gaps, of_each**2
    values = np.empty(n)
    values[order] = rms + (2.0 * linear - less - squared) / (2.0 * rms)
    return values
