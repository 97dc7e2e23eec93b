"""What each source image (or clip) adds to the value of a condition, by the predictions or the companion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import Scored
from robustbench_safety.companion import CompanionRows
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError
from robustbench_safety.measures import METRICS, Options, Units
from robustbench_safety.metrics import auroc
from robustbench_safety.metrics.absolute_gap_intervals import ece_values, mean_absolute_calibration_values
from robustbench_safety.metrics.calibration_values import rms_calibration_values
from robustbench_safety.metrics.selective_intervals import accuracy_at_coverage_values, selective_values
from robustbench_safety.records import Cell, ConditionScore
from robustbench_safety.reporting.gate.sides import Side

__all__ = ["IS_MEAN", "SetScores", "UnitValues", "set_scores", "unit_values"]

Floats = NDArray[np.float64]
ValuesOf = Callable[[Units, Options], Floats]

#: A record keeps ten digits.
_EXACT = 1e-9
#: The companion keeps confidences and scores as float32, so what lies closer is tied there: on ResNet-32's
#: CIFAR-10 test set, where most confidences are near 1, that moves the AUROC of its errors by 1.1e-4.
_OF_FLOAT32 = 5e-4


@dataclass(frozen=True, kw_only=True)
class UnitValues:
    """One value for each unit of a condition."""

    ids: Sequence[str]
    values: Floats
    """[N]: their mean is the value of the condition."""


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """OOD scores of one set against in-distribution images."""

    inside: UnitValues
    outside: UnitValues
    """The ids are none where the predictions gave the scores: in the manifest's order, which records of
    the same data digest share."""


def _first(units: Units, _: Options) -> Floats:
    return units[0]


def _missed(units: Units, options: Options) -> Floats:
    return (units[0] >= int(options["k"])).astype(np.float64)


def _cue(units: Units, options: Options) -> Floats:
    return units[0 if options["cue"] == "shape" else 1]


def _bias(units: Units, _: Options) -> Floats:
    """Return the values of a ratio of means, of decisions for shape to those for either."""
    shape, both = units[0], units[0] + units[1]
    value = shape.mean() / both.mean()
    return np.asarray(value + (shape - value * both) / both.mean())


def _of_answers(function: Callable[..., Floats], **fixed: str) -> ValuesOf:
    def values(units: Units, options: Options) -> Floats:
        return function(units[0], units[1], **options, **fixed)

    return values


#: Metrics that are a mean over the units: flipping the two models of a unit flips its difference.
_MEANS: dict[str, ValuesOf] = {
    "error_rate": _first,
    "top_k_error": _missed,
    "flip_rate": _first,
    "negative_log_likelihood": _first,
    "brier_score": _first,
    "soft_label_cross_entropy": _first,
    "top5_distance": _first,
    "cue_accuracy": _cue,
}
IS_MEAN = frozenset(_MEANS)
#: The others, to first order: statistic plus influence of each image, whose mean is the statistic.
_INFLUENCES: dict[str, ValuesOf] = {
    "rms_calibration_error": _of_answers(rms_calibration_values),
    "rms_calibration_error_hendrycks": _of_answers(rms_calibration_values, last_bin="skipped"),
    "mean_absolute_calibration_error": _of_answers(mean_absolute_calibration_values),
    "mean_absolute_calibration_error_hendrycks": _of_answers(
        mean_absolute_calibration_values, last_bin="skipped"
    ),
    "expected_calibration_error": _of_answers(ece_values),
    "accuracy_at_coverage": _of_answers(accuracy_at_coverage_values),
    "shape_bias": _bias,
    **{
        name: _of_answers(partial(selective_values, statistic=name))
        for name in (
            "aurc",
            "augrc",
            "excess_aurc",
            "aurra",
            "soft_f1_score",
            "error_detection_auroc",
            "prediction_rejection_ratio",
        )
    },
}
_VALUES = {**_MEANS, **_INFLUENCES}


def unit_values(side: Side, cell: Cell, shown: ConditionScore) -> UnitValues:
    """Return what each unit adds to the value of a cell on a condition.

    Args:
        side: The record.
        cell: Of the suite; of a metric of single conditions.
        shown: What the record says of the condition.

    Raises:
        IncompatiblePredictionsError: Neither the predictions nor the companion tell it, or they tell another
            value than the record.
    """
    if cell.metric not in _VALUES:
        raise IncompatiblePredictionsError(f"{cell.metric} is not paired image by image")
    if cell.id in side.measured:
        measured = side.measured[cell.id]
        conditions = [one.condition for one in measured.values]
        if shown.condition not in conditions:
            raise IncompatiblePredictionsError(
                f"the predictions of the {side.role} tell nothing of {cell.id}"
            )
        place = conditions.index(shown.condition)
        ids, units, closest = measured.images[place], measured.units[place], _EXACT
    else:
        rows, units, closest = _from_companion(side, cell, shown)
        ids = tuple(rows.source_ids)
    values = _VALUES[cell.metric](units, cell.options)
    _refuse_another(side, cell, shown, float(np.mean(values)), closest)
    return UnitValues(ids=ids, values=np.asarray(values, dtype=np.float64))


def _from_companion(side: Side, cell: Cell, shown: ConditionScore) -> tuple[CompanionRows, Units, float]:
    """Return rows and units as the metric has them, and how close their value comes to the record's."""
    condition = shown.condition
    what = f"{cell.metric} on {condition.path}"
    rows = _rows(side, condition.dataset, what)
    if cell.metric == "flip_rate" and condition.path in rows.flips:
        flips = rows.flips[condition.path].astype(np.float64)
        return rows, (flips / _n_comparisons(flips, shown),), _EXACT
    # Of a class subset, of classes that count as one, and of logits that were divided, it keeps nothing.
    plain = cell.subset is None and cell.class_map is None and cell.temperature is None
    right = rows.correct.get(condition.path) if plain else None
    if right is not None and cell.metric == "error_rate":
        return rows, (1.0 - right.astype(np.float64),), _EXACT
    of_answers = cell.metric in _INFLUENCES and not METRICS[cell.metric].of_cues
    if right is not None and of_answers and condition.kind == "clean" and rows.confidence is not None:
        return rows, (rows.confidence.astype(np.float64), right.astype(np.float64)), _OF_FLOAT32
    raise _needs_predictions(side, what)


