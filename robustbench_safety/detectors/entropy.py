"""Entropy of the softmax."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["entropy_score"]


def entropy_score(logits: FloatArray) -> FloatArray:
    """Shannon entropy of the softmax, in nats; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], in [0, ln K].

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Source:
        Shannon's; as a score in pytorch-ood's ``Entropy``.

    Example:
        >>> import numpy as np
        >>> entropy_score(np.array([[0.0, 0.0]])).round(4)  # ln 2
        array([0.6931])
    """
    array = checked_logits(logits)
    log_shares = array - logsumexp(array, axis=1, keepdims=True)
    return np.asarray(-(np.exp(log_shares) * log_shares).sum(axis=1))
