"""Confidence interval of the RMS calibration error, which is biased upwards and bounded by 0.

A gap of pure noise still has a size, so the error of a sample lies above the true one, and resampling adds
as much again: a percentile interval never comes down to a small true error (at a true RMS of 0.02 it covers
0 %). The interval is made where the noise is plainly additive, on squared gaps, and returns to the error at
the end. ``absolute_gap_intervals`` does the same on signed gaps.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.metrics.calibration import equal_count_starts, require_images
from robustbench_safety.metrics.checks import FloatArray, IntArray, confidence_and_correct, count_option
from robustbench_safety.metrics.intervals import Interval, unseen_share
from robustbench_safety.metrics.ranking import tie_starts
from robustbench_safety.metrics.resampling import blocks, check_options, draw_counts

__all__ = ["LastBin", "rms_calibration_interval"]

LastBin = Literal["counted", "skipped"]
"""Whether the most confident bin counts; the published code skips it."""


def rms_calibration_interval(
    confidence: FloatArray,
    correct: FloatArray | NDArray[np.bool_],
    *,
    bin_size: int = 100,
    last_bin: LastBin = "counted",
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) RMS calibration error may lie from its true value. Narrower is better.

    One condition: the basic bootstrap interval of the squared RMS ``q``, root taken, floored at 0:
    ``sqrt(max(0, 2 q - q*_high))`` to ``sqrt(max(0, 2 q - q*_low))`` with ``q*`` the resampled values.
    Several conditions: see Conventions. The target is the error with as many bins of the whole population.

    Args:
        confidence: Confidence in the predicted class, fraction, [N] or [C conditions, N source images].
        correct: 1 where the prediction is right, else 0, same shape.
        bin_size: Images a bin, as in ``rms_calibration_error``.
        last_bin: ``"skipped"`` for the target of ``rms_calibration_error_hendrycks``.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100; each draws source images with all their conditions.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval of the RMS calibration error, or of its mean over the C conditions, within [0, 1]. It need
        not contain the error of the sample, whose upward bias it takes off.

    Raises:
        UndefinedMetricError: Fewer images than the bins need, a NaN, shapes differ, or a value is outside its
            range.
        UsageError: ``bin_size``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        C conditions have noise in common (the images) and noise of their own, which averages out. With f
        the ratio of the standard deviation of the mean to that of one condition, each condition's ends are
        drawn in to f of their distance before the roots are averaged; its own noise, ``sqrt(1 - f^2)`` of
        the whole, biases a root by about ``s^2 / (8 q^1.5)``, which the upper end adds and the lower end
        keeps. f = 1 gives the interval of one condition. Simulated coverage at 95 %, one condition: 94 to
        99 % for N = 2,000 and true errors of 0.02 to 0.2, nearly all at 0; 92 to 94 % for N = 850 at 0.05 to
        0.2, the misses being upper ends that are too low. Fewer bins cover less: 88 to 93 % for N = 500, 66
        to 90 % for N = 240, least where the last of its two bins is skipped. The mean of conditions whose
        noise is nearly all shared covers as one condition does, with noise of their own more. See
        ``tests/metrics/test_calibration_intervals.py``.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, section 5.2 (basic interval), 1997;
        the rest is ours, on the evidence of the simulations.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> confidence = rng.uniform(0.5, 1.0, 2000)
        >>> correct = rng.random(2000) < confidence - 0.2  # true RMS 0.2
        >>> interval = rms_calibration_interval(confidence, correct, seed=0, draws=200)
        >>> 0.15 < interval.low < 0.2 < interval.high < 0.25
        True
    """
    check_options(seed=seed, draws=draws, level=level)
    count_option(bin_size, "bin_size")
    conf, right = confidence_and_correct(confidence, correct, ndim=2 if np.ndim(confidence) == 2 else 1)
    conditions = _Conditions(np.atleast_2d(conf), np.atleast_2d(right), bin_size, last_bin)
    squared = conditions.squared_rms(np.ones((1, conditions.n), dtype=np.int64))
    rng = np.random.default_rng(seed)
    resampled = [
        conditions.squared_rms(draw_counts(rng, k, conditions.n)) for k in blocks(draws, conditions.n)
    ]
    reflected = 2.0 * squared - np.concatenate(resampled)
    method = f"basic bootstrap of the squared RMS, {draws} draws"
    if conf.ndim == 2:
        method += f", mean over {len(conf)} conditions"
    if conditions.without_spread:
        # All draws agree. Unseen images move the gaps by at most 1, so the RMS by the root of their share.
        reach = math.sqrt(unseen_share(conditions.n, level=level))
        mean = float(np.mean(np.sqrt(squared)))
        low, high = mean - reach, mean + reach
        method = f"clopper-pearson (all {conditions.n} images alike)"
    else:
        low, high = _mean_root_ends(reflected, level)
    return Interval(low=max(0.0, low), high=min(1.0, high), method=method, level=level)


