"""Mahalanobis distance of the features to the nearest class, and that relative to all classes together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustbench_safety.detectors.checks import checked_features, checked_labels
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, IntArray

__all__ = [
    "Gaussian",
    "Mahalanobis",
    "RelativeMahalanobis",
    "fit_mahalanobis",
    "fit_relative_mahalanobis",
]


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Gaussians of one covariance."""

    means: FloatArray
    """[C, D]."""
    precision: FloatArray
    """Inverse of the covariance, [D, D]; the pseudo-inverse where a direction never varies."""

    def squared_distances(self, features: FloatArray) -> FloatArray:
        """Return the squared Mahalanobis distances [N, C] of features [N, D]."""
        columns = []
        for mean in self.means:  # one at a time: [N, C, D] of ImageNet would not fit
            centred = features - mean
            columns.append(np.einsum("nd,nd->n", centred @ self.precision, centred))
        return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """Class means and their shared covariance."""

    classes: Gaussian

    def score(self, features: FloatArray) -> FloatArray:
        """Return the squared Mahalanobis distance to the nearest class mean; rises with OOD.

        Args:
            features: [N, D].

        Returns:
            [N], 0 or more.

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of another length.
        """
        array = checked_features(features, width=self.classes.means.shape[1])
        return np.asarray(self.classes.squared_distances(array).min(axis=1))


@dataclass(frozen=True, kw_only=True)
class RelativeMahalanobis:
    """Class means and their shared covariance, and the Gaussian of all images together."""

    classes: Gaussian
    background: Gaussian

    def score(self, features: FloatArray) -> FloatArray:
        """Return the squared distance to the nearest class mean less that to the background; rises with OOD.

        Args:
            features: [N, D].

        Returns:
            [N], of either sign.

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of another length.
        """
        array = checked_features(features, width=self.classes.means.shape[1])
        background = self.background.squared_distances(array)
        return np.asarray((self.classes.squared_distances(array) - background).min(axis=1))


def fit_mahalanobis(features: FloatArray, labels: IntArray) -> Mahalanobis:
    """Take the mean feature of each class and one covariance about these means.

    Args:
        features: Of training images, [N, D].
        labels: Their true classes from 0, [N].

    Raises:
        UndefinedMetricError: Empty, NaN or infinite; a class without a sample; or too few samples for the
            covariance to have full rank, N < C + D.

    Conventions:
        The score is the squared distance: PyTorch-OOD halves it and does not divide its covariance by N, so
        that it is 2 N times smaller; OpenOOD and PyTorch-OOD's ``MahalanobisODIN`` can move the images by a
        gradient first, and OpenOOD weighs several layers. Here: the penultimate features alone, as they are.

    Source:
        Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
        Attacks, 2018, eq. 2.

    Example:
        >>> import numpy as np
        >>> fitted = fit_mahalanobis(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))
        >>> fitted.score(np.array([[1.0], [5.0]]))  # means 1 and 11, variance 1
        array([ 0., 16.])
    """
    array = checked_features(features)
    return Mahalanobis(classes=_class_gaussians(array, checked_labels(labels, array)))


def fit_relative_mahalanobis(features: FloatArray, labels: IntArray) -> RelativeMahalanobis:
    """Take the same as ``fit_mahalanobis``, and mean and covariance of all samples whatever their class.

    Args:
        features: Of training images, [N, D].
        labels: Their true classes from 0, [N].

    Raises:
        UndefinedMetricError: As of ``fit_mahalanobis``.

    Conventions:
        PyTorch-OOD's ``RMD`` does not divide its covariances by N: its score is N times smaller.

    Source:
        Ren et al., A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, 2021.

    Example:
        >>> import numpy as np
        >>> features, labels = np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1])
        >>> fitted = fit_relative_mahalanobis(features, labels)
        >>> fitted.score(np.array([[6.0]]))  # 5^2 / 1 from either class, 0 from the mean of all
        array([25.])
    """
    array = checked_features(features)
    classes = _class_gaussians(array, checked_labels(labels, array))
    mean = array.mean(axis=0, keepdims=True)
    return RelativeMahalanobis(
        classes=classes, background=Gaussian(means=mean, precision=_precision(array - mean))
    )


def _class_gaussians(features: FloatArray, labels: IntArray) -> Gaussian:
    n_classes = int(labels.max()) + 1
    if len(features) < n_classes + features.shape[1]:
        raise UndefinedMetricError(
            "too few samples to fit a covariance on",
            expected=f"{n_classes + features.shape[1]} or more, the number of classes and features",
            found=str(len(features)),
            fix="fit on more images",
        )
    means = np.stack([features[labels == k].mean(axis=0) for k in range(n_classes)])
    return Gaussian(means=means, precision=_precision(features - means[labels]))


def _precision(centred: FloatArray) -> FloatArray:
    # Not at the top: scikit-learn takes a second to import, and most runs fit no detector.
    from sklearn.covariance import EmpiricalCovariance

    return np.asarray(EmpiricalCovariance(assume_centered=True).fit(centred).precision_, dtype=np.float64)
