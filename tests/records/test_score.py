"""What a score and a record may say, and what its digest covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from robustbench_safety.files import digest_of, read_json, write_json
from robustbench_safety.records import Curves, GroupScore, Score, ScoreInterval, ScoreRecord

#: The record of the golden run: every kind of cell, interval and curve is in it.
GOLDEN = Path(__file__).parent.parent / "golden" / "record.json"


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    return read_json(GOLDEN, ScoreRecord)


def changed(record: ScoreRecord, **change: object) -> ScoreRecord:
    fields: dict[str, Any] = {name: getattr(record, name) for name in ScoreRecord.model_fields}
    return ScoreRecord.model_validate({**fields, **change})


def test_a_record_goes_through_json_unchanged(record: ScoreRecord, tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", record)
    again = read_json(tmp_path / "record.json", ScoreRecord)
    assert again == record
    assert (tmp_path / "record.json").read_bytes() == GOLDEN.read_bytes()


def test_times_and_timings_are_left_out_of_the_digest(record: ScoreRecord) -> None:
    timings = record.timings.model_copy(update={"seconds": 1.0, "finished": "then"})
    verification = record.verification.model_copy(update={"at": "then"})
    other = changed(record, timings=timings, verification=verification)
    assert digest_of(other.digested_fields()) == digest_of(record.digested_fields())


@pytest.mark.parametrize(
    "change",
    [
        {"slug": "other"},
        {"display_name": "other"},
        {"seed": 1},
        {"limit": 3},
        {"forward_passes": 1},
        {"data_digests": {}},
        {"supersedes": "0" * 64},
    ],
)
def test_everything_else_is_in_the_digest(record: ScoreRecord, change: dict[str, object]) -> None:
    assert digest_of(changed(record, **change).digested_fields()) != digest_of(record.digested_fields())


def test_who_verified_is_in_the_digest(record: ScoreRecord) -> None:
    other = changed(record, verification=record.verification.model_copy(update={"by": "somebody"}))
    assert digest_of(other.digested_fields()) != digest_of(record.digested_fields())


def test_a_partial_row_is_called_partial_whoever_verified_it(record: ScoreRecord) -> None:
    partial = changed(record, status="partial", partial_because=("limit: 240",))
    whole = changed(record, status="complete", partial_because=())
    assert partial.kind == "partial"
    assert whole.kind == record.verification.kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": ("no-such-column",)}, "column 'no-such-column' has no score"),
        ({"beside": ("no-such-column",)}, "column 'no-such-column' has no score"),
        ({"columns": ()}, "at least one column"),
        ({"columns": ("c_error",), "beside": ("c_error",)}, "column 'c_error' is listed twice"),
        ({"status": "partial", "partial_because": ()}, "a partial row says in partial_because"),
        ({"status": "complete", "partial_because": ("x",)}, "a partial row says in partial_because"),
        ({"slug": "../x"}, "pattern"),
        ({"schema_version": 2}, "should be 1"),
        ({"supersedes": "abc"}, "pattern"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    record: ScoreRecord, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        changed(record, **change)


@pytest.mark.parametrize(
    "curves",
    [
        {"reliability": {"x": ()}},
        {"reliability": {"x": ((-1, 0.5, 0.5),)}},
        {"reliability": {"x": ((10**30, 0.5, 0.5),)}},
        {"reliability": {"x": ((1, 0.5, 1.5),)}},
        {"risk_coverage": {"x": ()}},
        {"risk_coverage": {"x": (-0.1,)}},
        {"ood_histogram": {"x": ((0.0, 1.0), (), ())}},
        {"ood_histogram": {"x": ((0.0, 1.0), (1,), (1, 2))}},
        {"ood_histogram": {"x": ((1.0, 0.0), (1,), (1,))}},
        {"ood_histogram": {"x": ((-1.7e308, 1.7e308), (1,), (1,))}},
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused(curves: dict[str, object]) -> None:
    assert Curves.model_validate({"ood_histogram": {"x": ((0.5, 0.5), (1,), (1,))}})
    with pytest.raises(ValidationError):
        Curves.model_validate(curves)


SCORE = {"value": 0.5, "n": 10, "interval": None, "unit": "fraction", "direction": "lower"}


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"reason": "no data"},
        {"value": float("nan")},
        {"value": float("inf")},
        {"n": -1},
        {"unit": "percent"},
        {"direction": "up"},
    ],
)
def test_a_score_has_a_finite_value_or_a_reason_why_not(change: dict[str, object]) -> None:
    assert Score.model_validate(SCORE).value == 0.5
    assert Score.model_validate({**SCORE, "value": None, "reason": "no data"}).value is None
    with pytest.raises(ValidationError):
        Score.model_validate({**SCORE, **change})


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_the_level_of_an_interval_is_a_share(level: float) -> None:
    with pytest.raises(ValidationError):
        ScoreInterval(low=0.0, high=1.0, level=level, method="wilson")


INTERVAL = {"low": 0.1, "high": 0.9, "level": 0.95, "method": "wilson"}
GROUP = {"value": 0.5, "n": 4, "interval": INTERVAL}


@pytest.mark.parametrize(
    "change", [{"n": 0}, {"value": None}, {"value": float("nan")}, {"interval": None}, {"reason": "x"}]
)
def test_a_group_has_images_a_rate_and_an_interval(change: dict[str, object]) -> None:
    assert GroupScore.model_validate(GROUP).n == 4
    with pytest.raises(ValidationError):
        GroupScore.model_validate({**GROUP, **change})


def test_groups_are_in_the_digest_and_leave_it_alone_where_there_are_none(record: ScoreRecord) -> None:
    assert "groups" not in record.digested_fields()
    plain = digest_of(record.digested_fields())
    assert digest_of(changed(record, groups={}).digested_fields()) == plain
    group = GroupScore.model_validate(GROUP)
    digests = {
        digest_of(changed(record, groups=groups).digested_fields())
        for groups in (
            {"error": {"style": {"toy": group}}},
            {"error": {"style": {"sketch": group}}},
            {"error": {"size": {"toy": group}}},
            {"rms": {"style": {"toy": group}}},
            {"error": {"style": {"toy": group.model_copy(update={"value": 0.25})}}},
        )
    }
    assert len(digests | {plain}) == 6


def test_a_record_with_groups_goes_through_json_unchanged(record: ScoreRecord, tmp_path: Path) -> None:
    grouped = changed(record, groups={"error": {"style": {"toy": GroupScore.model_validate(GROUP)}}})
    write_json(tmp_path / "record.json", grouped)
    assert read_json(tmp_path / "record.json", ScoreRecord) == grouped
