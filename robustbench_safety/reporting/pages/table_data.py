"""The table of a suite as JSON, for whoever goes on with the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from robustbench_safety.reporting.reported import ReportedRow
from robustbench_safety.reporting.rows import Board, Row

__all__ = ["json_table"]


def json_table(board: Board) -> str:
    """Return one suite's rows as JSON: values as in the records, fractions and not percent.

    Papers' numbers stand apart, under ``reported``, as they are printed: in percent where the unit says so.
    """
    units = {column.id: "percent" if column.unit == "fraction" else column.unit for column in board.columns}
    table = {
        "suite": board.suite.name,
        "suite_version": board.suite.version,
        "suite_digest": board.suite.digest,
        "title": board.title,
        "columns": [
            {
                "id": column.id,
                "unit": column.unit,
                "direction": column.direction,
                "headline": column.headline,
            }
            for column in board.columns
        ],
        "rows": [_row(row, board) for row in board.rows],
        "reported": [_reported(row, units) for row in board.reported],
    }
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row, board: Board) -> dict[str, object]:
    record = row.record
    return {
        "name": record.display_name,
        "model": record.model.name,
        "kind": record.kind,
        "record": row.path.name,
        "record_digest": row.digest,
        "suite_version": record.suite.version,
        "suite_digest": record.suite.digest,
        "ranked": row.ranked,
        "pareto_front": row.on_front,
        "flags": list(row.flags),
        "scores": {
            column.id: _score(row, column.id) for column in board.columns if column.id in record.scores
        },
    }


def _score(row: Row, column: str) -> dict[str, object]:
    score, rank, known = row.record.scores[column], row.ranks.get(column), row.best_known.get(column)
    shown: dict[str, object] = {"value": score.value}
    if score.interval is not None:
        shown |= {"low": score.interval.low, "high": score.interval.high}
    if score.reason is not None:
        shown["reason"] = score.reason
    if score.note is not None:
        shown["note"] = score.note
    if score.worst is not None:
        shown["worst"] = score.worst
    if rank is not None:
        shown["rank"] = [rank.best, rank.worst]
    if known is not None:
        shown["best_known"] = {"value": known.value, "source": known.source}
    return shown


def _reported(row: ReportedRow, units: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": row.name,
        "model": row.model,
        "source": row.source,
        "note": row.note,
        "scores": {
            name: {
                "value": score.value,
                "unit": units[name],
                "certainty": score.certainty,
                "source": score.source,
            }
            for name, score in row.scores.items()
        },
    }
