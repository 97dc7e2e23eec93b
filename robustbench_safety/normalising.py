"""Aggregates that a baseline's numbers divide: mCE, mFR, mT5D and relative mCE.

All of them are weighted sums of what was measured on each condition, so each is also the mean over the source
images (or clips) of one weighted value, which is what the bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.aggregating import Measured, metric_of, where_defined
from robustbench_safety.baselines import baseline_table
from robustbench_safety.data import DataRoot
from robustbench_safety.detection_measures import DetectionMetric
from robustbench_safety.errors import FileFormatError, UndefinedMetricError
from robustbench_safety.metrics import Interval
from robustbench_safety.recording import rounded
from robustbench_safety.records import (
    Aggregate,
    Baseline,
    BaselineMetric,
    BaselineTable,
    Cell,
    Condition,
    Score,
    Suite,
)
from robustbench_safety.suites import cell_conditions

__all__ = ["check_aggregates", "condition_weights", "divided_by", "normalised_of"]

Floats = NDArray[np.float64]

#: What is left of a difference of equal sums, of fractions kept to ten digits or so.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One cell of a weighted sum."""

    measured: Measured
    weights: Floats
    """Of each of its conditions."""
    largest: float
    """Largest value that one image or clip can have on one condition."""


def normalised_of(
    aggregate: Aggregate,
    cells: Sequence[Cell],
    by_cell: Mapping[str, Measured],
    baseline: Baseline,
    *,
    seed: int,
    same_images: bool = True,
) -> Score:
    """Return the score of a cell divided by the baseline's numbers of the same conditions. Lower is better.

    Args:
        aggregate: ``normalised`` or ``relative``.
        cells: Its cells: one, or the corrupted and the clean one.
        by_cell: What was measured, by cell id.
        baseline: Whose numbers divide.
        seed: Of the bootstrap.
        same_images: Whether equal sample ids mean the same images: every array counts from 00000.

    Returns:
        A ratio: 1 is the baseline itself. Null, with the reason, where a cell is or where the baseline has no
        number of this metric or is no worse under a condition than on clean images: nobody can have such a
        score, and it makes no row partial. The interval is that of one weighted value for each source image,
        and is left out where conditions show different images.

    Raises:
        FileFormatError: The baseline's table has not the conditions of the cell.
    """
    null = Score(value=None, n=0, interval=None, unit="fraction", direction="lower", reason="")
    for cell in cells:
        if (reason := by_cell[cell.id].reason) is not None:
            named = f"{cell.id}: {reason}" if len(cells) > 1 else reason
            return null.model_copy(update={"reason": named})
    shown = by_cell[cells[0].id]
    try:
        table, clean = divided_by(aggregate, cells[0], baseline)
        weights = condition_weights(
            [value.condition for value in shown.values],
            table,
            clean_error=clean,
            where=f"aggregate {aggregate.id}",
        )
    except UndefinedMetricError as error:
        return null.model_copy(update={"reason": error.what})
    metric = metric_of(cells[0])
    assert not isinstance(metric, DetectionMetric)  # noqa: S101  # a suite refuses it
    parts = [_Part(measured=shown, weights=weights, largest=metric.largest)]
    clean_value = 0.0
    if aggregate.reduce == "relative":
        beside = by_cell[cells[1].id]
        clean_value = float(np.mean([one.value for one in beside.values]))
        each = np.full(len(beside.values), -weights.sum() / len(beside.values))
        parts.append(_Part(measured=beside, weights=each, largest=metric.largest))
    value = sum(float(part.weights @ np.array([one.value for one in part.measured.values])) for part in parts)
    images = [ids for part in parts for ids in part.measured.images]
    n_conditions = sum(len(part.measured.values) for part in parts)
    paired = (same_images or len(cells) == 1) and len(images) == n_conditions
    paired = paired and all(ids == images[0] for ids in images)
    return Score(
        value=rounded(value),
        n=shown.values[0].n,
        interval=where_defined(lambda: _interval(parts, seed)) if paired else None,
        unit="fraction",
        direction="lower",
        by_name=_ratios(shown, weights, clean_value),
        note=None if table.verified else f"divided by unverified figures of baseline {baseline.name}",
    )


def _ratios(shown: Measured, weights: Floats, clean_value: float) -> dict[str, float]:
    """Return the ratio of each condition name: the errors of its levels over the baseline's."""
    sums: dict[str, float] = {}
    for one, weight in zip(shown.values, weights.tolist(), strict=True):
        name = one.condition.name
        sums[name] = sums.get(name, 0.0) + weight * (one.value - clean_value)
    return {name: rounded(len(sums) * total) for name, total in sums.items()}


