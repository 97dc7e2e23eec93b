"""From numbers to what a record keeps of them: rounded values, intervals, groups and curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.measures import Outputs
from robustbench_safety.metrics import Interval
from robustbench_safety.records import Curves, GroupScore, Score, ScoreInterval

__all__ = [
    "draw_histogram",
    "draw_reliability",
    "kept_interval",
    "recorded_interval",
    "rounded",
    "scores_by_group",
]

Floats = NDArray[np.float64]

_RELIABILITY_BINS = 15
_HISTOGRAM_BINS = 50


def rounded(value: float) -> float:
    """Return the value as a record keeps it."""
    # Further digits differ between versions of the libraries, and a record should not. Nor is there a minus
    # before what is left of a difference of equal numbers: 0 is added to -0.
    return round(float(value), 10) + 0.0


def recorded_interval(interval: Interval) -> ScoreInterval:
    """Return an interval as a record keeps it."""
    low, high = rounded(interval.low), rounded(interval.high)
    return ScoreInterval(low=low, high=high, level=interval.level, method=interval.method)


def kept_interval(score: Score) -> Interval:
    """Return the interval that a score keeps.

    Raises:
        UndefinedMetricError: It has none.
    """
    found = score.interval
    if found is None:
        raise UndefinedMetricError("a number without an interval has no difference to another")
    return Interval(low=found.low, high=found.high, level=found.level, method=found.method)


def scores_by_group(wrong: Floats, groups: Sequence[str]) -> dict[str, GroupScore]:
    """Return the rate of each group.

    Args:
        wrong: 1 where it happened, else 0, of each image: [N].
        groups: Group of each image, N.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    out: dict[str, GroupScore] = {}
    for i, name in enumerate(names.tolist()):
        events, n = int(wrong[index == i].sum()), int((index == i).sum())
        interval = recorded_interval(metrics.wilson_interval(events, n))
        out[name] = GroupScore(value=rounded(events / n), n=n, interval=interval)
    return out


def draw_reliability(curves: Curves, name: str, outputs: Outputs) -> None:
    """Add the reliability bins and the risk-coverage curve of one condition."""
    bins = metrics.reliability_bins(outputs.confidence, outputs.correct, bins=_RELIABILITY_BINS)
    curve = metrics.risk_coverage_curve(outputs.confidence, outputs.correct, points=100)
    rows = zip(bins.n, _all_rounded(bins.mean_confidence), _all_rounded(bins.accuracy), strict=True)
    curves.reliability[name] = tuple(rows)
    curves.risk_coverage[name] = tuple(rounded(risk) for risk in curve.risk)


def draw_histogram(curves: Curves, name: str, scores_in: Floats, scores_out: Floats) -> None:
    """Add the histogram of in- and out-of-distribution scores."""
    both = np.concatenate([scores_in, scores_out])
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1, _HISTOGRAM_BINS + 1)
    counts = [np.histogram(scores, bins=edges)[0] for scores in (scores_in, scores_out)]
    inside, outside = (tuple(int(count) for count in part) for part in counts)
    ends = (rounded(low), rounded(edges[-1]))
    curves.ood_histogram[name] = (ends, inside, outside)


def _all_rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else rounded(value) for value in values]
