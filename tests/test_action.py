"""The composite action: what it is made of, and its shell steps run as GitHub would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from robustbench_safety.records import CheckReport

REPOSITORY = Path(__file__).parent.parent
RECORDS = REPOSITORY / "leaderboard" / "records"
(PLAIN,) = (RECORDS / "digits-safety").glob("digits-cnn-plain--*.json")
(MIXING,) = (RECORDS / "digits-safety").glob("digits-cnn-noise-and-mixing--*.json")

#: Stands for the command: writes its arguments, each ended by a zero byte.
FAKE = """#!/bin/sh
for argument in "$@"; do printf '%s\\0' "$argument" >> "$RBS_ARGUMENTS"; done
exit 0
"""
REAL = f"""#!/bin/sh
exec {sys.executable} -c 'from robustbench_safety.cli import main; main()' "$@"
"""


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    return loaded


def run_step(
    action: dict[str, Any], name: str, inputs: dict[str, str], folder: Path, *, rbs: str = FAKE
) -> tuple[int, str, dict[str, str], str]:
    """Run one step; return its exit code, log, outputs and summary."""
    step = next(one for one in action["runs"]["steps"] if one["name"] == name)
    values = {key: str(one.get("default", "")) for key, one in action["inputs"].items()} | inputs
    environment = {}
    for key, expression in step["env"].items():
        found = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", expression)
        environment[key] = values[found[1]] if found else "/the/action"
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool, text in (
        ("rbs", rbs),
        ("python", f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\n{FAKE}'),
    ):
        (tools / tool).write_text(text, encoding="utf-8")
        (tools / tool).chmod(0o755)
    files = {one: folder / one.lower() for one in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RBS_ARGUMENTS")}
    for path in files.values():
        path.write_bytes(b"")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=os.environ
        | environment
        | {key: str(path) for key, path in files.items()}
        | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        | {"PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    summary = files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
    return done.returncode, done.stdout + done.stderr, outputs, summary


def arguments(folder: Path) -> list[str]:
    return (folder / "rbs_arguments").read_text(encoding="utf-8").split("\0")[:-1]


def test_it_is_composite_and_every_step_names_its_shell(action: dict[str, Any]) -> None:
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"


def test_no_expression_stands_in_a_script(action: dict[str, Any]) -> None:
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_every_input_is_described_and_used_and_every_output_is_made(action: dict[str, Any]) -> None:
    text = str(action["runs"])
    for name, one in action["inputs"].items():
        assert one["description"]
        assert f"inputs.{name} " in text
    for one in action["outputs"].values():
        name = re.fullmatch(r"\$\{\{ steps\.check\.outputs\.([a-z]+) \}\}", one["value"])
        assert name
        assert f'echo "{name[1]}=' in text


def test_inputs_become_the_options_of_the_command(action: dict[str, Any], tmp_path: Path) -> None:
    inputs = {
        "candidate": "new.json",
        "baseline": "old.json",
        "predictions": "predictions",
        "baseline-predictions": "old predictions",
        "tolerance": "corruptions=0.5\n\n  anomaly = 1 \n",
        "tolerances": "tolerances.yaml",
        "fail-on-any": "true",
        "allow-preprocessing-change": "true",
        "suite": "mine.yaml",
    }
    run_step(action, "Check", inputs, tmp_path)
    assert arguments(tmp_path) == [
        "check",
        "--baseline=old.json",
        "--json=./rbs-check/report.json",
        "--junit=./rbs-check/junit.xml",
        "--markdown=./rbs-check/comment.md",
        "--annotations=./rbs-check/annotations.txt",
        "--predictions=predictions",
        "--baseline-predictions=old predictions",
        "--tolerance=corruptions=0.5",
        "--tolerance=anomaly=1",
        "--tolerances=tolerances.yaml",
        "--fail-on-any",
        "--allow-preprocessing-change",
        "--suite=mine.yaml",
        "--",
        "new.json",
    ]


@pytest.mark.parametrize(
    "text",
    ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "--help", "a b", "*"],
)
def test_an_input_is_never_run(action: dict[str, Any], tmp_path: Path, text: str) -> None:
    inputs = dict.fromkeys(("candidate", "baseline", "predictions", "tolerances", "suite"), text)
    run_step(action, "Check", inputs, tmp_path)
    assert not list(tmp_path.glob("**/pwned"))
    found = arguments(tmp_path)
    assert found[-2:] == ["--", text]
    assert [one for one in found if one.startswith("--baseline=")] == [f"--baseline={text}"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"output": "a\nverdict=passed"}, "output is no folder"),
        ({"fail-on-any": "yes"}, "are true or false"),
        ({"candidate": ""}, "candidate and baseline are needed"),
    ],
)
def test_an_input_that_cannot_be_used_ends_the_step(
    action: dict[str, Any], tmp_path: Path, inputs: dict[str, str], message: str
) -> None:
    given = {"candidate": "new.json", "baseline": "old.json"} | inputs
    code, log, outputs, _ = run_step(action, "Check", given, tmp_path)
    assert (code, outputs, arguments(tmp_path)) == (2, {}, [])
    assert message in log


@pytest.mark.parametrize(
    ("version", "installed"),
    [
        ("", ["-m", "pip", "install", "/the/action"]),
        ("0.1.0", ["-m", "pip", "install", "robustbench-safety==0.1.0"]),
        ("installed", []),
        ("0.1 --index-url=https://evil.example", None),
        ("git+https://evil.example", None),
        ("--help", None),
    ],
)
def test_a_version_is_a_number_and_nothing_else(
    action: dict[str, Any], tmp_path: Path, version: str, installed: list[str] | None
) -> None:
    code, log, _, _ = run_step(action, "Install robustbench-safety", {"version": version}, tmp_path)
    if installed is None:
        assert code == 2
        assert "version is none" in log
    else:
        assert code == 0
    assert arguments(tmp_path) == (installed or [])


def test_a_model_that_got_worse_fails_the_step(action: dict[str, Any], tmp_path: Path) -> None:
    inputs = {"candidate": str(PLAIN), "baseline": str(MIXING), "tolerance": "consistency=50"}
    code, log, outputs, summary = run_step(action, "Check", inputs, tmp_path, rbs=REAL)
    assert (code, outputs["verdict"]) == (1, "failed"), log
    report = CheckReport.model_validate_json((tmp_path / outputs["json"]).read_bytes())
    failed = [one.column for one in report.columns if one.failed]
    assert "corruptions" in failed
    assert "consistency" not in failed
    assert summary == (tmp_path / outputs["markdown"]).read_text(encoding="utf-8")
    assert "### rbs check: failed" in summary
    top = ET.fromstring((tmp_path / outputs["junit"]).read_bytes())  # noqa: S314  # our own text
    assert top.get("failures") == str(len(failed))
    # Commands are off while the command prints, and on again for the annotations.
    token = re.search(r"^::stop-commands::([0-9a-f]{32})$", log, re.MULTILINE)
    assert token
    before, _, after = log.partition(f"\n::{token[1]}::\n")
    assert "::error" not in before
    assert after.startswith("::error title=rbs check%3A ")


def writing(code: int, *, report: bool) -> str:
    """Return a command that ends with a code, and writes what the real one writes where it has a report."""
    write = """
