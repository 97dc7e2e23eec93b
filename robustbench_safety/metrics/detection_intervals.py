"""Confidence intervals of AUROC, both AUPRs and both FPRs, of one OOD set or of the mean over several.

Several OOD sets share the ID set, as the columns of a scorecard do: their errors are correlated, and
the interval of the mean has to know it. A resample therefore draws the ID images once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit, ndtri

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, fraction_option
from robustbench_safety.metrics.detection import (
    average_precision,
    false_positive_rate,
    nearest_false_positive_rate,
)
from robustbench_safety.metrics.detection_resampling import (
    at_all_scores,
    at_id_scores,
    bootstrap,
    sorted_groups,
)
from robustbench_safety.metrics.intervals import Interval, constant_interval
from robustbench_safety.metrics.ranking import RocCounts

__all__ = [
    "aupr_in_interval",
    "aupr_interval",
    "auroc_interval",
    "fpr_hendrycks_interval",
    "fpr_interval",
]


def auroc_interval(
    scores_in: FloatArray, scores_out: FloatArray | Sequence[FloatArray], *, level: float = 0.95
) -> Interval:
    """Measure how far the (mean) AUROC may lie from its true value. Narrower is better.

    DeLong: with ``V_i`` the share of OOD images above ID image i, averaged over the K OOD sets, and
    ``W_kj`` the share of ID images below OOD image j of set k, the variance of the mean AUROC is
    ``var(V) / N + sum_k var(W_k) / M_k / K^2``; the normal interval is taken on the logit scale.

    Args:
        scores_in: OOD scores of the ID images, [N], N at least 2.
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets, M at least 2.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Interval within [0, 1]. Where no pair disagrees (AUROC exactly 0 or 1, or all scores tied) it is the
        Clopper-Pearson bound for the smallest group, and ``method`` says so.

    Raises:
        UndefinedMetricError: A group has fewer than two images, or a score is NaN or infinite.
        UsageError: ``level`` is outside (0, 1).

    Conventions:
        Without the logit scale the interval of an AUROC near 1 would reach above 1.

    Source:
        DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated ROC Curves,
        Biometrics 1988; logit scale as Pepe, section 5.2.4, 2003.

    Example:
        >>> interval = auroc_interval(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0]))
        >>> round(interval.low, 4), round(interval.high, 4), interval.method  # AUROC 5/6
        (0.1523, 0.9929, 'delong, logit scale')
    """
    fraction_option(level, "level")
    inside, outsides = sorted_groups(scores_in, scores_out)
    smallest = min(len(group) for group in (inside, *outsides))
    if smallest < 2:
        raise UndefinedMetricError(
            "a group is too small for a variance", expected="at least 2 images in each", found=str(smallest)
        )
    of_in = np.mean([1.0 - share_below(inside, outside) for outside in outsides], axis=0)
    of_out = [share_below(outside, inside) for outside in outsides]
    area = float(np.mean([np.mean(shares) for shares in of_out]))
    variance = float(np.var(of_in, ddof=1)) / len(inside)
    variance += sum(float(np.var(w, ddof=1)) / len(w) for w in of_out) / len(of_out) ** 2
    if variance == 0 or area in (0.0, 1.0):
        return constant_interval(area, smallest, smallest=0.0, level=level)
    reach = float(ndtri((1 + level) / 2)) * np.sqrt(variance) / (area * (1.0 - area))
    low, high = expit(logit(area) + np.array([-reach, reach])).tolist()
    return Interval(low=low, high=high, method="delong, logit scale", level=level)


def aupr_interval(
    scores_in: FloatArray,
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    base_rate: float | None = None,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) ``aupr_out`` may lie from its true value. Narrower is better.

    Args:
        scores_in: OOD scores of the ID images, [N].
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets.
        base_rate: As for ``aupr_out``; None takes each set's own share.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [0, 1], ID and OOD resampled apart. If all draws agree, the
        Clopper-Pearson bound for the smallest group.

    Raises:
        UndefinedMetricError: A group is empty, or a score is NaN or infinite.
        UsageError: ``base_rate``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        For ``aupr_in`` there is :func:`aupr_in_interval`.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 8.3, 1993.

    Example:
        >>> interval = aupr_interval(np.zeros(10), np.ones(10), seed=0)  # never a mistake in 10
        >>> round(interval.low, 4), interval.high, interval.method
        (0.6915, 1.0, 'clopper-pearson (all 10 values equal)')
    """

    def statistic(counts: RocCounts) -> FloatArray:
        return average_precision(counts, base_rate=base_rate)

    return bootstrap(statistic, scores_in, scores_out, seed=seed, draws=draws, level=level)


