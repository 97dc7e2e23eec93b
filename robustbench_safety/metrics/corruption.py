"""Corruption errors: how wrong a network is on corrupted images, beside a reference network or by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.by_name import (
    Levels,
    above_zero,
    exact_mean,
    levels_between,
    number_between,
    same_names,
)
from robustbench_safety.metrics.checks import FloatArray

__all__ = [
    "WorstCorruption",
    "corruption_error",
    "mean_corruption_error",
    "relative_mean_corruption_error",
    "worst_corruption",
]


def corruption_error(errors: Levels, baseline_errors: Levels) -> float:
    """Measure the error on one corruption as a multiple of a reference network's. Lower is better.

    ``sum_s E_s / sum_s B_s``: CE.

    Args:
        errors: Top-1 error at each severity, fraction, [S].
        baseline_errors: The reference network's at the same severities, fraction, [S].

    Returns:
        Ratio of at least 0, without an upper end; 1 is the reference network.

    Raises:
        UndefinedMetricError: There is no severity, a NaN, lengths differ, an error is outside [0, 1], or the
            baseline's errors are all 0.

    Conventions:
        A ratio of sums: severities at which the baseline errs much weigh more than in the mean of ratios.
        Papers print 100 times this.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.1 (CE), ICLR 2019.

    Example:
        >>> corruption_error([0.25, 0.5], [0.5, 0.75])  # 0.75 / 1.25; the mean of the ratios is 0.583
        0.6
    """
    given = levels_between(errors, "errors")
    return _sum(given) / above_zero(
        _baseline_sum(baseline_errors, "baseline_errors", len(given)), "baseline_errors"
    )


def mean_corruption_error(
    errors: Mapping[str, Levels], *, baseline: Mapping[str, Levels | float] | None
) -> float:
    """Measure the error over corruptions, each as a multiple of a reference network's. Lower is better.

    ``(1/C) sum_c CE_c``: mCE; without a baseline ``(1/C) sum_c (1/S) sum_s E_cs``, the mean error.

    Args:
        errors: By corruption: top-1 error at each severity, fraction, [S].
        baseline: By the same corruptions: the reference network's at each severity, [S], or a single number,
            its mean over the severities. None for the plain mean error.

    Returns:
        Ratio of at least 0, without an upper end; without a baseline a fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no corruption, names or lengths differ, there is a NaN, an error is
            outside [0, 1], or the baseline's errors on a corruption are all 0.

    Conventions:
        ImageNet-C tables divide by AlexNet and average over 15 corruptions, never over the 19 on disk; those
        of CIFAR-C and C-bar do not divide, and some of them call the plain mean mCE too. A corruption that
        was not measured is refused: a mean over fewer is another number. Papers print 100 times this.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.1 (mCE), ICLR 2019.

    Example:
        >>> errors = {"fog": [0.2, 0.4], "snow": [0.3, 0.3]}
        >>> round(mean_corruption_error(errors, baseline={"fog": [0.5, 0.7], "snow": 0.4}), 3)  # 0.5, 0.75
        0.625
        >>> round(mean_corruption_error(errors, baseline=None), 3)
        0.3
    """
    given = _by_corruption(errors)
    if baseline is None:
        return exact_mean(_sum(levels) / len(levels) for levels in given.values())
    same_names(given, baseline, "errors")
    return exact_mean(
        _sum(levels) / above_zero(_sum_of(baseline, name, len(levels)), _of(name))
        for name, levels in given.items()
    )


def relative_mean_corruption_error(
    errors: Mapping[str, Levels],
    clean_error: float,
    baseline: Mapping[str, Levels | float],
    baseline_clean_error: float,
) -> float:
    """Measure how much corruptions add to the error, as a multiple of what they add to a reference network's.

    ``(1/C) sum_c [sum_s (E_cs - E_clean) / sum_s (B_cs - B_clean)]``: relative mCE. Lower is better.

    Args:
        errors: By corruption: top-1 error at each severity, fraction, [S].
        clean_error: Top-1 error on the clean images, fraction.
        baseline: By the same corruptions: the reference network's at each severity, [S], or a single number,
            its mean over the severities.
        baseline_clean_error: The reference network's on the clean images, fraction.

    Returns:
        Ratio; 1 is the reference network, below 0 a network that errs less on corrupted images than on clean.

    Raises:
        UndefinedMetricError: There is no corruption, names or lengths differ, there is a NaN, an error is
            outside [0, 1], or a corruption adds nothing to the baseline's error.

    Conventions:
        Both clean errors are of the images that were corrupted, prepared alike. A low value says that an
        error grows little, not that it is small. Papers print 100 times this.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.1 (relative mCE),
        ICLR 2019.

    Example:
        >>> errors, baseline = {"fog": [0.2, 0.4]}, {"fog": [0.5, 0.7]}
        >>> round(relative_mean_corruption_error(errors, 0.1, baseline, 0.4), 6)  # (0.1 + 0.3) / (0.1 + 0.3)
        1.0
    """
    given = _by_corruption(errors)
    clean = number_between(clean_error, "clean_error")
    baseline_clean = number_between(baseline_clean_error, "baseline_clean_error")
    same_names(given, baseline, "errors")
    ratios = []
    for name, levels in given.items():
        added = _sum_of(baseline, name, len(levels)) - len(levels) * baseline_clean
        # Of equal sums rounding may leave 1e-16, which would divide into a large and meaningless number.
        added = added if abs(added) > 1e-12 * len(levels) else 0.0
        ratios.append(
            (_sum(levels) - len(levels) * clean) / above_zero(added, f"what {name} adds to the baseline")
        )
    return exact_mean(ratios)


@dataclass(frozen=True, kw_only=True)
class WorstCorruption:
    """The corruption that a network errs most on."""

    name: str
    error: float
    """Mean over its severities, a fraction."""


def worst_corruption(errors: Mapping[str, Levels]) -> WorstCorruption:
    """Measure the largest mean error of a corruption, and say which. Lower is better.

    ``max_c (1/S) sum_s E_cs``.

    Args:
        errors: By corruption: top-1 error at each severity, fraction, [S].

    Returns:
        Name and error, a fraction in [0, 1]; of equal ones the first by name.

    Raises:
        UndefinedMetricError: There is no corruption, lengths differ, there is a NaN, or an error is outside
            [0, 1].

    Conventions:
        Not divided by a baseline: what is worst for a user is the error, not the ratio.

    Source:
        Plain definition, of E in Hendrycks and Dietterich, section 4.1, ICLR 2019.

    Example:
        >>> worst_corruption({"fog": [0.25, 0.5], "snow": [0.25, 0.25]})
        WorstCorruption(name='fog', error=0.375)
    """
    means = {name: _sum(levels) / len(levels) for name, levels in _by_corruption(errors).items()}
    name = min(means, key=lambda one: (-means[one], one))
    return WorstCorruption(name=name, error=means[name])


def _by_corruption(errors: Mapping[str, Levels]) -> dict[str, FloatArray]:
    given = {name: levels_between(levels, f"errors of {name}") for name, levels in errors.items()}
    if not given:
        raise UndefinedMetricError("errors are empty", expected="at least one corruption", found="none")
    first, *others = given
    for name in others:
        _same_length(len(given[name]), f"errors of {name}", len(given[first]), f"those of {first}")
    return given


def _sum(levels: FloatArray) -> float:
    return math.fsum(levels.tolist())


def _sum_of(baseline: Mapping[str, Levels | float], name: str, n_levels: int) -> float:
    """Return the baseline's sum over as many severities; a single number is the mean over them."""
    value = baseline[name]
    if np.ndim(value) == 0:
        return n_levels * number_between(cast(float, value), _of(name))
    return _baseline_sum(cast(Levels, value), _of(name), n_levels)


def _of(name: str) -> str:
    return f"the baseline's errors of {name}"


def _baseline_sum(values: Levels, what: str, n_levels: int) -> float:
    levels = levels_between(values, what)
    _same_length(len(levels), what, n_levels, "the errors")
    return _sum(levels)


def _same_length(found: int, what: str, expected: int, other: str) -> None:
    if found != expected:
        raise UndefinedMetricError(
            f"{what} and {other} differ in severities", expected=str(expected), found=str(found)
        )
