"""ReAct: the energy of features clipped at what is usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustbench_safety.detectors.checks import checked_features, checked_last_layer, percentile_option
from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["ReAct", "fit_react"]


@dataclass(frozen=True, kw_only=True)
class ReAct:
    """What no feature may exceed."""

    threshold: float

    def score(self, features: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the energy of the logits of clipped features; rises with out-of-distribution.

        Args:
            features: [N, D].
            weight: Of the last layer, [K, D].
            bias: Of the last layer, [K].

        Returns:
            [N], unbounded.

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or a last layer that does not fit.
        """
        array = checked_features(features)
        w, b = checked_last_layer(weight, bias, width=array.shape[1])
        return energy_score(np.minimum(array, self.threshold) @ w.T + b)


def fit_react(features: FloatArray, *, percentile: float = 90.0) -> ReAct:
    """Take the percentile of all features of all images.

    Args:
        features: Of held-out in-distribution images, [N, D].
        percentile: Of the N D values, above 0 and below 100; linear between two of them.

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.
        UsageError: ``percentile`` is out of range.

    Conventions:
        Clipped from above alone, at the penultimate features. The paper fits on training images, OpenOOD on
        held-out ones; old releases of PyTorch-OOD clip at 1.0 whatever the network.

    Source:
        Sun, Guo and Li, ReAct: Out-of-distribution Detection With Rectified Activations, 2021.

    Example:
        >>> import numpy as np
        >>> fitted = fit_react(np.array([[0.0, 1.0], [2.0, 3.0]]), percentile=50)
        >>> fitted.threshold, fitted.score(np.array([[9.0, 0.0]]), np.eye(2), np.zeros(2)).round(4)
        (1.5, array([-1.7014]))
    """
    percentile_option(percentile)
    return ReAct(threshold=float(np.percentile(checked_features(features), percentile)))
