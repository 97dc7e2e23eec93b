"""kNN: the distance of the features to the K-th nearest training image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustbench_safety.detectors.checks import checked_features
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, count_option

__all__ = ["NearestNeighbours", "fit_knn"]


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours:
    """Directions of the training images' features."""

    directions: FloatArray
    """Features of length 1, [N, D]."""
    k: int

    def score(self, features: FloatArray) -> FloatArray:
        """Return the Euclidean distance to the K-th nearest direction; rises with out-of-distribution.

        Args:
            features: [N, D].

        Returns:
            [N], in [0, 2].

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of another length.
        """
        # Not at the top: scikit-learn takes a second to import, and most runs fit no detector.
        from sklearn.neighbors import NearestNeighbors

        array = _directions(checked_features(features, width=self.directions.shape[1]))
        nearest = NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(self.directions)
        distances, _ = nearest.kneighbors(array)
        return np.asarray(distances[:, -1], dtype=np.float64)


def fit_knn(features: FloatArray, *, k: int = 50) -> NearestNeighbours:
    """Keep the directions of training images.

    Args:
        features: Of training images, [N, D].
        k: Which neighbour's distance is the score. The paper takes 50 for CIFAR-10, 200 for CIFAR-100 and
            1,000 for ImageNet, each of the whole training set.

    Raises:
        UndefinedMetricError: Empty, NaN or infinite, or fewer than ``k`` samples.
        UsageError: ``k`` is not a whole number of at least 1.

    Conventions:
        The distance itself; OpenOOD's is its square, of the same order. Features that are all 0 have no
        direction: their distance to every other is 1.

    Source:
        Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, 2022.

    Example:
        >>> import numpy as np
        >>> fitted = fit_knn(np.array([[2.0, 0.0], [0.0, 5.0]]), k=2)
        >>> fitted.score(np.array([[1.0, 0.0], [1.0, 1.0]])).round(4)  # sqrt(2), and of the half-way one less
        array([1.4142, 0.7654])
    """
    count_option(k, "k")
    array = checked_features(features)
    if len(array) < k:
        raise UndefinedMetricError(
            "too few samples to fit on",
            expected=f"k = {k} or more",
            found=str(len(array)),
            fix="fit on more images, or take a smaller k",
        )
    return NearestNeighbours(directions=_directions(array), k=k)


def _directions(features: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1.0))
