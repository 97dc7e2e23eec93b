"""MCM: how well an image matches the best of the class names."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["mcm_score"]


def mcm_score(logits: FloatArray, *, logit_scale: float, tau: float = 1.0) -> FloatArray:
    """Minus the maximum softmax of the cosines of image and class names; rises with out-of-distribution.

    ``-max_k softmax(cos_k / tau)``. A zero-shot classifier's logits are the cosines times its logit scale
    (about 100, plus a constant for some networks, which the softmax takes away), so they are divided by it.

    Args:
        logits: Of a zero-shot classifier, [N, K].
        logit_scale: Factor of the cosine in them.
        tau: Temperature of the cosines.

    Returns:
        [N], in [-1, -1/K]. With tau 1 all values lie close together: cosines differ by a few tenths.

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.
        UsageError: ``logit_scale`` or ``tau`` is not above 0.

    Conventions:
        MSP of the same logits is MCM with tau = 1 / logit_scale.

    Source:
        Ming et al., Delving into Out-of-Distribution Detection with Vision-Language Representations, 2022.

    Example:
        >>> import numpy as np
        >>> mcm_score(np.array([[100 * np.log(3), 0.0]]), logit_scale=100.0).round(4)  # 3 to 1
        array([-0.75])
    """
    for name, value in (("logit_scale", logit_scale), ("tau", tau)):
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"{name} cannot be used", expected="a number above 0", found=repr(value))
    return np.asarray(-softmax(checked_logits(logits) / (logit_scale * tau), axis=1).max(axis=1))
