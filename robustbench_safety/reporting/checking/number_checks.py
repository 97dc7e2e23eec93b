"""Whether the numbers of a record agree with each other: scores with conditions, aggregates with cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from robustbench_safety import metrics
from robustbench_safety.accuracies import line_accuracies, reference_accuracy
from robustbench_safety.aggregating import Measured, metric_of
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.normalising import normalised_of
from robustbench_safety.records import Aggregate, Cell, ConditionScore, ScoreRecord
from robustbench_safety.reporting.checking.findings import Finding, near
from robustbench_safety.reporting.checking.rules import Rules

__all__ = ["check_numbers"]

_FIX = "file the record as `rbs score` wrote it"


def check_numbers(record: ScoreRecord, rules: Rules) -> Iterator[Finding]:
    """Yield every score that is not what the numbers it is made of give.

    Args:
        record: Has passed the checks of its structure.
        rules: Of its suite.
    """
    for cell in rules.suite.cells:
        score = record.scores[cell.id]
        if score.value is not None:
            mean = float(np.mean([one.value for one in record.conditions[cell.id]]))
            if not near(mean, score.value):
                yield _differs(cell.id, f"{mean:.10f}, the mean over its conditions", score.value)
    by_id = {cell.id: cell for cell in rules.suite.cells}
    for aggregate in rules.suite.aggregates:
        yield from _check_aggregate(record, aggregate, [by_id[name] for name in aggregate.of], rules)


def _check_aggregate(
    record: ScoreRecord, aggregate: Aggregate, cells: Sequence[Cell], rules: Rules
) -> Iterator[Finding]:
    score = record.scores[aggregate.id]
    nulls = [cell.id for cell in cells if record.scores[cell.id].value is None]
    if nulls and score.value is not None:
        yield _differs(aggregate.id, f"none, as {nulls[0]} has none", score.value)
    if nulls or score.value is None:
        if not nulls and aggregate.baseline is None and aggregate.accuracies is None:
            yield Finding(what=f"score {aggregate.id}", expected="a value", found="none", fix=_FIX)
        return
    expected = _expected(record, aggregate, cells, rules)
    if expected is not None and not near(expected, score.value):
        yield _differs(aggregate.id, f"{expected:.10f}, from {', '.join(aggregate.of)}", score.value)
    if score.worst is not None and aggregate.reduce == "worst":
        worst = _worst(record.conditions[cells[0].id], lower=score.direction == "lower")
        if score.worst != worst:
            yield Finding(what=f"score {aggregate.id}: worst", expected=worst, found=score.worst, fix=_FIX)


def _expected(record: ScoreRecord, aggregate: Aggregate, cells: Sequence[Cell], rules: Rules) -> float | None:
    """Return what an aggregate must be; None where the record does not hold what it is made of."""
    values = [_value(record, cell) for cell in cells]
    first = record.conditions[cells[0].id]
    if aggregate.reduce == "mean":
        return float(np.mean(values))
    if aggregate.reduce == "difference":
        return values[0] - values[1]
    if aggregate.reduce == "worst":
        lower = metric_of(cells[0]).direction == "lower"
        name = _worst(first, lower=lower)
        return float(np.mean([one.value for one in first if one.condition.name == name]))
    if aggregate.baseline is not None:
        measured = {cell.id: Measured(values=list(record.conditions[cell.id])) for cell in cells}
        baseline = rules.baselines[aggregate.baseline]
        return normalised_of(aggregate, cells, measured, baseline, seed=rules.suite.seed).value
    if aggregate.accuracies is None:
        return None  # pooled: made of the scores of all images together
    table, shown = rules.accuracies[aggregate.accuracies], cells[0].dataset
    try:
        if aggregate.axis is None:
            before = reference_accuracy(table, shown, str(aggregate.reference))
            return metrics.relative_robustness(1 - values[0], before)
        points = line_accuracies(table, shown)
        line = metrics.fit_accuracy_line(points.clean, points.shifted, axis=aggregate.axis)
        return metrics.effective_robustness(1 - values[1], 1 - values[0], line)
    except UndefinedMetricError:
        return None


def _value(record: ScoreRecord, cell: Cell) -> float:
    value = record.scores[cell.id].value
    assert value is not None  # noqa: S101  # the caller has looked
    return value


def _worst(values: Sequence[ConditionScore], *, lower: bool) -> str:
    """Return the condition name whose mean over its levels is worst; of equals the first."""
    names: dict[str, list[float]] = {}
    for one in values:
        names.setdefault(one.condition.name, []).append(one.value)
    means = {name: np.mean(own) for name, own in names.items()}
    return (max if lower else min)(means, key=means.__getitem__)


def _differs(name: str, expected: str, found: float) -> Finding:
    return Finding(what=f"score {name}", expected=expected, found=str(found), fix=_FIX)
