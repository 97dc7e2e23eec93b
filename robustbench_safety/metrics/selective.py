"""Selective prediction: what a model gains by leaving its least confident answers to somebody else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.metrics.accuracy import aurc, errors_kept, right_and_wrong
from robustbench_safety.metrics.checks import (
    FloatArray,
    confidence_and_correct,
    finite,
    fraction_option,
    scores,
)

__all__ = [
    "accuracy_at_coverage",
    "augrc",
    "prediction_rejection_ratio",
    "unknown_aurc",
    "unknown_aurc_by_score",
]


def accuracy_at_coverage(
    confidence: FloatArray, correct: FloatArray | NDArray[np.bool_], *, coverage: float
) -> float:
    """Measure the accuracy when only the most confident share of the images is answered. Higher is better.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].
        coverage: Least share of the images to answer, a fraction in (0, 1].

    Returns:
        Fraction in [0, 1]; at coverage 1 the accuracy.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.
        UsageError: ``coverage`` is outside (0, 1].

    Conventions:
        The fewest images that make up the coverage are answered, as in ``risk_coverage_curve``. If only
        some of several tied images are, it is the mean over all choices among them, so exactly that many
        count; a threshold on confidence would answer all of them or none.

    Source:
        El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, JMLR 2010: one less
        the risk at a coverage.

    Example:
        >>> confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
        >>> accuracy_at_coverage(confidence, correct, coverage=0.25)
        1.0
        >>> accuracy_at_coverage(confidence, correct, coverage=0.3)  # two of four are answered
        0.5
    """
    fraction_option(coverage, "coverage", one_allowed=True)
    wrong = errors_kept(confidence, correct)
    answered = n_answered(len(wrong), coverage)
    return 1.0 - float(wrong[answered - 1]) / answered


def n_answered(n: int, coverage: float) -> int:
    """Return the fewest of ``n`` images that make up a coverage."""
    # Compared as k / N: 0.07 * 100 is above 7, and would answer 8.
    return int(np.argmax(np.arange(1, n + 1) / n >= coverage)) + 1


def augrc(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure the mean share of images answered and wrong, over all coverages. Lower is better.

    ``(1/N) sum_k (errors among the k most confident) / N`` for k = 1..N: the area under the generalised
    risk-coverage curve. AURC divides by k instead.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Fraction in [0, (N + 1) / (2 N)]; 0 only without any error. With error rate r and many images a
        perfect ranking reaches ``r^2 / 2`` and one without skill ``r / 2``.

    Raises:
        UndefinedMetricError: There is no image, a NaN, shapes differ, or a value is outside its range.

    Conventions:
        Recalled, not verified: the mean over k as in ``aurc``, without the trapezoids of some codes. Tied
        images are spread evenly over their ranks, which is the average over their orders.

    Source:
        Traub et al., Overcoming Common Flaws in the Evaluation of Selective Classification Systems,
        NeurIPS 2024.

    Example:
        >>> augrc(np.array([0.9, 0.8]), np.array([1, 0]))  # 0 and 1 of 2 images
        0.25
    """
    wrong = errors_kept(confidence, correct)
    return float(np.mean(wrong)) / len(wrong)


def prediction_rejection_ratio(confidence: FloatArray, correct: FloatArray | NDArray[np.bool_]) -> float:
    """Measure how much of what an oracle gains by rejecting errors, doubt gains too. Higher is better.

    ``PRR = (AR - AR_random) / (AR_oracle - AR_random)``. AR is one less the area under the rejection curve,
    the errors left among the k images kept, over N, averaged over k = 1..N; rejection at random leaves
    ``W k / N`` of the W errors, the oracle ``max(0, W - (N - k))``, as it rejects the errors first.

    Args:
        confidence: Confidence in the predicted class, fraction, [N].
        correct: 1 where the prediction is right, else 0, [N].

    Returns:
        Number in [-1, 1]: 1 is a perfect ranking, 0 one without skill, -1 one exactly the wrong way round.

    Raises:
        UndefinedMetricError: All answers are right or all are wrong, there is no image, a NaN, shapes
            differ, or a value is outside its range.

    Conventions:
        Recalled, not verified against the papers. A rejected image counts as no error, and the curve is
        over all N; then PRR is ``2 error_detection_auroc - 1`` and ranks models just as that does. Codes
        that take the error rate of the images kept, or stop at a half rejected, give other numbers.
        Tied images are spread evenly over their ranks.

    Source:
        Malinin, Mlodozeniec and Gales, Ensemble Distribution Distillation, ICLR 2020, for the ratio;
        Pinto et al., arXiv 2207.11347, 2022, for its use beside the AUROC.

    Example:
        >>> # Errors kept 0, 1, 1: as 1/3, 2/3, 1 at random, where 0, 0, 1 would be best.
        >>> prediction_rejection_ratio(np.array([0.9, 0.8, 0.6]), np.array([1, 0, 1]))
        0.0
    """
    right_and_wrong(confidence, correct)
    kept = errors_kept(confidence, correct)
    n, wrong = len(kept), round(float(kept[-1]))
    at_random, at_best = wrong * (n + 1) / 2, wrong * (wrong + 1) / 2
    return float((at_random - np.sum(kept)) / (at_random - at_best))


