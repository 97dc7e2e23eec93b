"""Confidence intervals of the calibration errors that add up the sizes of gaps: ECE and MAD.

With the signs of the gaps held fixed such an error is a mean over images, so one value an image serves any
number of conditions, and resampling costs as much for 75 of them as for one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.metrics.calibration import equal_count_starts, require_images
from robustbench_safety.metrics.calibration_intervals import LastBin, signed_root
from robustbench_safety.metrics.checks import FloatArray, IntArray, confidence_and_correct, count_option
from robustbench_safety.metrics.intervals import Interval, bootstrap_interval
from robustbench_safety.metrics.ranking import mean_within_ties
from robustbench_safety.metrics.reliability import Binning, bin_of_each

__all__ = [
    "ece_interval",
    "ece_values",
    "mean_absolute_calibration_interval",
    "mean_absolute_calibration_values",
]


def ece_interval(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bins: int = 15,
    binning: Binning = "equal_width",
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) expected calibration error may lie from its true value. Narrower is better.

    The target is the ECE of the whole population with these same ``bins``, ``sum_b |S_b|`` with
    ``S_b = E[(confidence - correct) in bin b]``; gaps that cancel within a bin are not part of it.
    With the signs of the gaps held fixed the ECE is a mean over images, and its percentile bootstrap is the
    upper end. The lower end is lowered by what noise adds to the sizes ``|S_b|``.

    Args:
        confidence: Confidence in the predicted class, fraction, [N] or [C conditions, N source images].
        correct: 1 where the prediction is right, else 0, same shape.
        bins: Number of bins, as in ``expected_calibration_error``.
        binning: As in ``expected_calibration_error``.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100; each draws source images with all their conditions.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval of the ECE, or of its mean over the C conditions, within [0, 1].

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``bins``, ``binning``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        A noisy gap's size is on average too large (Jensen), which is safe for the upper end. For the
        lower end |S| becomes ``(S^2 - s^2) / sqrt(max(|S^2 - s^2|, s^2))`` with s its standard error:
        negative for gaps within their noise, and on average never above the true size. Over conditions the
        noise averages out and the two allowances do not, so the mean of many is covered more often than
        ``level``. Bins of equal mass are taken where the sample has them.
        Simulated coverage at 95 %: 95 to 100 %, the more the smaller the true error, for N from 850 to
        10,000. See ``tests/metrics/test_absolute_gap_intervals.py``.

    Source:
        Ours, on the evidence of the simulations; percentile interval as in ``bootstrap_interval``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> confidence = rng.uniform(0.5, 1.0, 2000)
        >>> correct = rng.random(2000) < confidence  # true ECE 0
        >>> ece_interval(confidence, correct, seed=0, draws=200).low
        0.0
    """
    count_option(bins, "bins")
    conf, right = confidence_and_correct(confidence, correct, ndim=2 if np.ndim(confidence) == 2 else 1)

    def place(ordered: FloatArray) -> IntArray:
        return bin_of_each(ordered, bins=bins, binning=binning)

    return _held_signs_interval(conf, right, place, n_counted=bins, seed=seed, draws=draws, level=level)


