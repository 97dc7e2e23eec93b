"""GEN: a generalised entropy of the largest probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["gen_score"]

#: Of the paper: the exponent, and how many of the largest probabilities count.
_GAMMA, _CLASSES = 0.1, 100


def gen_score(logits: FloatArray) -> FloatArray:
    """Generalised entropy: sum of p^0.1 (1 - p)^0.1 over the 100 largest probabilities; rises with OOD.

    The small exponent lets small probabilities count nearly as much as large ones.

    Args:
        logits: [N, K].

    Returns:
        [N], in [0, 0.25^0.1 min(K, 100)].

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Source:
        Liu, Lochman and Zach, GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, 2023;
        exponent and number of classes as OpenOOD sets them for ImageNet.

    Example:
        >>> import numpy as np
        >>> gen_score(np.array([[0.0, 0.0]])).round(4)  # 2 * 0.25^0.1
        array([1.7411])
    """
    ranked = -np.sort(-checked_logits(logits), axis=1)
    total = logsumexp(ranked, axis=1, keepdims=True)
    log_shares = ranked - total
    # 1 - p of a sure answer is lost in float64: it is the sum of the others.
    log_rests = np.log1p(-np.minimum(np.exp(log_shares), 0.5))
    log_rests[:, 0] = logsumexp(ranked[:, 1:], axis=1) - total[:, 0]
    return np.asarray(np.exp(_GAMMA * (log_shares + log_rests))[:, :_CLASSES].sum(axis=1))
