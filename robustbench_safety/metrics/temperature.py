"""Temperature scaling: one number that softens (or sharpens) every prediction of a model.

It moves confidences and never a predicted class, so a scaled model is another row, not another figure of
the same one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray, class_indices, finite, same_length

__all__ = [
    "CrossFittedTemperatures",
    "cross_fit_temperatures",
    "fit_temperature",
    "in_odd_half",
    "scaled_logits",
]

#: Temperatures looked at. Published ones lie between 0.5 and 5; at 0.01 and 100 the softmax is all but
#: one-hot or uniform, and the fit says no more than that there is no best temperature.
_LOWEST, _HIGHEST = 0.01, 100.0

#: Rows whose probabilities are in memory at a time.
_ROWS = 4096


def fit_temperature(logits: FloatArray, labels: NDArray[np.integer]) -> float:
    """Measure by how much the logits are too large: the T of least negative log-likelihood. 1 is best.

    ``argmin_T (1/N) sum_i (log sum_k exp(z_ik / T) - z_i,label / T)``. In 1 / T the sum is convex; its one
    minimum is where the mean logit under the prediction equals the mean logit of the right class.

    Args:
        logits: Logits, any real number, [N samples, K classes].
        labels: Right class of each image, int [N], in 0..K-1.

    Returns:
        T in (0.01, 100); above 1 the model is overconfident.

    Raises:
        UndefinedMetricError: There is no image, a NaN or infinite logit, a label is no class, or no T
            within the bounds is best: every answer is right (the smaller the T, the better), the logits say
            nothing of the labels (the larger, the better), or those of each image are equal (any T is).

    Conventions:
        Fit on held-out images, never on those that trained the model: ResNet-20 gets T = 0.50 on
        training images and 2.32 on the test set. The papers' codes run L-BFGS for a fixed number of steps
        from T = 1.5, or bisect T in [0.2, 5]; both end at this minimum where they converge.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, section 4.2, ICML 2017.

    Example:
        >>> logits = np.array([[2.0, 0.0]] * 4)
        >>> round(2.0 / fit_temperature(logits, np.array([0, 0, 0, 1])), 4)  # ln 3: three of four are right
        1.0986
    """
    z, right = (
        finite(logits, "logits", ndim=2),
        class_indices(labels, "labels", n_classes=np.shape(logits)[1]),
    )
    same_length(z, right, "logits and labels")
    # The largest logit of a row is 0: nothing overflows, and the slope is that of the logits as given.
    z -= z.max(axis=1, keepdims=True)
    of_label = z[np.arange(len(right)), right]

    def slope(log_temperature: float) -> float:
        """Return the derivative of the likelihood by 1 / T, which rises with 1 / T."""
        return _mean_difference(z, of_label, math.exp(-log_temperature))

    ends = math.log(_LOWEST), math.log(_HIGHEST)
    at_lowest, at_highest = (slope(end) for end in ends)
    if at_lowest <= 0 or at_highest >= 0:
        found = "any is as good" if at_lowest == at_highest == 0 else ("below" if at_lowest <= 0 else "above")
        raise UndefinedMetricError(
            "no temperature is best",
            expected=f"a minimum of the negative log-likelihood between {_LOWEST:g} and {_HIGHEST:g}",
            found=found,
            fix="fit on more images, some of them answered wrongly",
        )
    return math.exp(brentq(slope, *ends, xtol=1e-14, rtol=1e-15))


def scaled_logits(logits: FloatArray, *, temperature: float | FloatArray) -> FloatArray:
    """Divide logits by a temperature. Predicted classes stay as they are; closer to calibrated is better.

    Args:
        logits: Logits, any real number, [N samples, K classes].
        temperature: Above 0, one for all images or one each, [N].

    Returns:
        ``logits / temperature``, [N, K].

    Raises:
        UndefinedMetricError: There is no image, a NaN or infinite logit, or one temperature each is not given
            for each.
        UsageError: A temperature is not a finite number above 0.

    Conventions:
        Logits, not probabilities: the softmax of a softmax is no temperature scaling.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, section 4.2, ICML 2017.

    Example:
        >>> scaled_logits(np.array([[2.0, 1.0]]), temperature=2.0)
        array([[1. , 0.5]])
    """
    z, each = finite(logits, "logits", ndim=2), np.asarray(temperature)
    numeric = each.dtype.kind in "iuf"
    if not (numeric and np.isfinite(each).all() and (each > 0).all()):
        raise UsageError(
            "temperature cannot be used", expected="a finite number above 0", found=repr(temperature)
        )
    if each.ndim:
        same_length(z, finite(each, "temperature"), "logits and temperature")
        each = each[:, None]
    return np.asarray(z / each)


@dataclass(frozen=True, kw_only=True)
class CrossFittedTemperatures:
    """Two temperatures, and which of them each image is scored with."""

    of_each: tuple[float, ...]
    """Temperature of each image, fitted on the half that it is not in."""
    even: float
    """Fitted on the images whose hash is even; serves the odd ones."""
    odd: float
    """Fitted on the images whose hash is odd; serves the even ones."""
    n_even: int
    """Images whose hash is even."""
    n_odd: int
    """Images whose hash is odd."""


def in_odd_half(sample_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Tell of each id whether its sha256, read as a number, is odd: [N]. It is the same in all conditions."""
    last = [hashlib.sha256(name.encode()).digest()[-1] for name in sample_ids]
    return np.asarray(np.array(last, dtype=np.int64) % 2 == 1)


