"""Anomaly detection: how well a score tells out-of-distribution (OOD) images from in-distribution (ID) ones.

OOD is the positive class and the score rises with it, in every function.
"""

from __future__ import annotations

import numpy as np

from robustbench_safety.metrics.checks import FloatArray, fraction_option, scores
from robustbench_safety.metrics.ranking import RocCounts, roc_counts

__all__ = ["aupr_in", "aupr_out", "auroc", "fpr_at_tpr", "fpr_at_tpr_hendrycks"]


def auroc(scores_in: FloatArray, scores_out: FloatArray) -> float:
    """Measure the chance that an OOD image scores above an ID image. Higher is better.

    ``P(out > in) + P(out = in) / 2`` over all pairs: the area under the ROC curve.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        scores_out: OOD scores of the OOD images, same unit, [M].

    Returns:
        Fraction in [0, 1]; 0.5 is a score without skill, below it the sign is the wrong way round.

    Raises:
        UndefinedMetricError: Either group is empty, or a score is NaN or infinite.

    Conventions:
        A tied pair counts one half, as in scikit-learn, OpenOOD and PyTorch-OOD. Which class is called
        positive does not matter as long as the score's sign follows it.

    Source:
        Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples,
        section 2, ICLR 2017.

    Example:
        >>> auroc(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0]))  # of 6 pairs 5 are right, 1 is tied
        0.9166666666666666
    """
    return area_under_roc(roc_counts(*scores(scores_in, scores_out)))


def aupr_out(scores_in: FloatArray, scores_out: FloatArray, *, base_rate: float | None = None) -> float:
    """Measure the average precision of finding OOD images. Higher is better.

    ``sum_t (R_t - R_{t-1}) P_t`` over the distinct scores from the highest down, R recall, P precision.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        scores_out: OOD scores of the OOD images, same unit, [M].
        base_rate: Share of OOD images to compute precision for, a fraction in (0, 1); None takes M / (N + M).
            The images are re-weighted, not subsampled, so the answer has no chance in it.

    Returns:
        Fraction in (0, 1]; a score without skill reaches the base rate.

    Raises:
        UndefinedMetricError: Either group is empty, or a score is NaN or infinite.
        UsageError: ``base_rate`` is not strictly between 0 and 1.

    Conventions:
        Step-wise average precision, as Hendrycks' code (OE, NAE, PixMix) and scikit-learn. OpenOOD and
        PyTorch-OOD draw trapezoids under the precision-recall curve, which is too high where points are
        sparse. OE fixes the OOD share at 1/6, other tables take what the files give: record the share.

    Source:
        Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, section 4.1,
        ICLR 2019.

    Example:
        >>> scores_in, scores_out = np.array([1.0, 3.0]), np.array([2.0, 4.0])
        >>> aupr_out(scores_in, scores_out)  # recall 1/2 at precision 1, the other half at 2/3
        0.8333333333333333
        >>> round(aupr_out(scores_in, scores_out, base_rate=0.2), 4)  # an ID image weighs 4: 1/2 + 1/2 * 2/6
        0.6667
    """
    return _aupr(*scores(scores_in, scores_out), base_rate=base_rate)


def aupr_in(scores_in: FloatArray, scores_out: FloatArray, *, base_rate: float | None = None) -> float:
    """Measure the average precision of finding ID images. Higher is better.

    :func:`aupr_out` with the groups exchanged and the scores negated.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        scores_out: OOD scores of the OOD images, same unit, [M].
        base_rate: Share of ID images to compute precision for, a fraction in (0, 1); None takes N / (N + M).

    Returns:
        Fraction in (0, 1]; a score without skill reaches the base rate.

    Raises:
        UndefinedMetricError: Either group is empty, or a score is NaN or infinite.
        UsageError: ``base_rate`` is not strictly between 0 and 1.

    Conventions:
        The score is still an OOD score: it is negated here, never by the caller. OpenOOD reports both.

    Source:
        As :func:`aupr_out`.

    Example:
        >>> aupr_in(np.array([1.0, 3.0]), np.array([2.0, 4.0]))
        0.8333333333333333
    """
    inside, outside = scores(scores_in, scores_out)
    return _aupr(-outside, -inside, base_rate=base_rate)


def fpr_at_tpr(scores_in: FloatArray, scores_out: FloatArray, *, tpr: float = 0.95) -> float:
    """Measure the share of ID images rejected when the wanted share of OOD images is caught. Lower is better.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        scores_out: OOD scores of the OOD images, same unit, [M].
        tpr: Share of OOD images to catch, a fraction in (0, 1].

    Returns:
        Fraction in [0, 1], taken at the highest threshold that catches at least ``tpr``; equal scores
        fall on the same side of it.

    Raises:
        UndefinedMetricError: Either group is empty, or a score is NaN or infinite.
        UsageError: ``tpr`` is outside (0, 1].

    Conventions:
        As OpenOOD. Hendrycks' code takes the threshold whose recall is nearest to the target, above or
        below it: :func:`fpr_at_tpr_hendrycks`. ODIN and others call ID the positive class: that is a third
        number.

    Source:
        Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, section 4.1 (FPR95),
        ICLR 2019; Zhang et al., OpenOOD v1.5, 2023, for the threshold.

    Example:
        >>> fpr_at_tpr(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 5.0]))  # 3 and 4 lie above 2.5
        0.5
    """
    fraction_option(tpr, "tpr", one_allowed=True)
    return float(false_positive_rate(roc_counts(*scores(scores_in, scores_out)), tpr=tpr))


