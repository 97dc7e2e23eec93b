"""ODIN: the maximum softmax probability at a high temperature, of images moved towards their prediction."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["odin_score"]


def odin_score(logits: FloatArray, *, temperature: float = 1000.0) -> FloatArray:
    """Minus the maximum softmax probability at a temperature; rises with out-of-distribution.

    Args:
        logits: Of the perturbed images, [N, K]: the pass that moves them needs the network and its gradient.
        temperature: That the logits are divided by; the published one.

    Returns:
        [N], in [-1, -1/K]; close to -1/K at a high temperature.

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.
        UsageError: ``temperature`` is not above 0.

    Source:
        Liang, Li and Srikant, Enhancing The Reliability of Out-of-distribution Image Detection in Neural
        Networks, 2018, eq. 1.

    Example:
        >>> import numpy as np
        >>> odin_score(np.array([[1000 * np.log(3), 0.0]])).round(4)  # 3 to 1
        array([-0.75])
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise UsageError("temperature cannot be used", expected="a number above 0", found=repr(temperature))
    return np.asarray(-softmax(checked_logits(logits) / temperature, axis=1).max(axis=1))
