"""Records on the leaderboard, as they are and with one thing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustbench_safety.companion import Companion, read_companion, write_companion
from robustbench_safety.files import read_json, write_json
from robustbench_safety.records import CheckReport, ColumnCheck, ScoreRecord
from tests.conftest import REPOSITORY

RECORDS = REPOSITORY / "leaderboard" / "records"


def record_of(suite: str, name: str) -> Path:
    """Return the path of the record of that display name."""
    for path in sorted((RECORDS / suite).glob("*.json")):
        if read_json(path, ScoreRecord).display_name == name:
            return path
    raise LookupError(f"no record of {name} on {suite}")


def plain() -> Path:
    return record_of("digits-safety", "digits CNN, plain")


def mixed() -> Path:
    return record_of("digits-safety", "digits CNN, noise and mixing")


def companion_of(path: Path) -> Companion:
    return read_companion(path.with_suffix(".parquet"))


def changed(path: Path, folder: Path, name: str, companion: Companion | None = None, **fields: Any) -> Path:
    """File a copy of a record with some fields changed, and its companion; return its path."""
    record = read_json(path, ScoreRecord)
    own = companion or companion_of(path)
    new = record.model_copy(update={"companion_digest": own.digest(), **fields})
    copy = folder / f"{name}.json"
    write_json(copy, new)
    write_companion(copy.with_suffix(".parquet"), own)
    return copy


def column(report: CheckReport, name: str) -> ColumnCheck:
    return next(one for one in report.columns if one.column == name)
