"""Entropy of the softmax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["entropy_score"]


def entropy_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of the softmax, in nats; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], in [0, ln K].

    Source:
        Shannon's; as a score in pytorch-ood's ``Entropy``.

    Example:
        >>> import numpy as np
        >>> entropy_score(np.array([[0.0, 0.0]])).round(4)  # ln 2
        array([0.6931])
    """
    log_shares = logits - logsumexp(logits, axis=1, keepdims=True)
    return np.asarray(-(np.exp(log_shares) * log_shares).sum(axis=1))
