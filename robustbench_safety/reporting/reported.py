"""Papers' numbers: read from ``leaderboard/reported``, shown as reference rows, ranked with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.files import read_yaml
from robustbench_safety.records import Certainty, ReportedTable, Suite
from robustbench_safety.reporting.columns import columns_of_suite
from robustbench_safety.suites import load_suite

__all__ = ["ReportedRow", "ReportedScore", "read_reported", "reported_rows"]


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
    for path in sorted((leaderboard / "reported").glob("*.yaml")):
        table = read_yaml(path, ReportedTable)
        if table.name != path.stem:
            raise FileFormatError(f"{path}: name", expected=path.stem, found=table.name)
        _check_columns(path, table, load_suite(table.suite))
        tables.append(table)
    return tables


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
            # A drop and an effective robustness may be negative; no other number of a table is.
            if known[name].unit == "fraction" and abs(number.value) > 200:
                raise FileFormatError(
                    f"{path}: {row.name}: {name}",
                    expected="percent, as the tables show it",
                    found=str(number.value),
                )
