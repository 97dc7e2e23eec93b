"""Confidence interval of the AURC in which unknown images count as errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite
from robustbench_safety.metrics.intervals import Interval, percentile_interval
from robustbench_safety.metrics.resampling import blocks, check_options, draw_units
from robustbench_safety.metrics.selective import unknown_aurc_by_score
from robustbench_safety.metrics.selective_intervals import aurc_values

__all__ = ["unknown_aurc_interval"]


def unknown_aurc_interval(
    scores_in: FloatArray,
    correct_in: FloatArray | NDArray[np.bool_],
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    combine: Literal["pooled", "mean"],
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Measure how far ``unknown_aurc_by_score`` may lie from its true value. Narrower is better.

    AURC is to first order a mean over the images (see ``selective_interval``). The ID images and every OOD
    set are resampled apart, each at its own size: the make-up of a benchmark is no matter of chance.

    Args:
        scores_in: OOD scores of the ID images, [N].
        correct_in: 1 where the prediction of the ID image is right, else 0, [N].
        scores_out: OOD scores of the OOD images, [M], or one such array for each of K sets.
        combine: ``pooled`` for the AURC of all sets together, ``mean`` for the mean of the AURCs of each set
            with the ID images, which the sets share.
        seed: Seed of the draws.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        Percentile interval within [0, 1]. If all draws agree, the Clopper-Pearson bound for the smallest
        group.

    Raises:
        UndefinedMetricError: A group is empty, shapes differ, or a value is outside its range.
        UsageError: ``seed``, ``draws`` or ``level`` cannot be used.

    Conventions:
        Resampling the pooled list would let the share of each set vary from draw to draw.
        Simulated coverage at 95 %: see ``tests/metrics/test_unknown_intervals.py``.

    Source:
        As ``selective_interval``; groups resampled apart as in Davison and Hinkley, Bootstrap Methods and
        their Application, section 3.2, 1997.

    Example:
        >>> scores_in, correct_in = np.array([0.1, 0.2, 0.6]), np.array([1, 1, 0])
        >>> interval = unknown_aurc_interval(scores_in, correct_in, np.array([0.5]), combine="pooled", seed=0)
        >>> interval.low < 0.2083 < interval.high  # risks 0, 0, 1/3 and 2/4
        True
    """
    check_options(seed=seed, draws=draws, level=level)
    inside = finite(scores_in, "scores_in")
    sets = [scores_out] if isinstance(scores_out, np.ndarray) else list(scores_out)
    if not sets:
        raise UndefinedMetricError("scores_out is empty", expected="at least one OOD set", found="none")
    lists = [np.concatenate(sets)] if combine == "pooled" else sets
    for outside in lists:
        unknown_aurc_by_score(inside, correct_in, outside)  # refuses what has no value
    right = np.asarray(correct_in, dtype=np.float64)
    # What each image adds to the number: the numbers of a group add up to its part of it.
    added = [_added(inside, right, outside) / len(lists) for outside in lists]
    of_in = np.sum([each[: len(inside)] for each in added], axis=0)
    of_out = np.concatenate([each[len(inside) :] for each in added])
    groups = [of_in, *np.split(of_out, np.cumsum([len(outside) for outside in sets])[:-1])]
    rngs = np.random.default_rng(seed).spawn(len(groups))
    drawn = sum(_drawn_sums(np.sort(group), rng, draws) for group, rng in zip(groups, rngs, strict=True))
    smallest = min(len(group) for group in groups)
    return percentile_interval(np.clip(drawn, 0.0, 1.0), smallest, level=level)


def _added(inside: FloatArray, right: FloatArray, outside: FloatArray) -> FloatArray:
    confidence = -np.concatenate([inside, outside])
    return aurc_values(confidence, np.concatenate([right, np.zeros(len(outside))])) / len(confidence)


def _drawn_sums(group: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    n = len(group)
    return np.concatenate([group[draw_units(rng, rows, n)].sum(axis=1) for rows in blocks(draws, n)])
