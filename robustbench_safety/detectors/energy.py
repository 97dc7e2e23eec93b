"""Energy: the free energy of the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["energy_score"]


def energy_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Free energy at temperature 1, -log sum exp of the logits; rises with out-of-distribution.

    Args:
        logits: [N, K].

    Returns:
        [N], unbounded.

    Source:
        Liu et al., Energy-based Out-of-distribution Detection, 2020, eq. 4.

    Example:
        >>> import numpy as np
        >>> energy_score(np.array([[0.0, 0.0]])).round(4)
        array([-0.6931])
    """
    return np.asarray(-logsumexp(logits, axis=1))