def check_aggregates(suite: Suite, data: DataRoot, baselines: Mapping[str, Baseline]) -> None:
    """Check that the baselines have numbers of what a suite's aggregates divide, before anything is measured.

    Args:
        suite: The suite.
        data: Data root, for the manifests.
        baselines: As :func:`robustbench_safety.suites.suite_baselines` returns them.

    Raises:
        FileFormatError: A baseline has other conditions or levels than a cell.
    """
    cells = {cell.id: cell for cell in suite.cells}
    for aggregate in suite.aggregates:
        if aggregate.baseline is None:
            continue
        cell, baseline = cells[aggregate.of[0]], baselines[aggregate.baseline]
        try:
            table, clean = divided_by(aggregate, cell, baseline)
            conditions = cell_conditions(cell, suite, data)
            condition_weights(conditions, table, clean_error=clean, where=f"aggregate {aggregate.id}")
        except UndefinedMetricError:
            continue  # the record says it


def divided_by(aggregate: Aggregate, cell: Cell, baseline: Baseline) -> tuple[BaselineTable, float]:
    """Return the baseline's numbers, and the clean error to be taken from each.

    Raises:
        UndefinedMetricError: It has no numbers of the cell's metric, or no clean error.
    """
    table = baseline_table(baseline, cast(BaselineMetric, cell.metric))
    if aggregate.reduce != "relative":
        return table, 0.0
    if baseline.clean_error is None:
        raise UndefinedMetricError(f"baseline {baseline.name} has no clean_error")
    return table, baseline.clean_error


def condition_weights(
    conditions: Sequence[Condition], table: BaselineTable, *, clean_error: float = 0.0, where: str
) -> Floats:
    """Return what each condition's value is multiplied by.

    For a condition name it is ``1 / (C * sum over its levels of (baseline - clean_error))``, where C is the
    number of names.

    Args:
        conditions: Of the cell.
        table: The baseline's numbers.
        clean_error: The baseline's, for relative errors.
        where: Named in the errors.

    Returns:
        float64, one a condition.

    Raises:
        FileFormatError: The table lacks a name or a level, or some names have other levels than others.
        UndefinedMetricError: The baseline is no worse under a condition than on clean images, which a network
            measured on few images may well be.
    """
    levels: dict[str, list[int]] = {}
    for condition in conditions:
        levels.setdefault(condition.name, []).append(condition.level)
    if missing := [name for name in levels if name not in table.values]:
        raise FileFormatError(
            f"{where}: the baseline has no numbers of {', '.join(missing)}",
            expected=f"some of {', '.join(sorted(table.values))}",
            fix="list the conditions that the baseline has",
        )
    usual = sorted(next(iter(levels.values())))
    totals = {}
    for name, own in levels.items():
        if sorted(own) != usual:
            raise FileFormatError(
                f"{where}: condition {name} has other levels than {next(iter(levels))}",
                expected=_listed(usual),
                found=_listed(own),
                fix="name the levels in the cell",
            )
        totals[name] = sum(number - clean_error for number in _numbers(table.values[name], own, where, name))
    if no_worse := [name for name, total in totals.items() if total <= _ROUNDING]:
        raise UndefinedMetricError(
            f"the baseline does not get worse under {', '.join(no_worse)}: nothing to divide by",
            expected="a sum over its levels above that of its clean error",
            fix="measure the baseline on more images",
        )
    return np.array([1 / (len(totals) * totals[condition.name]) for condition in conditions])


def _numbers(table: Sequence[float], levels: Sequence[int], where: str, name: str) -> list[float]:
    """Return the baseline's number at each level; where it has the mean alone, that at each of them."""
    if len(table) == 1:
        return [table[0]] * len(levels)
    if not all(1 <= level <= len(table) for level in levels):
        raise FileFormatError(
            f"{where}: the baseline has other levels of {name}",
            expected=_listed(range(1, len(table) + 1)),
            found=_listed(levels),
        )
    return [table[level - 1] for level in levels]


def _listed(levels: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(levels)))


def _interval(parts: Sequence[_Part], seed: int) -> Interval:
    """Return the interval of the mean of one weighted value a unit."""
    units = sum(
        weight * condition[0]
        for part in parts
        for weight, condition in zip(part.weights, part.measured.units, strict=True)
    )
    # The bootstrap asks for values in [0, 1], or of differences in [-1, 1], where all are alike.
    scale = float(parts[0].weights.sum()) * parts[0].largest
    shares = np.asarray(units, dtype=np.float64) / scale
    if len(parts) == 1:
        found = metrics.bootstrap_interval(shares, seed=seed)
    else:
        found = metrics.paired_difference(shares, np.zeros_like(shares), seed=seed).interval
    return Interval(low=found.low * scale, high=found.high * scale, method=found.method, level=found.level)