def mean_absolute_calibration_interval(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bin_size: int = 100,
    last_bin: LastBin = "counted",
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) MAD calibration error may lie from its true value. Narrower is better.

    The target is the error with as many bins of equal mass of the whole population. The signs of the gaps
    are held fixed as in :func:`ece_interval`.

    Args:
        confidence: Confidence in the predicted class, fraction, [N] or [C conditions, N source images].
        correct: 1 where the prediction is right, else 0, same shape.
        bin_size: Images a bin, as in ``mean_absolute_calibration_error``.
        last_bin: ``"skipped"`` for the target of ``mean_absolute_calibration_error_hendrycks``.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100; each draws source images with all their conditions.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval of the error, or of its mean over the C conditions, within [0, 1].

    Raises:
        UndefinedMetricError: Fewer images than the bins need, a NaN, shapes differ, or a value is outside
            its range.
        UsageError: ``bin_size``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        As :func:`ece_interval`. Bins of 100 images are noisy (a gap of pure noise has a size of about 0.04),
        so below a true error of 0.05 the interval is wide and covers nearly always.

    Source:
        As :func:`ece_interval`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> confidence = rng.uniform(0.5, 1.0, 2000)
        >>> correct = rng.random(2000) < confidence - 0.2  # true error 0.2
        >>> interval = mean_absolute_calibration_interval(confidence, correct, seed=0, draws=200)
        >>> 0.15 < interval.low < 0.2 < interval.high < 0.25
        True
    """
    conf, right = confidence_and_correct(confidence, correct, ndim=2 if np.ndim(confidence) == 2 else 1)
    index, n_counted = _equal_counts(conf.shape[-1], bin_size, last_bin)
    return _held_signs_interval(
        conf, right, lambda _: index, n_counted=n_counted, seed=seed, draws=draws, level=level
    )


def ece_values(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bins: int = 15,
    binning: Binning = "equal_width",
) -> FloatArray:
    """Return what each image adds to the ECE, [N]: its gap with the sign of its bin. Their mean is the ECE.

    Args and errors as for :func:`ece_interval`, of one condition.

    Example:
        >>> ece_values(np.array([0.9, 0.6]), np.array([1, 0]), bins=2).round(4).tolist()  # one bin, gap 0.25
        [-0.1, 0.6]
    """
    count_option(bins, "bins")
    conf, right = confidence_and_correct(confidence, correct)
    return _signed_gaps(conf, right, lambda o: bin_of_each(o, bins=bins, binning=binning), bins)[0]


def mean_absolute_calibration_values(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bin_size: int = 100,
    last_bin: LastBin = "counted",
) -> FloatArray:
    """Return what each image adds to the MAD calibration error, [N]. Their mean is the error.

    Args and errors as for :func:`mean_absolute_calibration_interval`, of one condition.

    Example:
        >>> confidence, correct = np.array([0.5, 0.7, 0.8, 1.0]), np.array([0, 1, 1, 1])
        >>> values = mean_absolute_calibration_values(confidence, correct, bin_size=2)
        >>> [round(abs(value), 4) for value in values.tolist()]  # gaps 0.1 and -0.1: 0.5 -0.3 0.2 0
        [0.5, 0.3, 0.2, 0.0]
    """
    conf, right = confidence_and_correct(confidence, correct)
    index, n_counted = _equal_counts(len(conf), bin_size, last_bin)
    return _signed_gaps(conf, right, lambda _: index, n_counted)[0]


def _equal_counts(n: int, bin_size: int, last_bin: LastBin) -> tuple[IntArray, int]:
    """Return the bin of each image in order of confidence, and how many bins count."""
    count_option(bin_size, "bin_size")
    require_images(n, bin_size if last_bin == "counted" else 2 * bin_size)
    starts = equal_count_starts(n, bin_size)
    index = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))
    return index, len(starts) - (last_bin == "skipped")


def _held_signs_interval(
    confidence: FloatArray,
    correct: FloatArray,
    place: Callable[[FloatArray], IntArray],
    *,
    n_counted: int,
    seed: int,
    draws: int,
    level: float,
) -> Interval:
    """Return the interval of a sum over the first ``n_counted`` bins that ``place`` puts images into."""
    parts = [
        _signed_gaps(conf, right, place, n_counted)
        for conf, right in zip(np.atleast_2d(confidence), np.atleast_2d(correct), strict=True)
    ]
    signed = np.mean([values for values, _ in parts], axis=0)
    allowance = float(np.mean([noise for _, noise in parts]))
    upper = bootstrap_interval(signed, seed=seed, draws=draws, level=level)
    low, high = max(0.0, upper.low - allowance), min(1.0, upper.high)
    method = f"{upper.method}, signs of gaps held"
    if confidence.ndim == 2:
        method += f", mean over {len(confidence)} conditions"
    return Interval(low=low, high=high, method=method, level=level)


def _signed_gaps(
    confidence: FloatArray, correct: FloatArray, place: Callable[[FloatArray], IntArray], n_counted: int
) -> tuple[FloatArray, float]:
    """Return each image's gap with the sign of its bin, [N] as given, and what noise adds to their mean."""
    order = np.lexsort((correct, confidence))
    ordered = confidence[order]
    gaps = ordered - correct[order]
    index, n = place(ordered), len(gaps)
    n_bins = max(n_counted, int(index[-1]) + 1)
    shared, squares = (mean_within_ties(ordered, values) for values in (gaps, gaps**2))
    sums = np.bincount(index, weights=shared, minlength=n_bins)
    signs = np.where(np.arange(n_bins) < n_counted, np.sign(sums), 0.0)
    signed = np.empty(n)
    # An image whose ties lie in several bins has a part in each of them.
    signed[order] = mean_within_ties(ordered, signs[index]) * gaps
    sizes = np.abs(sums) / n
    noise = np.maximum(np.bincount(index, weights=squares, minlength=n_bins) / n - sizes**2, 0.0) / n
    added = sizes - signed_root(sizes**2 - noise, floor=noise)
    return signed, float(np.sum(added[:n_counted]))