def unknown_aurc(
    confidence_in: FloatArray, correct_in: FloatArray | NDArray[np.bool_], confidence_out: FloatArray
) -> float:
    """Measure the mean risk over all coverages where every unknown answered is an error. Lower is better.

    :func:`aurc` over the ID and the OOD images together: a wrong answer and an OOD image that is
    answered at all weigh the same.

    Args:
        confidence_in: Confidence in the predicted class of the ID images, fraction, [N].
        correct_in: 1 where the prediction of the ID image is right, else 0, [N].
        confidence_out: Confidence in the predicted class of the OOD images, near and far ones together,
            fraction, [M].

    Returns:
        Fraction in (0, 1]. It rises with the share of OOD images: even a perfect ranking is far from 0 where
        they are many.

    Raises:
        UndefinedMetricError: Either group is empty, a NaN, shapes differ, or a value is outside its range.

    Conventions:
        The benchmark prints it times 1000. Sets are not re-weighted, so only numbers over the same files
        compare. That OOD images join as errors is recalled, not verified; the mean over k and ties are those
        of :func:`aurc`.

    Source:
        Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation, equation 2, ICLR 2019, for AURC; the
        unified benchmark for unknown detection, for the union.

    Example:
        >>> # From the most confident: right, OOD, wrong. Risks 0, 1/2 and 2/3.
        >>> round(unknown_aurc(np.array([0.9, 0.5]), np.array([1, 0]), np.array([0.7])), 4)
        0.3889
    """
    inside, right = confidence_and_correct(confidence_in, correct_in)
    outside = finite(confidence_out, "confidence_out")
    confidence_and_correct(outside, np.zeros(len(outside)))
    return unknown_aurc_by_score(-inside, right, -outside)


def unknown_aurc_by_score(
    scores_in: FloatArray, correct_in: FloatArray | NDArray[np.bool_], scores_out: FloatArray
) -> float:
    """Measure :func:`unknown_aurc` where a detector says which images to answer first. Lower is better.

    The images with the lowest OOD score are answered first. Only their order counts: the confidence is taken
    to be the rank of the score from above.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        correct_in: 1 where the prediction of the ID image is right, else 0, [N].
        scores_out: OOD scores of the OOD images, near and far ones together, same unit, [M].

    Returns:
        Fraction in (0, 1]. A score without skill reaches the share of OOD images and wrong answers among all.

    Raises:
        UndefinedMetricError: Either group is empty, a score is NaN or infinite, shapes differ, or
            ``correct_in`` holds other values than 0 and 1.

    Conventions:
        With the detector MSP it is :func:`unknown_aurc` of the confidences. A good detector of unknowns need
        not be one of wrong answers, and both count here.

    Source:
        As :func:`unknown_aurc`.

    Example:
        >>> # From the lowest score: right, OOD, wrong. Risks 0, 1/2 and 2/3.
        >>> round(unknown_aurc_by_score(np.array([-9.0, 4.0]), np.array([1, 0]), np.array([0.0])), 4)
        0.3889
    """
    inside, outside = scores(scores_in, scores_out)
    together = -np.concatenate([inside, outside])
    distinct, ranks = np.unique(together, return_inverse=True)
    right = np.concatenate([finite(correct_in, "correct"), np.zeros(len(outside))])
    return aurc(ranks / len(distinct), right)
