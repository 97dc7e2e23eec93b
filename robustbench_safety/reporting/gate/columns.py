"""What a column is made of: a sum of what was measured on conditions, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.normalising import condition_weights, divided_by
from robustbench_safety.records import Aggregate, Baseline, Cell, Condition, ScoreRecord, Suite

__all__ = ["Part", "parts_of"]

Floats = NDArray[np.float64]

#: Reductions that are no weighted sum of what was measured on the conditions, and why.
_NO_SUM = {
    "worst": "the worst condition may be another one in each record",
    "pooled": "the sets are ranked as one list",
    "effective_robustness": "it is no sum over images: a line of models is read at the clean error",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One cell of a column, and what each of its conditions counts."""

    cell: Cell
    conditions: tuple[Condition, ...]
    weights: Floats
    """Of each condition. The column moves by the sum of weight times value over all parts."""


def parts_of(
    column: str, suite: Suite, record: ScoreRecord, baselines: Mapping[str, Baseline]
) -> tuple[Part, ...]:
    """Return what a column is the weighted sum of, but for a number that is the same in every record.

    Args:
        column: Id of a cell or an aggregate.
        suite: The suite.
        record: A record on it, for the conditions.
        baselines: What the suite's aggregates are divided by, by name.

    Raises:
        UndefinedMetricError: It is no such sum; says why.
    """
    cells = {cell.id: cell for cell in suite.cells}
    aggregate = next((one for one in suite.aggregates if one.id == column), None)
    if aggregate is None:
        return (_mean(cells[column], record, 1.0),)
    own = [cells[name] for name in aggregate.of]
    if aggregate.reduce in _NO_SUM:
        raise UndefinedMetricError(_NO_SUM[aggregate.reduce])
    if aggregate.reduce == "mean":
        return tuple(_mean(cell, record, 1 / len(own)) for cell in own)
    if aggregate.reduce == "difference":
        return _mean(own[0], record, 1.0), _mean(own[1], record, -1.0)
    if aggregate.reduce == "relative_robustness":
        return (_mean(own[0], record, -1.0),)
    return _divided(aggregate, own, record, baselines)


def _divided(
    aggregate: Aggregate, cells: Sequence[Cell], record: ScoreRecord, baselines: Mapping[str, Baseline]
) -> tuple[Part, ...]:
    assert aggregate.baseline is not None  # noqa: S101  # Aggregate has checked it
    table, clean = divided_by(aggregate, cells[0], baselines[aggregate.baseline])
    conditions = _conditions(cells[0], record)
    weights = condition_weights(conditions, table, clean_error=clean, where=f"aggregate {aggregate.id}")
    first = Part(cell=cells[0], conditions=conditions, weights=weights)
    if aggregate.reduce == "normalised":
        return (first,)
    return first, _mean(cells[1], record, -float(weights.sum()))


def _mean(cell: Cell, record: ScoreRecord, weight: float) -> Part:
    conditions = _conditions(cell, record)
    weights = np.full(len(conditions), weight / max(1, len(conditions)))
    return Part(cell=cell, conditions=conditions, weights=weights)


def _conditions(cell: Cell, record: ScoreRecord) -> tuple[Condition, ...]:
    return tuple(one.condition for one in record.conditions.get(cell.id, ()))
