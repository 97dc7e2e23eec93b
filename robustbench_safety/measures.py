"""The table of metrics that suites speak of: what each takes out of stored predictions.

A metric itself is a plain function in :mod:`robustbench_safety.metrics`; a line here says which columns it is
fed, in which direction it is good, and which interval belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import Interval
from robustbench_safety.metrics.checks import count_option
from robustbench_safety.metrics.selective_intervals import SelectiveStatistic
from robustbench_safety.metrics.shape import Cue
from robustbench_safety.outputs import Outputs

__all__ = ["METRICS", "Metric", "Options", "Outputs", "Units"]

Floats = NDArray[np.float64]
Options = dict[str, int | float | str]
Units = tuple[Floats, ...]
"""What of one condition its interval is made from: arrays with one entry for each source image or clip."""

#: Top-5 distance of a frame with five other best classes than the frame before: 5 + 4 + 3 + 2 + 1.
_FARTHEST = 15.0


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of one condition."""

    value: Callable[..., float]
    """(outputs, **options) -> number."""
    units: Callable[[Outputs], Units]
    interval: Callable[[Sequence[Units], int, Options], Interval]
    """Of the mean over the conditions: (units of each, seed, options)."""
    unit: Literal["fraction", "nats", "score"] = "fraction"
    direction: Literal["lower", "higher"] = "lower"
    of_cues: bool = False
    """Whether the images need a shape and a texture."""
    of_clips: bool = False
    """Whether it compares the frames of clips; any other takes single images."""
    largest: float = 1.0
    """Largest value of one unit, where ``units`` are means: 15 of a top-5 distance."""


# ------------------------------------------------------------------------------------------ intervals


def _mean_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    """The source image, with all its conditions, is the unit."""
    values = [condition[0] for condition in units]
    if len(values) == 1 and np.isin(values[0], (0.0, 1.0)).all():
        return metrics.wilson_interval(int(values[0].sum()), len(values[0]))
    return metrics.bootstrap_interval(np.mean(values, axis=0), seed=seed)


def _distance_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    """As of a mean; on the range of the distance, which is what an interval of equal values is made from."""
    shares = np.mean([condition[0] for condition in units], axis=0) / _FARTHEST
    found = metrics.bootstrap_interval(shares, seed=seed)
    low, high = _FARTHEST * found.low, _FARTHEST * found.high
    return Interval(low=low, high=high, method=found.method, level=found.level)


def _calibration_interval(
    function: Callable[..., Interval], **fixed: str
) -> Callable[[Sequence[Units], int, Options], Interval]:
    """Return the interval of a calibration error; it takes the options of the error."""

    def interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
        return function(*_over_conditions(units), seed=seed, **options, **fixed)

    return interval


def _selective_interval(
    statistic: SelectiveStatistic,
) -> Callable[[Sequence[Units], int, Options], Interval]:
    def interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
        return metrics.selective_interval(*_over_conditions(units), statistic=statistic, seed=seed)

    return interval


def _error_detection_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    if len(units) > 1:
        return _selective_interval("error_detection_auroc")(units, seed, options)
    (confidence, correct), = units  # fmt: skip
    right = correct == 1
    return metrics.auroc_interval(-confidence[right], [-confidence[~right]])


def _rejection_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    """As of the AUROC, of which the ratio is twice what is above one half."""
    found = _error_detection_interval(units, seed, options)
    low, high = 2.0 * found.low - 1.0, 2.0 * found.high - 1.0
    return Interval(low=low, high=high, method=found.method, level=found.level)


def _coverage_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    coverage = float(options["coverage"])
    return metrics.accuracy_at_coverage_interval(*_over_conditions(units), coverage=coverage, seed=seed)


def _top_k_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    missed = [((rank >= int(options["k"])).astype(np.float64),) for (rank,) in units]
    return _mean_interval(missed, seed, options)


