"""MaxLogit: the largest logit."""

from __future__ import annotations

import numpy as np

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["max_logit_score"]


def max_logit_score(logits: FloatArray) -> FloatArray:
    """Minus the maximum logit; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Source:
        Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022.

    Example:
        >>> import numpy as np
        >>> max_logit_score(np.array([[1.0, 3.0]]))
        array([-3.])
    """
    return np.asarray(-checked_logits(logits).max(axis=1))
