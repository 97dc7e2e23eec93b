"""From what was measured on each condition to one number: means, differences, the worst, groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.detection_measures import DETECTION_METRICS, DetectionMetric
from robustbench_safety.detectors import DETECTORS, fit_detector
from robustbench_safety.errors import FileFormatError, UndefinedMetricError, UnknownNameError
from robustbench_safety.measures import METRICS, Metric, Units
from robustbench_safety.metric_options import check_options
from robustbench_safety.metrics import Interval
from robustbench_safety.recording import kept_interval, recorded_interval, rounded, scores_by_group
from robustbench_safety.records import Cell, ConditionScore, GroupScore, Score, ScoreInterval

__all__ = [
    "Measured",
    "Scored",
    "difference_of",
    "groups_of",
    "is_rate",
    "metric_of",
    "score_of",
    "where_defined",
    "worst_of",
]

Floats = NDArray[np.float64]


class Scored(NamedTuple):
    """What the OOD scores of in-distribution images belong to; cells that share it share them."""

    in_distribution: str
    """Dataset."""
    detector: str
    subset: str | None
    """Class subset."""
    fit: str | None
    """Dataset of training images that the detector is fitted on."""
    tune: str | None
    """Dataset that it is set by, or ``cross_fit``."""
    options: tuple[tuple[str, int | float | str], ...]
    """Settings of the detector, by name."""

    @property
    def settings(self) -> dict[str, int | float | str]:
        """Settings of the score; those of the pass that made its images have done their work."""
        known = DETECTORS[self.detector].options
        return {name: value for name, value in self.options if name in known}

    @classmethod
    def of(cls, cell: Cell) -> Scored | None:
        """Return what a cell's scores belong to; None for a cell of another metric."""
        if cell.detector is None or cell.in_distribution is None:
            return None
        options = tuple(sorted(cell.detector_options.items()))
        return cls(cell.in_distribution, cell.detector, cell.subset, cell.fit, cell.tune, options)


@dataclass
class Measured:
    """What is kept of a cell while the conditions are read one after another."""

    values: list[ConditionScore] = field(default_factory=list)
    units: list[Units] = field(default_factory=list)
    scores_out: list[Floats] = field(default_factory=list)
    correct_in: Floats | None = None
    """1 where an in-distribution image is answered rightly, else 0: [N]; of a metric that counts answers."""
    images: list[tuple[str, ...]] = field(default_factory=list)
    """Ids of the images (or clips) measured, of each condition: two cells on the same images are paired."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Group columns of the images measured, of the last condition."""
    reason: str | None = None


def score_of(
    cells: Sequence[Cell],
    by_cell: Mapping[str, Measured],
    scores_in: Mapping[Scored, Floats],
    *,
    seed: int,
    pooled: bool = False,
) -> Score:
    """Return the score of one cell, or of the mean over several that measure the same.

    Args:
        cells: One or more.
        by_cell: What was measured, by cell id.
        scores_in: OOD scores of in-distribution images.
        seed: Of the bootstrap.
        pooled: Whether the OOD sets of the cells are one list, for a metric that counts answers; else the
            mean over the sets is taken.
    """
    first, metric = cells[0], metric_of(cells[0])
    unit = "fraction" if isinstance(metric, DetectionMetric) else metric.unit
    measured = [by_cell[cell.id] for cell in cells]
    reasons = [
        f"{cell.id}: {part.reason}" if len(cells) > 1 else part.reason
        for cell, part in zip(cells, measured, strict=True)
        if part.reason is not None
    ]
    if reasons:
        return Score(value=None, n=0, interval=None, unit=unit, direction=metric.direction, reason=reasons[0])
    value = float(np.mean([np.mean([c.value for c in part.values]) for part in measured]))
    n, n_out, chance = measured[0].values[0].n, None, None
    if isinstance(metric, DetectionMetric):
        scored = Scored.of(first)
        assert scored is not None  # noqa: S101  # metric_of has checked it
        inside = scores_in[scored]
        sets = [scores for part in measured for scores in part.scores_out]
        n, n_out = len(inside), sum(len(scores) for scores in sets)
        answers = {} if measured[0].correct_in is None else {"correct_in": measured[0].correct_in}
        interval_of = partial(metric.interval, inside, sets, seed, first.options, **answers)
        if pooled:
            value = metric.value(inside, np.concatenate(sets), **answers, **first.options)
            chance = metric.chance(n, n_out, first.options, **answers)
            interval_of = partial(interval_of, combine="pooled")
        interval = where_defined(interval_of)
    else:
        units = [unit for part in measured for unit in part.units]
        images = [ids for part in measured for ids in part.images]
        # The unit is the image with all its conditions.
        if all(ids is images[0] or ids == images[0] for ids in images):
            interval = where_defined(partial(metric.interval, units, seed, first.options))
        else:
            interval = _of_other_images(cells, measured, seed=seed)
            n = len({sample_id for ids in images for sample_id in ids})
    return Score(
        value=rounded(value),
        n=n,
        n_out=n_out,
        interval=interval,
        unit=unit,
        direction=metric.direction,
        chance=chance,
    )