def _shape_bias_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    """Of the decisions for shape or texture; there are as many as they happen to be."""
    if len(units) > 1:
        raise UndefinedMetricError("the interval of a shape bias is of one condition")
    (by_shape, by_texture), = units  # fmt: skip
    return metrics.wilson_interval(int(by_shape.sum()), int(by_shape.sum() + by_texture.sum()))


def _cue_interval(units: Sequence[Units], seed: int, options: Options) -> Interval:
    part = 0 if options["cue"] == "shape" else 1
    return _mean_interval([(condition[part],) for condition in units], seed, options)


def _over_conditions(units: Sequence[Units]) -> tuple[Floats, Floats]:
    """Return confidence and correct: [N] of one condition, [C, N] of several."""
    confidence, correct = (np.stack([condition[part] for condition in units]) for part in (0, 1))
    return (confidence, correct) if len(units) > 1 else (confidence[0], correct[0])


# -------------------------------------------------------------------------------------------- the table


def _confidence_and_correct(outputs: Outputs) -> Units:
    return outputs.confidence, outputs.correct


def _of_confidence(function: Callable[..., float]) -> Callable[..., float]:
    @wraps(function)  # so that the options it has can be told
    def value(outputs: Outputs, **options: int | float | str) -> float:
        return function(outputs.confidence, outputs.correct, **options)

    return value


def _error(outputs: Outputs) -> float:
    if outputs.right is not None:
        return metrics.set_error_rate(outputs.predicted, outputs.right)
    return metrics.error_rate(outputs.predicted, outputs.labels)


def _top_k(outputs: Outputs, *, k: int = 0) -> float:
    """Return the top-k error; ``k`` has no default that would do."""
    count_option(k, "k")
    if k > outputs.n_ranked:
        raise UsageError(
            "k is too large", expected=f"at most the {outputs.n_ranked} classes kept", found=str(k)
        )
    return float(np.mean(outputs.label_rank >= k))


def _accuracy_at_coverage(outputs: Outputs, *, coverage: float = 0.0) -> float:
    """Return the accuracy at a coverage, which has no default that would do."""
    return metrics.accuracy_at_coverage(outputs.confidence, outputs.correct, coverage=coverage)


def _nll(outputs: Outputs) -> float:
    if outputs.summarised:
        return math.fsum(outputs.label_nll) / len(outputs.label_nll)
    return metrics.negative_log_likelihood(outputs.logits, outputs.labels)


def _brier(outputs: Outputs) -> float:
    if outputs.summarised:
        return math.fsum(outputs.squared_errors) / len(outputs.squared_errors)
    return metrics.brier_score(outputs.probabilities, outputs.labels)


def _cue_accuracy(outputs: Outputs, *, cue: str = "") -> float:
    """Return the share decided by one cue; ``cue`` has no default that would do."""
    return metrics.cue_accuracy(*outputs.decisions, cue=cast(Cue, cue))


def _cue_hits(outputs: Outputs) -> Units:
    hits = metrics.cue_hits(*outputs.decisions).astype(np.float64)
    return hits[:, 0], hits[:, 1]


def _flips_of_each(outputs: Outputs) -> Units:
    flips = metrics.flips_per_clip(outputs.clips, compare=outputs.compare)
    return (flips / (outputs.clips.shape[1] - 1),)


