"""The mean over sets of images of which some may lie in several sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite
from robustbench_safety.metrics.intervals import Interval, percentile_interval
from robustbench_safety.metrics.resampling import blocks, check_options, draw_counts

__all__ = ["mean_over_sets_interval"]


def mean_over_sets_interval(
    values: Sequence[FloatArray],
    sample_ids: Sequence[Sequence[str]],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far the mean over sets of the sets' means may lie from its true value. Narrower is better.

    The images are resampled, each with what it has in every set that it lies in: apart for each combination
    of sets, so that no set changes its size.

    Args:
        values: One value an image, in [0, 1], [N of the set], of each set.
        sample_ids: Ids of the images, in the same order; equal ids are one image.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval. If all draws agree, the Clopper-Pearson bound for the smallest set.

    Raises:
        UndefinedMetricError: There is no set, one is empty or holds a NaN, ids are fewer or more than values,
            or one set names an image twice.
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Every set weighs the same, however many images it has. Of sets without a common image this is the
        bootstrap of each by itself, of equal sets the paired one. Where equal ids mean other images the
        interval is as good: of such the pairs do not go together.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, section 8.3, 1993; strata as in Davison and
        Hinkley, Bootstrap Methods and their Application, section 3.2, 1997 (recalled).

    Example:
        >>> wrong = [np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0])]
        >>> found = mean_over_sets_interval(wrong, [["a", "b", "c"], ["c", "d"]], seed=0)
        >>> round(found.low, 4), found.high  # c lies in both and is always wrong; a or b 0, 1/2 or 1; d right
        (0.4167, 0.75)
    """
    check_options(seed=seed, draws=draws, level=level)
    if not values or len(values) != len(sample_ids):
        raise UndefinedMetricError(
            "a mean over sets needs values and ids of each", found=f"{len(values)} and {len(sample_ids)}"
        )
    shares: dict[str, float] = {}
    lies_in: dict[str, list[int]] = {}
    for number, (given, ids) in enumerate(zip(values, sample_ids, strict=True)):
        own = finite(given, "values")
        if len(own) != len(ids) or len(set(ids)) != len(ids):
            raise UndefinedMetricError(
                "values and ids differ",
                expected="one id a value, none twice",
                found=f"{len(own)} values, {len(ids)} ids, {len(set(ids))} different",
            )
        for sample_id, value in zip(ids, (own / (len(own) * len(values))).tolist(), strict=True):
            shares[sample_id] = shares.get(sample_id, 0.0) + value
            lies_in.setdefault(sample_id, []).append(number)
    strata: dict[tuple[int, ...], list[float]] = {}
    for sample_id in sorted(shares):
        strata.setdefault(tuple(lies_in[sample_id]), []).append(shares[sample_id])
    generator, drawn = np.random.default_rng(seed), np.zeros(draws)
    for combination in sorted(strata):
        # Sorted: an image's name must not tell when it is drawn.
        units = np.sort(strata[combination])
        parts = [draw_counts(generator, rows, len(units)) @ units for rows in blocks(draws, len(units))]
        drawn += np.concatenate(parts)
    found = percentile_interval(drawn, min(map(len, values)), level=level)
    method = f"{found.method}, by combination of sets"
    return Interval(low=found.low, high=found.high, method=method, level=level)
