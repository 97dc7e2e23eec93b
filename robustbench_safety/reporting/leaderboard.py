"""The leaderboard folder: records are its only source, tables are made from them and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robustbench_safety.companion import Companion, write_companion
from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.files import digest_of, read_json, write_bytes, write_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.tables import csv_table, markdown_table

__all__ = ["build_tables", "read_records", "record_path", "stale_tables", "write_record"]


def record_path(leaderboard: Path, record: ScoreRecord) -> Path:
    """Return ``records/<suite>/<slug>--<first 8 of its digest>.json``."""
    digest = digest_of(record.digested_fields())
    return leaderboard / "records" / record.suite.name / f"{record.slug}--{digest[:8]}.json"


def write_record(leaderboard: Path, record: ScoreRecord, companion: Companion) -> Path:
    """File a record and its companion. What is there already is left as it is: records are immutable.

    Raises:
        StorageError: The folder cannot be written.
    """
    path = record_path(leaderboard, record)
    # The companion first: a record is never seen without it.
    if not path.with_suffix(".parquet").exists():
        write_companion(path.with_suffix(".parquet"), companion)
    if not path.exists():
        write_json(path, record)
    return path


def read_records(leaderboard: Path) -> list[ScoreRecord]:
    """Read every record, sorted by suite and file name.

    Raises:
        StorageError: There is no such leaderboard.
        FileFormatError: A record was changed after it was written, or is none.
    """
    folder = leaderboard / "records"
    if not folder.is_dir():
        raise StorageError(
            f"{leaderboard} is not a leaderboard",
            expected="a folder with records/ in it",
            found="no such folder" if not leaderboard.exists() else "no records/ there",
            fix="name one with --leaderboard DIR",
        )
    records = []
    for path in sorted(folder.glob("*/*.json")):
        record = read_json(path, ScoreRecord)
        expected = record_path(leaderboard, record)
        if path != expected:
            raise FileFormatError(
                f"{path} was changed after it was written",
                expected=f"the file name {expected.parent.name}/{expected.name} for this content",
                found=f"{path.parent.name}/{path.name}",
                fix="restore it: a correction is a new record",
            )
        records.append(record)
    return records


def build_tables(leaderboard: Path) -> list[Path]:
    """Write the tables of every suite; byte for byte the same for the same records."""
    tables = _tables(leaderboard)
    for path, content in tables.items():
        write_bytes(path, content)
    for path in _orphans(leaderboard, tables):
        path.unlink()
    return list(tables)


def stale_tables(leaderboard: Path) -> list[Path]:
    """Return the tables that are missing, left over, or not what the records make."""
    tables = _tables(leaderboard)
    stale = [path for path, content in tables.items() if not path.is_file() or path.read_bytes() != content]
    return sorted([*stale, *_orphans(leaderboard, tables)])


def _tables(leaderboard: Path) -> dict[Path, bytes]:
    by_suite: dict[str, list[ScoreRecord]] = {}
    for record in read_records(leaderboard):
        by_suite.setdefault(record.suite.name, []).append(record)
    folder = leaderboard / "tables"
    tables: dict[Path, bytes] = {}
    for suite, records in sorted(by_suite.items()):
        tables[folder / f"{suite}.csv"] = csv_table(records).encode()
        tables[folder / f"{suite}.md"] = markdown_table(records).encode()
    return tables


def _orphans(leaderboard: Path, tables: dict[Path, bytes]) -> Iterator[Path]:
    """Yield tables of suites that have no record any more."""
    for ending in ("csv", "md"):
        for path in sorted((leaderboard / "tables").glob(f"*.{ending}")):
            if path not in tables:
                yield path