def _of_other_images(
    cells: Sequence[Cell], measured: Sequence[Measured], *, seed: int
) -> ScoreInterval | None:
    """Return the interval of a mean over sets whose images are not the same; None but of rates."""
    if not all(is_rate(cell) and len(part.units) == 1 for cell, part in zip(cells, measured, strict=True)):
        return None
    values = [part.units[0][0] for part in measured]
    ids = [part.images[0] for part in measured]
    return where_defined(lambda: metrics.mean_over_sets_interval(values, ids, seed=seed))


def _of_two_intervals(first: Score, second: Score) -> Interval:
    assert first.value is not None and second.value is not None  # noqa: PT018, S101  # the caller's branch
    return metrics.independent_difference(
        first.value, kept_interval(first), second.value, kept_interval(second)
    )


def where_defined(interval: Callable[[], Interval]) -> ScoreInterval | None:
    """Return the interval; None where there is none, as for an AUROC with one wrong image.

    The number itself is measured all the same, and its counts stand beside it.
    """
    try:
        return recorded_interval(interval())
    except UndefinedMetricError:
        return None


def difference_of(
    cells: Sequence[Cell],
    by_cell: Mapping[str, Measured],
    scores: Mapping[str, Score],
    *,
    seed: int,
    same_images: bool = True,
) -> Score:
    """Return the score of the first cell less that of the second; rates on the same images are paired.

    Args:
        cells: The two.
        by_cell: What was measured, by cell id.
        scores: By cell id.
        seed: Of the bootstrap.
        same_images: Whether equal sample ids mean the same images: every array counts from 00000.
    """
    first, second = (scores[cell.id] for cell in cells)
    if first.value is None or second.value is None:
        reasons = [f"{c.id}: {s.reason}" for c, s in zip(cells, (first, second), strict=True) if s.reason]
        return first.model_copy(update={"value": None, "n": 0, "interval": None, "reason": reasons[0]})
    a, b = (by_cell[cell.id] for cell in cells)
    pairs = same_images and all(is_rate(cell) for cell in cells)
    if pairs and a.images and b.images and all(images == a.images[0] for images in (*a.images, *b.images)):
        means = [np.mean([units[0] for units in part.units], axis=0) for part in (a, b)]
        paired = metrics.paired_difference(means[0], means[1], seed=seed)
        interval: ScoreInterval | None = recorded_interval(paired.interval)
    else:
        interval = where_defined(partial(_of_two_intervals, first, second))
    value = rounded(first.value - second.value)
    return first.model_copy(update={"value": value, "interval": interval})


