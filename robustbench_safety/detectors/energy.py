"""Energy: the free energy of the logits."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["energy_score"]


def energy_score(logits: FloatArray) -> FloatArray:
    """Free energy at temperature 1, -log sum exp of the logits; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], unbounded.

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Source:
        Liu et al., Energy-based Out-of-distribution Detection, 2020, eq. 4.

    Example:
        >>> import numpy as np
        >>> energy_score(np.array([[0.0, 0.0]])).round(4)
        array([-0.6931])
    """
    return np.asarray(-logsumexp(checked_logits(logits), axis=1))
