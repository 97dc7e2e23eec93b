"""ViM: the part of the features that training images do not use, as a logit of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from robustbench_safety.detectors.checks import checked_features, checked_last_layer
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import FloatArray, count_option

__all__ = ["ViM", "fit_vim"]

#: Principal dimensions as OpenOOD 1.5 sets them.
_DIMENSION = 256
#: A mean residual of less than this share of the mean length is rounding.
_RESIDUAL = 1e-9


@dataclass(frozen=True, kw_only=True)
class ViM:
    """The space of the residual, and what makes its length a logit."""

    origin: FloatArray
    """Where all logits are nearest to 0, [D]."""
    residual: FloatArray
    """Orthonormal columns, [D, D - dimension]."""
    alpha: float
    """Of a residual's length."""
    weight: FloatArray
    """[K, D]."""
    bias: FloatArray
    """[K]."""

    def score(self, features: FloatArray) -> FloatArray:
        """Return the virtual logit less the log-sum-exp of the others; rises with out-of-distribution.

        Args:
            features: [N, D].

        Returns:
            [N], unbounded: the logarithm of the virtual class's odds in a softmax over K + 1 classes.

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of another length.
        """
        array = checked_features(features, width=len(self.origin))
        lengths = np.linalg.norm((array - self.origin) @ self.residual, axis=1)
        return np.asarray(self.alpha * lengths - logsumexp(array @ self.weight.T + self.bias, axis=1))


def fit_vim(
    features: FloatArray, weight: FloatArray, bias: FloatArray, *, dimension: int | None = None
) -> ViM:
    """Find the space that training features vary least in, and the scale that makes a length in it a logit.

    The origin is u = -pinv(W) b. The residual space is spanned by the eigenvectors of the second moment of
    x - u beyond the ``dimension`` largest. alpha = mean of the largest logit / mean of the residual's length.

    Args:
        features: Of training images, [N, D].
        weight: Of the last layer, [K, D].
        bias: Of the last layer, [K].
        dimension: Of the principal space, from 1 to D - 1; None for 256, and where that is more than half of
            D for D // 2.

    Raises:
        UndefinedMetricError: Empty, NaN or infinite; a last layer that does not fit; no residual at all; or
            largest logits that are not above 0 on average, so that no alpha above 0 matches them.
        UsageError: ``dimension`` is not within 1 to D - 1.

    Conventions:
        256 is OpenOOD's. The authors' code takes 1,000 from D = 2,048 on and 512 below, which leaves nothing
        of D = 512 or fewer (their features have 768 or more); PyTorch-OOD takes D // 2 where the dimension
        asked for is above D. That half of D is the most is a rule of this package: 32 of the 64 features of
        a CIFAR ResNet.

    Source:
        Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, 2022, eqs. 4 to 8.

    Example:
        >>> import numpy as np
        >>> train = np.array([[4, 0, 0.5], [4, 0, -0.5], [0, 4, 0.5], [0, 4, -0.5]])
        >>> fitted = fit_vim(train, np.eye(2, 3), np.zeros(2), dimension=2)  # alpha = 4 / 0.5
        >>> round(fitted.alpha, 6), fitted.score(np.array([[4.0, 0.0, 2.0]])).round(4)  # 16 - ln(e^4 + 1)
        (8.0, array([11.9819]))
    """
    array = checked_features(features)
    width = array.shape[1]
    w, b = checked_last_layer(weight, bias, width=width)
    kept = _principal(dimension, width)
    origin = -np.linalg.pinv(w) @ b
    centred = array - origin
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))  # from the smallest eigenvalue up
    residual = vectors[:, : width - kept]
    length = float(np.linalg.norm(centred @ residual, axis=1).mean())
    largest = float((array @ w.T + b).max(axis=1).mean())
    if length <= _RESIDUAL * float(np.linalg.norm(centred, axis=1).mean()):
        raise UndefinedMetricError(
            "the training features leave no residual",
            expected=f"variation beyond the {kept} largest directions of {width}",
            found="none but rounding",
            fix="take a smaller dimension, or fit on more images",
        )
    if largest <= 0:
        raise UndefinedMetricError(
            "the largest logits of the training images are not above 0",
            expected="logits, whose largest is positive on average",
            found=f"a mean of {largest:g}",
        )
    return ViM(origin=origin, residual=residual, alpha=largest / length, weight=w, bias=b)


def _principal(dimension: int | None, width: int) -> int:
    if dimension is None:
        return min(_DIMENSION, max(width // 2, 1))
    count_option(dimension, "dimension")
    if dimension >= width:
        raise UsageError(
            "dimension cannot be used",
            expected=f"below D = {width}, or nothing is left of the residual",
            found=repr(dimension),
        )
    return dimension
