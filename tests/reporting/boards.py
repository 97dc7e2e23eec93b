"""Boards of records that tests make up, as if they lay on a leaderboard."""

from __future__ import annotations

from robustbench_safety.files import digest_of
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.filing import Filed, record_path
from robustbench_safety.reporting.rows import Board, board_of
from tests.conftest import REPOSITORY


def filed(record: ScoreRecord) -> Filed:
    path = record_path(REPOSITORY / "leaderboard", record)
    return Filed(record=record, digest=digest_of(record.digested_fields()), path=path)


def board(*records: ScoreRecord) -> Board:
    return board_of(map(filed, records))


def names(found: Board) -> list[str]:
    return [row.record.display_name for row in found.rows]
