"""Records on disk: the quick way of reading one finds what the slow way finds, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_safety.errors import FileFormatError
from robustbench_safety.files import digest_of, read_json, write_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting import filing
from robustbench_safety.reporting.filing import file_of, filed_records, listed_records, record_path
from tests.conftest import REPOSITORY
from tests.golden.make import RECORD

COMMITTED = sorted((REPOSITORY / "leaderboard" / "records").glob("*/*.json"))


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_the_text_of_a_filed_record_gives_its_digest(path: Path) -> None:
    filed = file_of(path)
    assert filed.digest == digest_of(read_json(path, ScoreRecord).digested_fields())
    assert filing._digest_as_written(path.read_bytes()) == filed.digest


@pytest.mark.parametrize(
    "name", ['a "quoted": name', "two\nlines", "back\\slash", '"timings": {', "ümlaut ", '\\": '], ids=ascii
)
def test_no_name_makes_another_digest(tmp_path: Path, record: ScoreRecord, name: str) -> None:
    odd = record.model_copy(update={"display_name": name})
    path = record_path(tmp_path, odd)
    write_json(path, odd)
    (filed,), (listed,) = filed_records(tmp_path), listed_records(tmp_path)
    assert filed.record == odd
    assert listed.record.display_name == name
    assert filed.digest == listed.digest == digest_of(odd.digested_fields())


@pytest.mark.parametrize("change", ["twice", "value", "field", "order"])
def test_a_text_that_is_not_the_record_s_own_is_never_taken_by_its_digest(
    tmp_path: Path, record: ScoreRecord, change: str
) -> None:
    path = record_path(tmp_path, record)
    write_json(path, record)
    text = path.read_text()
    if change == "twice":
        path.write_text(text.replace('{\n "accuracies"', '{\n "slug": "other",\n "accuracies"', 1))
        if path.read_text() == text:
            path.write_text(text.replace("{\n", '{\n "slug": "other",\n', 1))
        with pytest.raises(FileFormatError, match="'slug' is written twice"):
            file_of(path)
    elif change == "value":
        path.write_text(text.replace('"seed": 0', '"seed": 1'))
        assert file_of(path).digest != digest_of(record.digested_fields())
    elif change == "field":
        path.write_text(text.replace('"seed": 0', '"sead": 0'))
        with pytest.raises(FileFormatError, match="sead"):
            file_of(path)
    else:
        fields = json.loads(text)
        path.write_text(json.dumps(dict(reversed(fields.items()))))
        assert file_of(path).digest == digest_of(record.digested_fields())


def test_records_come_one_at_a_time_by_suite_and_name(tmp_path: Path, record: ScoreRecord) -> None:
    for slug in ("b", "a", "c"):
        one = record.model_copy(update={"slug": slug})
        write_json(record_path(tmp_path, one), one)
    found = filed_records(tmp_path)
    assert next(found).record.slug == "a"
    assert [filed.record.slug for filed in found] == ["b", "c"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_never_opened(
    tmp_path: Path, record: ScoreRecord, make: Callable[[Path], None]
) -> None:
    path = record_path(tmp_path, record)
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(FileFormatError, match="is no file; expected a record"):
        list(listed_records(tmp_path))


def test_a_listed_record_is_the_whole_one_without_its_details() -> None:
    details = {"conditions", "groups", "curves", "prediction_digests"}
    leaderboard = REPOSITORY / "leaderboard"
    for listed, whole in zip(listed_records(leaderboard), filed_records(leaderboard), strict=True):
        assert (listed.digest, listed.path) == (whole.digest, whole.path)
        assert listed.record.model_dump(exclude=details) == whole.record.model_dump(exclude=details)
        assert listed.record.conditions == {}
        assert isinstance(listed.record, ScoreRecord)


@pytest.mark.parametrize("spaces", ["", " ", "  ", " " * 9, "\t", "\n "], ids=ascii)
def test_a_record_in_another_layout_is_listed_as_the_same_one(tmp_path: Path, spaces: str) -> None:
    path = tmp_path / "records" / COMMITTED[-1].parent.name / COMMITTED[-1].name
    path.parent.mkdir(parents=True)
    shutil.copy(COMMITTED[-1], path)
    (written,) = listed_records(tmp_path)
    path.write_text(re.sub("\n +", f"\n{spaces}", path.read_text()))
    (found,) = listed_records(tmp_path)
    assert found == written


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [('"seed": 0', '"seed": "0"', "seed"), ('"status": "partial"', '"status": "whole"', "status")],
)
def test_a_wrong_field_of_a_listed_record_is_said_as_of_a_whole_one(
    tmp_path: Path, record: ScoreRecord, old: str, new: str, words: str
) -> None:
    path = record_path(tmp_path, record)
    write_json(path, record)
    path.write_text(path.read_text().replace(old, new))
    # Under the name that its text has, so that nothing but the field is wrong.
    path = path.rename(path.with_name(f"tiny--{filing._digest_as_written(path.read_bytes())[:8]}.json"))
    with pytest.raises(FileFormatError, match=words):
        list(listed_records(tmp_path))


def test_a_listed_record_without_the_score_of_a_column_is_refused(
    tmp_path: Path, record: ScoreRecord
) -> None:
    path = record_path(tmp_path, record)
    scores = {name: score for name, score in record.scores.items() if name != record.columns[0]}
    write_json(path, record.model_copy(update={"scores": scores}))
    path.rename(path.with_name(f"tiny--{filing._digest_as_written(path.read_bytes())[:8]}.json"))
    with pytest.raises(FileFormatError, match="has no score"):
        list(listed_records(tmp_path))


@pytest.mark.parametrize(("columns", "words"), [((), "at least one"), (("flip_rate", "flip_rate"), "twice")])
def test_a_listed_record_without_a_column_or_with_one_twice_is_refused(
    tmp_path: Path, record: ScoreRecord, columns: tuple[str, ...], words: str
) -> None:
    path = record_path(tmp_path, record)
    write_json(path, record.model_copy(update={"columns": columns, "beside": ()}))
    path.rename(path.with_name(f"tiny--{filing._digest_as_written(path.read_bytes())[:8]}.json"))
    with pytest.raises(FileFormatError, match=words):
        list(listed_records(tmp_path))