class _Conditions:
    """The source images under C conditions, each condition in its own order of confidence."""

    def __init__(self, confidence: FloatArray, correct: FloatArray, bin_size: int, last_bin: LastBin) -> None:
        self.n = confidence.shape[1]
        require_images(self.n, bin_size if last_bin == "counted" else 2 * bin_size)
        units = np.lexsort(np.concatenate([confidence, correct]))
        confidence, correct = confidence[:, units], correct[:, units]
        self._orders = np.argsort(confidence, axis=1, kind="stable")
        ordered = np.take_along_axis(confidence, self._orders, axis=1)
        self._gaps = ordered - np.take_along_axis(correct, self._orders, axis=1)
        self.without_spread = not np.ptp(self._gaps, axis=1).any()
        self._ties = [_tie_ends(row) for row in ordered]
        self._sizes = np.diff(equal_count_starts(self.n, bin_size), append=self.n)
        self._weights = self._sizes / self.n
        if last_bin == "skipped":
            self._weights[-1] = 0.0

    def squared_rms(self, counts: IntArray) -> FloatArray:
        """Return the squared RMS error [D, C] of resamples given as counts [D, N] of each image."""
        # Fresh memory for each condition would cost more than the sums that are put into it.
        room = np.empty_like(counts), np.zeros(counts.size + 1)
        columns = zip(self._orders, self._gaps, self._ties, strict=True)
        squares = [self._squared(counts, order, gaps, ties, *room) for order, gaps, ties in columns]
        return np.stack(squares, axis=1)

    def _squared(
        self,
        counts: IntArray,
        order: IntArray,
        gaps: FloatArray,
        ties: tuple[IntArray, IntArray],
        drawn: IntArray,
        sums: FloatArray,
    ) -> FloatArray:
        """Sum the gaps of each bin of each draw; images of one confidence may lie across the end of a bin."""
        np.take(counts, order, axis=1, out=drawn, mode="clip")
        np.multiply(drawn, gaps, out=sums[:-1].reshape(counts.shape))
        # All draws hold n images, so one running count over the flat block serves every row of it.
        n_drawn = np.cumsum(drawn, out=drawn.reshape(-1))
        rows = np.arange(len(counts))[:, None] * self.n
        ends = (rows + np.cumsum(self._sizes)).ravel()
        at = np.searchsorted(n_drawn, ends).reshape(len(counts), -1)
        first, last = ((rows + of_image[at - rows]).ravel() for of_image in ties)
        n_before = np.where(first > 0, n_drawn[first - 1], 0)
        share = (ends - n_before) / (n_drawn[last] - n_before)
        # One sum more than images, a zero: a last group that is cut twice has a place after it.
        # In turn what lies before each group that is cut, and the group; a running sum would cost more.
        places = np.append(0, np.stack([first, last + 1], axis=1))[:-1]
        parts = np.add.reduceat(sums, places)
        parts[:-1][places[:-1] >= places[1:]] = 0.0
        before, group = parts[0::2], parts[1::2]
        before[1:] += np.where(first[1:] > first[:-1], group[:-1], 0.0)
        in_bin = before + np.diff(share * group, prepend=0.0)
        bin_gaps = in_bin.reshape(len(counts), -1) / self._sizes
        return np.asarray(bin_gaps**2 @ self._weights)


def _tie_ends(ordered: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the first and the last place of the images that are as confident as each one."""
    starts = tie_starts(ordered)
    sizes = np.diff(starts, append=len(ordered))
    return np.repeat(starts, sizes), np.repeat(starts + sizes - 1, sizes)


def _mean_root_ends(squared: FloatArray, level: float) -> tuple[float, float]:
    """Return the ends for the mean over C of the roots of the true squares, from their draws [D, C]."""
    centre, spread = squared.mean(axis=0), squared.std(axis=0)
    scale = np.sqrt(np.maximum(centre, spread))
    roots = (squared - centre) / np.where(scale > 0, scale, 1.0)
    shared = float(roots.mean(axis=1, keepdims=True).std(axis=0)[0] / roots.std(axis=0).mean())
    low, high = (
        centre + shared * (end - centre)
        for end in np.quantile(squared, [(1 - level) / 2, (1 + level) / 2], axis=0)
    )
    own = spread * math.sqrt(max(0.0, 1.0 - shared**2))
    high = np.maximum(high, own)
    bias = own**2 / (8.0 * np.where(high > 0, high, 1.0) ** 1.5)
    return float(np.mean(signed_root(low, floor=own))), float(np.mean(np.sqrt(np.maximum(high, 0.0)) + bias))


def signed_root(values: FloatArray, *, floor: FloatArray) -> FloatArray:
    """Return the signed root of ``values``, linear within ``floor`` of 0, where a root magnifies noise."""
    scale = np.maximum(np.abs(values), floor)
    return np.asarray(values / np.sqrt(np.where(scale > 0, scale, 1.0)))
