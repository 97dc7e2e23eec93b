"""`rbs leaderboard verify`: every fault of a leaderboard is found, and told with its file and what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.errors import StorageError
from robustbench_safety.evaluation import rescore
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.filing import file_of, write_record
from robustbench_safety.reporting.leaderboard import build_tables
from robustbench_safety.reporting.verifying import verify_board
from tests.conftest import REPOSITORY
from tests.golden.make import RECORD, RUN, SUITE
from tests.submissions import BOARD, MIXED, PLAIN, companion_at, record_at


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A sound board of the two digits networks."""
    shutil.copytree(BOARD / "records" / "digits-safety", tmp_path / "board" / "records" / "digits-safety")
    build_tables(tmp_path / "board")
    return tmp_path / "board"


def found(board: Path) -> list[str]:
    return [f"{path.relative_to(board)}: {finding}" for path, finding in verify_board(board).findings]


def filed(board: Path, **changes: object) -> Path:
    """File the plain network's record with changes, as though somebody had filed it by hand."""
    record = record_at(PLAIN).model_copy(update=changes)
    return write_record(board, record, companion_at(PLAIN))


def test_a_sound_board_has_no_finding(board: Path) -> None:
    check = verify_board(board)
    assert (check.n_records, check.findings, check.exit_code) == (2, [], 0)


def test_the_committed_leaderboard_is_sound() -> None:
    check = verify_board(REPOSITORY / "leaderboard")
    assert [f"{path}: {finding}" for path, finding in check.findings] == []


def test_what_is_no_leaderboard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a leaderboard"):
        verify_board(tmp_path)


def _edit(board: Path) -> str:
    path = board / "records" / "digits-safety" / PLAIN.name
    path.write_text(path.read_text().replace('"display_name": "digits CNN, plain"', '"display_name": "best"'))
    return "was changed after it was written"


def _no_companion(board: Path) -> str:
    (board / "records" / "digits-safety" / PLAIN.name).with_suffix(".parquet").unlink()
    return "lacks its companion; expected digits-cnn-plain--"


def _other_companion(board: Path) -> str:
    records = board / "records" / "digits-safety"
    shutil.copy(MIXED.with_suffix(".parquet"), (records / PLAIN.name).with_suffix(".parquet"))
    return "is no companion that can be read; expected the companion of its record"


def _broken_companion(board: Path) -> str:
    (board / "records" / "digits-safety" / PLAIN.name).with_suffix(".parquet").write_bytes(b"PAR1")
    return "is no companion that can be read"


def _orphan(board: Path) -> str:
    (board / "records" / "digits-safety" / PLAIN.name).unlink()
    build_tables(board)
    return "belongs to no record"


def _stray(board: Path) -> str:
    (board / "records" / "digits-safety" / "setup.py").write_text("raise SystemExit")
    return "setup.py: is no record; expected records/SUITE/NAME.json"


def _link(board: Path) -> str:
    path = board / "records" / "digits-safety" / PLAIN.name
    path.unlink()
    path.symlink_to(PLAIN)
    build_tables(board)
    return "is a link; expected a file; remove it"


def _stale(board: Path) -> str:
    table = board / "tables" / "digits-safety.csv"
    table.write_text(table.read_text().replace("17.59", "7.59"))
    return "tables/digits-safety.csv: stale; run `rbs leaderboard build`"


def _duplicate(board: Path) -> str:
    filed(board, display_name="Mine", slug="mine")
    build_tables(board)
    return "the same model on the same suite has a row already"


def _gone(board: Path) -> str:
    filed(board, supersedes="0" * 64)
    (board / "records" / "digits-safety" / PLAIN.name).unlink()
    (board / "records" / "digits-safety" / PLAIN.name).with_suffix(".parquet").unlink()
    build_tables(board)
    return "supersedes; expected the digest of a record on this leaderboard"


