"""Proper scoring rules: calibration and accuracy in one number, best only for the true probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, IntArray, class_indices, finite, same_length

__all__ = ["brier_score", "cross_entropies", "negative_log_likelihood", "soft_label_cross_entropy"]

#: Rows may miss a sum of 1 by this much: float16 softmax over 1,000 classes stays below it, logits do not.
_SUM_TOLERANCE = 1e-2


def brier_score(probabilities: FloatArray, labels: NDArray[np.integer]) -> float:
    """Measure the squared distance between the predicted and the true distribution. Lower is better.

    ``(1/N) sum_i sum_k (p_ik - [k = label_i])^2``.

    Args:
        probabilities: Softmax output, fractions whose rows sum to 1, [N samples, K classes].
        labels: Right class of each image, int [N], in 0..K-1.

    Returns:
        Score in [0, 2]; a uniform guess gets ``1 - 1/K``.

    Raises:
        UndefinedMetricError: There is no image, a NaN, rows are no distributions, or a label is no class.

    Conventions:
        Summed over the classes, as Brier did. Binary texts use half of it; some codes divide by K.

    Source:
        Brier, Verification of Forecasts Expressed in Terms of Probability, equation 2, 1950.

    Example:
        >>> round(brier_score(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])), 4)  # (0.08 + 0.72) / 2
        0.4
    """
    p, right = _rows_and_labels(probabilities, labels, "probabilities")
    miss = float(np.max(np.abs(p.sum(axis=1) - 1.0)))
    if p.min() < 0 or miss > _SUM_TOLERANCE:
        raise UndefinedMetricError(
            "probabilities holds no distributions",
            expected="rows of fractions that sum to 1",
            found=f"smallest entry {p.min():g}, largest miss of the sum {miss:g}",
            fix="pass the softmax, not the logits",
        )
    rows = np.arange(len(right))
    p[rows, right] -= 1.0
    return math.fsum(np.sum(p**2, axis=1)) / len(right)


def negative_log_likelihood(logits: FloatArray, labels: NDArray[np.integer]) -> float:
    """Measure the mean negative log probability of the right class. Lower is better.

    ``(1/N) sum_i (log sum_k exp(z_ik) - z_i,label)``, in nats.

    Args:
        logits: Logits, any real number, [N samples, K classes].
        labels: Right class of each image, int [N], in 0..K-1.

    Returns:
        Nats, from 0 without upper bound; a uniform guess gets ``ln K``.

    Raises:
        UndefinedMetricError: There is no image, a NaN or infinite logit, or a label is no class.

    Conventions:
        From logits, not probabilities: nothing is clipped, so a hopeless answer keeps its full cost.
        scikit-learn's ``log_loss`` clips at the float's epsilon.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, equation 5, ICML 2017.

    Example:
        >>> round(negative_log_likelihood(np.array([[0.0, 0.0]]), np.array([1])), 4)  # ln 2
        0.6931
    """
    z, right = _rows_and_labels(logits, labels, "logits")
    rows = np.arange(len(right))
    top = z.argmax(axis=1)
    # log1p over the other classes keeps what a plain log-sum-exp rounds away when one logit towers.
    others = np.exp(z - z[rows, top][:, None])
    others[rows, top] = 0.0
    per_image = np.log1p(others.sum(axis=1)) + (z[rows, top] - z[rows, right])
    return math.fsum(per_image) / len(right)


def soft_label_cross_entropy(logits: FloatArray, shares: FloatArray) -> float:
    """Measure the mean cross-entropy of the prediction to what people chose. Lower is better.

    ``(1/N) sum_i sum_k q_ik (log sum_j exp(z_ij) - z_ik)``, in nats.

    Args:
        logits: Logits, any real number, [N samples, K classes].
        shares: Share of people who chose each class, fractions whose rows sum to 1, [N samples, K classes].

    Returns:
        Nats; at least the mean entropy of the shares.

    Raises:
        UndefinedMetricError: There is no image, a NaN or infinite logit, shapes differ, or a row of shares is
            no distribution.

    Conventions:
        With one-hot shares it is the negative log-likelihood.

    Source:
        Peterson et al., Human uncertainty makes classification more robust, section 4, ICCV 2019.

    Example:
        >>> round(soft_label_cross_entropy(np.array([[0.0, 0.0]]), np.array([[0.25, 0.75]])), 4)  # ln 2
        0.6931
    """
    each = cross_entropies(logits, shares)
    return math.fsum(each) / len(each)


def cross_entropies(logits: FloatArray, shares: FloatArray) -> FloatArray:
    """Measure the cross-entropy of each prediction to what people chose. Lower is better.

    Args:
        logits: As for :func:`soft_label_cross_entropy`, [N samples, K classes].
        shares: As for :func:`soft_label_cross_entropy`, [N samples, K classes].

    Returns:
        Nats of each image, [N]; at least the entropy of its shares.

    Raises:
        UndefinedMetricError: As for :func:`soft_label_cross_entropy`.

    Conventions:
        What that metric is the mean of; its interval is made by resampling these.

    Source:
        Peterson et al., Human uncertainty makes classification more robust, section 4, ICCV 2019.

    Example:
        >>> cross_entropies(np.array([[0.0, 0.0]]), np.array([[0.25, 0.75]])).round(4)  # ln 2
        array([0.6931])
    """
    z, q = finite(logits, "logits", ndim=2), finite(shares, "shares", ndim=2)
    if z.shape != q.shape:
        raise UndefinedMetricError(
            "logits and shares do not belong together", expected=str(z.shape), found=str(q.shape)
        )
    miss = float(np.max(np.abs(q.sum(axis=1) - 1.0)))
    if q.min() < 0 or miss > _SUM_TOLERANCE:
        raise UndefinedMetricError(
            "shares holds no distributions",
            expected="rows of fractions that sum to 1",
            found=f"smallest entry {q.min():g}, largest miss of the sum {miss:g}",
            fix="divide the counts by their sum",
        )
    top = z.max(axis=1, keepdims=True)
    log_sum = top + np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    return np.asarray((q * (log_sum - z)).sum(axis=1))


def _rows_and_labels(rows: FloatArray, labels: NDArray[np.integer], name: str) -> tuple[FloatArray, IntArray]:
    table = finite(rows, name, ndim=2)
    right = class_indices(labels, "labels", n_classes=table.shape[1])
    same_length(table, right, f"{name} and labels")
    return table, right
