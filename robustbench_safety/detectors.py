"""OOD scores from logits; higher means more out-of-distribution, always."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from robustbench_safety.errors import UnknownNameError

__all__ = [
    "DETECTORS",
    "NEED_LOGITS",
    "energy_score",
    "entropy_score",
    "gen_score",
    "max_logit_score",
    "msp_score",
    "ood_score",
]

#: Of the paper: the exponent, and how many of the largest probabilities count.
_GEN_GAMMA, _GEN_CLASSES = 0.1, 100


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


def gen_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Generalised entropy: sum of p^0.1 (1 - p)^0.1 over the 100 largest probabilities; rises with OOD.

    The small exponent lets small probabilities count nearly as much as large ones.

    Args:
        logits: [N, K].

    Returns:
        [N], in [0, 0.25^0.1 min(K, 100)].

    Source:
        Liu, Lochman and Zach, GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, 2023;
        exponent and number of classes as OpenOOD sets them for ImageNet.

    Example:
        >>> import numpy as np
        >>> gen_score(np.array([[0.0, 0.0]])).round(4)  # 2 * 0.25^0.1
        array([1.7411])
    """
    ranked = -np.sort(-logits, axis=1)
    total = logsumexp(ranked, axis=1, keepdims=True)
    log_shares = ranked - total
    # 1 - p of a sure answer is lost in float64: it is the sum of the others.
    log_rests = np.log1p(-np.minimum(np.exp(log_shares), 0.5))
    log_rests[:, 0] = logsumexp(ranked[:, 1:], axis=1) - total[:, 0]
    return np.asarray(np.exp(_GEN_GAMMA * (log_shares + log_rests))[:, :_GEN_CLASSES].sum(axis=1))


#: Every detector that needs stored logits alone.
DETECTORS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "msp": msp_score,
    "maxlogit": max_logit_score,
    "energy": energy_score,
    "entropy": entropy_score,
    "gen": gen_score,
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
