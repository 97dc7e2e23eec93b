"""Errors, and how well confidence sorts the right answers from the wrong ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import (
    FloatArray,
    class_indices,
    confidence_and_correct,
    count_option,
    same_length,
)
from robustbench_safety.metrics.detection import auroc
from robustbench_safety.metrics.ranking import by_confidence

__all__ = [
    "RiskCoverageCurve",
    "aurc",
    "aurra",
    "error_detection_auroc",
    "error_rate",
    "excess_aurc",
    "risk_coverage_curve",
    "set_error_rate",
    "top_k_error",
]


def error_rate(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Measure the share of images given the wrong class. Lower is better.

    Args:
        predicted: Predicted class of each image, int [N], from 0.
        labels: Right class of each image, int [N], from 0.

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no image, lengths differ, or an index is negative or not an integer.

    Conventions:
        Top-1 error. For images with several right classes (ObjectNet, ReaL) take :func:`set_error_rate`.

    Source:
        Plain definition; E in Hendrycks and Dietterich, section 4.1, ICLR 2019.

    Example:
        >>> error_rate(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
        0.25
    """
    given, right = class_indices(predicted, "predicted"), class_indices(labels, "labels")
    same_length(given, right, "predicted and labels")
    return int(np.count_nonzero(given != right)) / len(right)


def set_error_rate(predicted: NDArray[np.integer], right: NDArray[np.bool_]) -> float:
    """Measure the share of images given a class that is none of their right ones. Lower is better.

    Args:
        predicted: Predicted class of each image, int [N], from 0.
        right: Whether each class is right for each image, bool [N, K].

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no image, lengths differ, an index is no class, or an image has no
            right class.

    Conventions:
        Images that nobody gave a label (ReaL has some) are left out before, not counted as wrong.

    Source:
        Beyer et al., Are we done with ImageNet?, section 4, 2020.

    Example:
        >>> set_error_rate(np.array([0, 1]), np.array([[True, True, False], [True, False, True]]))
        0.5
    """
    table = np.asarray(right)
    if table.ndim != 2 or table.dtype != np.bool_:
        raise UndefinedMetricError(
            "right is no table of right classes", expected="bool [N, K]", found=f"{table.dtype} {table.shape}"
        )
    given = class_indices(predicted, "predicted", n_classes=table.shape[1])
    same_length(given, table, "predicted and right")
    if not table.any(axis=1).all():
        raise UndefinedMetricError(
            "an image has no right class",
            expected="one or more for each",
            found=f"none for {int((~table.any(axis=1)).sum())}",
            fix="leave such images out",
        )
    return int(np.count_nonzero(~table[np.arange(len(given)), given])) / len(given)


def top_k_error(ranked: NDArray[np.integer], labels: NDArray[np.integer], *, k: int) -> float:
    """Measure the share of images whose right class is not among the k best. Lower is better.

    Args:
        ranked: Classes of each image from the best down, int [N, at least k], from 0.
        labels: Right class of each image, int [N], from 0.
        k: How many guesses are allowed.

    Returns:
        Fraction in [0, 1]; never above the error of a smaller k.

    Raises:
        UndefinedMetricError: There is no image, lengths differ, or an index is negative or not an integer.
        UsageError: ``k`` is below 1 or above the number of ranked classes.

    Conventions:
        Ties of logits are broken where ``ranked`` is made (lower class index first), not here.

    Source:
        Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, section 4.1, 2015.

    Example:
        >>> top_k_error(np.array([[3, 1], [0, 2]]), np.array([1, 1]), k=2)
        0.5
    """
    guesses, right = class_indices(ranked, "ranked", ndim=2), class_indices(labels, "labels")
    same_length(guesses, right, "ranked and labels")
    count_option(k, "k")
    if k > guesses.shape[1]:
        raise UsageError(
            "k is too large", expected=f"at most the {guesses.shape[1]} classes kept", found=str(k)
        )
    hit = (guesses[:, :k] == right[:, None]).any(axis=1)
    return int(np.count_nonzero(~hit)) / len(right)


