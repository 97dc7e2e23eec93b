"""Boards: which rows are ranked, what they are marked with, and that no reader is led astray."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.leaderboard import write
from robustbench_safety.errors import FileFormatError
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.records import ScoreInterval, ScoreRecord
from robustbench_safety.reporting.rows import boards
from tests.conftest import REPOSITORY
from tests.golden.make import RECORD
from tests.leaderboards import fields_of
from tests.reporting.boards import board, names

HEADLINE = ("c_error", "flip_rate", "pgd_error", "c_rms", "anomaly")


@pytest.fixture(scope="module")
def complete() -> ScoreRecord:
    record = read_json(RECORD, ScoreRecord)
    return record.model_copy(update={"status": "complete", "partial_because": (), "limit": None})


def named(record: ScoreRecord, name: str, **values: float | None) -> ScoreRecord:
    """Return a copy with these values, each with an interval of a point on either side."""
    scores = dict(record.scores)
    for column, value in values.items():
        interval = value and ScoreInterval(low=value - 0.01, high=value + 0.01, level=0.95, method="m")
        reason = "not measured" if value is None else None
        scores[column] = scores[column].model_copy(
            update={"value": value, "interval": interval or None, "reason": reason}
        )
    return record.model_copy(update={"display_name": name, "slug": name, "scores": scores})


def kind(record: ScoreRecord, kind: str) -> ScoreRecord:
    return record.model_copy(update={"verification": record.verification.model_copy(update={"kind": kind})})


def test_rows_whose_intervals_touch_are_tied_in_either_direction(complete: ScoreRecord) -> None:
    found = board(
        named(complete, "a", c_error=0.10, anomaly=0.90),
        named(complete, "b", c_error=0.115, anomaly=0.70),
        named(complete, "c", c_error=0.20, anomaly=0.895),
    )
    assert names(found) == ["a", "b", "c"]
    assert [str(row.ranks["c_error"]) for row in found.rows] == ["1–2", "1–2", "3"]
    assert [str(row.ranks["anomaly"]) for row in found.rows] == ["1–2", "3", "1–2"]


@pytest.mark.parametrize("other", ["recomputed", "self-reported"])
def test_only_verified_rows_are_ranked(complete: ScoreRecord, other: str) -> None:
    better = kind(named(complete, "better", c_error=0.01), other)
    found = board(better, named(complete, "verified", c_error=0.5))
    assert names(found) == ["verified", "better"]
    assert [row.ranked for row in found.rows] == [True, False]
    assert str(found.rows[0].ranks["c_error"]) == "1"
    assert found.rows[1].ranks == {}
    assert not found.rows[1].on_front


def test_a_partial_or_older_row_is_not_ranked_with_the_others(complete: ScoreRecord) -> None:
    partial = named(read_json(RECORD, ScoreRecord), "partial", c_error=0.01)
    newer = complete.suite.model_copy(update={"version": 2, "digest": "f" * 64})
    new = named(complete, "new", c_error=0.5).model_copy(update={"suite": newer})
    found = board(partial, named(complete, "old", c_error=0.01), new)
    assert found.suite == newer
    assert [(row.record.display_name, row.ranked) for row in found.rows] == [
        ("new", True),
        ("partial", False),
        ("old", False),
    ]


def test_the_columns_are_those_of_the_version_that_is_ranked(complete: ScoreRecord) -> None:
    newer = complete.suite.model_copy(update={"version": 2, "digest": "f" * 64})
    changed = {"suite": newer, "columns": ("clean_error", "c_error"), "beside": ("anomaly",)}
    found = board(
        named(complete, "an old one", c_error=0.1),
        named(complete, "best", clean_error=0.1, c_error=0.2).model_copy(update=changed),
        named(complete, "worse", clean_error=0.2, c_error=0.3).model_copy(update=changed),
    )
    assert [column.id for column in found.headline] == ["clean_error", "c_error"]
    assert {column.id for column in found.columns} >= {*HEADLINE}
    assert [row.record.display_name for row in found.rows if row.on_front] == ["best"]


def test_what_an_unverified_row_says_of_a_column_turns_no_ranking_round(complete: ScoreRecord) -> None:
    forged = kind(named(complete, "a forged one", c_error=0.3), "self-reported")
    turned = forged.scores["c_error"].model_copy(update={"direction": "higher"})
    forged = forged.model_copy(update={"scores": forged.scores | {"c_error": turned}})
    found = board(forged, named(complete, "best", c_error=0.1), named(complete, "worse", c_error=0.2))
    assert names(found) == ["best", "worse", "a forged one"]


def test_the_front_is_of_the_headline_columns_and_of_whole_rows(complete: ScoreRecord) -> None:
    same = dict.fromkeys(HEADLINE, 0.3)
    found = board(
        named(complete, "best by corruptions", **{**same, "c_error": 0.1}),
        named(complete, "best by anomaly", **{**same, "anomaly": 0.9}),
        named(complete, "dominated", **{**same, "c_error": 0.2}),
        named(complete, "better beside alone", **{**same, "c_error": 0.4, "clean_error": 0.0001}),
        named(complete, "incomplete", **{**same, "c_error": None, "anomaly": 0.99}),
    )
    assert {row.record.display_name for row in found.rows if row.on_front} == {
        "best by corruptions",
        "best by anomaly",
    }
    incomplete = next(row for row in found.rows if row.record.display_name == "incomplete")
    assert incomplete.ranked
    assert "c_error" not in incomplete.ranks
    assert "anomaly" in incomplete.ranks


def test_a_calibration_error_above_its_interval_is_ranked_with_the_value_inside(
    complete: ScoreRecord,
) -> None:
    score = complete.scores["c_rms"].model_copy(
        update={"value": 0.13, "interval": ScoreInterval(low=0.10, high=0.12, level=0.95, method="m")}
    )
    (row,) = board(complete.model_copy(update={"scores": complete.scores | {"c_rms": score}})).rows
    assert row.ends("c_rms") == (0.10, 0.13)


def test_a_superseded_row_is_gone_and_its_correction_is_there(complete: ScoreRecord) -> None:
    old = named(complete, "old", c_error=0.1)
    new = named(complete, "new", c_error=0.2).model_copy(
        update={"supersedes": digest_of(old.digested_fields())}
    )
    assert names(board(old, new)) == ["new"]


def test_what_a_model_was_trained_with_is_flagged_where_it_is_tested(complete: ScoreRecord) -> None:
    model = complete.model.model_copy(update={"augmentations": ("shot_noise", "pixmix", "augmix")})
    trained = complete.model_copy(
        update={"model": model, "trained_on_tested": ("digits-c",), "attack_warnings": {"x": ("y",)}}
    )
    (row,) = board(trained).rows
    assert row.flags == (
        "trained on digits-c, which it is tested on",
        "trained with shot_noise, a tested corruption",
        "trained with pixmix, which overlaps the corruptions: contrast",
        "signs of masked gradients: it may be less robust than measured",
    )
    assert board(complete).rows[0].flags == ()


@pytest.mark.parametrize("name", ["all_scores", "index.html"])
def test_a_suite_called_as_a_file_of_the_leaderboard_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, fields_of() | {"suite": {"name": name, "version": 1, "digest": "a" * 64}})
    with pytest.raises(FileFormatError, match=f"{re.escape(str(path))}: suite.name"):
        boards(tmp_path)


def test_a_row_keeps_no_condition_in_memory(complete: ScoreRecord) -> None:
    (row,) = board(complete).rows
    assert row.record.conditions == {}
    assert row.record.scores == complete.scores
    assert row.digest == digest_of(complete.digested_fields())


def test_a_version_to_come_of_a_shipped_suite_is_never_the_one_that_is_ranked() -> None:
    folder = REPOSITORY / "leaderboard" / "records" / "digits-safety"
    whole = [read_json(path, ScoreRecord) for path in sorted(folder.glob("*.json"))]
    suite = whole[0].suite.model_copy(update={"version": 99})
    forged = whole[0].model_copy(update={"suite": suite, "display_name": "forged"})
    found = board(*whole, forged)
    assert found.suite == whole[0].suite
    assert [row.record.display_name for row in found.rows if not row.ranked] == ["forged"]


def test_where_all_rows_are_older_than_the_shipped_suite_the_newest_of_them_are_ranked() -> None:
    folder = REPOSITORY / "leaderboard" / "records" / "digits-safety"
    whole = [read_json(path, ScoreRecord) for path in sorted(folder.glob("*.json"))]
    suite = whole[0].suite.model_copy(update={"version": 1, "digest": "0" * 64})
    found = board(*(record.model_copy(update={"suite": suite}) for record in whole))
    assert found.suite == suite
    assert all(row.ranked for row in found.rows)
