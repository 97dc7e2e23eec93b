"""What a stranger sends is checked, and filed as what was checked: never as verified."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import (
    FileFormatError,
    IncompatiblePredictionsError,
    RobustbenchSafetyError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.evaluation import rescore
from robustbench_safety.files import read_json
from robustbench_safety.records import Score, ScoreRecord
from robustbench_safety.reporting.checking import rules_of
from robustbench_safety.reporting.checking.curve_checks import check_curves
from robustbench_safety.reporting.filing import file_of, write_record
from robustbench_safety.reporting.leaderboard import build_tables
from robustbench_safety.reporting.submitting import add_record
from tests.golden.make import RECORD, RUN, SUITE
from tests.submissions import BOARD, MIXED, PLAIN, companion_at, record_at, sent

Forge = Callable[[ScoreRecord], ScoreRecord]


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    return record_at(PLAIN)


@pytest.fixture(scope="module")
def companion() -> Companion:
    return companion_at(PLAIN)


def scored(record: ScoreRecord, name: str, **changes: object) -> ScoreRecord:
    """Return the record with a score changed."""
    score = Score.model_validate(record.scores[name].model_copy(update=changes).model_dump())
    return record.model_copy(update={"scores": {**record.scores, name: score}})


def on_first(record: ScoreRecord, cell: str, **changes: object) -> ScoreRecord:
    """Return the record with the first condition of a cell changed."""
    first, *others = record.conditions[cell]
    values = (first.model_copy(update=changes), *others)
    return record.model_copy(update={"conditions": {**record.conditions, cell: values}})


# --------------------------------------------------------------------------------------------- filing


def test_a_record_that_says_it_is_verified_is_filed_as_self_reported(
    tmp_path: Path, record: ScoreRecord
) -> None:
    assert record.kind == "verified"
    filed = add_record(tmp_path / "board", PLAIN)
    assert filed.record.verification.kind == "self-reported"
    assert filed.record.verification.by.startswith("rbs leaderboard add ")
    assert filed.record.verification.at > record.verification.at
    assert filed.path.parent == tmp_path / "board" / "records" / "digits-safety"
    assert filed.path.stem == f"digits-cnn-plain--{filed.digest[:8]}"
    assert file_of(filed.path) == filed
    changed = {"verification"}
    assert filed.record.model_dump(exclude=changed) == record.model_dump(exclude=changed)


def test_the_companion_is_filed_beside_the_record(tmp_path: Path, companion: Companion) -> None:
    filed = add_record(tmp_path / "board", PLAIN, by="Ada, by mail")
    assert filed.record.verification.by == "Ada, by mail"
    assert companion_at(filed.path).digest() == companion.digest()


@pytest.mark.parametrize("by", ["", " ", "two\nlines", "x" * 201, "\x1b[31mred"])
def test_who_files_a_record_is_one_line(tmp_path: Path, by: str) -> None:
    with pytest.raises(UsageError, match="--by"):
        add_record(tmp_path / "board", PLAIN, by=by)


def test_a_self_reported_row_is_never_ranked(tmp_path: Path) -> None:
    # The plain network is worse; sent by a stranger it stands below, and stays below whatever it says.
    board = tmp_path / "board"
    shutil.copytree(BOARD / "records" / "digits-safety", board / "records" / "digits-safety")
    for path in board.rglob(f"{MIXED.stem}.*"):
        path.unlink()
    filed = add_record(board, MIXED)
    assert filed.record.kind == "self-reported"
    table = next(path for path in build_tables(board) if path.name == "digits-safety.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["kind"] for row in rows] == ["verified", "self-reported"]
    assert float(rows[0]["corruptions"]) > float(rows[1]["corruptions"])


def test_with_the_predictions_a_row_is_recomputed(tmp_path: Path) -> None:
    path = golden(tmp_path)
    filed = add_record(tmp_path / "board", path, suite=SUITE, predictions=RUN)
    assert filed.record.verification.kind == "recomputed"
    assert filed.record.kind == "partial"  # of 240 images
    own = read_json(path, ScoreRecord)
    assert filed.record.scores == own.scores


def golden(folder: Path, forge: Forge = lambda record: record) -> Path:
    """Write the golden record, forged or not, with the companion that its predictions give."""
    evaluation = rescore(RUN, suite=SUITE)
    return sent(folder, forge(read_json(RECORD, ScoreRecord)), evaluation.companion)


def test_a_calibration_error_that_the_predictions_do_not_give_is_refused(tmp_path: Path) -> None:
    # The companion does not tell a calibration error under corruption: without predictions it is believed.
    def better(record: ScoreRecord) -> ScoreRecord:
        conditions = tuple(one.model_copy(update={"value": 0.01}) for one in record.conditions["c_rms"])
        forged = scored(record, "c_rms", value=0.01)
        return forged.model_copy(update={"conditions": {**record.conditions, "c_rms": conditions}})

    path = golden(tmp_path, better)
    assert add_record(tmp_path / "board", path, suite=SUITE).record.verification.kind == "self-reported"
    with pytest.raises(IncompatiblePredictionsError, match=r"numbers are not those of .*c_rms"):
        add_record(tmp_path / "other", path, suite=SUITE, predictions=RUN)
    assert not (tmp_path / "other").exists()


def test_predictions_of_another_network_are_refused(tmp_path: Path, record: ScoreRecord) -> None:
    def other(record: ScoreRecord) -> ScoreRecord:
        return record.model_copy(
            update={"model": record.model.model_copy(update={"weights_digest": "0" * 64})}
        )

    with pytest.raises(IncompatiblePredictionsError, match=r"was not made for .* model"):
        add_record(tmp_path / "board", golden(tmp_path, other), suite=SUITE, predictions=RUN)


# ------------------------------------------------------------------------------------------ two files


def test_a_record_without_its_companion_is_refused(tmp_path: Path) -> None:
    alone = tmp_path / PLAIN.name
    shutil.copy(PLAIN, alone)
    with pytest.raises(FileFormatError, match=r"lacks its companion; .*parquet beside it"):
        add_record(tmp_path / "board", alone)


def test_the_companion_of_another_record_is_refused(tmp_path: Path, record: ScoreRecord) -> None:
    path = sent(tmp_path, record, companion_at(MIXED))
    with pytest.raises(FileFormatError, match="the companion of its record"):
        add_record(tmp_path / "board", path)


def test_an_edited_record_under_its_old_name_is_refused(tmp_path: Path, record: ScoreRecord) -> None:
    path = sent(tmp_path, record.model_copy(update={"display_name": "best"}), name=PLAIN.stem)
    with pytest.raises(FileFormatError, match="was changed after it was written"):
        add_record(tmp_path / "board", path)


def test_only_a_record_can_be_added(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a file that ends in \.json"):
        add_record(tmp_path, PLAIN.with_suffix(".parquet"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(RobustbenchSafetyError, match=r"x\.json"):
        add_record(tmp_path, tmp_path / "x.json")


# ------------------------------------------------------------------------------------------ the suite


def in_suite(record: ScoreRecord, **changes: object) -> ScoreRecord:
    return record.model_copy(update={"suite": record.suite.model_copy(update=changes)})


@pytest.mark.parametrize(("field", "value"), [("digest", "0" * 64), ("version", 1)])
def test_another_suite_of_the_same_name_is_refused_by_name(
    tmp_path: Path, record: ScoreRecord, field: str, value: object
) -> None:
    path = sent(tmp_path, in_suite(record, **{field: value}))
    with pytest.raises(FileFormatError, match=f"suite {field}; .*expected .*found {value}"):
        add_record(tmp_path / "board", path)


@pytest.mark.parametrize("name", ["no-such-suite", "golden.yaml"])
def test_a_suite_that_nobody_knows_is_refused_and_never_opened_as_a_file(
    tmp_path: Path, record: ScoreRecord, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(SUITE, tmp_path / "golden.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown suite"):
        add_record(tmp_path / "board", sent(tmp_path, in_suite(record, name=name)))


def test_a_slug_that_is_not_the_names_own_is_refused(tmp_path: Path, record: ScoreRecord) -> None:
    path = sent(tmp_path, record.model_copy(update={"slug": "another"}))
    with pytest.raises(FileFormatError, match="slug; expected digits-cnn-plain"):
        add_record(tmp_path / "board", path)


@pytest.mark.parametrize("slug", ["../../escaped", "..", "/etc/passwd", "a\\b", ""])
def test_a_slug_that_leaves_the_folder_is_refused(tmp_path: Path, record: ScoreRecord, slug: str) -> None:
    hostile = ScoreRecord.model_construct(**{**dict(record), "slug": slug})
    path = tmp_path / "sent.json"
    sent(tmp_path, hostile, name="sent")
    with pytest.raises(FileFormatError, match="slug"):
        add_record(tmp_path / "board" / "deep", path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sent.json", "sent.parquet"]


FORGED: list[tuple[str, Forge]] = [
    ("score clean_error", lambda r: scored(r, "clean_error", value=0.001)),
    (r"clean_error on digits/clean/clean-0; expected 0\.0152941176, by the companion",
     lambda r: rate(r, "clean_error", 3)),
    ("score c_error", lambda r: scored(r, "c_error", value=0.1)),
    (r"c_error on digits-c/corruption/gaussian_noise-1; expected a whole number of 850 images",
     lambda r: on_first(r, "c_error", value=0.001)),
    ("score corruptions", lambda r: scored(r, "corruptions", value=0.1)),
    ("score anomaly", lambda r: scored(r, "anomaly", value=0.99)),
    (r"gaussian_auroc on .*by the companion", lambda r: alone(r, "gaussian_auroc", 0.99, into="anomaly")),
    (r"p_flip_rate on .*by the companion", lambda r: alone(r, "p_flip_rate", 0.0, into="consistency")),
    (r"pgd_error on .*by the companion", lambda r: rate(r, "pgd_error", 17, into="adversaries")),
    (r"score clean_error; expected a value from 0 to 1; found 1\.2",
     lambda r: scored(r, "clean_error", value=1.2)),
    ("score clean_rms; expected a value from 0 to 1", lambda r: scored(r, "clean_rms", value=-0.1)),
    (r"score clean_error: interval; expected .*Wilson", lambda r: narrow(r, "clean_error")),
    (r"score c_error: interval; expected 0\.1690.*by the companion",
     lambda r: narrow(r, "c_error", "corruptions")),
    (r"score p_flip_rate: interval; expected .*by the companion",
     lambda r: narrow(r, "p_flip_rate", "consistency")),
    (r"score gaussian_auroc: interval; expected .*by the companion", lambda r: narrow(r, "gaussian_auroc")),
    (r"score anomaly: interval; expected .*by the companion", lambda r: narrow(r, "anomaly")),
    (r"score calibration: interval; expected 0\.12", lambda r: narrow(r, "calibration")),
    ("score clean_rms: interval; expected one of 95%; found one of 0.5", lambda r: surer(r, "clean_rms")),
    ("score corruptions", lambda r: scored(r, "corruptions", value=None, reason="hidden")),
    ("columns", lambda r: r.model_copy(update={"columns": r.columns[:2]})),
    ("scores; expected those of the suite: c_rms", lambda r: r.model_copy(
        update={"scores": {k: v for k, v in r.scores.items() if k != "c_rms"}})),
    ("conditions of cell c_error; expected the 40", lambda r: r.model_copy(
        update={"conditions": {**r.conditions, "c_error": r.conditions["c_error"][:20]}})),
    ("status; expected partial: seed 7", lambda r: r.model_copy(update={"seed": 7})),
    ("status; expected partial: limit 10", lambda r: r.model_copy(update={"limit": 10})),
    ("trained_on_tested; expected digits-c", lambda r: r.model_copy(
        update={"model": r.model.model_copy(update={"trained_on": ("digits-c",)})})),
    ("score c_rms; expected fraction, lower", lambda r: scored(r, "c_rms", direction="higher")),
    ("score corruptions; expected fraction, lower", lambda r: scored(r, "corruptions", direction="higher")),
    ("reliability of clean_rms; expected the curve by the companion",
     lambda r: drawn(r, reliability={"clean_rms": ((850, 0.99, 0.99),)})),
    ("reliability of clean_rms; expected the curve by the companion", lambda r: drawn(r, reliability={
        "clean_rms": tuple((n, mean, mean) for n, mean, _ in r.curves.reliability["clean_rms"])})),
    ("risk and coverage of clean_rms", lambda r: drawn(r, risk_coverage={"clean_rms": (0.0,) * 100})),
    ("histogram of blobs_auroc", lambda r: drawn(r, ood_histogram={
        "blobs_auroc": ((-1.0, -0.1), (850, *[0] * 49), (*[0] * 49, 10000))})),
    ("curves: x; expected those of the suite's cells", lambda r: drawn(r, risk_coverage={"x": (0.0,)})),
    ("display_name; expected 1 to 200", lambda r: r.model_copy(
        update={"display_name": "digits CNN\u202e plain", "slug": "digits-cnn-plain"})),
    ("display_name; expected 1 to 200", lambda r: r.model_copy(
        update={"display_name": "x" * 201, "slug": "x" * 80})),
    ("data_digests", lambda r: r.model_copy(update={"data_digests": {}})),
    ("prediction_digests", lambda r: r.model_copy(
        update={"prediction_digests": {**r.prediction_digests, "../../etc/passwd": "0" * 64}})),
]  # fmt: skip


def rate(record: ScoreRecord, cell: str, events: int, *, into: str | None = None) -> ScoreRecord:
    """Return the record with a whole forged rate: condition, score, aggregate and their Wilson intervals."""
    from robustbench_safety.metrics import wilson_interval
    from robustbench_safety.recording import recorded_interval, rounded

    n = record.conditions[cell][0].n
    interval, value = recorded_interval(wilson_interval(events, n)), rounded(events / n)
    for name in (cell, *([into] if into else [])):
        record = scored(record, name, value=value, interval=interval)
    return on_first(record, cell, value=value, interval=interval)


def alone(record: ScoreRecord, cell: str, value: float, *, into: str) -> ScoreRecord:
    """Return the record with a forged value on the first condition, and all means of it made to agree."""
    record = on_first(record, cell, value=value)
    mean = float(np.mean([one.value for one in record.conditions[cell]]))
    interval = record.scores[cell].interval
    assert interval is not None
    wide = interval.model_copy(update={"low": 0.0, "high": 1.0})
    record = scored(record, cell, value=mean, interval=wide)
    parts = {"anomaly": ("gaussian_auroc", "rademacher_auroc", "blobs_auroc")}.get(into, (cell,))
    of_parts = [record.scores[name].value for name in parts]
    return scored(record, into, value=float(np.mean([one for one in of_parts if one is not None])))


def drawn(record: ScoreRecord, **curves: dict[str, object]) -> ScoreRecord:
    """Return the record with some curves that are others."""
    own = {kind: getattr(record.curves, kind) | changed for kind, changed in curves.items()}
    return record.model_copy(update={"curves": record.curves.model_copy(update=own)})


def narrow(record: ScoreRecord, *names: str) -> ScoreRecord:
    """Return the record with intervals that say more than is known."""
    for name in names:
        score = record.scores[name]
        assert score.value is not None and score.interval is not None  # noqa: PT018  # one fact of a type
        ends = {"low": score.value - 1e-4, "high": score.value + 1e-4}
        record = scored(record, name, interval=score.interval.model_copy(update=ends))
    return record


def surer(record: ScoreRecord, name: str) -> ScoreRecord:
    interval = record.scores[name].interval
    assert interval is not None
    return scored(record, name, interval=interval.model_copy(update={"level": 0.5}))


def test_what_float32_cannot_tell_apart_leaves_open_how_the_risk_rises(
    record: ScoreRecord, companion: Companion
) -> None:
    rules = rules_of(record, data=DataRoot.default())
    sure = {
        name: replace(rows, scores={"msp": -np.ones(len(rows.source_ids), np.float32)} if rows.scores else {})
        for name, rows in companion.datasets.items()
    }
    sure["digits"].confidence = np.ones(850, np.float32)
    saturated = Companion(sure)
    risks = record.curves.risk_coverage["clean_rms"]
    one_bin = ((0, None, None),) * 14 + ((850, 1.0, 1 - risks[-1]),)
    honest = drawn(record, reliability={"clean_rms": one_bin})
    assert list(check_curves(honest, saturated, rules)) == []
    worse = drawn(honest, risk_coverage={"clean_rms": (*risks[:-1], 0.0)})
    assert [one.what for one in check_curves(worse, saturated, rules)] == ["risk and coverage of clean_rms"]


@pytest.mark.parametrize(("said", "forge"), FORGED, ids=[said[:40] for said, _ in FORGED])
def test_a_forged_record_is_refused_and_the_place_is_named(
    tmp_path: Path, record: ScoreRecord, said: str, forge: Forge
) -> None:
    path = sent(tmp_path, forge(record))
    with pytest.raises(FileFormatError, match=f"{re.escape(str(path))}: {said}"):
        add_record(tmp_path / "board", path)
    assert not (tmp_path / "board").exists()


def test_a_companion_without_the_images_behind_a_number_is_refused(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    rows = companion.datasets["digits"]
    less = Companion({**companion.datasets, "digits": replace(rows, correct={})})
    forged = record.model_copy(update={"companion_digest": less.digest()})
    with pytest.raises(FileFormatError, match="what it is made of in the companion; found none"):
        add_record(tmp_path / "board", sent(tmp_path, forged, less))


def test_a_companion_made_better_than_the_record_is_refused(
    tmp_path: Path, record: ScoreRecord, companion: Companion
) -> None:
    rows = companion.datasets["digits"]
    right = {path: np.ones_like(bits) for path, bits in rows.correct.items()}
    better = Companion({**companion.datasets, "digits": replace(rows, correct=right)})
    forged = record.model_copy(update={"companion_digest": better.digest()})
    with pytest.raises(FileFormatError, match=r"clean_error on .*expected 0\.0000000000, by the companion"):
        add_record(tmp_path / "board", sent(tmp_path, forged, better))


# ------------------------------------------------------------------------------------------- the board


@pytest.fixture
def board(tmp_path: Path, record: ScoreRecord, companion: Companion) -> Path:
    """A board with the plain network's row, which its keeper has run."""
    write_record(tmp_path / "board", record, companion)
    return tmp_path / "board"


