"""KL-matching: the distance of a prediction to the typical prediction of any class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from robustbench_safety.detectors.checks import checked_logits
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["KLMatching", "fit_kl_matching"]


@dataclass(frozen=True, kw_only=True)
class KLMatching:
    """Typical predictions."""

    log_means: FloatArray
    """Logarithm of the mean softmax of the images predicted as each class, [K, K]. Of a class that was never
    predicted that of a one-hot: 0 at the class, minus infinity elsewhere."""

    def score(self, logits: FloatArray) -> FloatArray:
        """Return ``min_k KL(p || mean_k)`` in nats, p the softmax; rises with out-of-distribution.

        Args:
            logits: [N, K].

        Returns:
            [N], 0 or more.

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of other classes.
        """
        logs = log_softmax(checked_logits(logits, n_classes=len(self.log_means)), axis=1)
        # A softmax is infinitely far from a one-hot: a class that was never predicted is never nearest.
        typical = self.log_means[np.isfinite(self.log_means).all(axis=1)]
        shares = np.exp(logs)
        divergences = (shares * logs).sum(axis=1, keepdims=True) - shares @ typical.T
        # Rounding can put a prediction that equals a mean a little below zero.
        return np.asarray(np.maximum(divergences.min(axis=1), 0.0))


def fit_kl_matching(logits: FloatArray) -> KLMatching:
    """Take the mean softmax of each predicted class; no labels are needed.

    Args:
        logits: Of held-out in-distribution images, [N, K].

    Raises:
        UndefinedMetricError: Empty, or NaN or infinite.

    Conventions:
        Of equal logits the lower class index is the prediction. Means are taken in logarithms, so that no
        probability is lost.

    Source:
        Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022, section 4.

    Example:
        >>> import numpy as np
        >>> fitted = fit_kl_matching(np.array([[np.log(3), 0.0]]))  # one class predicted: 3/4 and 1/4
        >>> fitted.score(np.array([[np.log(3), 0.0], [0.0, 0.0]])).round(4)  # the other: (ln 2/3 + ln 2) / 2
        array([0.    , 0.1438])
    """
    logs = log_softmax(checked_logits(logits), axis=1)
    predicted = logs.argmax(axis=1)
    log_means = np.full((logs.shape[1], logs.shape[1]), -np.inf)
    np.fill_diagonal(log_means, 0.0)
    for k in np.unique(predicted):
        own = logs[predicted == k]
        log_means[k] = logsumexp(own, axis=0) - np.log(len(own))
    return KLMatching(log_means=log_means)
