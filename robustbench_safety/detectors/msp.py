"""MSP: the maximum softmax probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["msp_score"]


def msp_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the maximum softmax probability; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], in [-1, -1/K].

    Source:
        Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, 2017.

    Example:
        >>> import numpy as np
        >>> msp_score(np.array([[0.0, 0.0]]))
        array([-0.5])
    """
    return np.asarray(-np.exp(logits.max(axis=1) - logsumexp(logits, axis=1)))
