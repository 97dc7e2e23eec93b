"""Columns of a suite's table: what they are called, in which unit, and which way is good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from robustbench_safety.aggregating import metric_of
from robustbench_safety.measures import Metric
from robustbench_safety.records import Aggregate, Cell, ScoreRecord, Suite

__all__ = ["Column", "adversarial_cells", "columns_of_records", "columns_of_suite", "unit_and_direction"]

Unit = Literal["fraction", "nats", "score"]
Direction = Literal["lower", "higher"]
_UNITS = {"fraction": " %", "nats": " (nats)", "score": ""}
_ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column."""

    id: str
    unit: Unit
    direction: Direction
    headline: bool
    """Whether it is one of the suite's columns; else it is shown beside them."""

    @property
    def title(self) -> str:
        """The id in words."""
        return self.id.replace("_", " ")

    @property
    def heading(self) -> str:
        """Title, unit and an arrow that points where better values lie."""
        return f"{self.title}{_UNITS[self.unit]} {_ARROWS[self.direction]}"


def columns_of_records(records: Iterable[ScoreRecord]) -> dict[str, Column]:
    """Return every column that a record has: those beside first, then the suite's own.

    Several versions of a suite may stand in one table.
    """
    columns: dict[str, Column] = {}
    for record in records:
        for names, headline in ((record.beside, False), (record.columns, True)):
            for name in names:
                score = record.scores[name]
                column = Column(id=name, unit=score.unit, direction=score.direction, headline=headline)
                columns.setdefault(name, column)
    return columns


def columns_of_suite(suite: Suite) -> dict[str, Column]:
    """Return the columns that a record of the suite would have, in the same order."""
    cells = {cell.id: cell for cell in suite.cells}
    aggregates = {aggregate.id: aggregate for aggregate in suite.aggregates}
    columns = {}
    for names, headline in ((suite.beside, False), (suite.columns, True)):
        for name in names:
            aggregate = aggregates.get(name)
            unit, direction = unit_and_direction(cells[aggregate.of[0] if aggregate else name], aggregate)
            columns[name] = Column(id=name, unit=unit, direction=direction, headline=headline)
    return columns


def adversarial_cells(suite: Suite) -> dict[str, Cell]:
    """Return the columns that are the error under one attack, each with its cell."""
    attacked = {cell.id: cell for cell in suite.cells if cell.attack and cell.metric == "error_rate"}
    means = {
        aggregate.id: attacked[aggregate.of[0]]
        for aggregate in suite.aggregates
        if aggregate.reduce == "mean" and len(aggregate.of) == 1 and aggregate.of[0] in attacked
    }
    return {name: cell for name, cell in {**attacked, **means}.items() if cell.subset is None}


def unit_and_direction(cell: Cell, aggregate: Aggregate | None) -> tuple[Unit, Direction]:
    """Return the unit of a cell, or of an aggregate whose first cell it is, and which way is good."""
    if aggregate is not None and aggregate.baseline is not None:
        return "fraction", "lower"
    if aggregate is not None and aggregate.accuracies is not None:
        return "fraction", "higher"
    metric = metric_of(cell)
    return (metric.unit if isinstance(metric, Metric) else "fraction"), metric.direction