def aupr_in_interval(
    scores_in: FloatArray,
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    base_rate: float | None = None,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) ``aupr_in`` may lie from its true value. Narrower is better.

    Args:
        scores_in: OOD scores of the ID images, [N].
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets.
        base_rate: As for ``aupr_in``, the share of ID images; None takes each set's own.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [0, 1], ID and OOD resampled apart. If all draws agree, the
        Clopper-Pearson bound for the smallest group.

    Raises:
        UndefinedMetricError: A group is empty, or a score is NaN or infinite.
        UsageError: ``base_rate``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Of one set it is ``aupr_interval(-scores_out, -scores_in)``; of several that would draw the ID images
        apart for each.

    Source:
        As :func:`aupr_interval`.

    Example:
        >>> interval = aupr_in_interval(np.zeros(10), np.ones(10), seed=0)  # never a mistake in 10
        >>> round(interval.low, 4), interval.high
        (0.6915, 1.0)
    """

    def statistic(counts: RocCounts) -> FloatArray:
        return average_precision(counts, base_rate=base_rate)

    return bootstrap(statistic, scores_in, scores_out, at=at_id_scores, seed=seed, draws=draws, level=level)


def fpr_interval(
    scores_in: FloatArray,
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    tpr: float = 0.95,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) ``fpr_at_tpr`` may lie from its true value. Narrower is better.

    Args:
        scores_in: OOD scores of the ID images, [N].
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets.
        tpr: Share of OOD images to catch, a fraction in (0, 1].
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [0, 1], ID and OOD resampled apart; the threshold is found anew in
        each draw. If all draws agree, the Clopper-Pearson bound for the smallest group.

    Raises:
        UndefinedMetricError: A group is empty, or a score is NaN or infinite.
        UsageError: ``tpr``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        A binomial interval on the ID images alone takes the threshold for known and is too narrow.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 8.3, 1993.

    Example:
        >>> interval = fpr_interval(np.zeros(10), np.ones(10), seed=0)
        >>> interval.low, round(interval.high, 4)
        (0.0, 0.3085)
    """
    fraction_option(tpr, "tpr", one_allowed=True)

    def statistic(counts: RocCounts) -> FloatArray:
        return false_positive_rate(counts, tpr=tpr)

    return bootstrap(statistic, scores_in, scores_out, seed=seed, draws=draws, level=level)


def fpr_hendrycks_interval(
    scores_in: FloatArray,
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    tpr: float = 0.95,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the (mean) ``fpr_at_tpr_hendrycks`` may lie from its true value. Narrower is better.

    Args:
        scores_in: OOD scores of the ID images, [N].
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets.
        tpr: Share of OOD images to catch, a fraction in (0, 1].
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [0, 1], ID and OOD resampled apart; the threshold is found anew in
        each draw. If all draws agree, the Clopper-Pearson bound for the smallest group.

    Raises:
        UndefinedMetricError: A group is empty, or a score is NaN or infinite.
        UsageError: ``tpr``, ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        The same truth as :func:`fpr_interval`: over a whole population some threshold has the wanted TPR. It
        takes longer, as the rule may stop at any score and not at those of OOD images alone.

    Source:
        As :func:`fpr_interval`.

    Example:
        >>> interval = fpr_hendrycks_interval(np.zeros(10), np.ones(10), seed=0)
        >>> interval.low, round(interval.high, 4)
        (0.0, 0.3085)
    """
    fraction_option(tpr, "tpr", one_allowed=True)

    def statistic(counts: RocCounts) -> FloatArray:
        return nearest_false_positive_rate(counts, tpr=tpr)

    return bootstrap(statistic, scores_in, scores_out, at=at_all_scores, seed=seed, draws=draws, level=level)


def share_below(values: FloatArray, ordered: FloatArray) -> FloatArray:
    """Return for each value the share of ``ordered`` below it, tied ones counted half."""
    doubled = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(doubled / (2.0 * len(ordered)))
