"""Aggregates that hold a model against published ones: effective and relative robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.accuracies import LineAccuracies, line_accuracies, reference_accuracy
from robustbench_safety.aggregating import Measured
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import FileFormatError, UndefinedMetricError
from robustbench_safety.metrics import AccuracyLine, Interval
from robustbench_safety.metrics.shift import AccuracyAxis
from robustbench_safety.recording import recorded_interval, rounded
from robustbench_safety.records import AccuracyTable, Aggregate, Cell, LineScore, Score, Suite
from robustbench_safety.suites import cell_conditions, clean_dataset, suite_accuracies

__all__ = ["check_robustness", "robustness_of"]

Floats = NDArray[np.float64]

#: Points of a line's band that a chart is drawn from.
_POINTS = 21


def robustness_of(
    aggregate: Aggregate,
    cells: Sequence[Cell],
    by_cell: Mapping[str, Measured],
    table: AccuracyTable,
    *,
    seed: int,
) -> Score:
    """Return what a model's accuracy on shifted images is beyond that of published models. Higher is better.

    Args:
        aggregate: ``effective_robustness`` or ``relative_robustness``.
        cells: Its cells: the error on the shifted images and, for effective robustness, on clean ones.
        by_cell: What was measured, by cell id.
        table: The published models.
        seed: Of the bootstraps, of images and of the models of the line.

    Returns:
        A difference of fractions. Null, with the reason, where a cell is, where the table has no line or no
        such number, or where the clean accuracy has no place on the axis: nobody can have such a score, and
        it makes no row partial. The interval is over the images of both sets; the published numbers stand as
        they are, and how sure the line is stands in the score's ``line``.

    Raises:
        UnknownNameError: The table does not have the data set or the reference.
    """
    null = Score(value=None, n=0, interval=None, unit="fraction", direction="higher", reason="")
    for cell in cells:
        if (reason := by_cell[cell.id].reason) is not None:
            named = f"{cell.id}: {reason}" if len(cells) > 1 else reason
            return null.model_copy(update={"reason": named})
    correct = [1 - by_cell[cell.id].units[0][0] for cell in cells]
    shown = cells[0].dataset
    try:
        if aggregate.reduce == "relative_robustness":
            return _relative(reference_accuracy(table, shown, str(aggregate.reference)), *correct)
        assert aggregate.axis is not None  # noqa: S101  # Aggregate has checked it
        return _effective(aggregate.axis, line_accuracies(table, shown), *correct, seed=seed)
    except UndefinedMetricError as error:
        return null.model_copy(update={"reason": str(error)})


def _relative(before: float, correct: Floats) -> Score:
    own = metrics.wilson_interval(int(correct.sum()), len(correct))
    moved = Interval(low=own.low - before, high=own.high - before, method=own.method, level=own.level)
    return Score(
        value=rounded(metrics.relative_robustness(float(correct.mean()), before)),
        n=len(correct),
        interval=recorded_interval(moved),
        unit="fraction",
        direction="higher",
    )


def _effective(
    axis: AccuracyAxis, points: LineAccuracies, shifted: Floats, clean: Floats, *, seed: int
) -> Score:
    line = metrics.fit_accuracy_line(points.clean, points.shifted, axis=axis)
    at = float(clean.mean())
    return Score(
        value=rounded(metrics.effective_robustness(at, float(shifted.mean()), line)),
        n=len(shifted),
        interval=recorded_interval(metrics.effective_robustness_interval(clean, shifted, line, seed=seed)),
        unit="fraction",
        direction="higher",
        line=_drawn(line, points, at, seed=seed),
    )


def _drawn(line: AccuracyLine, points: LineAccuracies, at: float, *, seed: int) -> LineScore:
    """Return the line, read at one clean accuracy, with its band there and along its models."""
    places = [at, *np.linspace(min(points.clean), max(points.clean), _POINTS).tolist()]
    band = metrics.accuracy_line_band(points.clean, points.shifted, at=places, seed=seed, axis=line.axis)
    expected = [rounded(line.predict(place)) for place in places]
    lows, highs = ([rounded(end) for end in ends] for ends in (band.low, band.high))
    here = Interval(low=lows[0], high=highs[0], method=band.method, level=band.level)
    rows = list(zip(map(rounded, places), expected, lows, highs, strict=True))
    return LineScore(
        intercept=rounded(line.intercept),
        slope=rounded(line.slope),
        axis=line.axis,
        n_models=line.n,
        clean=rounded(at),
        expected=expected[0],
        band=recorded_interval(here),
        curve=tuple(rows[1:]),
    )


def check_robustness(suite: Suite, data: DataRoot) -> None:
    """Check that published models were measured as a suite's cells are, before anything is measured.

    Args:
        suite: The suite.
        data: Data root, for manifests and tables.

    Raises:
        UnknownNameError: There is no such table, or it does not have a data set or the reference.
        FileFormatError: A cell is of several conditions, of other classes than the published accuracies, or
            of other clean images.
    """
    cells, tables = {cell.id: cell for cell in suite.cells}, suite_accuracies(suite, data)
    for aggregate in suite.aggregates:
        if aggregate.accuracies is None:
            continue
        table, own = tables[aggregate.accuracies], [cells[name] for name in aggregate.of]
        _check_cells(aggregate, own, suite, data)
        try:
            if aggregate.reference is not None:
                reference_accuracy(table, own[0].dataset, aggregate.reference)
            else:
                line_accuracies(table, own[0].dataset)
        except UndefinedMetricError:
            continue  # the record says it


def _check_cells(aggregate: Aggregate, cells: Sequence[Cell], suite: Suite, data: DataRoot) -> None:
    where = f"suite {suite.name}: aggregate {aggregate.id}"
    shifted = load_dataset(cells[0].dataset, data=data)
    for cell in cells:
        if (n := len(cell_conditions(cell, suite, data))) != 1:
            raise FileFormatError(f"{where}: cell {cell.id}", expected="one condition", found=str(n))
        if cell.attack is not None:
            raise FileFormatError(
                f"{where}: cell {cell.id}", expected="images as they are, as of the published models",
                found="an attack")  # fmt: skip
    if cells[0].subset != shifted.manifest.subset:
        raise FileFormatError(
            f"{where}: cell {cells[0].id}: subset",
            expected=f"{shifted.manifest.subset or 'none'}, the classes of {shifted.name}",
            found=cells[0].subset or "none",
            fix="the published models were measured on the classes of the data set",
        )
    for cell in cells[1:]:
        if cell.dataset != clean_dataset(shifted) or cell.class_map is not None:
            raise FileFormatError(
                f"{where}: cell {cell.id}",
                expected=f"{clean_dataset(shifted)}, each image with its own class alone right",
                found=f"{cell.dataset}, class_map {cell.class_map or 'none'}",
                fix="the line is over the clean accuracy as it was published",
            )
