"""Papers' numbers: read from ``leaderboard/reported``, shown as reference rows, ranked with nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.files import read_yaml
from robustbench_safety.records import Certainty, ReportedTable, Suite
from robustbench_safety.reporting.columns import columns_of_suite
from robustbench_safety.suites import load_suite

__all__ = ["ReportedRow", "ReportedScore", "read_reported", "reported_rows"]


#: Made of shares, and a share itself. A drop may be negative, what is divided by a baseline above 100.
_WITHIN = ("mean", "worst", "pooled")
_LARGEST_RATIO = 200


@dataclass(frozen=True, kw_only=True)
class ReportedScore:
    """One number of a paper."""

    value: float
    """In the units of the tables: percent, nats, or a Brier score."""
    source: str
    certainty: Certainty


@dataclass(frozen=True, kw_only=True)
class ReportedRow:
    """One row of a paper's table."""

    name: str
    model: str
    scores: Mapping[str, ReportedScore]
    """By column."""
    source: str
    note: str | None
    """In what the protocol differs from the suite's, or may."""


def read_reported(leaderboard: Path) -> list[ReportedTable]:
    """Read ``reported/*.yaml``, by name.

    Raises:
        FileFormatError: A file is no such table, is called otherwise than its name says, or has a number in a
            column that its suite does not have.
        UnknownNameError: There is no suite of the name that it gives.
    """
    tables = []
    for path in sorted((leaderboard / "reported").glob("*.y*ml")):
        if path.suffix != ".yaml":
            raise FileFormatError(f"{path}", expected="a name that ends in .yaml", fix="rename it")
        table = read_yaml(path, ReportedTable)
        if table.name != path.stem:
            raise FileFormatError(f"{path}: name", expected=path.stem, found=table.name)
        _check_columns(path, table, _suite_of(path, table))
        tables.append(table)
    return tables


def _suite_of(path: Path, table: ReportedTable) -> Suite:
    try:
        return load_suite(table.suite)
    except UnknownNameError as error:
        raise UnknownNameError(f"{path}: {error.what}", expected=error.expected, fix=error.fix) from error


def reported_rows(tables: list[ReportedTable]) -> list[ReportedRow]:
    """Return the rows of some tables, in their order."""
    return [
        ReportedRow(
            name=row.name,
            model=row.model,
            scores={
                column: ReportedScore(
                    value=number.value, source=number.source or table.source, certainty=number.certainty
                )
                for column, number in row.scores.items()
            },
            source=table.source,
            note=table.note,
        )
        for table in tables
        for row in table.rows
    ]


def _check_columns(path: Path, table: ReportedTable, suite: Suite) -> None:
    known = columns_of_suite(suite)
    for row in table.rows:
        for name, number in row.scores.items():
            if name not in known:
                raise UnknownNameError.among(
                    f"column of suite {suite.name}", name, known, fix=f"correct {path}"
                )
            low, high = _range_of(name, known[name].unit, suite)
            if not low <= number.value <= high:
                unit = known[name].unit.replace("fraction", "percent, as the tables show it")
                raise FileFormatError(
                    f"{path}: {row.name}: {name}",
                    expected=f"{unit}, from {low:g} to {high:g}",
                    found=str(number.value),
                )


def _range_of(name: str, unit: str, suite: Suite) -> tuple[float, float]:
    """Return where the numbers of a column can lie, in the units of the tables."""
    if unit == "nats":
        return 0, math.inf
    if unit == "score":
        return -math.inf, math.inf
    aggregate = next((one for one in suite.aggregates if one.id == name), None)
    if aggregate is None or aggregate.reduce in _WITHIN:
        return 0, 100
    return (0, _LARGEST_RATIO) if aggregate.reduce == "normalised" else (-_LARGEST_RATIO, _LARGEST_RATIO)
