"""The difference of two models' AUROC on the same images, and whether it is chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite, fraction_option, same_length
from robustbench_safety.metrics.detection_intervals import share_below
from robustbench_safety.metrics.intervals import Interval, PairedDifference, constant_interval

__all__ = ["delong_test", "paired_auroc_difference"]


def paired_auroc_difference(
    scores_in_a: FloatArray,
    scores_out_a: FloatArray | Sequence[FloatArray],
    scores_in_b: FloatArray,
    scores_out_b: FloatArray | Sequence[FloatArray],
    *,
    level: float = 0.95,
) -> PairedDifference:
    """Measure by how much the first model's (mean) AUROC is above the second's. Above 0 the first is better.

    DeLong: as for :func:`auroc_interval`, with the shares of the two models subtracted image by image; the
    interval is normal.

    Args:
        scores_in_a: First model's OOD scores of the ID images, [N], N at least 2.
        scores_out_a: Its scores of the OOD images, [M], or one such array for each of K sets, M at least 2.
        scores_in_b: Second model's scores of the same ID images in the same order, [N].
        scores_out_b: Its scores of the same OOD images in the same order.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        First less second, in [-1, 1], and its interval within [-1, 1]. Where every image has the same share
        less in one model than in the other, as where both are perfect, it is the Clopper-Pearson bound for
        the smallest group, and ``method`` says so.

    Raises:
        UndefinedMetricError: A group has fewer than two images, lengths differ, a score is NaN or infinite.
        UsageError: ``level`` is outside (0, 1).

    Conventions:
        The two models may be scored by different detectors: only the order within a model counts.

    Source:
        DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated ROC Curves,
        Biometrics 1988.

    Example:
        >>> a, b = (np.array([1.0, 2.0]), np.array([3.0, 4.0])), (np.array([1.0, 3.0]), np.array([2.0, 4.0]))
        >>> result = paired_auroc_difference(*a, *b)  # AUROC 1 and 3/4
        >>> result.difference, round(result.interval.low, 4), round(result.interval.high, 4)
        (0.25, -0.443, 0.943)
    """
    fraction_option(level, "level")
    difference, variance, smallest = _difference(scores_in_a, scores_out_a, scores_in_b, scores_out_b)
    if variance == 0:
        interval = constant_interval(difference, smallest, smallest=-1.0, level=level)
    else:
        reach = float(ndtri((1 + level) / 2)) * math.sqrt(variance)
        low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
        interval = Interval(low=low, high=high, method="paired delong", level=level)
    return PairedDifference(difference=difference, interval=interval)


def delong_test(
    scores_in_a: FloatArray,
    scores_out_a: FloatArray | Sequence[FloatArray],
    scores_in_b: FloatArray,
    scores_out_b: FloatArray | Sequence[FloatArray],
) -> float:
    """Measure how likely it is by chance that the first model's (mean) AUROC is so far above the second's.

    One-sided: below the level the second model detects worse.

    Args:
        scores_in_a: First model's OOD scores of the ID images, [N], N at least 2.
        scores_out_a: Its scores of the OOD images, [M], or one such array for each of K sets, M at least 2.
        scores_in_b: Second model's scores of the same ID images in the same order, [N].
        scores_out_b: Its scores of the same OOD images in the same order.

    Returns:
        p-value in [0, 1], of the normal distribution. Where every image has the same share less in the second
        model as in the first it is 1 if that is none, else that of the sign test, ``2^-n``, of the smallest
        group.

    Raises:
        UndefinedMetricError: A group has fewer than two images, lengths differ, a score is NaN or infinite.

    Conventions:
        As for :func:`paired_auroc_difference`.

    Source:
        As :func:`paired_auroc_difference`.

    Example:
        >>> a, b = (np.array([1.0, 2.0]), np.array([3.0, 4.0])), (np.array([1.0, 3.0]), np.array([2.0, 4.0]))
        >>> round(delong_test(*a, *b), 4)  # 1/4, with a standard error of sqrt(1/8)
        0.2398
    """
    difference, variance, smallest = _difference(scores_in_a, scores_out_a, scores_in_b, scores_out_b)
    if variance == 0:
        return float(0.5**smallest) if difference > 0 else 1.0
    return float(ndtr(-difference / math.sqrt(variance)))


def _difference(
    scores_in_a: FloatArray,
    scores_out_a: FloatArray | Sequence[FloatArray],
    scores_in_b: FloatArray,
    scores_out_b: FloatArray | Sequence[FloatArray],
) -> tuple[float, float, int]:
    """Return first AUROC less second, its variance, and the size of the smallest group."""
    in_a, in_b = finite(scores_in_a, "scores_in_a"), finite(scores_in_b, "scores_in_b")
    same_length(in_a, in_b, "scores_in_a and scores_in_b")
    outs = _paired_sets(scores_out_a, scores_out_b)
    smallest = min(len(in_a), *(len(out) for out, _ in outs))
    if smallest < 2:
        raise UndefinedMetricError(
            "a group is too small for a variance", expected="at least 2 images in each", found=str(smallest)
        )
    # Of an ID image the share of OOD images above it, which is one less that below: so second less first.
    of_in = np.sort(
        np.mean([share_below(in_b, np.sort(b)) - share_below(in_a, np.sort(a)) for a, b in outs], axis=0)
    )
    sorted_a, sorted_b = np.sort(in_a), np.sort(in_b)
    of_out = [np.sort(share_below(a, sorted_a) - share_below(b, sorted_b)) for a, b in outs]
    difference = math.fsum(math.fsum(part) / len(part) for part in of_out) / len(of_out)
    variance = _of_mean(of_in) + sum(_of_mean(part) for part in of_out) / len(of_out) ** 2
    return difference, variance, smallest


def _paired_sets(
    scores_out_a: FloatArray | Sequence[FloatArray], scores_out_b: FloatArray | Sequence[FloatArray]
) -> list[tuple[FloatArray, FloatArray]]:
    a, b = ([one] if isinstance(one, np.ndarray) else list(one) for one in (scores_out_a, scores_out_b))
    if not a or len(a) != len(b):
        raise UndefinedMetricError(
            "the OOD sets cannot be paired", expected="one set or more, as many for both models",
            found=f"{len(a)} and {len(b)}",
        )  # fmt: skip
    pairs = [(finite(x, "scores_out_a"), finite(y, "scores_out_b")) for x, y in zip(a, b, strict=True)]
    for x, y in pairs:
        same_length(x, y, "scores_out_a and scores_out_b")
    return pairs


def _of_mean(values: FloatArray) -> float:
    """Return the variance of the mean of sorted values; 0 where they are equal, without rounding."""
    return 0.0 if values[0] == values[-1] else float(np.var(values, ddof=1)) / len(values)
