"""All scores of all suites, one a row: for MLflow, W&B, spreadsheets and papers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from robustbench_safety.reporting.filing import collector_at_rest
from robustbench_safety.reporting.rows import Board, Row
from robustbench_safety.reporting.tables import not_a_formula, reported_source

__all__ = ["SCHEMA", "all_scores", "csv_bytes", "parquet_bytes", "same_table"]

#: Values, and the ends of their intervals, are in the units of the tables: percent where the unit is so.
SCHEMA = pa.schema([
    ("suite", pa.string()),
    ("suite_version", pa.int64()),
    ("suite_digest", pa.string()),
    ("name", pa.string()),
    ("model", pa.string()),
    ("kind", pa.string()),
    ("record_digest", pa.string()),
    ("id", pa.string()),  # of the cell or aggregate
    ("role", pa.string()),  # column, beside or cell
    ("value", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("best_rank", pa.int64()),
    ("worst_rank", pa.int64()),
    ("best_known", pa.float64()),
    ("unit", pa.string()),  # percent, nats or score
    ("direction", pa.string()),
    ("n", pa.int64()),
    ("n_out", pa.int64()),
    ("reason", pa.string()),  # why there is no value
    ("note", pa.string()),
    ("source", pa.string()),  # of a paper's number
])  # fmt: skip

#: Decimals kept: more than any record has.
_DECIMALS = 10

Fields = dict[str, Any]


@collector_at_rest()
def all_scores(boards: Sequence[Board]) -> pa.Table:
    """Return every score that the boards show: cells too, and the papers' numbers."""
    rows = [fields for board in boards for fields in _of_board(board)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def csv_bytes(table: pa.Table) -> bytes:
    """Return the table as CSV. Text that a spreadsheet would run as a formula begins with an apostrophe."""
    columns = [_safe(column) if column.type == pa.string() else column for column in table.columns]
    out = io.BytesIO()
    pc.write_csv(pa.table(columns, schema=table.schema), out, pc.WriteOptions(quoting_style="needed"))
    return out.getvalue()


def _safe(column: pa.ChunkedArray) -> pa.Array:
    # Of hundreds of thousands of texts few differ: names, units, columns.
    encoded = column.combine_chunks().dictionary_encode()
    texts = pa.array([not_a_formula(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as Parquet. The bytes differ from version to version of pyarrow, the rows do not."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def same_table(content: bytes, table: pa.Table) -> bool:
    """Tell whether a Parquet file holds a table."""
    try:
        return bool(pq.read_table(io.BytesIO(content)).equals(table))
    except (pa.ArrowException, OSError):
        return False


def _of_board(board: Board) -> Iterator[Fields]:
    for row in board.rows:
        yield from _of_row(row)
    for reported in board.reported:
        columns = {column.id: column for column in board.columns}
        for name, score in reported.scores.items():
            column = columns[name]
            yield {
                "suite": board.suite.name,
                "name": reported.name,
                "model": reported.model,
                "kind": "reported",
                "id": name,
                "role": "column" if column.headline else "beside",
                "value": score.value,
                "unit": _unit(column.unit),
                "direction": column.direction,
                "note": reported.note,
                "source": reported_source(reported),
            }


def _of_row(row: Row) -> Iterator[Fields]:
    record = row.record
    about = {
        "suite": record.suite.name,
        "suite_version": record.suite.version,
        "suite_digest": record.suite.digest,
        "name": record.display_name,
        "model": record.model.name,
        "kind": record.kind,
        "record_digest": row.digest,
    }
    shown = {**dict.fromkeys(record.beside, "beside"), **dict.fromkeys(record.columns, "column")}
    for name in (*shown, *(name for name in record.scores if name not in shown)):
        score, rank, best = record.scores[name], row.ranks.get(name), row.best_known.get(name)
        yield about | {
            "id": name,
            "role": shown.get(name, "cell"),
            "value": _in_unit(score.value, score.unit),
            "low": _in_unit(score.interval.low, score.unit) if score.interval else None,
            "high": _in_unit(score.interval.high, score.unit) if score.interval else None,
            "best_rank": rank.best if rank else None,
            "worst_rank": rank.worst if rank else None,
            "best_known": _in_unit(best.value, score.unit) if best else None,
            "unit": _unit(score.unit),
            "direction": score.direction,
            "n": score.n,
            "n_out": score.n_out,
            "reason": score.reason,
            "note": score.note,
        }


def _unit(unit: str) -> str:
    return "percent" if unit == "fraction" else unit


def _in_unit(value: float | None, unit: str) -> float | None:
    if value is None:
        return None
    return round(100 * value if unit == "fraction" else value, _DECIMALS)