def test_a_second_row_of_one_model_is_refused_and_the_first_is_named(
    tmp_path: Path, board: Path, record: ScoreRecord
) -> None:
    renamed = record.model_copy(update={"display_name": "Mine", "slug": "mine"})
    with pytest.raises(FileFormatError, match=r"has a row already; .*digits-cnn-plain--.*--supersedes"):
        add_record(board, sent(tmp_path, renamed))


def test_no_strangers_row_takes_the_place_of_a_verified_one(board: Path) -> None:
    digest = PLAIN.stem[-8:]
    with pytest.raises(FileFormatError, match="which is verified; have the new one audited first"):
        add_record(board, PLAIN, supersedes=digest)
    hidden = record_at(PLAIN).model_copy(update={"supersedes": file_of(PLAIN).digest})
    with pytest.raises(FileFormatError, match="which is verified"):
        add_record(board, sent(board.parent, hidden))


def test_a_correction_takes_the_place_of_the_record_that_it_names(
    tmp_path: Path, record: ScoreRecord
) -> None:
    board = tmp_path / "board"
    first = add_record(board, PLAIN)
    renamed = record.model_copy(update={"display_name": "Plain, again", "slug": "plain-again"})
    path = sent(tmp_path, renamed)
    second = add_record(board, path, supersedes=first.digest[:8])
    assert second.record.supersedes == first.digest
    table = next(one for one in build_tables(board) if one.suffix == ".csv").read_text()
    assert "Plain, again" in table
    assert "digits CNN" not in table
    with pytest.raises(FileFormatError, match="one record in the place of another"):
        add_record(board, PLAIN, supersedes=first.digest[:8])


