"""MaxLogit: the largest logit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["max_logit_score"]


def max_logit_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the maximum logit; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], unbounded.

    Source:
        Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022.

    Example:
        >>> import numpy as np
        >>> max_logit_score(np.array([[1.0, 3.0]]))
        array([-3.])
    """
    return np.asarray(-logits.max(axis=1))