def _of_less_standing(board: Path) -> str:
    record = record_at(PLAIN)
    verification = record.verification.model_copy(update={"kind": "self-reported"})
    filed(board, supersedes=file_of(PLAIN).digest, verification=verification)
    build_tables(board)
    return "of no more standing than one that is self-reported"


def _fork(board: Path) -> str:
    for name in ("one", "two"):
        filed(board, supersedes=file_of(PLAIN).digest, display_name=name, slug=name)
    build_tables(board)
    return "expected one record in the place of another; found one--"


def _forged(board: Path) -> str:
    record = record_at(PLAIN)
    score = record.scores["corruptions"].model_copy(update={"value": 0.01})
    filed(board, scores={**record.scores, "corruptions": score}, supersedes=file_of(PLAIN).digest)
    build_tables(board)
    return "score corruptions; expected 0.1758823529, from c_error; found 0.01"


def _other_suite(board: Path) -> str:
    record = record_at(PLAIN)
    suite = record.suite.model_copy(update={"digest": "0" * 64})
    filed(board, suite=suite, supersedes=file_of(PLAIN).digest)
    build_tables(board)
    return "suite digest; expected 28b76aa9"


def _other_images(board: Path) -> str:
    record = record_at(PLAIN)
    path = "digits/clean/clean-0"
    filed(
        board,
        data_digests={**record.data_digests, path: "0" * 64},
        supersedes=file_of(PLAIN).digest,
    )
    build_tables(board)
    return f"data of {path}; expected digest"


def _made_up_baseline(board: Path) -> str:
    # It would leave the row ranked with the others, and its numbers unchecked.
    filed(board, baselines={"mine": "0" * 64}, supersedes=file_of(PLAIN).digest)
    build_tables(board)
    return "baselines; expected none; found mine 00000000"


def _version_to_come(board: Path) -> str:
    suite = record_at(PLAIN).suite.model_copy(update={"version": 99, "digest": "0" * 64})
    filed(board, suite=suite, supersedes=file_of(PLAIN).digest)
    build_tables(board)
    return "suite version; expected 2; found 99"


def _of_another_network(board: Path) -> str:
    model = record_at(PLAIN).model.model_copy(update={"weights_digest": "0" * 64})
    filed(board, model=model, display_name="Mine", slug="mine", supersedes=file_of(PLAIN).digest)
    build_tables(board)
    return "supersedes; expected a record of the same model"


FAULTS: list[Callable[[Path], str]] = [
    _edit, _no_companion, _other_companion, _broken_companion, _orphan, _stray, _link, _stale, _duplicate,
    _gone, _of_less_standing, _fork, _forged, _other_suite, _other_images, _made_up_baseline,
    _version_to_come, _of_another_network]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_fault_is_found_and_told(board: Path, fault: Callable[[Path], str]) -> None:
    said = fault(board)
    lines = found(board)
    assert any(said in line for line in lines), lines
    assert verify_board(board).exit_code == 1


def test_a_file_that_is_no_record_is_unreadable_and_the_others_are_still_checked(board: Path) -> None:
    _edit(board)
    (board / "records" / "digits-safety" / "x--00000000.json").write_text("{")
    check = verify_board(board)
    assert check.exit_code == 2
    assert len(check.findings) == 2


def test_a_pipe_among_the_records_is_told_and_nobody_waits_for_it(board: Path) -> None:
    os.mkfifo(board / "records" / "digits-safety" / "x--00000000.json")
    assert verify_board(board).exit_code == 2
    assert any("x--00000000.json: is no file; expected a record" in line for line in found(board))


def test_a_circle_of_records_is_found(board: Path) -> None:
    # Digests cover what a record supersedes: only forged files can make a circle, and their names show it.
    from robustbench_safety.reporting.checking import check_board
    from robustbench_safety.reporting.filing import Filed

    record = record_at(PLAIN)
    ends = [
        Filed(record=record.model_copy(update={"supersedes": other}), digest=own, path=PLAIN)
        for own, other in (("a" * 64, "b" * 64), ("b" * 64, "a" * 64))
    ]
    assert {str(finding) for _, finding in check_board(ends)} == {
        "supersedes; expected an older record; found a circle of records"
    }


