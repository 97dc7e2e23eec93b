"""Natural shift: accuracy on shifted images against what the clean accuracy lets one expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.by_name import number_between
from robustbench_safety.metrics.checks import FloatArray, finite, same_length
from robustbench_safety.metrics.resampling import blocks, check_options, draw_units

__all__ = [
    "AccuracyAxis",
    "AccuracyBand",
    "AccuracyLine",
    "accuracy_line_band",
    "effective_robustness",
    "fit_accuracy_line",
    "relative_robustness",
]

AccuracyAxis: TypeAlias = Literal["logit", "probit"]

#: From an accuracy to its place on the axis, and back.
SCALES: dict[AccuracyAxis, tuple[Callable[..., FloatArray], Callable[..., FloatArray]]] = {
    "logit": (logit, expit),
    "probit": (ndtri, ndtr),
}


@dataclass(frozen=True, kw_only=True)
class AccuracyLine:
    """Accuracy on shifted images as a straight line of the clean accuracy, both on a stretched axis."""

    intercept: float
    """Where the line stands at a clean accuracy of one half."""
    slope: float
    """Its rise; 1 keeps the odds ratio of two models (on logit axes)."""
    axis: AccuracyAxis
    """How both accuracies are stretched."""
    n: int
    """Models it was fitted to."""

    def predict(self, clean_accuracy: float) -> float:
        """Return the shifted accuracy to expect at a clean accuracy in (0, 1), both fractions."""
        stretched = _stretched([clean_accuracy], "clean_accuracy", self.axis)
        return float(SCALES[self.axis][1](self.intercept + self.slope * stretched[0]))


@dataclass(frozen=True, kw_only=True)
class AccuracyBand:
    """Pointwise confidence band of an accuracy line."""

    clean: tuple[float, ...]
    """Clean accuracies that the band was asked for, fractions, [P]."""
    low: tuple[float, ...]
    """Lower end of the shifted accuracy to expect there, [P]."""
    high: tuple[float, ...]
    """Upper end, [P]."""
    method: str
    """How it was made."""
    level: float
    """Aimed-at coverage of each point by itself, a fraction."""


def fit_accuracy_line(
    clean: FloatArray | Sequence[float],
    shifted: FloatArray | Sequence[float],
    *,
    axis: AccuracyAxis = "logit",
) -> AccuracyLine:
    """Fit the line that shifted accuracies follow over the clean ones. A steeper or higher one is no merit.

    Least squares ``g(shifted) = intercept + slope * g(clean)``, with ``g(p) = ln(p / (1 - p))`` on logit axes
    and the inverse of the normal distribution function on probit axes.

    Args:
        clean: Clean top-1 accuracy of the models that set the standard, fractions, [M].
        shifted: Top-1 accuracy of the same models on the shifted images, fractions, [M].
        axis: ``"logit"`` or ``"probit"``.

    Returns:
        Intercept and slope (any real number), axis and number of models.

    Raises:
        UndefinedMetricError: Lengths differ, there is a NaN, an accuracy is not strictly between 0 and 1
            (0 and 1 have no logit), or the models do not have two different clean accuracies.
        UsageError: ``axis`` is unknown.

    Conventions:
        Every model weighs the same, however many images stand behind it. Both accuracies are over the same
        classes: of a 200-class set the clean one is that of the validation images of its 200 classes.

    Source:
        Taori et al., Measuring Robustness to Natural Distribution Shifts in Image Classification, section 2,
        NeurIPS 2020; axes and fit as in the plots of its testbed.

    Example:
        >>> line = fit_accuracy_line([0.5, 0.8], [0.2, 0.5])  # odds 1 and 4 become 1/4 and 1
        >>> round(line.slope, 6), round(line.intercept, 6)  # -ln 4
        (1.0, -1.386294)
        >>> round(line.predict(0.9), 6)  # odds 9 become 9/4
        0.692308
    """
    x, y = _points(clean, shifted, axis)
    slopes, intercepts = _least_squares(x[None, :], y[None, :])
    return AccuracyLine(intercept=float(intercepts[0]), slope=float(slopes[0]), axis=axis, n=len(x))


def accuracy_line_band(
    clean: FloatArray | Sequence[float],
    shifted: FloatArray | Sequence[float],
    *,
    at: FloatArray | Sequence[float],
    seed: int,
    axis: AccuracyAxis = "logit",
    draws: int = 1000,
    level: float = 0.95,
) -> AccuracyBand:
    """Measure how far the line may lie from that of all models of the kind. Narrower is better.

    Percentile bootstrap: the models are resampled, the line fitted anew to each resample.

    Args:
        clean: Clean top-1 accuracy of the models, fractions, [M], as for :func:`fit_accuracy_line`.
        shifted: Top-1 accuracy of the same models on the shifted images, fractions, [M].
        at: Clean accuracies at which the band is wanted, fractions, [P].
        seed: Seed of the draws.
        axis: ``"logit"`` or ``"probit"``.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Lower and upper end at each point, fractions in [0, 1].

    Raises:
        UndefinedMetricError: As for :func:`fit_accuracy_line`; also where ``at`` is empty or not strictly
            between 0 and 1.
        UsageError: ``axis``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Says how sure the line is, not how far single models scatter about it: a model outside the band need
        not be unusual. A resample whose models all share one clean accuracy has no line and is drawn again.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 9.5 (resampling pairs), 1993.

    Example:
        >>> band = accuracy_line_band([0.5, 0.8], [0.2, 0.5], at=[0.8], seed=0)  # two points, one line
        >>> round(band.low[0], 6), round(band.high[0], 6)
        (0.5, 0.5)
    """
    check_options(seed=seed, draws=draws, level=level)
    x, y = _points(clean, shifted, axis)
    places = _stretched(at, "at", axis)
    generator = np.random.default_rng(seed)
    found = []
    for rows in blocks(draws, len(x)):
        missing = rows
        while missing:
            drawn = draw_units(generator, missing, len(x))
            xs = x[drawn]
            usable = xs.min(axis=1) < xs.max(axis=1)
            slopes, intercepts = _least_squares(xs[usable], y[drawn[usable]])
            found.append(intercepts[:, None] + slopes[:, None] * places)
            missing -= len(slopes)
    ends = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2], axis=0)
    # The axes rise, so the ends of the stretched band are those of the band.
    low, high = SCALES[axis][1](ends)
    return AccuracyBand(
        clean=tuple(finite(at, "at").tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        method=f"percentile bootstrap of {len(x)} models, {draws} draws, {axis} axes",
        level=level,
    )


def effective_robustness(clean_accuracy: float, shifted_accuracy: float, line: AccuracyLine) -> float:
    """Measure the shifted accuracy beyond what the clean accuracy lets one expect. Higher is better.

    ``shifted_accuracy - line.predict(clean_accuracy)``.

    Args:
        clean_accuracy: The model's clean top-1 accuracy, a fraction, on the classes the line was fitted on.
        shifted_accuracy: Its top-1 accuracy on the shifted images, a fraction.
        line: As :func:`fit_accuracy_line` gives it, of models without measures for robustness.

    Returns:
        Difference of fractions in [-1, 1]; 0 is on the line.

    Raises:
        UndefinedMetricError: The clean accuracy is not strictly between 0 and 1, or the shifted one is
            outside [0, 1].

    Conventions:
        A difference of accuracies, not of logits; papers print 100 times this, in points. It depends on the
        models of the line: values from two lines do not compare. A weak model may score high.

    Source:
        Taori et al., Measuring Robustness to Natural Distribution Shifts in Image Classification, section 2
        (rho), NeurIPS 2020; the formula is recalled.

    Example:
        >>> line = AccuracyLine(intercept=0.0, slope=1.0, axis="logit", n=2)  # as accurate as on clean images
        >>> round(effective_robustness(0.75, 0.5, line), 6)
        -0.25
    """
    return number_between(shifted_accuracy, "shifted_accuracy") - line.predict(clean_accuracy)


def relative_robustness(shifted_accuracy: float, shifted_accuracy_before: float) -> float:
    """Measure what a robustness intervention adds to the shifted accuracy. Higher is better.

    Args:
        shifted_accuracy: Top-1 accuracy on the shifted images with the intervention, a fraction.
        shifted_accuracy_before: That of the same model without it, a fraction.

    Returns:
        Difference of fractions in [-1, 1].

    Raises:
        UndefinedMetricError: An accuracy is outside [0, 1] or not a number.

    Conventions:
        Goes with :func:`effective_robustness`, which also rises where a model gets worse on clean images
        alone: an intervention is robust where both are above 0. Papers print 100 times this, in points.

    Source:
        Taori et al., Measuring Robustness to Natural Distribution Shifts in Image Classification, section 2
        (tau), NeurIPS 2020; the formula is recalled.

    Example:
        >>> relative_robustness(0.75, 0.5)
        0.25
    """
    after = number_between(shifted_accuracy, "shifted_accuracy")
    return after - number_between(shifted_accuracy_before, "shifted_accuracy_before")


def _points(
    clean: FloatArray | Sequence[float], shifted: FloatArray | Sequence[float], axis: AccuracyAxis
) -> tuple[FloatArray, FloatArray]:
    """Return both on the axis, in an order of their own: sums must not depend on that of the models."""
    x, y = _stretched(clean, "clean", axis), _stretched(shifted, "shifted", axis)
    same_length(x, y, "clean and shifted")
    if x.min() == x.max():
        raise UndefinedMetricError(
            "clean accuracies do not differ",
            expected="models of at least two clean accuracies",
            found=f"{len(x)} of {clean[0]:g}",
            fix="fit the line to more models",
        )
    order = np.lexsort((y, x))
    return x[order], y[order]


def _stretched(values: FloatArray | Sequence[float], name: str, axis: AccuracyAxis) -> FloatArray:
    """Return accuracies on the axis; refuse what has no place there."""
    if axis not in SCALES:
        raise UsageError("axis cannot be used", expected=" or ".join(SCALES), found=repr(axis))
    array = finite(values, name)
    outside = array[(array <= 0) | (array >= 1)]
    if outside.size:
        raise UndefinedMetricError(
            f"{name} has no {axis}",
            expected="accuracies strictly between 0 and 1",
            found=f"{outside[0]:g}" + (f" and {outside.size - 1} more" if outside.size > 1 else ""),
            fix="divide a percentage by 100; leave out a model that gets every image right, or none",
        )
    return np.asarray(SCALES[axis][0](array), dtype=np.float64)


def _least_squares(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return slope and intercept of each row [R, M] of points."""
    x_mean, y_mean = x.mean(axis=1), y.mean(axis=1)
    dx, dy = x - x_mean[:, None], y - y_mean[:, None]
    slopes = (dx * dy).sum(axis=1) / (dx * dx).sum(axis=1)
    return slopes, y_mean - slopes * x_mean