@pytest.mark.parametrize("digits", ["abc", "0123456789", "../../.."])
def test_what_supersedes_nothing_is_refused(board: Path, digits: str) -> None:
    with pytest.raises(UsageError, match="--supersedes"):
        add_record(board, MIXED, supersedes=digits)


def test_other_images_than_those_of_the_rows_beside_it_are_refused(tmp_path: Path, board: Path) -> None:
    mixed = record_at(MIXED)
    path = "digits/clean/clean-0"
    forged = mixed.model_copy(update={"data_digests": {**mixed.data_digests, path: "0" * 64}})
    with pytest.raises(FileFormatError, match=f"data of {path}; .*as of .*digits-cnn-plain"):
        add_record(board, sent(tmp_path, forged, companion_at(MIXED)))
    assert add_record(board, MIXED).record.kind == "self-reported"


def test_the_command_says_what_was_filed_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board"
    assert run(["leaderboard", "add", str(PLAIN), "--leaderboard", str(board), "--by", "Ada"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("self-reported ")
    assert "not ranked until its keeper has run `rbs leaderboard audit`" in out
    (path,) = (board / "records" / "digits-safety").glob("*.json")
    assert str(path) in out
    assert record_at(path).verification.by == "Ada"
    assert run(["leaderboard", "add", str(PLAIN), "--leaderboard", str(board)]) == 2
    assert "has a row already" in capsys.readouterr().err