for argument in "$@"; do
  case "$argument" in
    --json=* | --junit=*) : > "${argument#*=}" ;;
    --markdown=*) echo "the comment" > "${argument#*=}" ;;
    --annotations=*) echo "::notice title=a::b" > "${argument#*=}" ;;
  esac
done
"""
    return f"{FAKE.partition('exit')[0]}{write if report else ''}\necho '::error::forged'\nexit {code}\n"


@pytest.mark.parametrize(
    ("code", "report", "verdict"),
    [(0, True, "passed"), (1, True, "failed"), (1, False, "no-report"), (2, False, "no-report")],
)
def test_the_verdict_is_that_of_the_report_and_without_one_there_is_none(
    action: dict[str, Any], tmp_path: Path, code: int, verdict: str, *, report: bool
) -> None:
    (tmp_path / "of mine").mkdir()
    (tmp_path / "of mine" / "comment.md").write_text("of the run before", encoding="utf-8")
    inputs = {"candidate": "new.json", "baseline": "old.json", "output": "of mine"}
    rbs = writing(code, report=report)
    found, log, outputs, summary = run_step(action, "Check", inputs, tmp_path, rbs=rbs)
    assert found == code
    assert outputs["verdict"] == verdict
    assert outputs["markdown"] == "./of mine/comment.md"
    assert summary == ("the comment\n" if report else "rbs check has no report: the log says why.\n")
    token = re.match(r"::stop-commands::([0-9a-f]{32})\n", log)
    assert token
    before, _, after = log.partition(f"\n::{token[1]}::\n")
    assert before.endswith("::error::forged")
    assert ("::notice title=a::b" if report else "::error title=rbs check::no report") in after


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    text = (REPOSITORY / "docs" / "gate.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n(name: .*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert block
    # A plain "on" is true in YAML 1.1, and "on" to GitHub.
    loaded: dict[Any, Any] = yaml.safe_load(block[1])
    return {"on" if key is True else key: value for key, value in loaded.items()}


def test_the_documented_workflow_gives_no_more_rights_than_it_needs(workflow: dict[str, Any]) -> None:
    assert workflow["on"] == "pull_request"
    assert workflow["permissions"] == {"contents": "read"}
    check, comment = workflow["jobs"]["check"], workflow["jobs"]["comment"]
    assert "permissions" not in check
    assert comment["permissions"] == {"pull-requests": "write"}
    # The one job that may write takes nothing of the pull request but the report.
    assert not [step for step in comment["steps"] if "checkout" in step.get("uses", "")]
    for job in (check, comment):
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_the_documented_workflow_uses_inputs_and_outputs_that_exist(
    workflow: dict[str, Any], action: dict[str, Any]
) -> None:
    steps = workflow["jobs"]["check"]["steps"]
    (ours,) = [step for step in steps if "robustbench_safety" in step.get("uses", "")]
    assert set(ours["with"]) <= set(action["inputs"])
    assert {name for name, one in action["inputs"].items() if one.get("required")} <= set(ours["with"])
    assert workflow["jobs"]["check"]["outputs"]["verdict"] == "${{ steps.check.outputs.verdict }}"
    assert "verdict" in action["outputs"]
