"""The leaderboard folder: tables are made from its records and reported numbers, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from robustbench_safety.files import write_bytes
from robustbench_safety.reporting.filing import collector_at_rest
from robustbench_safety.reporting.long_table import all_scores, csv_bytes, parquet_bytes, same_table
from robustbench_safety.reporting.rows import Board, boards
from robustbench_safety.reporting.tables import csv_table, markdown_table

__all__ = ["build_tables", "stale_tables"]

_ALL = "all_scores"
_ENDINGS = ("csv", "md", "parquet")


def build_tables(leaderboard: Path, *, read: list[Board] | None = None) -> list[Path]:
    """Write the tables of every suite, and all scores; byte for byte the same for the same records.

    Args:
        leaderboard: The folder.
        read: Its boards, where they have been read already.
    """
    tables, scores = _tables(leaderboard, read)
    for path, content in tables.items():
        write_bytes(path, content)
    parquet = _parquet_path(leaderboard)
    # Another version of pyarrow writes the same rows in other bytes: what holds them already stays.
    if not _holds(parquet, scores):
        write_bytes(parquet, parquet_bytes(scores))
    for path in _orphans(leaderboard, {*tables, parquet}):
        path.unlink()
    return [*tables, parquet]


def stale_tables(leaderboard: Path, *, read: list[Board] | None = None) -> list[Path]:
    """Return the tables that are missing, left over, or not what the records make."""
    tables, scores = _tables(leaderboard, read)
    stale = [path for path, content in tables.items() if not path.is_file() or path.read_bytes() != content]
    parquet = _parquet_path(leaderboard)
    if not _holds(parquet, scores):
        stale.append(parquet)
    return sorted([*stale, *_orphans(leaderboard, {*tables, parquet})])


@collector_at_rest()
def _tables(leaderboard: Path, read: list[Board] | None) -> tuple[dict[Path, bytes], pa.Table]:
    folder = leaderboard / "tables"
    found = boards(leaderboard) if read is None else read
    tables: dict[Path, bytes] = {}
    for board in found:
        tables[folder / f"{board.suite.name}.csv"] = csv_table(board).encode()
        tables[folder / f"{board.suite.name}.md"] = markdown_table(board).encode()
    scores = all_scores(found)
    tables[folder / f"{_ALL}.csv"] = csv_bytes(scores)
    return tables, scores


def _parquet_path(leaderboard: Path) -> Path:
    return leaderboard / "tables" / f"{_ALL}.parquet"


def _holds(path: Path, scores: pa.Table) -> bool:
    return path.is_file() and same_table(path.read_bytes(), scores)


def _orphans(leaderboard: Path, tables: set[Path]) -> Iterator[Path]:
    """Yield tables of suites that have no row any more."""
    for ending in _ENDINGS:
        for path in sorted((leaderboard / "tables").glob(f"*.{ending}")):
            if path not in tables:
                yield path