def aurc(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure the mean risk over all coverages: the area under the risk-coverage curve. Lower is better.

    ``(1/N) sum_k (errors among the k most confident) / k`` for k = 1..N.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, 1]; 0 only without any error.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.

    Conventions:
        The mean over k, as the unified unknown-detection benchmark, which prints it times 1000.
        Torch-Uncertainty integrates by trapezoids and divides by 1 - 1/N. Tied images are spread
        evenly over their ranks, so their order in the file is without effect.

    Source:
        Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation, equation 2, ICLR 2019.

    Example:
        >>> aurc(np.array([0.9, 0.8]), np.array([1, 0]))  # risks 0 and 1/2
        0.25
    """
    return float(np.mean(_risks(confidence, correct)))


def excess_aurc(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure how far AURC lies above that of the best ranking of the same answers. Lower is better.

    ``AURC - (r + (1 - r) ln(1 - r))`` with r the error rate.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, 1). The subtracted optimum is that of N to infinity, so a perfect ranking of
        few images stays a little above 0.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.

    Conventions:
        Some codes subtract the AURC of the sorted sample instead of the limit. They agree as N grows.

    Source:
        Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation, section 3 (E-AURC), ICLR 2019.

    Example:
        >>> round(excess_aurc(np.array([0.9, 0.8]), np.array([1, 0])), 4)  # 0.25 - (0.5 + 0.5 ln 0.5)
        0.0966
    """
    risks = _risks(confidence, correct)
    risk = float(risks[-1])
    optimum = risk + (1 - risk) * math.log1p(-risk) if risk < 1 else 1.0
    return max(0.0, float(np.mean(risks)) - optimum)


def aurra(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure the mean accuracy over all response rates. Higher is better.

    ``(1/N) sum_k (right answers among the k most confident) / k``: one minus :func:`aurc`.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.

    Conventions:
        The published code breaks ties by the sort; here tied images are spread evenly over their ranks.

    Source:
        Hendrycks et al., Natural Adversarial Examples, section 5 (area under the response rate accuracy
        curve), CVPR 2021.

    Example:
        >>> aurra(np.array([0.9, 0.8]), np.array([1, 0]))  # accuracies 1 and 1/2
        0.75
    """
    return 1.0 - aurc(confidence, correct)


def error_detection_auroc(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure the chance that a wrong answer is less confident than a right one. Higher is better.

    AUROC with the wrong answers as the positive class and the negated confidence as the score.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, 1]; 0.5 is a confidence without skill. It says nothing of how many errors there are.

    Raises:
        UndefinedMetricError: All answers are right or all are wrong, there is no image, a NaN, shapes
            differ, or a value is outside its range.

    Conventions:
        A tied pair counts one half. With the right answers as positives the AUROC is the same, the AUPR not.

    Source:
        Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples,
        section 3.1, ICLR 2017.

    Example:
        >>> error_detection_auroc(np.array([0.9, 0.8, 0.6]), np.array([1, 0, 1]))  # 1 of 2 pairs in order
        0.5
    """
    conf, right = right_and_wrong(confidence, correct)
    return auroc(-conf[right == 1], -conf[right == 0])


@dataclass(frozen=True, kw_only=True)
class RiskCoverageCurve:
    """Error rate among the most confident images, by how many of them are answered."""

    coverage: tuple[float, ...]
    """Share of the images that is answered, rising to 1."""
    risk: tuple[float, ...]
    """Error rate among those."""


def risk_coverage_curve(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, points: int = 100
) -> RiskCoverageCurve:
    """Draw the error rate against the share of images answered, most confident first. Lower is better.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        points: Number of points; point j answers the ``ceil(j N / points)`` most confident images.

    Returns:
        The curve with exactly ``points`` entries; with fewer images than points some repeat.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``points`` is below 1.

    Conventions:
        Every entry is a point that :func:`aurc` averages over; none is interpolated.

    Source:
        El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, JMLR 2010.

    Example:
        >>> risk_coverage_curve(np.array([0.9, 0.8]), np.array([1, 0]), points=2)
        RiskCoverageCurve(coverage=(0.5, 1.0), risk=(0.0, 0.5))
    """
    count_option(points, "points")
    risks = _risks(confidence, correct)
    answered = -(-np.arange(1, points + 1) * len(risks) // points)
    return RiskCoverageCurve(
        coverage=tuple((answered / len(risks)).tolist()), risk=tuple(risks[answered - 1].tolist())
    )


def right_and_wrong(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Return both, checked; refuse answers of one kind only, which cannot be told apart."""
    conf, right = confidence_and_correct(confidence, correct)
    if right.min() == right.max():
        raise UndefinedMetricError(
            "correct holds one class only",
            expected="right and wrong answers",
            found="only right answers" if right[0] else "only wrong answers",
        )
    return conf, right


def errors_kept(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> FloatArray:
    """Return how many of the k most confident images are wrong, for k = 1..N; ties count in expectation."""
    _, right = by_confidence(*confidence_and_correct(confidence, correct))
    return np.cumsum(1.0 - right[::-1])


def _risks(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> FloatArray:
    """Return the error rate among the k most confident images, for k = 1..N."""
    wrong = errors_kept(confidence, correct)
    return wrong / np.arange(1, len(wrong) + 1)
