"""OOD scores from logits; higher means more out-of-distribution, always."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from robustbench_safety.errors import UnknownNameError

__all__ = ["DETECTORS", "NEED_LOGITS", "energy_score", "max_logit_score", "msp_score", "ood_score"]


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


#: Every detector that needs stored logits alone.
DETECTORS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "msp": msp_score,
    "maxlogit": max_logit_score,
    "energy": energy_score,
}

#: Those that see a number added to all logits of an image, which softmax takes away: of probabilities the
#: energy is 0 for every image, and the largest logit no more than their logarithm.
NEED_LOGITS = frozenset({"maxlogit", "energy"})


def ood_score(name: str, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of the detector called ``name``.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in DETECTORS:
        raise UnknownNameError.among("detector", name, DETECTORS)
    return DETECTORS[name](logits)
