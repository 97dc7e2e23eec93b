"""The leaderboard folder: records are immutable, tables are made from them and checked against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.companion import Companion
from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.evaluation import rescore
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.filing import read_records, write_record
from robustbench_safety.reporting.leaderboard import build_tables, stale_tables
from tests.conftest import REPOSITORY
from tests.golden.make import RECORD, RUN, SUITE


@pytest.fixture(scope="module")
def companion() -> Companion:
    return rescore(RUN, suite=SUITE).companion


@pytest.fixture
def record() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


def test_a_record_lies_under_its_suite_slug_and_digest(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    path = write_record(tmp_path, record, companion)
    digest = digest_of(record.digested_fields())
    assert path == tmp_path / "records" / "golden" / f"tiny--{digest[:8]}.json"
    assert path.with_suffix(".parquet").is_file()
    assert read_records(tmp_path) == [record]


def test_times_alone_make_no_new_record(tmp_path: Path, record: ScoreRecord, companion: Companion) -> None:
    first = write_record(tmp_path, record, companion)
    content = first.read_bytes()
    later = record.model_copy(update={"timings": record.timings.model_copy(update={"seconds": 999.0})})
    assert write_record(tmp_path, later, companion) == first
    assert first.read_bytes() == content


def test_a_record_that_was_edited_is_refused(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    path = write_record(tmp_path, record, companion)
    path.write_text(path.read_text().replace('"display_name": "tiny"', '"display_name": "best"'))
    with pytest.raises(FileFormatError, match="was changed after it was written"):
        read_records(tmp_path)


def test_a_folder_without_records_is_no_leaderboard(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"is not a leaderboard; .* no records/ there"):
        read_records(tmp_path)
    with pytest.raises(StorageError, match="no such folder"):
        read_records(tmp_path / "missing")


def test_built_tables_are_not_stale_and_the_same_bytes_each_time(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    write_record(tmp_path, record, companion)
    assert len(stale_tables(tmp_path)) == 4
    first = {path: path.read_bytes() for path in build_tables(tmp_path)}
    assert stale_tables(tmp_path) == []
    assert {path: path.read_bytes() for path in build_tables(tmp_path)} == first
    assert sorted(path.name for path in first) == [
        "all_scores.csv",
        "all_scores.parquet",
        "golden.csv",
        "golden.md",
    ]


def test_an_edited_missing_or_left_over_table_is_stale(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    write_record(tmp_path, record, companion)
    table, markdown, scores, parquet = build_tables(tmp_path)
    table.write_text(table.read_text().replace("17.92", "7.92"))
    assert stale_tables(tmp_path) == [table]
    build_tables(tmp_path)
    markdown.unlink()
    assert stale_tables(tmp_path) == [markdown]
    build_tables(tmp_path)
    scores.write_text(scores.read_text().replace("17.9", "7.9"))
    parquet.write_bytes(parquet.read_bytes()[:-20])
    assert stale_tables(tmp_path) == [scores, parquet]
    build_tables(tmp_path)
    orphan = table.with_name("gone.csv")
    orphan.write_text("old")
    assert stale_tables(tmp_path) == [orphan]
    build_tables(tmp_path)
    assert not orphan.exists()


def test_the_committed_leaderboard_is_sound() -> None:
    leaderboard = REPOSITORY / "leaderboard"
    assert read_records(leaderboard)
    assert stale_tables(leaderboard) == []
