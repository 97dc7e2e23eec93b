"""Condition by condition: reported, never tested, as 75 tests would find something in any two models."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_safety.detection_measures import DETECTION_METRICS, DetectionMetric
from robustbench_safety.errors import IncompatiblePredictionsError
from robustbench_safety.measures import METRICS, Metric
from robustbench_safety.recording import rounded
from robustbench_safety.records import Cell, ConditionCheck, ConditionScore
from robustbench_safety.reporting.gate.pairs import aligned, shown_on
from robustbench_safety.reporting.gate.sides import Side
from robustbench_safety.reporting.gate.units import unit_values

__all__ = ["compared_conditions"]

#: Drops of different units have no order among themselves.
_UNITS = ("fraction", "score", "nats")
#: Sample ids shown of each condition.
_EXAMPLES = 5


def compared_conditions(cells: Sequence[Cell], baseline: Side, candidate: Side) -> tuple[ConditionCheck, ...]:
    """Compare every condition of cells that both records have, worst first.

    Args:
        cells: Of the suite.
        baseline: Against which is compared.
        candidate: Which is compared.

    Returns:
        One a cell and condition, the largest drop first: of fractions, then of other units. Where the answers
        to single images are at hand, for error rates, with how many are newly wrong and right, and the ids
        of the first few newly wrong.
    """
    found = []
    for cell in cells:
        for before in baseline.record.conditions.get(cell.id, ()):
            try:
                after = shown_on(candidate.record, cell.id, before.condition)
            except IncompatiblePredictionsError:
                continue
            found.append(_compared(cell, before, after, baseline, candidate))
    return tuple(sorted(found, key=lambda one: (_UNITS.index(one.unit), -one.drop)))


def _compared(
    cell: Cell, before: ConditionScore, after: ConditionScore, baseline: Side, candidate: Side
) -> ConditionCheck:
    of_sets = cell.detector is not None
    metric: Metric | DetectionMetric = DETECTION_METRICS[cell.metric] if of_sets else METRICS[cell.metric]
    worse = 1.0 if metric.direction == "lower" else -1.0
    plain = ConditionCheck(
        condition=before.condition,
        cell=cell.id,
        baseline=before.value,
        candidate=after.value,
        drop=rounded(worse * (after.value - before.value)) + 0.0,
        unit="fraction" if isinstance(metric, DetectionMetric) else metric.unit,
    )
    if cell.metric != "error_rate":
        return plain
    try:
        ids, was, is_now = aligned(
            unit_values(baseline, cell, before), unit_values(candidate, cell, after), before.condition.path
        )
    except IncompatiblePredictionsError:
        return plain
    newly_wrong, newly_right = is_now > was, is_now < was
    return plain.model_copy(
        update={
            "newly_wrong": tuple(ids[place] for place in newly_wrong.nonzero()[0][:_EXAMPLES].tolist()),
            "n_newly_wrong": int(newly_wrong.sum()),
            "n_newly_right": int(newly_right.sum()),
        }
    )
