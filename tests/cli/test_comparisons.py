"""``rbs compare`` and ``rbs check``: what they print and return, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from tests.reporting.gate.committed import changed, mixed, plain

PLAIN, MIXED = str(plain()), str(mixed())


def test_a_worse_candidate_ends_with_1_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", PLAIN, "--baseline", MIXED]) == 1
    out = capsys.readouterr().out
    assert "FAILED: worse in corruptions, consistency, adversaries, calibration, anomaly" in out
    assert "digits-c/corruption/contrast-3" in out
    assert "00001" in out
    assert "note: calibration is compared by its intervals alone" in out


def test_a_comparison_shows_every_difference_as_that_of_b_to_a(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", PLAIN, MIXED]) == 0
    worse, _, better = capsys.readouterr().out.partition("where B is worse")[2].partition("where B is better")
    assert worse.count("B – A") == better.count("B – A") == 1
    assert "drop" not in worse + better
    (auroc,) = (line for line in worse.splitlines() if "gaussian_auroc" in line)
    assert [cell.strip() for cell in auroc.split("│")[3:6]] == ["94.37", "93.25", "-1.12"]
    (contrast,) = (line for line in better.splitlines() if "contrast-3" in line and "c_error" in line)
    assert [cell.strip() for cell in contrast.split("│")[3:6]] == ["90.00", "10.35", "-79.65"]


def test_a_better_candidate_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", MIXED, "--baseline", PLAIN]) == 0
    assert "passed: 5 columns checked" in capsys.readouterr().out


def test_tolerances_come_from_the_line_and_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("corruptions: 90\nconsistency: 90\nadversaries: 90\ncalibration: 90\n")
    arguments = ["check", PLAIN, "--baseline", MIXED, "--tolerances", str(file)]
    assert run([*arguments, "--tolerance", "anomaly=90"]) == 0
    assert run([*arguments, "--tolerance", "anomaly=90", "--tolerance", "corruptions=1"]) == 1
    assert "FAILED: worse in corruptions:" in capsys.readouterr().out


def test_what_is_not_comparable_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_json(plain(), ScoreRecord)
    spec = record.model.preprocessing.model_copy(update={"interpolation": "bicubic"})
    model = record.model.model_copy(update={"preprocessing": spec})
    other = str(changed(plain(), tmp_path, "other", model=model))
    assert run(["check", other, "--baseline", PLAIN]) == 2
    assert "not comparable: other preprocessing" in capsys.readouterr().err
    assert run(["check", other, "--baseline", PLAIN, "--allow-preprocessing-change"]) == 0
    assert "note: other preprocessing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", PLAIN], "--baseline"),
        (["check", PLAIN, "--baseline", MIXED, "--tolerance", "corruption=1"], "corruptions"),
        (["check", PLAIN, "--baseline", MIXED, "--tolerance", "corruptions=-1"], "at least 0"),
        (["check", PLAIN, "--baseline", MIXED, "--tolerance", "corruptions=nan"], "at least 0"),
        (["check", "none.json", "--baseline", MIXED], "none.json cannot be read"),
        (["check", PLAIN, "--baseline", MIXED, "--predictions", "none"], "none holds no run folder"),
        (["check", PLAIN, "--baseline", MIXED, "--suite", "cifar10-clean"], "not the suite of the records"),
        (["compare", PLAIN], "two or more"),
        (["compare", PLAIN, "none.json"], "none.json cannot be read"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_comparison_is_shown_with_a_summary_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", PLAIN, MIXED]) == 0
    out = capsys.readouterr().out
    assert "B: digits CNN, noise and mixing against A: digits CNN, plain" in out
    assert "digits CNN, noise and mixing is better than digits CNN, plain in corruptions by" in out
    assert "where B is better, the best first: 10 of" in out


def test_a_name_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = str(changed(plain(), tmp_path, "odd", display_name="\x1b[31mred[/bold]\nnew line" + "x" * 300))
    for arguments in (["check", odd, "--baseline", PLAIN], ["compare", PLAIN, odd]):
        assert run(arguments) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "[/bold]" in out
