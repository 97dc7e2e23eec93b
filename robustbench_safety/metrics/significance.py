"""One-sided tests of "no drop": is one model worse than another on the same images, or is it chance?

Every p-value here is the chance, were both models equally good, of a drop at least as large as the one seen.
Several columns are tested at once: :func:`holm_adjusted` keeps the chance of any false alarm at its level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, ndtr, ndtri

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, count_option, finite
from robustbench_safety.metrics.intervals import Interval, constant_interval
from robustbench_safety.metrics.resampling import blocks, check_options, draw_units, percentiles

__all__ = [
    "PairedTest",
    "holm_adjusted",
    "intervals_test",
    "mcnemar_test",
    "paired_bootstrap_test",
    "sign_flip_test",
]

#: Up to here all sign patterns are listed: 65,536.
_LISTED = 16
#: Sums of the same numbers in another order differ by less, as a share of the sum of their sizes.
_ROUNDING = 1e-12
#: Entries of one block of signs, 8 MiB of float64: the product with the differences reads it once.
_SIGNS = 2**20


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """A difference of two models on the same units: how sure it is above 0, and how large."""

    p_value: float
    """One-sided: that of no difference against one above 0."""
    interval: Interval
    """Two-sided interval of the difference."""


def mcnemar_test(n_newly_wrong: int, n_newly_right: int) -> float:
    """Measure how likely so many newly wrong images are by chance: McNemar's exact, one-sided p-value.

    ``P(X >= n_newly_wrong)`` with X binomial of ``n_newly_wrong + n_newly_right`` tosses of a fair coin.
    Below the level the second model errs more often. Images that both models answer alike say nothing.

    Args:
        n_newly_wrong: Images that the first model answers rightly and the second wrongly.
        n_newly_right: The other way round.

    Returns:
        p-value in (0, 1]; 1 where the models agree on every image.

    Raises:
        UsageError: A count is below 0.

    Conventions:
        Exact, so that no more than the level of equal models are found worse, whatever their number of
        discordant images. The mid-p value counts half of the chance of what was seen: a little more power,
        without the promise. With the hundreds of discordant images of a test set they hardly differ.

    Source:
        McNemar, Note on the Sampling Error of the Difference between Correlated Proportions, 1947; exact
        and mid-p as compared by Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013
        (recalled).

    Example:
        >>> mcnemar_test(3, 1)  # (4 + 1) / 2^4
        0.3125
    """
    count_option(n_newly_wrong, "n_newly_wrong", at_least=0)
    count_option(n_newly_right, "n_newly_right", at_least=0)
    if n_newly_wrong == 0:
        return 1.0
    return float(bdtrc(n_newly_wrong - 1, n_newly_wrong + n_newly_right, 0.5))


def sign_flip_test(
    differences: FloatArray | Sequence[FloatArray], *, seed: int, draws: int = 10_000
) -> float:
    """Measure how likely so large a mean difference is, were each unit's sign a toss: a one-sided p-value.

    Two equally good models could have changed places on any image, and with all the conditions of that image
    at once. The share of sign patterns whose sum is at least the one seen: of all where no more than 16
    units differ, else ``(1 + hits) / (1 + draws)`` of random ones.

    Args:
        differences: Second model less first of each unit, lower being better, [N]; an image's mean over its
            conditions, a clip's flip rate. Or one such array for each of several groups of units, whose means
            are added.
        seed: Seed of the signs.
        draws: Number of random patterns, at least 100.

    Returns:
        p-value in (0, 1]; 1 where no unit differs.

    Raises:
        UndefinedMetricError: There is no group, one is empty, or a difference is NaN or infinite.
        UsageError: ``seed`` or ``draws`` cannot be used.

    Conventions:
        Exact for models that are exchangeable image by image. Of those that are alike only in the mean it is
        right for many units, as a t-test is. Random patterns are counted with the one seen among them, so the
        p-value is never 0 and never too small on average. The order of the units is without effect.

    Source:
        Fisher, The Design of Experiments, section 21, 1935; with the pattern seen counted, Phipson and Smyth,
        Permutation P-values Should Never Be Zero, 2010.

    Example:
        >>> sign_flip_test(np.array([0.5, 0.25, 0.25, 0.0]), seed=0)  # 1 of the 8 patterns of three signs
        0.125
        >>> sign_flip_test(np.array([0.5, -0.25, 0.0]), seed=0)  # ++ and +-: 2 of 4
        0.5
    """
    count_option(seed, "seed", at_least=0)
    count_option(draws, "draws", at_least=100)
    shares = np.concatenate([group / len(group) for group in _groups(differences)])
    seen = math.fsum(shares)
    sizes = np.sort(np.abs(shares[shares != 0]))
    if not len(sizes):
        return 1.0
    least = seen - _ROUNDING * math.fsum(sizes)
    if len(sizes) <= _LISTED:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums - size, sums + size])
        return int(np.count_nonzero(sums >= least)) / len(sums)
    rng = np.random.default_rng(seed)
    hits = sum(int(np.count_nonzero(sums >= least)) for sums in _signed_sums(rng, sizes, draws))
    return (1 + hits) / (1 + draws)


def _signed_sums(rng: np.random.Generator, sizes: FloatArray, draws: int) -> Iterator[FloatArray]:
    """Yield the sums of ``sizes``, sorted, with random signs: a block of draws at a time."""
    # Means over the same conditions have few sizes; the signs of n equal ones add up to a binomial number.
    starts = np.flatnonzero(np.append(True, np.diff(sizes) > _ROUNDING * sizes[-1]))
    counts = np.diff(starts, append=len(sizes))
    if 8 * len(starts) <= len(sizes):
        means = np.add.reduceat(sizes, starts) / counts
        for rows in _rows(draws, len(starts)):
            yield (2.0 * rng.binomial(counts, 0.5, size=(rows, len(counts))) - counts) @ means
        return
    n_bytes = (len(sizes) + 7) // 8
    for rows in _rows(draws, 8 * n_bytes):
        signs = np.unpackbits(rng.integers(256, size=(rows, n_bytes), dtype=np.uint8), axis=1)
        yield 2.0 * (signs[:, : len(sizes)].astype(np.float64) @ sizes) - sizes.sum()


def _rows(draws: int, width: int) -> Iterator[int]:
    rows = max(1, _SIGNS // width)
    for start in range(0, draws, rows):
        yield min(rows, draws - start)


def paired_bootstrap_test(
    differences: FloatArray | Sequence[FloatArray],
    *,
    largest: float = 1.0,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> PairedTest:
    """Measure how likely so large a mean difference is by chance, and how far the true one may lie from it.

    The p-value is the share of resamples whose mean is above that of the sample by at least as much as this
    is above 0, ``(1 + hits) / (1 + draws)``; the interval is that of the percentiles.

    Args:
        differences: Second model less first of each unit, lower being better, [N]: of a calibration error
            what each image adds to it, with all its conditions. Or one such array for each of several groups
            of units, drawn apart, whose means are added.
        largest: Size of the largest difference that a unit can have.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at by the interval, a fraction in (0, 1).

    Returns:
        p-value in (0, 1], 1 where no unit differs, and the interval of the difference. If all units of each
        group have one and the same difference, it is the Clopper-Pearson bound on the share of those that do
        not; the p-value is then that of the sign test, ``2^-N``, of the smallest group that differs.

    Raises:
        UndefinedMetricError: There is no group, one is empty, a difference is NaN or infinite, or above
            ``largest`` where all are alike.
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        The draws are centred on what was seen: their spread stands for that of the difference. A percentile
        of draws that are not centred would say the same only of symmetric ones.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapter 16, 1993.

    Example:
        >>> found = paired_bootstrap_test(np.array([1.0, 0.0, 0.0, 0.0]), seed=0)
        >>> 0.2 < found.p_value < 0.32, found.interval.low, found.interval.high  # 0.26 have twice the mean
        (True, 0.0, 0.75)
    """
    check_options(seed=seed, draws=draws, level=level)
    groups = [np.sort(group) for group in _groups(differences)]
    seen = math.fsum(math.fsum(group) / len(group) for group in groups)
    if all(group[0] == group[-1] for group in groups):
        differ = [len(group) for group in groups if group[0] != 0]
        p_value = 0.5 ** min(differ) if differ and seen > 0 else 1.0
        found = constant_interval(seen / largest, min(map(len, groups)), smallest=-1.0, level=level)
        low, high = largest * found.low, largest * found.high
        return PairedTest(
            p_value=p_value, interval=Interval(low=low, high=high, method=found.method, level=level)
        )
    rng = np.random.default_rng(seed)
    means = np.zeros(draws)
    for group in groups:
        n = len(group)
        means += np.concatenate([group[draw_units(rng, rows, n)].mean(axis=1) for rows in blocks(draws, n)])
    hits = int(np.count_nonzero(means - seen >= seen - _ROUNDING * largest))
    low, high = percentiles(means, level)
    method = f"paired percentile bootstrap, {draws} draws"
    interval = Interval(low=low, high=high, method=method, level=level)
    return PairedTest(p_value=(1 + hits) / (1 + draws), interval=interval)


def intervals_test(value_a: float, interval_a: Interval, value_b: float, interval_b: Interval) -> float:
    """Measure how likely it is that the second number lies so far above the first by chance: one-sided.

    ``1 - Phi((b - a) / sqrt(s_a^2 + s_b^2))`` with s half an interval's width over the normal quantile of its
    level. For two numbers of which nothing is at hand but their intervals.

    Args:
        value_a: First number, lower being better.
        interval_a: Its interval.
        value_b: Second number.
        interval_b: Its interval.

    Returns:
        p-value in [0, 1].

    Raises:
        UndefinedMetricError: Both intervals have no width.

    Conventions:
        Taken for independent and normal. Two models on the same images are neither quite: what is hard for
        both cancels in their difference, so this finds fewer drops than a paired test, and not more.

    Source:
        The z-test of two independent estimates.

    Example:
        >>> first = Interval(low=0.0, high=0.2, method="mine", level=0.95)
        >>> second = Interval(low=0.1, high=0.3, method="mine", level=0.95)
        >>> round(intervals_test(0.1, first, 0.2, second), 4)  # z = 1.96 * 0.1 / sqrt(0.02)
        0.0829
    """
    spread = math.hypot(*(_spread(interval) for interval in (interval_a, interval_b)))
    if spread == 0:
        raise UndefinedMetricError("both intervals have no width", expected="intervals of two estimates")
    return float(ndtr((value_a - value_b) / spread))


def _spread(interval: Interval) -> float:
    return (interval.high - interval.low) / 2 / float(ndtri((1 + interval.level) / 2))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests, so that any false alarm at all has the chance of the level.

    From the smallest p-value on, the one of rank i of m becomes ``(m - i + 1) p``, and never less than the
    one before it.

    Args:
        p_values: m p-values, fractions.

    Returns:
        Adjusted p-values in [0, 1], in the given order: one is below a level exactly where Holm's step-down
        procedure rejects at that level.

    Raises:
        UndefinedMetricError: One is NaN or outside [0, 1].

    Conventions:
        Valid whatever the dependence between the tests. Bonferroni multiplies all of them by m.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 1979.

    Example:
        >>> holm_adjusted([0.5, 0.25, 0.125])  # 3 / 8, then 2 / 4, then 1 / 2
        [0.5, 0.5, 0.375]
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise UndefinedMetricError(
            "a p-value is none", expected="fractions from 0 to 1", found=str(list(p_values))
        )
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _groups(differences: FloatArray | Sequence[FloatArray]) -> list[FloatArray]:
    groups = [differences] if isinstance(differences, np.ndarray) else list(differences)
    if not groups:
        raise UndefinedMetricError("differences are none", expected="one group of units or more")
    return [finite(group, "differences") for group in groups]
