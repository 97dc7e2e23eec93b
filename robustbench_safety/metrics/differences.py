"""The difference of two numbers that were measured on different images."""

from __future__ import annotations

import math

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.intervals import Interval

__all__ = ["independent_difference"]


def independent_difference(
    value_a: float, interval_a: Interval, value_b: float, interval_b: Interval
) -> Interval:
    """Measure how far the difference of two independent numbers may lie from ``value_a - value_b``.

    ``low = d - sqrt((a - a_low)^2 + (b_high - b)^2)``, ``high = d + sqrt((a_high - a)^2 + (b - b_low)^2)``.
    Narrower is better.

    Args:
        value_a: First number, any unit.
        interval_a: Its interval.
        value_b: Second number, measured on other images.
        interval_b: Its interval, of the same level.

    Returns:
        Interval of the difference, first minus second.

    Raises:
        UndefinedMetricError: The levels differ.

    Conventions:
        The error on ImageNet-A less that on the validation images of its classes, say. Where both were
        measured on the same images, :func:`paired_difference` is narrower. A number that lies outside its own
        interval (a bias-corrected one) adds nothing on that side.

    Source:
        Newcombe, Interval Estimation for the Difference between Independent Proportions, method 10, 1998;
        for other intervals Zou and Donner, Construction of Confidence Limits about Effect Measures, 2008.

    Example:
        >>> from robustbench_safety.metrics.intervals import wilson_interval
        >>> a, b = wilson_interval(56, 70), wilson_interval(48, 80)  # Newcombe's table II, comparison (a)
        >>> found = independent_difference(56 / 70, a, 48 / 80, b)
        >>> round(found.low, 4), round(found.high, 4)
        (0.0524, 0.3339)
    """
    if interval_a.level != interval_b.level:
        raise UndefinedMetricError(
            "the intervals have different levels", expected=f"{interval_a.level}", found=f"{interval_b.level}"
        )
    down = math.hypot(max(0.0, value_a - interval_a.low), max(0.0, interval_b.high - value_b))
    up = math.hypot(max(0.0, interval_a.high - value_a), max(0.0, value_b - interval_b.low))
    difference = value_a - value_b
    method = f"square-and-add of {interval_a.method} and {interval_b.method}"
    return Interval(low=difference - down, high=difference + up, method=method, level=interval_a.level)
