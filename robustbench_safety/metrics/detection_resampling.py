"""OOD scores resampled by counts: sorted once, and a draw only changes how often each image counts.

Several OOD sets share the ID images, which a resample draws once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, IntArray, finite
from robustbench_safety.metrics.intervals import Interval, percentile_interval
from robustbench_safety.metrics.ranking import RocCounts
from robustbench_safety.metrics.resampling import blocks, check_options, draw_counts

__all__ = ["Thresholds", "at_all_scores", "at_id_scores", "at_ood_scores", "bootstrap", "sorted_groups"]


def sorted_groups(
    scores_in: FloatArray, scores_out: FloatArray | Sequence[FloatArray]
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the ID scores and those of each OOD set, checked and sorted."""
    sets = [scores_out] if isinstance(scores_out, np.ndarray) else list(scores_out)
    if not sets:
        raise UndefinedMetricError("scores_out is empty", expected="at least one OOD set", found="none")
    return np.sort(finite(scores_in, "scores_in")), [np.sort(finite(s, "scores_out")) for s in sets]


@dataclass(frozen=True)
class Thresholds:
    """Where the counts of an OOD set are taken: how many images of either kind count at each threshold."""

    ranks_in: IntArray
    """Images above each threshold in the sorted ID scores, the highest first."""
    ranks_out: IntArray
    """Of the OOD scores."""
    positive: Literal["in", "out"] = "out"

    def counts(self, cumulated_in: FloatArray, cumulated_out: FloatArray) -> RocCounts:
        """Count the images of resamples, given how many of the highest of each kind were drawn."""
        n_in, n_out = cumulated_in.shape[1] - 1, cumulated_out.shape[1] - 1
        above_in, above_out = cumulated_in[:, self.ranks_in], cumulated_out[:, self.ranks_out]
        if self.positive == "in":
            # From the lowest score up: what is not above a threshold is taken for an ID image.
            return RocCounts(
                true_positives=n_in - above_in, false_positives=n_out - above_out, n_out=n_in, n_in=n_out
            )
        return RocCounts(true_positives=above_out, false_positives=above_in, n_out=n_out, n_in=n_in)


def at_ood_scores(inside: FloatArray, outside: FloatArray) -> Thresholds:
    """Take every distinct score of an OOD image, where alone recall changes."""
    falling = np.unique(outside)[::-1]
    return Thresholds(_n_from(inside, falling), _n_from(outside, falling))


def at_all_scores(inside: FloatArray, outside: FloatArray) -> Thresholds:
    """Take every distinct score of any image."""
    falling = np.unique(np.concatenate([inside, outside]))[::-1]
    return Thresholds(_n_from(inside, falling), _n_from(outside, falling))


def at_id_scores(inside: FloatArray, outside: FloatArray) -> Thresholds:
    """Take every distinct score of an ID image from below, where the recall of ID images changes."""
    rising = np.unique(inside)
    return Thresholds(_n_beyond(inside, rising), _n_beyond(outside, rising), positive="in")


def _n_from(ordered: FloatArray, thresholds: FloatArray) -> IntArray:
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left").astype(np.int64)


def _n_beyond(ordered: FloatArray, thresholds: FloatArray) -> IntArray:
    return len(ordered) - np.searchsorted(ordered, thresholds, side="right").astype(np.int64)


def bootstrap(
    statistic: Callable[[RocCounts], FloatArray],
    scores_in: FloatArray,
    scores_out: FloatArray | Sequence[FloatArray],
    *,
    at: Callable[[FloatArray, FloatArray], Thresholds] = at_ood_scores,
    seed: int,
    draws: int,
    level: float,
) -> Interval:
    """Resample by counts: the scores are sorted once, and a draw only changes how often each one counts."""
    check_options(seed=seed, draws=draws, level=level)
    inside, outsides = sorted_groups(scores_in, scores_out)
    thresholds = [at(inside, outside) for outside in outsides]
    rng_in, *rngs_out = np.random.default_rng(seed).spawn(1 + len(outsides))
    drawn = []
    for rows in blocks(draws, max(len(group) for group in (inside, *outsides))):
        of_in = _cumulated(draw_counts(rng_in, rows, len(inside)))
        values = [
            statistic(place.counts(of_in, _cumulated(draw_counts(rng, rows, len(outside)))))
            for outside, place, rng in zip(outsides, thresholds, rngs_out, strict=True)
        ]
        drawn.append(np.mean(values, axis=0))
    smallest = min(len(group) for group in (inside, *outsides))
    return percentile_interval(np.concatenate(drawn), smallest, level=level)


def _cumulated(drawn: IntArray) -> FloatArray:
    """Return how often the highest 0, 1 ... N images were drawn, together: [rows, N + 1]."""
    out = np.zeros((drawn.shape[0], drawn.shape[1] + 1))
    np.cumsum(drawn, axis=1, out=out[:, 1:])
    return out
