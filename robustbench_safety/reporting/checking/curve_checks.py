"""Whether the curves of a record, which its page draws, are those that its companion gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.data import load_dataset
from robustbench_safety.recording import draw_histogram
from robustbench_safety.records import Cell, Curves, ScoreRecord
from robustbench_safety.reporting.checking.companion_checks import kept_scores
from robustbench_safety.reporting.checking.findings import Finding
from robustbench_safety.reporting.checking.rules import Rules

__all__ = ["check_curves"]

#: Share of the images by which bins may differ, and by how much a risk may: the companion keeps float32, so
#: what stands at the end of a bin may lie in the next. Furthest off among the rows of this repository: 2e-9.
_OF_BINS, _OF_RISKS = 0.005, 1e-6
#: Share of the range of OOD scores by which an end may differ.
_OF_ENDS = 1e-4
#: A histogram is compared where the scores' range is so many times what float32 tells apart.
_RESOLVED = 1e5
_FIX = "send record and companion as `rbs score` wrote them"

Floats = NDArray[np.float64]


def check_curves(record: ScoreRecord, companion: Companion, rules: Rules) -> Iterator[Finding]:
    """Yield every curve of clean images and every histogram of OOD scores that the companion does not give.

    What it does not keep is not looked at: curves after temperature scaling, of a class subset, and of scores
    behind no column.

    Args:
        record: Of the suite, with numbers that the companion gives.
        companion: Of the record, by digest.
        rules: Of the record's suite.
    """
    curves = record.curves
    ids = {cell.id for cell in rules.suite.cells}
    for name in sorted({*curves.reliability, *curves.risk_coverage, *curves.ood_histogram} - ids):
        yield Finding(
            what=f"curves: {name}", expected="those of the suite's cells", found="another", fix=_FIX
        )
    for cell in rules.suite.cells:
        found = _answers(cell, record, companion, rules)
        if found is not None:
            yield from _check_answers(cell.id, curves, *found)
        sets = _scores(cell, companion, rules)
        if sets is not None and cell.id in curves.ood_histogram:
            yield from _check_histogram(cell.id, curves, *sets)


def _answers(
    cell: Cell, record: ScoreRecord, companion: Companion, rules: Rules
) -> tuple[Floats, Floats] | None:
    """Return the confidences of all clean images and which are right; None where the cell is of others."""
    rows = companion.datasets.get(cell.dataset)
    plain = cell.subset is None and cell.class_map is None and cell.temperature is None
    if rows is None or rows.confidence is None or not plain or cell.detector is not None:
        return None
    if load_dataset(cell.dataset, data=rules.data).class_map is not None:
        return None
    paths = [one.condition.path for one in record.conditions[cell.id] if one.condition.kind == "clean"]
    if len(paths) != 1 or paths[0] not in rows.correct:
        return None
    return rows.confidence.astype(np.float64), rows.correct[paths[0]].astype(np.float64)


def _check_answers(name: str, curves: Curves, confidence: Floats, correct: Floats) -> Iterator[Finding]:
    n = len(correct)
    if name in curves.reliability:
        found = curves.reliability[name]
        bins = metrics.reliability_bins(confidence, correct, bins=len(found))
        made = list(zip(bins.n, bins.mean_confidence, bins.accuracy, strict=True))
        apart = max(_apart(_sums(found, place), _sums(made, place)) for place in range(3))
        if apart > _OF_BINS * n:
            yield _differs(f"reliability of {name}")
    if name in curves.risk_coverage:
        risks = np.array(curves.risk_coverage[name])
        low, high = (_risks(confidence, correct, len(risks), first=first) for first in (correct, 1 - correct))
        inside = (low - _OF_RISKS <= risks) & (risks <= high + _OF_RISKS)
        if not inside.all():
            yield _differs(f"risk and coverage of {name}")


def _risks(confidence: Floats, correct: Floats, points: int, *, first: Floats) -> Floats:
    """Return the risks where, of images whose confidences are one, those in ``first`` come first."""
    _, rank = np.unique(confidence, return_inverse=True)
    order = 2 * rank + first
    return np.array(metrics.risk_coverage_curve(order / (order.max() or 1), correct, points=points).risk)


def _sums(bins: Sequence[tuple[int, float | None, float | None]], place: int) -> list[float]:
    """Return the images of each bin, or the sum of their confidences, or how many of them are right."""
    return [float(one[0]) * (1.0 if place == 0 else float(one[place] or 0)) for one in bins]


def _scores(
    cell: Cell, companion: Companion, rules: Rules
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    name = kept_scores(cell, rules.suite)
    sides: list[CompanionRows | None] = [
        companion.datasets.get(dataset) for dataset in (cell.in_distribution or "", cell.dataset)
    ]
    inside, outside = (one.scores.get(name or "") if one is not None else None for one in sides)
    return (inside, outside) if inside is not None and outside is not None else None


def _check_histogram(
    name: str, curves: Curves, inside: NDArray[np.float32], outside: NDArray[np.float32]
) -> Iterator[Finding]:
    both = np.concatenate([inside, outside])
    if both.max() - both.min() < _RESOLVED * np.spacing(np.abs(both).max()):
        return
    drawn = Curves()
    draw_histogram(drawn, name, inside.astype(np.float64), outside.astype(np.float64))
    (ends, *counts), (made_ends, *made) = curves.ood_histogram[name], drawn.ood_histogram[name]
    reach = _OF_ENDS * (made_ends[1] - made_ends[0])
    moved = [_apart(one, other) for one, other in zip(counts, made, strict=True)]
    sizes = (len(inside), len(outside))
    if _apart(ends, made_ends) > 2 * reach or any(
        one > _OF_BINS * n for one, n in zip(moved, sizes, strict=True)
    ):
        yield _differs(f"histogram of {name}")


def _apart(first: Sequence[float], second: Sequence[float]) -> float:
    """Return by how much two lists differ in all, without end where their lengths do."""
    if len(first) != len(second):
        return float("inf")
    return float(np.abs(np.array(first, dtype=np.float64) - np.array(second, dtype=np.float64)).sum())


def _differs(what: str) -> Finding:
    return Finding(what=what, expected="the curve by the companion", found="another", fix=_FIX)
