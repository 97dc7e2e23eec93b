"""Whether the numbers of a record are those that its companion gives: an edited number shows here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import Scored, metric_of
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.corruptions import n_frames
from robustbench_safety.data import load_dataset
from robustbench_safety.detection_measures import DetectionMetric
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.measuring import detectors_in_columns, scores_name
from robustbench_safety.records import (
    Cell,
    ClipsLayout,
    Condition,
    ConditionScore,
    GeneratedLayout,
    RelabelledLayout,
    ScoreRecord,
    Suite,
)
from robustbench_safety.reporting.checking.findings import Finding, near
from robustbench_safety.reporting.checking.rules import Rules

__all__ = ["check_companion", "determined", "flip_rates", "kept_scores"]

#: OOD scores are kept as float32. Where no two of them fall together an AUROC, AUPR or FPR95 made from them
#: is within 2e-7 of the record's (the rows of this repository); tied pairs, whose order is lost, may move it
#: by their share, and an AUPR, which counts the best of them most, by some times that.
_OF_SCORES, _OF_TIES = 1e-5, 5.0
_FIX = "send record and companion as `rbs score` wrote them"


def determined(cell: Cell, rules: Rules) -> bool:
    """Tell whether the companion of a complete record gives the numbers of a cell."""
    dataset = load_dataset(cell.dataset, data=rules.data)
    if cell.metric == "flip_rate":
        return cell.subset is None
    if cell.metric == "error_rate":
        plain = cell.subset is None and cell.class_map is None and dataset.class_map is None
        some = cell.attack is not None and cell.attack.images is not None
        return plain and not some and not isinstance(dataset.manifest.layout, RelabelledLayout)
    return kept_scores(cell, rules.suite) is not None


def check_companion(record: ScoreRecord, companion: Companion, rules: Rules) -> Iterator[Finding]:
    """Yield every number that the companion does not bear out, and every part of it that is missing.

    Error rates and flip rates follow from it exactly, anomaly detection but for ties of float32. What does
    not: calibration under corruption, top-5 distances, rates on a class subset.

    Args:
        record: Has passed the checks of its structure.
        companion: Of the record, by digest.
        rules: Of the record's suite.
    """
    for cell in rules.suite.cells:
        if record.scores[cell.id].value is None or not determined(cell, rules):
            continue
        if cell.detector is not None and len(record.conditions[cell.id]) > 1:
            continue  # the scores of each take the place of the last
        for one in record.conditions[cell.id]:
            yield from _check_condition(cell, one, companion, rules)


def _check_condition(
    cell: Cell, one: ConditionScore, companion: Companion, rules: Rules
) -> Iterator[Finding]:
    where, path = f"{cell.id} on {one.condition.path}", one.condition.path
    rows = companion.datasets.get(one.condition.dataset)
    tolerance = 1e-9
    if rows is None:
        yield Finding(what=where, expected="its images in the companion", found="none", fix=_FIX)
        return
    if cell.metric == "flip_rate":
        rates = flip_rates(rows, one.condition, rules)
        value = None if rates is None else float(rates.mean())
    elif cell.metric == "error_rate":
        value = float(1 - rows.correct[path].mean()) if path in rows.correct else None
    else:
        value, tolerance = _detected(cell, rows, companion, rules)
    if value is None:
        yield Finding(what=where, expected="what it is made of in the companion", found="none", fix=_FIX)
        return
    if len(rows.source_ids) != one.n:
        yield Finding(
            what=f"{where}: n", expected=f"{len(rows.source_ids)}, as in the companion", found=str(one.n)
        )
    if not near(value, one.value, tolerance=tolerance):
        yield Finding(what=where, expected=f"{value:.10f}, by the companion", found=str(one.value), fix=_FIX)


def flip_rates(rows: CompanionRows, condition: Condition, rules: Rules) -> NDArray[np.float64] | None:
    """Return the flip rate of each clip of a sequence; None where the companion does not keep its flips."""
    if condition.path not in rows.flips:
        return None
    layout = load_dataset(condition.dataset, data=rules.data).manifest.layout
    if isinstance(layout, ClipsLayout):
        frames = layout.frames_of.get(condition.name, layout.frames)
    elif isinstance(layout, GeneratedLayout):
        frames = n_frames(condition.name, variant=layout.variant)
    else:
        return None
    return rows.flips[condition.path] / (frames - 1)


def kept_scores(cell: Cell, suite: Suite) -> str | None:
    """Return the name under which a cell's OOD scores are kept; None where they are not, or not alone."""
    scored = Scored.of(cell)
    if scored is None or scored.subset is not None or scored.detector not in detectors_in_columns(suite):
        return None
    if cell.attack is not None or not isinstance(cell.conditions, str):
        return None
    # Two cells whose detector has other settings keep theirs under one name.
    same = {other for one in suite.cells if (other := Scored.of(one)) and other.detector == scored.detector}
    inside = {one.in_distribution for one in same}
    metric = metric_of(cell)
    whole = isinstance(metric, DetectionMetric) and not metric.of_answers
    return scores_name(scored) if whole and len(same) == len(inside) == 1 else None


def _detected(
    cell: Cell, rows: CompanionRows, companion: Companion, rules: Rules
) -> tuple[float | None, float]:
    """Return the value by the kept scores, and how far ties may move it."""
    metric, name = metric_of(cell), kept_scores(cell, rules.suite)
    inside = companion.datasets.get(cell.in_distribution or "")
    if inside is None or name is None or name not in inside.scores or name not in rows.scores:
        return None, 0.0
    scores_in, scores_out = (part.scores[name].astype(np.float64) for part in (inside, rows))
    try:
        value = float(metric.value(scores_in, scores_out, **cell.options))
    except UndefinedMetricError:
        return None, 0.0
    return value, _OF_SCORES + _OF_TIES * _tied_share(scores_in, scores_out)


def _tied_share(scores_in: NDArray[np.float64], scores_out: NDArray[np.float64]) -> float:
    """Return the share of pairs, one image of either set, that have the same score."""
    values, counts = np.unique(scores_in, return_counts=True)
    others, counts_out = np.unique(scores_out, return_counts=True)
    _, first, second = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    return float((counts[first] / len(scores_in)) @ (counts_out[second] / len(scores_out)))
