"""Records as somebody might send them: honest ones from this repository's leaderboard, and forged ones."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.companion import Companion, read_companion, write_companion
from robustbench_safety.files import digest_of, write_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.filing import file_of
from tests.conftest import REPOSITORY

BOARD = REPOSITORY / "leaderboard"
PLAIN, MIXED = (
    next((BOARD / "records" / "digits-safety").glob(f"{name}--*.json"))
    for name in ("digits-cnn-plain", "digits-cnn-noise-and-mixing")
)


def record_at(path: Path) -> ScoreRecord:
    """Return a record."""
    return file_of(path).record


def companion_at(path: Path) -> Companion:
    """Return the companion beside a record."""
    return read_companion(path.with_suffix(".parquet"))


def sent(
    folder: Path, record: ScoreRecord, companion: Companion | None = None, *, name: str | None = None
) -> Path:
    """Write a record and its companion as `rbs score` names them, whatever they hold; return its path."""
    stem = name or f"{record.slug}--{digest_of(record.digested_fields())[:8]}"
    path = folder / f"{stem}.json"
    write_json(path, record)
    write_companion(path.with_suffix(".parquet"), companion or companion_at(PLAIN))
    return path
