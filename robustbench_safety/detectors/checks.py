"""What every detector demands of its input: the right shape, finite, never empty, and of one model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray, class_indices, finite, same_length

__all__ = ["checked_features", "checked_labels", "checked_last_layer", "checked_logits", "percentile_option"]


def checked_logits(logits: ArrayLike, *, n_classes: int | None = None) -> FloatArray:
    """Return logits as float64 [N, K]; refuse them if empty, not finite, or of other classes."""
    array = finite(logits, "logits", ndim=2)
    if array.shape[1] < 2 or (n_classes is not None and array.shape[1] != n_classes):
        raise UndefinedMetricError(
            "logits are of another number of classes",
            expected="two or more" if n_classes is None else str(n_classes),
            found=str(array.shape[1]),
        )
    return array


def checked_features(features: ArrayLike, *, width: int | None = None) -> FloatArray:
    """Return features as float64 [N, D]; refuse them if empty, not finite, or of another length."""
    array = finite(features, "features", ndim=2)
    if width is not None and array.shape[1] != width:
        raise UndefinedMetricError(
            "features are of another length", expected=f"D = {width}", found=f"D = {array.shape[1]}"
        )
    return array


def checked_last_layer(weight: ArrayLike, bias: ArrayLike, *, width: int) -> tuple[FloatArray, FloatArray]:
    """Return the weight [K, D] and bias [K] of the last layer; refuse those that do not fit the features."""
    w, b = finite(weight, "weight", ndim=2), finite(bias, "bias")
    if w.shape[1] != width or len(w) != len(b) or len(w) < 2:
        raise UndefinedMetricError(
            "the last layer does not fit",
            expected=f"weight [K, {width}] and bias [K] of two or more classes",
            found=f"{list(w.shape)} and {list(b.shape)}",
        )
    return w, b


def checked_labels(labels: ArrayLike, like: FloatArray, *, n_classes: int | None = None) -> IntArray:
    """Return labels int64 [N], one for each row of ``like``; refuse them where a class has no sample.

    Args:
        labels: Classes from 0.
        like: Of the same samples.
        n_classes: K, None for one more than the largest label.
    """
    array = class_indices(labels, "labels", n_classes=n_classes)
    same_length(array, like, "labels and what they belong to")
    counts = np.bincount(array, minlength=n_classes or 0)
    missing = np.flatnonzero(counts == 0)
    if len(missing) or len(counts) < 2:
        raise UndefinedMetricError(
            "a class has no sample to fit on" if len(missing) else "there is one class alone",
            expected="samples of every class, of which there are two or more",
            found=f"none of class {', '.join(str(k) for k in missing[:5])}" if len(missing) else "class 0",
            fix="fit on more images; a limit takes some of every class",
        )
    return array


def percentile_option(percentile: float) -> None:
    """Refuse a percentile that is not above 0 and below 100."""
    if not 0 < percentile < 100:
        raise UsageError(
            "percentile cannot be used", expected="above 0 and below 100", found=repr(percentile)
        )