METRICS: dict[str, Metric] = {
    "error_rate": Metric(
        value=_error,
        units=lambda o: (1 - o.correct,),
        interval=_mean_interval,
    ),
    "top_k_error": Metric(
        value=_top_k,
        units=lambda o: (o.label_rank.astype(np.float64),),
        interval=_top_k_interval,
    ),
    "flip_rate": Metric(
        value=lambda o: metrics.flip_rate(o.clips, compare=o.compare),
        units=_flips_of_each,
        interval=_mean_interval,
        of_clips=True,
    ),
    "rms_calibration_error": Metric(
        value=_of_confidence(metrics.rms_calibration_error),
        units=_confidence_and_correct,
        interval=_calibration_interval(metrics.rms_calibration_interval),
    ),
    "rms_calibration_error_hendrycks": Metric(
        value=_of_confidence(metrics.rms_calibration_error_hendrycks),
        units=_confidence_and_correct,
        interval=_calibration_interval(metrics.rms_calibration_interval, last_bin="skipped"),
    ),
    "mean_absolute_calibration_error": Metric(
        value=_of_confidence(metrics.mean_absolute_calibration_error),
        units=_confidence_and_correct,
        interval=_calibration_interval(metrics.mean_absolute_calibration_interval),
    ),
    "mean_absolute_calibration_error_hendrycks": Metric(
        value=_of_confidence(metrics.mean_absolute_calibration_error_hendrycks),
        units=_confidence_and_correct,
        interval=_calibration_interval(metrics.mean_absolute_calibration_interval, last_bin="skipped"),
    ),
    "expected_calibration_error": Metric(
        value=_of_confidence(metrics.expected_calibration_error),
        units=_confidence_and_correct,
        interval=_calibration_interval(metrics.ece_interval),
    ),
    "negative_log_likelihood": Metric(
        value=_nll,
        units=lambda o: (o.label_nll,),
        interval=_mean_interval,
        unit="nats",
    ),
    "brier_score": Metric(
        value=_brier,
        units=lambda o: (o.squared_errors,),
        interval=_mean_interval,
        unit="score",
    ),
    "soft_label_cross_entropy": Metric(
        value=lambda o: metrics.soft_label_cross_entropy(o.logits, o.shares),
        units=lambda o: (metrics.cross_entropies(o.logits, o.shares),),
        interval=_mean_interval,
        unit="nats",
    ),
    "aurc": Metric(
        value=_of_confidence(metrics.aurc),
        units=_confidence_and_correct,
        interval=_selective_interval("aurc"),
    ),
    "augrc": Metric(
        value=_of_confidence(metrics.augrc),
        units=_confidence_and_correct,
        interval=_selective_interval("augrc"),
    ),
    "excess_aurc": Metric(
        value=_of_confidence(metrics.excess_aurc),
        units=_confidence_and_correct,
        interval=_selective_interval("excess_aurc"),
    ),
    "aurra": Metric(
        value=_of_confidence(metrics.aurra),
        units=_confidence_and_correct,
        interval=_selective_interval("aurra"),
        direction="higher",
    ),
    "soft_f1_score": Metric(
        value=_of_confidence(metrics.soft_f1_score),
        units=_confidence_and_correct,
        interval=_selective_interval("soft_f1_score"),
        direction="higher",
    ),
    "error_detection_auroc": Metric(
        value=_of_confidence(metrics.error_detection_auroc),
        units=_confidence_and_correct,
        interval=_error_detection_interval,
        direction="higher",
    ),
    "prediction_rejection_ratio": Metric(
        value=_of_confidence(metrics.prediction_rejection_ratio),
        units=_confidence_and_correct,
        interval=_rejection_interval,
        # From -1 to 1: a percentage would pass for a share.
        unit="score",
        direction="higher",
    ),
    "accuracy_at_coverage": Metric(
        value=_accuracy_at_coverage,
        units=_confidence_and_correct,
        interval=_coverage_interval,
        direction="higher",
    ),
    "shape_bias": Metric(
        value=lambda o: metrics.shape_bias(*o.decisions),
        units=_cue_hits,
        interval=_shape_bias_interval,
        direction="higher",
        of_cues=True,
    ),
    "cue_accuracy": Metric(
        value=_cue_accuracy,
        units=_cue_hits,
        interval=_cue_interval,
        direction="higher",
        of_cues=True,
    ),
    "top5_distance": Metric(
        value=lambda o: metrics.top5_distance(o.ranked, compare=o.compare),
        units=lambda o: (metrics.top5_distances_per_clip(o.ranked, compare=o.compare),),
        interval=_distance_interval,
        unit="score",
        of_clips=True,
        largest=_FARTHEST,
    ),
}
