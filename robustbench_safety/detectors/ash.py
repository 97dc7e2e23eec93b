"""ASH and SCALE: the energy of features of which each image's largest are kept or strengthened."""

from __future__ import annotations

import numpy as np

from robustbench_safety.detectors.checks import checked_features, checked_last_layer, percentile_option
from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["ash_b_score", "ash_p_score", "ash_s_score", "scale_score"]

#: Of s1 / s2: beyond it the scaled features leave float64's range.
_LARGEST = 500.0


def ash_p_score(
    features: FloatArray, weight: FloatArray, bias: FloatArray, *, percentile: float = 65.0
) -> FloatArray:
    """Energy of pruned features (ASH-P): all but an image's largest are 0; rises with out-of-distribution.

    Args:
        features: [N, D].
        weight: Of the last layer, [K, D].
        bias: Of the last layer, [K].
        percentile: Share of an image's features that is pruned, in percent, above 0 and below 100.

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: Empty, NaN or infinite, or a last layer that does not fit.
        UsageError: ``percentile`` is out of range, or leaves no feature.

    Conventions:
        Kept are the D - round(D percentile / 100) largest; of equal ones that of the lower index. 65 is the
        default of the published functions. Pruned are the penultimate features, as OpenOOD does it;
        PyTorch-OOD prunes whatever feature maps it is given.

    Source:
        Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection, 2023.

    Example:
        >>> import numpy as np
        >>> ash_p_score(np.array([[3.0, 1.0]]), np.eye(2), np.zeros(2), percentile=50).round(4)  # 3 and 0
        array([-3.0486])
    """
    array, w, b = _checked(features, weight, bias)
    return energy_score(np.where(_kept(array, percentile), array, 0.0) @ w.T + b)


def ash_b_score(
    features: FloatArray, weight: FloatArray, bias: FloatArray, *, percentile: float = 90.0
) -> FloatArray:
    """Energy of binarised features (ASH-B): an image's largest share the sum of all; rises with OOD.

    Args:
        features: [N, D].
        weight: Of the last layer, [K, D].
        bias: Of the last layer, [K].
        percentile: Share of an image's features that is pruned, in percent, above 0 and below 100.

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: Empty, NaN or infinite, or a last layer that does not fit.
        UsageError: ``percentile`` is out of range, or leaves no feature.

    Conventions:
        As of ``ash_p_score``, but for the percentile, which is what OpenOOD sets for ASH-B. Made for features
        that are not negative, as after a ReLU.

    Source:
        Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection, 2023.

    Example:
        >>> import numpy as np
        >>> ash_b_score(np.array([[3.0, 1.0]]), np.eye(2), np.zeros(2), percentile=50).round(4)  # 4 and 0
        array([-4.0181])
    """
    array, w, b = _checked(features, weight, bias)
    kept = _kept(array, percentile)
    share = array.sum(axis=1, keepdims=True) / kept.sum(axis=1, keepdims=True)
    return energy_score(np.where(kept, share, 0.0) @ w.T + b)


def ash_s_score(
    features: FloatArray, weight: FloatArray, bias: FloatArray, *, percentile: float = 65.0
) -> FloatArray:
    """Energy of sharpened features (ASH-S): an image's largest times exp(s1 / s2); rises with OOD.

    s1 is the sum of all its features and s2 of the kept ones.

    Args:
        features: [N, D].
        weight: Of the last layer, [K, D].
        bias: Of the last layer, [K].
        percentile: Share of an image's features that is pruned, in percent, above 0 and below 100.

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: Empty, NaN or infinite; a last layer that does not fit; or kept features of an
            image whose sum is not above 0, unless all its features are 0 (and then stay so).
        UsageError: ``percentile`` is out of range, or leaves no feature.

    Conventions:
        As of ``ash_p_score``. Made for features that are not negative, as after a ReLU. Of a network with
        few features a high percentile turns the order round: where 6 of a ResNet-20's 64 are kept, unsure
        images have the larger factor, and CIFAR-100 scored below CIFAR-10 (AUROC 0.44, at 65 0.87).

    Source:
        Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection, 2023.

    Example:
        >>> import numpy as np
        >>> ash_s_score(np.array([[3.0, 1.0]]), np.eye(2), np.zeros(2), percentile=50).round(4)  # 3 e^(4/3)
        array([-11.381])
    """
    array, w, b = _checked(features, weight, bias)
    kept = _kept(array, percentile)
    return energy_score((np.where(kept, array, 0.0) * _factor(array, kept)) @ w.T + b)


def scale_score(
    features: FloatArray, weight: FloatArray, bias: FloatArray, *, percentile: float = 85.0
) -> FloatArray:
    """Energy of scaled features (SCALE): all of an image's times exp(s1 / s2), none pruned; rises with OOD.

    s1 is the sum of all its features and s2 of the largest.

    Args:
        features: [N, D].
        weight: Of the last layer, [K, D].
        bias: Of the last layer, [K].
        percentile: Share of an image's features that s2 leaves out, in percent, above 0 and below 100.

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: As of ``ash_s_score``.
        UsageError: ``percentile`` is out of range, or leaves no feature.

    Conventions:
        The largest are chosen as in ``ash_p_score``. Made for features that are not negative.

    Source:
        Xu et al., Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement, 2024.

    Example:
        >>> import numpy as np
        >>> scale_score(np.array([[3.0, 1.0]]), np.eye(2), np.zeros(2), percentile=50).round(4)
        array([-11.3815])
    """
    array, w, b = _checked(features, weight, bias)
    return energy_score((array * _factor(array, _kept(array, percentile))) @ w.T + b)


def _checked(
    features: FloatArray, weight: FloatArray, bias: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    array = checked_features(features)
    return array, *checked_last_layer(weight, bias, width=array.shape[1])


def _kept(features: FloatArray, percentile: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Mark the largest features of each image, [N, D]."""
    percentile_option(percentile)
    n_features = features.shape[1]
    n_kept = n_features - round(n_features * percentile / 100)
    if n_kept < 1:
        raise UsageError(
            "percentile leaves no feature",
            expected=f"one that leaves some of D = {n_features}",
            found=repr(percentile),
        )
    largest = np.argsort(-features, axis=1, kind="stable")[:, :n_kept]
    kept = np.zeros((len(features), n_features), dtype=np.bool_)
    np.put_along_axis(kept, largest, values=True, axis=1)
    return kept


def _factor(features: FloatArray, kept: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> FloatArray:
    """Return exp(s1 / s2) of each image, [N, 1]."""
    total, largest = features.sum(axis=1), np.where(kept, features, 0.0).sum(axis=1)
    silent = ~features.any(axis=1)  # times any factor, features of 0 stay 0
    ratio = np.divide(total, largest, out=np.ones_like(total), where=largest > 0)
    # Of features that are not negative the ratio is D / (number kept) at most.
    bad = ~silent & ((largest <= 0) | (ratio > _LARGEST))
    if bad.any():
        raise UndefinedMetricError(
            f"the largest features of {int(bad.sum())} image(s) do not add up to a usable sum",
            expected="features that are not negative, as after a ReLU",
            found=f"a sum of {largest[bad][0]:g} beside {total[bad][0]:g} of all",
            fix="choose a detector that takes any features",
        )
    return np.asarray(np.exp(ratio)[:, None])