def fpr_at_tpr_hendrycks(scores_in: FloatArray, scores_out: FloatArray, *, tpr: float = 0.95) -> float:
    """Measure the share of ID images rejected where about the wanted share of OOD is caught. Lower is better.

    Args:
        scores_in: OOD scores of the ID images, any real unit, [N].
        scores_out: OOD scores of the OOD images, same unit, [M].
        tpr: Share of OOD images to catch, a fraction in (0, 1].

    Returns:
        Fraction in [0, 1], taken at the threshold whose TPR is nearest to ``tpr``, be it above or below.

    Raises:
        UndefinedMetricError: Either group is empty, or a score is NaN or infinite.
        UsageError: ``tpr`` is outside (0, 1].

    Conventions:
        As the code of OE. Thresholds are the distinct scores. Of equal TPRs the lowest threshold counts,
        which has most false positives; but of a TPR of 1 the highest, as the code cuts off all below it.
        Of TPRs as near on either side the higher one counts, by the rounding of float64: 0.9 is a little
        nearer to 0.95 than 1 is.

    Source:
        Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, section 4.1 (FPR95),
        ICLR 2019, and its code.

    Example:
        >>> scores_in, scores_out = np.array([1.0, 2.0, 5.0]), np.array([0.0, 3.0, 4.0, 6.0])
        >>> fpr_at_tpr_hendrycks(scores_in, scores_out, tpr=0.8)  # TPR 3/4 lasts down to score 1
        1.0
        >>> fpr_at_tpr_hendrycks(scores_in, scores_out, tpr=0.6)  # TPR 2/4 at score 4
        0.3333333333333333
    """
    fraction_option(tpr, "tpr", one_allowed=True)
    return float(nearest_false_positive_rate(roc_counts(*scores(scores_in, scores_out)), tpr=tpr))


def area_under_roc(counts: RocCounts) -> float:
    """Return the AUROC of counts at every distinct score; sums stay whole numbers until the one division."""
    caught = np.diff(counts.true_positives, prepend=0.0)
    above_or_tied = np.append(0.0, counts.false_positives[:-1]) + counts.false_positives
    doubled = float(np.sum(caught * (2.0 * counts.n_in - above_or_tied)))
    return doubled / (2.0 * counts.n_in * counts.n_out)


def average_precision(counts: RocCounts, *, base_rate: float | None) -> FloatArray:
    """Return the average precision along the last axis of the counts; OOD is positive."""
    weight_in = 1.0
    if base_rate is not None:
        fraction_option(base_rate, "base_rate")
        weight_in = counts.n_out / counts.n_in * (1 - base_rate) / base_rate
    caught = np.diff(counts.true_positives, prepend=0.0, axis=-1)
    # In a resample no image may lie above the top thresholds; they catch nothing, so 0 / 1 serves for 0 / 0.
    flagged = counts.true_positives + weight_in * counts.false_positives
    precision = counts.true_positives / np.where(flagged > 0, flagged, 1.0)
    return np.asarray(np.sum(caught * precision, axis=-1) / counts.n_out)


def false_positive_rate(counts: RocCounts, *, tpr: float) -> FloatArray:
    """Return the FPR at the highest threshold whose TPR is at least ``tpr``, along the last axis."""
    enough = counts.true_positives / counts.n_out >= tpr
    first = np.argmax(enough, axis=-1, keepdims=True)
    return np.take_along_axis(counts.false_positives, first, axis=-1)[..., 0] / counts.n_in


def nearest_false_positive_rate(counts: RocCounts, *, tpr: float) -> FloatArray:
    """Return the FPR where the TPR is nearest to ``tpr``, along the last axis; see the published rule."""
    recalls = counts.true_positives / counts.n_out
    distances = np.abs(recalls - tpr)
    all_caught = np.argmax(recalls == 1, axis=-1, keepdims=True)
    distances[np.arange(distances.shape[-1]) > all_caught] = np.inf
    # In a resample no image may lie above the top thresholds, which are none of its own then.
    distances[(counts.true_positives == 0) & (counts.false_positives == 0)] = np.inf
    # Of equal distances the last, whose threshold is the lowest.
    last = distances.shape[-1] - 1 - np.argmin(distances[..., ::-1], axis=-1, keepdims=True)
    return np.take_along_axis(counts.false_positives, last, axis=-1)[..., 0] / counts.n_in


def _aupr(negatives: FloatArray, positives: FloatArray, *, base_rate: float | None) -> float:
    return float(average_precision(roc_counts(negatives, positives), base_rate=base_rate))