def worst_of(cell: Cell, measured: Measured, *, seed: int) -> Score:
    """Return the score of the condition name whose mean over its levels is worst, and say which it is.

    Its interval is that name's own. It says how well this number is known, and not how far the worst could
    lie on other images: there another name may be the worst.

    Args:
        cell: A cell of any metric of single conditions.
        measured: What was measured.
        seed: Of the bootstrap.
    """
    metric = metric_of(cell)
    assert not isinstance(metric, DetectionMetric)  # noqa: S101  # a suite refuses it
    if measured.reason is not None:
        return score_of([cell], {cell.id: measured}, {}, seed=seed)
    names: dict[str, list[int]] = {}
    for index, value in enumerate(measured.values):
        names.setdefault(value.condition.name, []).append(index)
    means = {name: np.mean([measured.values[i].value for i in own]) for name, own in names.items()}
    # Of equals the first in the manifest's order.
    worst = (max if metric.direction == "lower" else min)(means, key=means.__getitem__)
    of_worst = Measured(
        values=[measured.values[i] for i in names[worst]], units=[measured.units[i] for i in names[worst]]
    )
    score = score_of([cell], {cell.id: of_worst}, {}, seed=seed)
    interval = score.interval
    if interval is not None:
        method = f"{interval.method}; of {worst} alone, the worst here"
        interval = interval.model_copy(update={"method": method})
    return score.model_copy(update={"interval": interval, "worst": worst})


def groups_of(
    cells: Sequence[Cell], by_cell: Mapping[str, Measured]
) -> dict[str, dict[str, dict[str, GroupScore]]]:
    """Return the rate of every cell in every group of its images, for datasets with group columns."""
    out: dict[str, dict[str, dict[str, GroupScore]]] = {}
    for cell in cells:
        measured = by_cell[cell.id]
        # Of several conditions an image's rate is no count of events.
        if is_rate(cell) and measured.groups and measured.reason is None and len(measured.units) == 1:
            wrong = measured.units[0][0]
            out[cell.id] = {name: scores_by_group(wrong, groups) for name, groups in measured.groups.items()}
    return out


def metric_of(cell: Cell) -> Metric | DetectionMetric:
    """Return the metric of a cell, checking that the cell has what it takes."""
    table: Mapping[str, Metric | DetectionMetric] = DETECTION_METRICS if cell.detector else METRICS
    if cell.metric in table:
        if cell.detector is not None:
            _check_detector(cell, cell.detector)
        check_options(cell, table[cell.metric].value)
        return table[cell.metric]
    known = {**METRICS, **DETECTION_METRICS}
    if cell.metric in known:
        needs = "a detector and in_distribution" if cell.metric in DETECTION_METRICS else "no detector"
        raise FileFormatError(f"cell {cell.id}: metric {cell.metric}", expected=needs)
    raise FileFormatError(
        f"cell {cell.id}: metric", expected=f"one of {', '.join(sorted(known))}", found=cell.metric
    )


def _check_detector(cell: Cell, name: str) -> None:
    """Refuse a detector that there is not, settings it does not have, and data it is not fitted on."""
    if name not in DETECTORS:
        raise UnknownNameError.among("detector", name, DETECTORS, fix=f"correct cell {cell.id}")
    known = DETECTORS[name]
    wanted = {"fit": known.fit == "fit", "tune": known.fit == "tune"}
    for field_name, wants in wanted.items():
        if (getattr(cell, field_name) is not None) != wants:
            kind = "training images" if field_name == "fit" else "held-out images, or cross_fit,"
            raise FileFormatError(
                f"cell {cell.id}: {field_name}",
                expected=f"{kind} for {name} to be fitted on" if wants else f"none: {name} needs none",
                found="none" if wants else str(getattr(cell, field_name)),
            )
    # Those of the pass have been read by the cell itself.
    options = {
        key: value
        for key, value in cell.detector_options.items()
        if cell.detector_pass is None or key in known.options
    }
    with suppress(UndefinedMetricError):  # the images are still to come
        fit_detector(name, options=options)


def is_rate(cell: Cell) -> bool:
    """Tell whether a cell is a share of images, so that Wilson's interval is its own."""
    return cell.metric == "error_rate"
