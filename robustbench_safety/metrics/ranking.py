"""Ranks with ties: the two views of sorted scores that every ranking metric starts from.

Samples of equal score have no order among themselves. A metric that let the sort decide would change
with the order of the files, so tied samples are always taken together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustbench_safety.metrics.checks import FloatArray, IntArray

__all__ = ["RocCounts", "by_confidence", "mean_within_ties", "roc_counts", "tie_starts"]


def tie_starts(ordered: FloatArray) -> IntArray:
    """Return where each group of equal values starts in a sorted array."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])).astype(np.int64)


def mean_within_ties(ordered: FloatArray, values: FloatArray) -> FloatArray:
    """Replace ``values`` by its mean within each group of equal ``ordered``."""
    starts = tie_starts(ordered)
    sizes = np.diff(starts, append=len(ordered))
    return np.repeat(np.add.reduceat(values, starts) / sizes, sizes)


def by_confidence(confidence: FloatArray, correct: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sort by rising confidence; within equal confidence replace ``correct`` by its mean.

    The result does not depend on the order of the samples, to the last bit: sums of 0 and 1 are exact.
    For a metric linear in ``correct`` it is also the average over all ways to break the ties.
    """
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    return ordered, mean_within_ties(ordered, correct[order])


@dataclass(frozen=True, kw_only=True)
class RocCounts:
    """How many samples lie at or above each threshold, from the highest threshold down.

    The counts are whole numbers held in float64, [T thresholds] or [D draws, T thresholds].
    """

    true_positives: FloatArray
    """Out-of-distribution samples at or above the threshold."""
    false_positives: FloatArray
    """In-distribution samples at or above the threshold."""
    n_out: int
    """All out-of-distribution samples."""
    n_in: int
    """All in-distribution samples."""


def roc_counts(scores_in: FloatArray, scores_out: FloatArray) -> RocCounts:
    """Count both kinds at every distinct score, in O(n log n)."""
    falling = -np.concatenate([scores_in, scores_out])
    order = np.argsort(falling, kind="stable")
    ends = np.append(tie_starts(falling[order])[1:], len(falling))
    true_positives = np.cumsum(order >= len(scores_in), dtype=np.float64)[ends - 1]
    return RocCounts(
        true_positives=true_positives,
        false_positives=ends - true_positives,
        n_out=len(scores_out),
        n_in=len(scores_in),
    )
