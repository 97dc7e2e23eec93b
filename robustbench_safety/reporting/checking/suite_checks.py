"""Whether a record has what its suite measures: columns, scores, conditions, and possible numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_safety.aggregating import is_rate
from robustbench_safety.errors import ModelError
from robustbench_safety.metrics import wilson_interval
from robustbench_safety.records import (
    Aggregate,
    Cell,
    Condition,
    ConditionScore,
    Score,
    ScoreInterval,
    ScoreRecord,
)
from robustbench_safety.reporting.checking.findings import ROUNDING, Finding, near
from robustbench_safety.reporting.checking.rules import Rules
from robustbench_safety.reporting.columns import unit_and_direction
from robustbench_safety.scoring import needed_conditions, trained_on_tested, why_not_shown
from robustbench_safety.suites import cell_conditions, refuse_model

__all__ = ["check_structure"]

#: Where a metric's values lie, where its unit does not say it.
_RANGES = {
    "brier_score": (0.0, 2.0),
    "top5_distance": (0.0, 15.0),
    "prediction_rejection_ratio": (-1.0, 1.0),
}
_RANGE_OF_UNIT = {"fraction": (0.0, 1.0), "nats": (0.0, float("inf")), "score": (float("-inf"), float("inf"))}
#: Coverage that every interval of a record aims at.
_LEVEL = 0.95
#: Named in a message.
_SHOWN = 3
_MADE_ANEW = "file the record as `rbs score` wrote it"


def check_structure(record: ScoreRecord, rules: Rules) -> Iterator[Finding]:
    """Yield what a record of this suite cannot have, or lacks."""
    suite = rules.suite
    for name, found, expected in (
        ("columns", record.columns, suite.columns),
        ("beside", record.beside, suite.beside),
    ):
        if found != expected:
            yield Finding(
                what=name, expected=", ".join(expected), found=", ".join(found)[:300], fix=_MADE_ANEW
            )
    cells = [cell.id for cell in suite.cells]
    ids = [*cells, *(aggregate.id for aggregate in suite.aggregates)]
    yield from _same_names("scores", list(record.scores), ids)
    yield from _same_names("conditions", list(record.conditions), cells)
    yield from _check_settings(record, rules)
    yield from _check_paths(record, rules)
    for cell in suite.cells:
        if cell.id in record.scores and cell.id in record.conditions:
            yield from _check_unit(cell.id, record, cell, None)
            yield from _check_cell(record, cell, rules)
    by_id = {cell.id: cell for cell in suite.cells}
    for aggregate in suite.aggregates:
        if aggregate.id in record.scores:
            yield from _check_unit(aggregate.id, record, by_id[aggregate.of[0]], aggregate)


def _same_names(what: str, found: Sequence[str], expected: Sequence[str]) -> Iterator[Finding]:
    missing, odd = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or odd:
        yield Finding(
            what=what,
            expected=f"those of the suite: {_some(missing)}" if missing else "those of the suite",
            found="others" if not odd else f"others: {_some(odd)}",
            fix=_MADE_ANEW,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _check_settings(record: ScoreRecord, rules: Rules) -> Iterator[Finding]:
    suite = rules.suite
    if record.model.label_space != suite.label_space:
        yield Finding(what="label space", expected=suite.label_space, found=record.model.label_space)
    try:
        refuse_model(suite, record.model)
    except ModelError as error:
        yield Finding(what=error.what, expected=error.expected, found=error.found)
    nulls = [cell.id for cell in suite.cells if (one := record.scores.get(cell.id)) and one.value is None]
    because = {
        f"limit {record.limit}": record.limit is not None,
        f"seed {record.seed}, the suite's is {suite.seed}": record.seed != suite.seed,
        f"no value of {_some(nulls)}": bool(nulls),
    }
    reasons = [reason for reason, holds in because.items() if holds]
    if (record.status == "partial") != bool(reasons):
        yield Finding(
            what="status",
            expected=f"partial: {reasons[0]}" if reasons else "complete: every cell has its value",
            found=record.status,
            fix=_MADE_ANEW,
        )
    tested = trained_on_tested(suite, record.model, rules.data)
    if record.trained_on_tested != tested:
        yield Finding(
            what="trained_on_tested",
            expected=", ".join(tested) or "none, by what the model was trained on",
            found=", ".join(record.trained_on_tested) or "none",
            fix=_MADE_ANEW,
        )


def _check_paths(record: ScoreRecord, rules: Rules) -> Iterator[Finding]:
    seeded = rules.suite.model_copy(update={"seed": record.seed})
    needed = needed_conditions(seeded, rules.data)
    shown = {one.path for one in needed if why_not_shown(one, record.model) is None}
    predicted = set(record.prediction_digests)
    if odd := sorted(predicted - {one.path for one in needed}):
        yield Finding(
            what="prediction_digests", expected="conditions of the suite", found=_some(odd), fix=_MADE_ANEW
        )
    if record.status == "complete" and (missing := sorted(shown - predicted)):
        yield Finding(what="prediction_digests", expected=_some(missing), found="none of it", fix=_MADE_ANEW)
    of_images = {path for path in record.data_digests if not path.endswith("/labels")}
    if of_images != predicted:
        yield Finding(
            what="data_digests",
            expected="those of the conditions that were predicted",
            found=f"{_some(sorted(of_images ^ predicted))} in one of them alone",
            fix=_MADE_ANEW,
        )


def _check_unit(name: str, record: ScoreRecord, cell: Cell, aggregate: Aggregate | None) -> Iterator[Finding]:
    score, (unit, direction) = record.scores[name], unit_and_direction(cell, aggregate)
    if (score.unit, score.direction) != (unit, direction):
        yield Finding(
            what=f"score {name}",
            expected=f"{unit}, {direction} is better",
            found=f"{score.unit}, {score.direction} is better",
            fix=_MADE_ANEW,
        )


def _check_cell(record: ScoreRecord, cell: Cell, rules: Rules) -> Iterator[Finding]:
    score, values = record.scores[cell.id], record.conditions[cell.id]
    unit, _ = unit_and_direction(cell, None)
    seeded = rules.suite.model_copy(update={"seed": record.seed})
    expected = cell_conditions(cell, seeded, rules.data)
    found = tuple(one.condition for one in values)
    if found != expected if score.value is not None else not set(found) <= set(expected):
        yield Finding(
            what=f"conditions of cell {cell.id}",
            expected=f"the {len(expected)} of the suite, in its order",
            found=f"{len(found)}{_first_other(found, expected)}",
            fix=_MADE_ANEW,
        )
        return
    low, high = _RANGES.get(cell.metric, _RANGE_OF_UNIT[unit])
    yield from _check_number(f"score {cell.id}", score, low, high)
    for one in values:
        yield from _check_number(one.condition.path, one, low, high)
    if is_rate(cell):
        for one in values:
            yield from _check_rate(f"{cell.id} on {one.condition.path}", one.value, one.n, one.interval)
        if len(values) == 1 and score.value is not None:
            yield from _check_rate(f"score {cell.id}", score.value, score.n, score.interval)
    if cell.metric in ("error_rate", "flip_rate") and score.value is not None and score.interval is not None:
        # Of a mean over images: the interval of a calibration error takes bias off, and may lie below it.
        inside = score.interval.low - ROUNDING <= score.value <= score.interval.high + ROUNDING
        if not inside:
            yield Finding(
                what=f"score {cell.id}: interval",
                expected=f"one around {score.value}",
                found=f"{score.interval.low} to {score.interval.high}",
                fix=_MADE_ANEW,
            )


def _first_other(found: Sequence[Condition], expected: Sequence[Condition]) -> str:
    odd = [one.path for one in found if one not in expected]
    return f", {odd[0]} among them" if odd else ""


def _check_number(where: str, one: Score | ConditionScore, low: float, high: float) -> Iterator[Finding]:
    if one.value is not None and not low - ROUNDING <= one.value <= high + ROUNDING:
        yield Finding(what=where, expected=f"a value from {low:g} to {high:g}", found=str(one.value))
    if one.interval is not None and one.interval.level != _LEVEL:
        yield Finding(
            what=f"{where}: interval", expected=f"one of {_LEVEL:.0%}", found=f"one of {one.interval.level:g}"
        )
    if one.interval is not None and one.interval.low > one.interval.high:
        yield Finding(
            what=f"{where}: interval",
            expected="a lower end that is not above the upper",
            found=f"{one.interval.low} to {one.interval.high}",
        )


def _check_rate(where: str, value: float, n: int, interval: ScoreInterval | None) -> Iterator[Finding]:
    """Yield what a share of n images, and its Wilson interval, cannot be."""
    events = round(value * n)
    if not 0 <= events <= n or not near(events / n, value):
        yield Finding(what=where, expected=f"a whole number of {n} images", found=f"{value * n:.6f} of them")
        return
    if interval is None:
        yield Finding(what=f"{where}: interval", expected="Wilson's", found="none", fix=_MADE_ANEW)
        return
    right = wilson_interval(events, n, level=interval.level)
    if not (near(right.low, interval.low) and near(right.high, interval.high)):
        yield Finding(
            what=f"{where}: interval",
            expected=f"{right.low:.10f} to {right.high:.10f}, Wilson's",
            found=f"{interval.low} to {interval.high}",
            fix=_MADE_ANEW,
        )
