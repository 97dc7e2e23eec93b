"""Tables: what is shown, in which order, and that no name can do harm."""

from __future__ import annotations

import csv
import io

import pytest

from robustbench_safety.files import digest_of, read_json
from robustbench_safety.records import Score, ScoreInterval, ScoreRecord
from robustbench_safety.reporting.columns import columns_of_records
from robustbench_safety.reporting.tables import csv_table, markdown_table, notes_shown, shown, shown_interval
from tests.golden.make import RECORD
from tests.reporting.boards import board, names


@pytest.fixture(scope="module")
def partial() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


@pytest.fixture(scope="module")
def complete(partial: ScoreRecord) -> ScoreRecord:
    return partial.model_copy(update={"status": "complete", "partial_because": (), "limit": None})


def with_first_column(record: ScoreRecord, value: float | None, name: str) -> ScoreRecord:
    first = record.columns[0]
    reason = None if value is not None else "not measured"
    score = record.scores[first].model_copy(update={"value": value, "reason": reason, "interval": None})
    return record.model_copy(update={"scores": record.scores | {first: score}, "display_name": name})


def test_the_best_row_comes_first_and_a_null_last(complete: ScoreRecord) -> None:
    rows = [
        with_first_column(complete, value, name)
        for value, name in ((0.3, "c"), (None, "d"), (0.1, "a"), (0.2, "b"))
    ]
    assert names(board(*rows)) == ["a", "b", "c", "d"]


def test_a_partial_row_stands_below_every_verified_one(partial: ScoreRecord, complete: ScoreRecord) -> None:
    rows = [with_first_column(partial, 0.0, "smoke run"), with_first_column(complete, 0.9, "whole")]
    assert names(board(*rows)) == ["whole", "smoke run"]


def test_a_superseded_record_is_not_shown(complete: ScoreRecord) -> None:
    old = with_first_column(complete, 0.1, "old")
    new = with_first_column(complete, 0.2, "new").model_copy(
        update={"supersedes": digest_of(old.digested_fields())}
    )
    assert names(board(old, new)) == ["new"]


def test_values_are_percent_with_two_digits_and_other_units_have_four() -> None:
    interval = ScoreInterval(low=0.08, high=0.09, level=0.95, method="wilson")
    rate = Score(value=0.0827, n=10, interval=interval, unit="fraction", direction="lower")
    assert (shown(rate), shown_interval(rate)) == ("8.27", "8.00 – 9.00")
    nats = rate.model_copy(update={"unit": "nats", "value": 0.37266})
    assert (shown(nats), shown_interval(nats)) == ("0.3727", "0.0800 – 0.0900")
    null = Score(value=None, n=0, interval=None, unit="fraction", direction="lower", reason="missing")
    assert (shown(null), shown_interval(null)) == ("–", "")


def test_titles_say_the_unit_and_which_way_is_good(complete: ScoreRecord) -> None:
    titles = {name: column.heading for name, column in columns_of_records([complete]).items()}
    assert list(titles) == ["clean_error", "c_error", "flip_rate", "pgd_error", "c_rms", "anomaly"]
    assert titles["clean_error"] == "clean error % ↓"
    assert titles["anomaly"] == "anomaly % ↑"


def test_the_csv_has_value_low_and_high_of_every_column(complete: ScoreRecord) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_table(board(complete))))
    assert row["c_error"] == "17.92"
    assert (row["c_error_low"], row["c_error_high"]) == ("14.42", "21.63")
    assert row["record_digest"] == digest_of(complete.digested_fields())[:8]
    assert row["kind"] == "verified"


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "plain"])
def test_no_name_is_a_formula_in_the_csv(complete: ScoreRecord, name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_table(board(complete.model_copy(update={"display_name": name})))))
    assert row["name"][0] not in "=+-@\t"


@pytest.mark.parametrize(
    "name",
    ["a | b", "<script>alert(1)</script>", "[x](javascript:1)", "`code`\n\n# head", "x\x1b[31m", "y" * 5000],
)
def test_no_name_breaks_the_markdown_table(complete: ScoreRecord, name: str) -> None:
    text = markdown_table(board(complete.model_copy(update={"display_name": name})))
    lines = text.splitlines()
    assert len(lines) == 7
    assert "<" not in lines[-1].replace("\\<", "")
    assert "\x1b" not in text
    unescaped = lines[-1].replace("\\|", "")
    assert unescaped.count("|") == lines[4].count("|")
    assert len(lines[-1]) < 1000


def test_the_same_records_make_the_same_bytes_in_any_order(complete: ScoreRecord) -> None:
    rows = [with_first_column(complete, value, str(value)) for value in (0.1, 0.2, 0.3)]
    assert csv_table(board(*rows)) == csv_table(board(*rows[::-1]))
    assert markdown_table(board(*rows)) == markdown_table(board(*rows[::-1]))


def test_a_value_with_a_note_is_marked_and_the_note_stands_below(complete: ScoreRecord) -> None:
    first = complete.columns[0]
    noted = complete.scores[first].model_copy(update={"note": "divided by <unverified> figures"})
    record = complete.model_copy(update={"scores": complete.scores | {first: noted}})
    table = markdown_table(board(record, complete))
    assert table.count("†") == 2
    assert table.endswith(f"\n† {first.replace('_', ' ')}: divided by \\<unverified\\> figures\n")
    assert notes_shown(board(complete)) == []


def test_an_interval_without_its_value_is_explained_once_and_any_other_is_not(complete: ScoreRecord) -> None:
    first = complete.columns[0]
    score = complete.scores[first].model_copy(update={"value": 0.06})

    def explained(high: float) -> int:
        interval = ScoreInterval(low=0.03, high=high, level=0.95, method="basic bootstrap")
        scores = complete.scores | {first: score.model_copy(update={"interval": interval})}
        record = complete.model_copy(update={"scores": scores})
        return markdown_table(board(record, with_first_column(record, 0.07, "b"))).count(
            "ends below its value"
        )

    assert (explained(0.05), explained(0.08)) == (1, 0)


def test_the_worst_condition_is_named_beside_its_value(complete: ScoreRecord) -> None:
    score = complete.scores[complete.columns[0]].model_copy(update={"value": 0.5, "worst": "glass_blur"})
    assert shown(score) == "50.00 glass_blur"


def test_no_name_is_an_address_a_mention_or_nothing_in_the_markdown_table(complete: ScoreRecord) -> None:
    text = markdown_table(board(complete.model_copy(update={"display_name": "http://e.x @me"})))
    assert "://" not in text
    assert "@me" not in text
    assert "◆ unnamed |" in markdown_table(board(complete.model_copy(update={"display_name": "   "})))


def test_no_name_reaches_the_terminal_as_a_command_through_the_csv(complete: ScoreRecord) -> None:
    text = csv_table(board(complete.model_copy(update={"display_name": "a\x1b[31m\u202eb"})))
    assert "a [31m b" in text