def test_an_older_version_of_a_suite_is_history_and_no_fault(board: Path) -> None:
    record = record_at(PLAIN)
    filed(board, suite=record.suite.model_copy(update={"version": 1, "digest": "0" * 64}))
    build_tables(board)
    assert found(board) == []


# ------------------------------------------------------------------------------- predictions at hand


@pytest.fixture
def recomputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board whose one record is of a suite that is found by name, with its predictions at hand."""
    from robustbench_safety.reporting.checking import rules
    from robustbench_safety.suites import load_suite

    monkeypatch.setattr(rules, "resource_names", lambda folder: ["golden"])
    monkeypatch.setattr(rules, "load_suite", lambda name, data: load_suite(SUITE))
    shutil.copytree(RUN, tmp_path / "predictions" / "tiny")
    return tmp_path / "board"


def test_a_record_whose_predictions_are_at_hand_is_recomputed(tmp_path: Path, recomputed: Path) -> None:
    write_record(recomputed, read_json(RECORD, ScoreRecord), rescore(RUN, suite=SUITE).companion)
    build_tables(recomputed)
    assert verify_board(recomputed).n_recomputed == 0
    check = verify_board(recomputed, predictions=tmp_path / "predictions")
    assert (check.n_recomputed, check.findings) == (1, [])


def test_a_curve_that_its_predictions_do_not_give_is_found(tmp_path: Path, recomputed: Path) -> None:
    record = read_json(RECORD, ScoreRecord)
    (name, *_) = record.curves.reliability
    curves = record.curves.model_copy(update={"reliability": {name: ((240, 0.9, 0.9),)}})
    write_record(
        recomputed, record.model_copy(update={"curves": curves}), rescore(RUN, suite=SUITE).companion
    )
    build_tables(recomputed)
    check = verify_board(recomputed, predictions=tmp_path / "predictions")
    assert check.n_recomputed == 1
    assert f"curves.reliability.{name}" in [finding.what for _, finding in check.findings]


def test_a_number_that_its_predictions_do_not_give_is_found(tmp_path: Path, recomputed: Path) -> None:
    record = read_json(RECORD, ScoreRecord)
    better = tuple(one.model_copy(update={"value": 0.01}) for one in record.conditions["c_rms"])
    score = record.scores["c_rms"].model_copy(update={"value": 0.01})
    forged = record.model_copy(
        update={
            "conditions": {**record.conditions, "c_rms": better},
            "scores": {**record.scores, "c_rms": score},
        }
    )
    write_record(recomputed, forged, rescore(RUN, suite=SUITE).companion)
    build_tables(recomputed)
    assert verify_board(recomputed).findings == []
    check = verify_board(recomputed, predictions=tmp_path / "predictions")
    assert check.n_recomputed == 1
    assert any("score c_rms; expected" in str(finding) for _, finding in check.findings)


# --------------------------------------------------------------------------------------- the command


def test_the_command_says_a_line_a_finding_and_returns_its_code(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify = ["leaderboard", "verify", "--leaderboard", str(board)]
    assert run(verify) == 0
    assert capsys.readouterr().out == "2 records, tables up to date\n"
    _stale(board)
    assert run(verify) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{board}/tables/digits-safety.csv: stale; run `rbs leaderboard build`"
    assert last == "2 records, 1 findings"
    (board / "records" / "digits-safety" / "x--00000000.json").write_text("{")
    assert run(verify) == 2


def test_a_file_name_cannot_begin_a_line_of_its_own(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # In a log of GitHub's a line that begins with two colons is a command.
    hostile = board / "records" / "digits-safety" / "x\n::error::owned\x1b[31m.json"
    hostile.write_text("{}")
    assert run(["leaderboard", "verify", "--leaderboard", str(board)]) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not any(line.startswith("::") for line in out.splitlines())
