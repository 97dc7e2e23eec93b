"""Whether the intervals of a record are those that its companion gives: ranks are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import is_rate
from robustbench_safety.companion import Companion
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.measures import METRICS, Units
from robustbench_safety.metrics import Interval
from robustbench_safety.records import Cell, Score, ScoreRecord
from robustbench_safety.reporting.checking.companion_checks import determined, flip_rates, kept_scores
from robustbench_safety.reporting.checking.findings import Finding
from robustbench_safety.reporting.checking.rules import Rules

__all__ = ["check_intervals"]

#: Share of its width by which an end may differ: of other 2,000 draws it would lie some hundredths off.
_OF_WIDTH = 0.1
_FIX = "send the record as `rbs score` wrote it"


def check_intervals(record: ScoreRecord, companion: Companion, rules: Rules) -> Iterator[Finding]:
    """Yield every interval of error rates, flip rates and AUROCs that the companion does not give.

    Those of calibration errors rest on what it does not keep; those of a single rate follow from the rate.

    Args:
        record: Whose numbers the companion gives.
        companion: Of the record, by digest.
        rules: Of the record's suite.
    """
    by_id = {cell.id: cell for cell in rules.suite.cells}
    for cell in rules.suite.cells:
        yield from _check(cell.id, [cell], record, companion, rules)
    for aggregate in rules.suite.aggregates:
        if aggregate.reduce == "mean":
            cells = [by_id[name] for name in aggregate.of]
            yield from _check(aggregate.id, cells, record, companion, rules)


def _check(
    name: str, cells: Sequence[Cell], record: ScoreRecord, companion: Companion, rules: Rules
) -> Iterator[Finding]:
    score = record.scores[name]
    nulls = any(record.scores[cell.id].value is None for cell in cells)
    if score.value is None or nulls:
        return
    if len(cells) == 1 and name != cells[0].id:
        own = record.scores[cells[0].id].interval
        if score.interval != own:
            yield _differs(name, score, "none" if own is None else f"{own.low} to {own.high}")
        return
    if not all(determined(cell, rules) for cell in cells):
        return
    try:
        found = _interval(cells, record, companion, rules)
    except UndefinedMetricError:
        return
    if found is None:
        return
    reach = _OF_WIDTH * (found.high - found.low) + 1e-6
    ends = score.interval
    if ends is None or abs(ends.low - found.low) > reach or abs(ends.high - found.high) > reach:
        yield _differs(name, score, f"{found.low:.10f} to {found.high:.10f}, by the companion")


def _interval(
    cells: Sequence[Cell], record: ScoreRecord, companion: Companion, rules: Rules
) -> Interval | None:
    first, seed = cells[0], rules.suite.seed
    if first.metric == "auroc":
        sets = [_scores(cell, record, companion, rules) for cell in cells]
        if any(len(record.conditions[cell.id]) > 1 for cell in cells):
            return None
        whole = [one for one in sets if one is not None]
        inside = [scores for scores, _ in whole]
        if len(whole) < len(sets) or any(scores is not inside[0] for scores in inside):
            return None
        return DETECTION_METRICS["auroc"].interval(inside[0], [out for _, out in whole], seed, first.options)
    values = record.conditions[first.id]
    single = is_rate(first) and len(values) == 1
    if len(cells) > 1 or first.metric not in ("error_rate", "flip_rate") or single:
        return None
    units: list[Units] = []
    for one in values:
        rows = companion.datasets[one.condition.dataset]
        if first.metric == "flip_rate":
            rates = flip_rates(rows, one.condition, rules)
            if rates is None:
                return None
            units.append((rates,))
        else:
            units.append(((~rows.correct[one.condition.path]).astype(np.float64),))
    if len({one.condition.dataset for one in values}) > 1:
        return None
    return METRICS[first.metric].interval(units, seed, first.options)


def _scores(
    cell: Cell, record: ScoreRecord, companion: Companion, rules: Rules
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    name, out = kept_scores(cell, rules.suite), record.conditions[cell.id][0].condition.dataset
    if name is None:
        return None
    return companion.datasets[cell.in_distribution or ""].scores[name], companion.datasets[out].scores[name]


def _differs(name: str, score: Score, expected: str) -> Finding:
    ends = score.interval
    found = "none" if ends is None else f"{ends.low} to {ends.high}"
    return Finding(what=f"score {name}: interval", expected=expected, found=found, fix=_FIX)
