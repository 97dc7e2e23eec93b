"""The table of metrics of anomaly detection that suites speak of, as :mod:`measures` is of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.measures import Options
from robustbench_safety.metrics import Interval

__all__ = ["DETECTION_METRICS", "DetectionMetric"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DetectionMetric:
    """A metric of in-distribution against out-of-distribution scores."""

    value: Callable[..., float]
    """(scores_in, scores_out, **options) -> number."""
    interval: Callable[..., Interval]
    """(scores_in, scores_out of each set, seed, options): of the mean over OOD sets that share the
    in-distribution set."""
    direction: Literal["lower", "higher"]
    chance: Callable[..., float]
    """(n_in, n_out, options) -> what a detector without skill reaches."""
    of_answers: bool = False
    """Whether it counts right and wrong answers on the in-distribution images too: the three take them as
    ``correct_in``, and ``interval`` takes ``combine``, as such a metric may be had of all sets pooled."""


def _share_out(n_in: int, n_out: int, options: Options) -> float:
    rate = options.get("base_rate")
    return n_out / (n_in + n_out) if rate is None else float(rate)


def _share_in(n_in: int, n_out: int, options: Options) -> float:
    return _share_out(n_out, n_in, options)


def _target_rate(n_in: int, n_out: int, options: Options) -> float:
    return float(options.get("tpr", 0.95))


def _share_of_errors(n_in: int, n_out: int, options: Options, *, correct_in: Floats) -> float:
    """Return the risk of answering in any order: that of all the images."""
    return (n_out + int((correct_in == 0).sum())) / (n_in + n_out)


def _unknown_aurc(scores_in: Floats, scores_out: Floats, *, correct_in: Floats) -> float:
    return metrics.unknown_aurc_by_score(scores_in, correct_in, scores_out)


def _unknown_interval(
    scores_in: Floats, scores_out: Sequence[Floats], seed: int, options: Options, *, correct_in: Floats,
    combine: Literal["pooled", "mean"] = "mean") -> Interval:  # fmt: skip
    return metrics.unknown_aurc_interval(scores_in, correct_in, scores_out, combine=combine, seed=seed)


def _drawn(function: Callable[..., Interval]) -> Callable[[Floats, Sequence[Floats], int, Options], Interval]:
    def interval(scores_in: Floats, scores_out: Sequence[Floats], seed: int, options: Options) -> Interval:
        return function(scores_in, scores_out, seed=seed, **options)

    return interval


DETECTION_METRICS: dict[str, DetectionMetric] = {
    "auroc": DetectionMetric(
        value=metrics.auroc,
        interval=lambda scores_in, scores_out, seed, options: metrics.auroc_interval(scores_in, scores_out),
        direction="higher",
        chance=lambda n_in, n_out, options: 0.5,
    ),
    "aupr_out": DetectionMetric(
        value=metrics.aupr_out,
        interval=_drawn(metrics.aupr_interval),
        direction="higher",
        chance=_share_out,
    ),
    "aupr_in": DetectionMetric(
        value=metrics.aupr_in,
        interval=_drawn(metrics.aupr_in_interval),
        direction="higher",
        chance=_share_in,
    ),
    "fpr_at_tpr": DetectionMetric(
        value=metrics.fpr_at_tpr,
        interval=_drawn(metrics.fpr_interval),
        direction="lower",
        chance=_target_rate,
    ),
    "fpr_at_tpr_hendrycks": DetectionMetric(
        value=metrics.fpr_at_tpr_hendrycks,
        interval=_drawn(metrics.fpr_hendrycks_interval),
        direction="lower",
        chance=_target_rate,
    ),
    "unknown_aurc": DetectionMetric(
        value=_unknown_aurc,
        interval=_unknown_interval,
        direction="lower",
        chance=_share_of_errors,
        of_answers=True,
    ),
}
