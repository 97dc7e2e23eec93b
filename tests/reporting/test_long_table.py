"""All scores, one a row: what is in a record is in the table, in the tables' units."""

from __future__ import annotations

import csv
import io

import pyarrow.parquet as pq
import pytest

from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.long_table import (
    SCHEMA,
    all_scores,
    csv_bytes,
    parquet_bytes,
    same_table,
)
from tests.golden.make import RECORD
from tests.reporting.boards import board


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    found = read_json(RECORD, ScoreRecord)
    return found.model_copy(update={"status": "complete", "partial_because": (), "limit": None})


def test_every_score_has_a_row_with_its_value_in_percent_or_its_own_unit(record: ScoreRecord) -> None:
    rows = {row["id"]: row for row in all_scores([board(record)]).to_pylist()}
    assert set(rows) == set(record.scores)
    for name, score in record.scores.items():
        assert score.value is not None
        factor = 100 if score.unit == "fraction" else 1
        assert rows[name]["value"] == pytest.approx(factor * score.value)
        assert rows[name]["unit"] == ("percent" if score.unit == "fraction" else score.unit)
        assert (rows[name]["n"], rows[name]["direction"]) == (score.n, score.direction)
    assert rows["clean_error"]["role"] == "beside"
    assert rows["c_error"]["role"] == "column"
    assert (rows["c_error"]["best_rank"], rows["c_error"]["worst_rank"]) == (1, 1)
    assert rows["brier"]["role"] == "cell"


def test_a_null_says_why(record: ScoreRecord) -> None:
    null = record.scores["anomaly"].model_copy(update={"value": None, "interval": None, "reason": "no data"})
    changed = record.model_copy(update={"scores": record.scores | {"anomaly": null}})
    row = next(row for row in all_scores([board(changed)]).to_pylist() if row["id"] == "anomaly")
    assert (row["value"], row["low"], row["best_rank"], row["reason"]) == (None, None, None, "no data")


def test_the_csv_holds_the_same_rows_and_runs_no_formula(record: ScoreRecord) -> None:
    hostile = record.model_copy(update={"display_name": '=1+1,"a"\n<b>'})
    table = all_scores([board(hostile)])
    rows = list(csv.DictReader(io.StringIO(csv_bytes(table).decode())))
    assert len(rows) == table.num_rows
    assert list(rows[0]) == SCHEMA.names
    assert {row["name"] for row in rows} == {'\'=1+1,"a"\n<b>'}
    assert float(rows[0]["value"]) == table.column("value")[0].as_py()


def test_parquet_is_compared_by_its_rows(record: ScoreRecord) -> None:
    table = all_scores([board(record)])
    content = parquet_bytes(table)
    assert same_table(content, table)
    other = io.BytesIO()
    pq.write_table(table, other, compression="none")
    assert other.getvalue() != content
    assert same_table(other.getvalue(), table)
    assert not same_table(content, table.slice(1))
    assert not same_table(content[:-9], table)
    assert not same_table(b"", table)
