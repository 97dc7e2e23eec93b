"""MSP: the maximum softmax probability."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["msp_score"]


def msp_score(logits: FloatArray) -> FloatArray:
    """Minus the maximum softmax probability; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], in [-1, -1/K].

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Source:
        Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, 2017.

    Example:
        >>> import numpy as np
        >>> msp_score(np.array([[0.0, 0.0]]))
        array([-0.5])
    """
    array = checked_logits(logits)
    return np.asarray(-np.exp(array.max(axis=1) - logsumexp(array, axis=1)))