def _n_comparisons(flips: Floats, shown: ConditionScore) -> int:
    """Return how many pairs of frames a clip has: the companion keeps the flips alone."""
    if shown.value == 0:
        return max(1, int(flips.max()))
    return max(1, round(float(flips.mean()) / shown.value))


def set_scores(side: Side, cell: Cell, place: int, shown: ConditionScore) -> SetScores:
    """Return the OOD scores of one set and those of the in-distribution images.

    Args:
        side: The record.
        cell: Of the suite; of metric ``auroc``.
        place: Of the condition in the cell.
        shown: What the record says of it.

    Raises:
        IncompatiblePredictionsError: As :func:`unit_values`.
    """
    scored = Scored.of(cell)
    assert scored is not None  # noqa: S101  # a suite has no such cell
    if cell.id in side.measured and scored in side.scores_in:
        scores = side.scores_in[scored], side.measured[cell.id].scores_out[place]
        inside, outside = (UnitValues(ids=(), values=own) for own in scores)
        closest = _EXACT
    else:
        name = scored.detector if scored.subset is None else f"{scored.detector}.{scored.subset}"
        what = f"the scores of {name} on {shown.condition.path}"
        # Those of attacked images have the dataset's name too, and are not kept.
        if shown.condition.kind != "clean":
            raise _needs_predictions(side, what)
        inside, outside = (
            _kept_scores(side, dataset, name, what)
            for dataset in (scored.in_distribution, shown.condition.dataset)
        )
        closest = _OF_FLOAT32
    _refuse_another(side, cell, shown, auroc(inside.values, outside.values), closest)
    return SetScores(inside=inside, outside=outside)


def _kept_scores(side: Side, dataset: str, name: str, what: str) -> UnitValues:
    rows = _rows(side, dataset, what)
    if name not in rows.scores:
        raise _needs_predictions(side, what)
    return UnitValues(ids=rows.source_ids, values=rows.scores[name].astype(np.float64))


def _rows(side: Side, dataset: str, what: str) -> CompanionRows:
    if side.companion is None:
        raise IncompatiblePredictionsError(f"no companion (.parquet) lies beside the {side.role}")
    if dataset not in side.companion.datasets:
        raise _needs_predictions(side, what)
    return side.companion.datasets[dataset]


def _needs_predictions(side: Side, what: str) -> IncompatiblePredictionsError:
    return IncompatiblePredictionsError(f"the companion of the {side.role} does not keep {what}")


def _refuse_another(side: Side, cell: Cell, shown: ConditionScore, value: float, closest: float) -> None:
    if abs(value - shown.value) > closest:
        source = "predictions" if cell.id in side.measured else "companion"
        what = (
            f"the {source} of the {side.role} give {value:.6g} for {cell.id} on {shown.condition.path}, "
            f"and the record {shown.value:.6g}"
        )
        if closest == _EXACT:
            # Nothing was rounded: somebody has changed the record.
            raise FileFormatError(what, fix="score again: a record is never edited")
        raise IncompatiblePredictionsError(what)