def cross_fit_temperatures(
    logits: FloatArray, labels: NDArray[np.integer], sample_ids: Sequence[str]
) -> CrossFittedTemperatures:
    """Measure the temperature on each half of the images, for use on the other. 1 is best.

    Args:
        logits: Logits, any real number, [N samples, K classes].
        labels: Right class of each image, int [N], in 0..K-1.
        sample_ids: Id of each image, N; the last bit of its sha256 says which half it is in.

    Returns:
        The two temperatures, each as :func:`fit_temperature` gives it, and that of each image.

    Raises:
        UndefinedMetricError: A half is empty or has no best temperature, lengths differ, or as
            :func:`fit_temperature`.

    Conventions:
        No image is scored with a temperature that it helped to choose. The halves depend on the ids alone:
        the same in every condition and for every model, whatever the order of the files.

    Source:
        Chernozhukov et al., Double/Debiased Machine Learning (cross-fitting), 2018; halves by hash are ours.

    Example:
        >>> logits, labels = np.array([[2.0, 0.0]] * 7), np.array([0, 0, 1, 0, 0, 0, 1])
        >>> found = cross_fit_temperatures(logits, labels, ["3", "4", "11", "0", "1", "2", "5"])
        >>> found.n_even, found.n_odd, round(2 / found.even, 4), round(2 / found.odd, 4)  # ln 2 and ln 3
        (3, 4, 0.6931, 1.0986)
        >>> found.of_each == (found.odd,) * 3 + (found.even,) * 4
        True
    """
    z = finite(logits, "logits", ndim=2)
    right = class_indices(labels, "labels", n_classes=z.shape[1])
    same_length(z, right, "logits and labels")
    same_length(z, np.asarray(sample_ids, dtype=object), "logits and sample_ids")
    is_odd = in_odd_half(sample_ids)
    even, odd = (_fit_half(z, right, half) for half in (~is_odd, is_odd))
    return CrossFittedTemperatures(
        of_each=tuple(np.where(is_odd, even, odd).tolist()),
        even=even,
        odd=odd,
        n_even=int((~is_odd).sum()),
        n_odd=int(is_odd.sum()),
    )


def _fit_half(logits: FloatArray, labels: IntArray, half: NDArray[np.bool_]) -> float:
    if not half.any():
        raise UndefinedMetricError(
            "a half of the images is empty",
            expected="ids of both parities",
            found=f"{len(half)} images, all in the other half",
            fix="use more images",
        )
    return fit_temperature(logits[half], labels[half])


def _mean_difference(logits: FloatArray, of_label: FloatArray, inverse: float) -> float:
    """Return the mean over images of the logit under the softmax at ``inverse`` less that of the label."""
    parts = []
    for start in range(0, len(logits), _ROWS):
        block = logits[start : start + _ROWS]
        weights = np.exp(inverse * block)
        parts.append((weights * block).sum(axis=1) / weights.sum(axis=1) - of_label[start : start + _ROWS])
    # Summed exactly: the result does not depend on the order of the images.
    return math.fsum(np.concatenate(parts)) / len(logits)
