"""How far the robustness beyond a line may lie from its true value, for the images it was measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite
from robustbench_safety.metrics.differences import independent_difference
from robustbench_safety.metrics.intervals import Interval, wilson_interval
from robustbench_safety.metrics.resampling import check_options, percentiles
from robustbench_safety.metrics.shift import SCALES, AccuracyLine

__all__ = ["effective_robustness_interval"]

#: Resampled accuracies of 0 and 1 have no place on the axis: they stand as near to it as this.
_NEAREST = 1e-12


def effective_robustness_interval(
    correct_clean: FloatArray | NDArray[np.bool_],
    correct_shifted: FloatArray | NDArray[np.bool_],
    line: AccuracyLine,
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far effective robustness may lie from its true value. Narrower is better.

    Clean and shifted images are resampled apart, each set at its own size, and the robustness is taken of the
    resampled accuracies; the line stays as it is.

    Args:
        correct_clean: 1 where the model is right on a clean image, else 0, [N].
        correct_shifted: The same on the shifted images, which are others, [M].
        line: As :func:`fit_accuracy_line` gives it.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [-1, 1]. Where every shifted image is right, or none is, resamples of them
        do not vary: the Wilson intervals of both accuracies, square-and-add, in its place.

    Raises:
        UndefinedMetricError: A set is empty or holds anything but 0 and 1, or every clean image is right, or
            none is: such an accuracy has no place on the axis.
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Says how sure the model's own two accuracies are. How sure the line is, which all models share, is
        another question: :func:`accuracy_line_band` answers it.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 8.3 (two-sample problem), 1993. For
        the fallback Zou and Donner, Construction of Confidence Limits about Effect Measures, 2008.

    Example:
        >>> line = AccuracyLine(intercept=0.0, slope=1.0, axis="logit", n=2)  # as accurate as on clean images
        >>> clean, shifted = np.repeat([0, 1], [400, 1200]), np.repeat([0, 1], [800, 800])  # 0.75, 0.5
        >>> found = effective_robustness_interval(clean, shifted, line, seed=0)
        >>> round(found.low, 2), round(found.high, 2)  # -0.25 -+ 1.96 * sqrt(0.4375 / 1600)
        (-0.28, -0.22)
    """
    check_options(seed=seed, draws=draws, level=level)
    n_right, n_clean = _counts(correct_clean, "correct_clean")
    n_shifted_right, n_shifted = _counts(correct_shifted, "correct_shifted")
    expected = line.predict(n_right / n_clean)
    if n_shifted_right in (0, n_shifted):
        shifted = wilson_interval(n_shifted_right, n_shifted, level=level)
        clean = wilson_interval(n_right, n_clean, level=level)
        ends = sorted((line.predict(clean.low), line.predict(clean.high)))
        on_line = Interval(low=ends[0], high=ends[1], method="wilson on the line", level=level)
        return independent_difference(n_shifted_right / n_shifted, shifted, expected, on_line)
    # So often is a unit of a kind in a resample of units of two kinds: no unit need be drawn by itself.
    generator = np.random.default_rng(seed)
    drawn_clean = generator.binomial(n_clean, n_right / n_clean, size=draws) / n_clean
    drawn_shifted = generator.binomial(n_shifted, n_shifted_right / n_shifted, size=draws) / n_shifted
    stretch, back = SCALES[line.axis]
    on_axis = stretch(np.clip(drawn_clean, _NEAREST, 1 - _NEAREST))
    low, high = percentiles(drawn_shifted - back(line.intercept + line.slope * on_axis), level)
    method = f"two-sample percentile bootstrap, {draws} draws"
    return Interval(low=low, high=high, method=method, level=level)


def _counts(correct: FloatArray | NDArray[np.bool_], name: str) -> tuple[int, int]:
    """Return how many images are right, and how many there are."""
    values = finite(correct, name)
    if not np.isin(values, (0.0, 1.0)).all():
        raise UndefinedMetricError(
            f"{name} holds other numbers than 0 and 1", expected="1 for a right answer, 0 for a wrong one"
        )
    return int(values.sum()), len(values)
