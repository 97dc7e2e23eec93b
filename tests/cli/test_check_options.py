"""Tests of the options of ``rbs check`` that are not of the test itself: outputs and the plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.records import CheckReport
from robustbench_safety.records.plan import CheckPlan

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records" / "digits-safety"
PLAIN, MIXING = (
    str(next(RECORDS.glob(f"{slug}--*.json"))) for slug in ("digits-cnn-plain", "digits-cnn-noise-and-mixing")
)


def test_a_check_writes_every_form_beside_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = {name: tmp_path / name for name in ("json", "junit", "markdown", "annotations")}
    options = [f"--{name}={path}" for name, path in forms.items()]
    assert run(["check", PLAIN, "--baseline", MIXING, *options]) == 1
    assert "FAILED" in capsys.readouterr().out
    report = CheckReport.model_validate_json(forms["json"].read_bytes())
    assert report.failed
    assert "<testsuites" in forms["junit"].read_text(encoding="utf-8")
    assert "### rbs check: failed" in forms["markdown"].read_text(encoding="utf-8")
    assert forms["annotations"].read_text(encoding="utf-8").startswith("::error title=rbs check%3A failed::")


def test_json_on_standard_output_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", PLAIN, "--baseline", PLAIN, "--json", "-"]) == 0
    report = CheckReport.model_validate(json.loads(capsys.readouterr().out), strict=False)
    assert not report.failed


def test_a_plan_is_printed_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--plan", "--n", "10000", "--discordance", "0.1", "--tolerance", "1", "--drop", "2"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "A true drop of 1.28 points fails 80 % of the time." in out
    assert "> 99.9 %" in out


def test_a_plan_in_json_on_standard_output_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--plan", "--n", "1000", "--discordance", "0.1", "--json", "-"]) == 0
    plan = CheckPlan.model_validate_json(capsys.readouterr().out)
    assert (plan.n, plan.n_columns, plan.tolerance) == (1000, 5, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan"], "--plan needs --n and --discordance"),
        (["--plan", "--n", "0", "--discordance", "0.1"], "n cannot be used"),
        (["--plan", "--n", "100", "--discordance", "1.5"], "discordance cannot be used"),
        (["--plan", "--n", "100", "--discordance", "nan"], "discordance cannot be used"),
        (["--plan", "--n", "100", "--discordance", "0.1", "--drop", "20"], "drop cannot be used"),
        (["--plan", "--n", "100", "--discordance", "0.1", "--drop", "-1"], "drop cannot be used"),
        (["--plan", "--n", "100", "--discordance", "0.1", "--columns", "0"], "n_columns cannot be used"),
        (["--plan", "--n", "many", "--discordance", "0.1"], "--n"),
        (["--plan", "--n", "100", "--discordance", "0.1", "--junit", "x"], "found --junit"),
        (["--plan", "--n", "100", "--discordance", "0.1", "--fail-on-any"], "found --fail-on-any"),
        ([PLAIN, "--plan", "--n", "100", "--discordance", "0.1"], "no records"),
        ([PLAIN], "a check is of two records"),
        ([], "a check is of two records"),
        ([PLAIN, "--baseline", PLAIN, "--n", "10"], "with --plan alone"),
        ([PLAIN, "--baseline", PLAIN, "--json", "-", "--junit", "-"], "one form on standard output"),
        ([PLAIN, "--baseline", PLAIN, "--json", PLAIN], "one that is used already"),
        ([PLAIN, "--baseline", PLAIN, "--json", MIXING], "found a record or a companion"),
        ([PLAIN, "--baseline", PLAIN, "--markdown", "x.parquet"], "found a record or a companion"),
        ([PLAIN, "--baseline", PLAIN, "--json", "."], "found a folder"),
        ([PLAIN, "--baseline", PLAIN, "--json", "x", "--junit", "./x"], "one that is used already"),
        ([PLAIN, "--baseline", PLAIN, "--alpha", "1.5"], "alpha cannot be used"),
    ],
)
def test_options_that_cannot_be_used_end_with_2_and_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
