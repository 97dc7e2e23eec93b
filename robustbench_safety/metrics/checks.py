"""What every metric demands of its input: right shape, finite, inside its range, never empty."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError

__all__ = [
    "FloatArray",
    "IntArray",
    "class_indices",
    "confidence_and_correct",
    "count_option",
    "finite",
    "fraction_option",
    "same_length",
    "scores",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


def finite(values: ArrayLike, name: str, *, ndim: int = 1) -> FloatArray:
    """Return ``values`` as float64 with ``ndim`` dimensions; refuse it if empty, not finite or masked."""
    given = _plain(values, name)
    if given.dtype.kind not in "biuf":
        raise UndefinedMetricError(f"{name} is not numeric", expected="numbers", found=f"dtype {given.dtype}")
    _check_shape(given, name, ndim)
    array = given.astype(np.float64)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise UndefinedMetricError(
            f"{name} is not finite",
            expected="finite numbers",
            found=f"{bad} NaN or infinite of {array.size}",
            fix="look for overflow in the model's logits; float32 may cure float16",
        )
    return array


def class_indices(values: ArrayLike, name: str, *, ndim: int = 1, n_classes: int | None = None) -> IntArray:
    """Return ``values`` as int64 class indices; refuse it if empty, not integral, negative or too large."""
    array = _plain(values, name)
    _check_shape(array, name, ndim)
    if array.dtype.kind not in "iu":
        raise UndefinedMetricError(
            f"{name} holds no class indices", expected="an integer dtype", found=f"dtype {array.dtype}"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or (n_classes is not None and high >= n_classes):
        raise UndefinedMetricError(
            f"{name} is outside the classes",
            expected="indices from 0" if n_classes is None else f"indices from 0 to {n_classes - 1}",
            found=str(low if low < 0 else high),
            fix="an out-of-distribution image (label -1) has no right class; leave it out",
        )
    return array.astype(np.int64)


def same_length(first: NDArray[np.generic], second: NDArray[np.generic], names: str) -> None:
    """Refuse two arrays that do not describe the same samples."""
    if len(first) != len(second):
        raise UndefinedMetricError(
            f"{names} differ in length",
            expected="one entry per sample in both",
            found=f"{len(first)} and {len(second)}",
        )


def confidence_and_correct(
    confidence: ArrayLike, correct: ArrayLike, *, ndim: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return both as float64 of one shape; confidence must lie in [0, 1] and correct be 0 or 1."""
    conf, right = finite(confidence, "confidence", ndim=ndim), finite(correct, "correct", ndim=ndim)
    if conf.shape != right.shape:
        raise UndefinedMetricError(
            "confidence and correct differ in shape",
            expected="one entry per sample in both",
            found=f"{conf.shape} and {right.shape}",
        )
    if conf.min() < 0 or conf.max() > 1:
        raise UndefinedMetricError(
            "confidence is outside [0, 1]",
            expected="probabilities, as fractions",
            found=f"values from {conf.min():g} to {conf.max():g}",
            fix="pass the maximum softmax probability, not a logit or a percentage",
        )
    if not np.isin(right, (0.0, 1.0)).all():
        raise UndefinedMetricError("correct holds other values", expected="0 or 1", found="something between")
    return conf, right


def scores(scores_in: ArrayLike, scores_out: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the scores of the in-distribution and the out-of-distribution samples, both checked."""
    return finite(scores_in, "scores_in"), finite(scores_out, "scores_out")


def count_option(value: int, name: str, *, at_least: int = 1) -> None:
    """Refuse an option that must be a whole number of ``at_least`` or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise UsageError(
            f"{name} cannot be used", expected=f"a whole number of at least {at_least}", found=repr(value)
        )


def fraction_option(value: float, name: str, *, one_allowed: bool = False) -> None:
    """Refuse an option that must lie strictly between 0 and 1, or be 1 where that is allowed."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and (0 < value < 1 or (one_allowed and value == 1))):
        raise UsageError(
            f"{name} cannot be used",
            expected="a fraction above 0 and " + ("at most 1" if one_allowed else "below 1"),
            found=repr(value),
        )


def _plain(values: ArrayLike, name: str) -> NDArray[np.generic]:
    """Return ``values`` as an array; refuse a mask that hides some, which NumPy would forget here."""
    hidden = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if hidden:
        raise UndefinedMetricError(
            f"{name} is masked", expected="a value of every sample", found=f"{hidden} that are hidden"
        )
    return np.asarray(values)


def _check_shape(array: NDArray[np.generic], name: str, ndim: int) -> None:
    if array.ndim != ndim:
        raise UndefinedMetricError(
            f"{name} has the wrong shape", expected=f"{ndim} dimension(s)", found=f"shape {array.shape}"
        )
    if array.size == 0:
        raise UndefinedMetricError(
            f"{name} is empty",
            expected="at least one sample",
            found=f"shape {array.shape}",
            fix="a metric of nothing has no value; check which images were selected",
        )
