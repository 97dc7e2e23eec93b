"""The workflows for pull requests: a submission is read by our code alone, and can reach no secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.submissions import PLAIN

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.y*ml"))


def test_there_is_one_for_the_tests_and_one_for_submitted_records() -> None:
    assert {"ci.yml", "records.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_secret_and_may_only_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
    names = set(triggers) if isinstance(triggers, dict | list) else {triggers}
    if "pull_request" in names:
        assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text
    assert "workflow_run" not in text
    if path.name in ("ci.yml", "records.yml"):
        assert "secrets" not in text
        assert "pull_request" in names
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            # What a sender names reaches a script by its environment, never as text of the script.
            assert "github.event" not in step.get("run", "")
            assert "github.head_ref" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(path: Path) -> None:
    used = re.findall(r"uses:\s*(\S+)", path.read_text(encoding="utf-8"))
    assert all(name.startswith("./") or re.search(r"@(v\d+|[0-9a-f]{40})", name) for name in used)


def test_submitted_records_are_read_by_the_code_of_our_branch() -> None:
    (job,) = yaml.safe_load((GITHUB / "workflows" / "records.yml").read_text())["jobs"].values()
    ours, sent = (
        step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")
    )
    assert (ours["path"], ours["ref"]) == ("ours", "${{ github.event.pull_request.base.sha }}")
    assert sent["path"] == "sent"
    runs = "\n".join(step.get("run", "") for step in job["steps"])
    # From the submission nothing is installed, imported or executed.
    assert not re.search(r"(?:python|make -C|source|bash|\./)\s*sent", runs)
    assert "ours/.venv/bin/rbs leaderboard verify --leaderboard sent/leaderboard" in runs


# -------------------------------------------------------------------------------------- what is touched


def checked(folder: Path, changes: list[tuple[str, str]], sender: str = "NONE") -> tuple[int, str]:
    changed = folder / "changed"
    changed.write_text("".join(f"{letter}\0{path}\0" for letter, path in changes))
    command = [sys.executable, str(GITHUB / "submitted_files.py"), str(changed), str(folder), sender]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def submitted(folder: Path, kind: str = "self-reported", name: str = "mine--0123abcd") -> str:
    record = json.loads(PLAIN.read_text(encoding="utf-8"))
    record["verification"]["kind"] = kind
    path = f"leaderboard/records/digits-safety/{name}.json"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(json.dumps(record), encoding="utf-8")
    return path


def test_new_records_and_rebuilt_tables_are_a_submission(tmp_path: Path) -> None:
    path = submitted(tmp_path)
    changes = [("A", path), ("A", path.replace(".json", ".parquet"))]
    changes += [("M", "leaderboard/tables/digits-safety.csv"), ("M", "leaderboard/tables/all_scores.parquet")]
    code, said = checked(tmp_path, changes)
    assert code == 0
    assert f"A {path} 'digits CNN, plain' on 'digits-safety', 'self-reported'" in said


def test_a_strangers_record_that_says_it_is_verified_is_refused(tmp_path: Path) -> None:
    path = submitted(tmp_path, kind="verified")
    code, said = checked(tmp_path, [("A", path)])
    assert code == 1
    assert "refused: says more than its sender can" in said
    assert checked(tmp_path, [("A", path)], sender="MEMBER")[0] == 0


@pytest.mark.parametrize("sender", ["NONE", "OWNER"])
@pytest.mark.parametrize("letter", ["M", "D", "T"])
def test_a_filed_record_is_never_changed(tmp_path: Path, letter: str, sender: str) -> None:
    code, said = checked(tmp_path, [(letter, submitted(tmp_path))], sender)
    assert code == 1
    assert "never changed" in said


@pytest.mark.parametrize(
    "path",
    ["robustbench_safety/scoring.py", ".github/workflows/ci.yml", "leaderboard",
     "leaderboard/reported/x.yaml", "leaderboard/tables/../../setup.py", "leaderboard/records/x.json",
     "leaderboard/records/s/x.py", "leaderboard/records/s/../../x.json"],
)  # fmt: skip
def test_anything_else_is_no_submission(tmp_path: Path, path: str) -> None:
    code, said = checked(tmp_path, [("A", path)])
    assert code == 1
    assert "refused: " in said


def test_a_link_or_what_is_no_record_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"display_name": "root"}')
    path = submitted(tmp_path)
    (tmp_path / path).unlink()
    (tmp_path / path).symlink_to(secret)
    code, said = checked(tmp_path, [("A", path)])
    assert (code, "root" in said) == (1, False)
    (tmp_path / path).unlink()
    for content in ("[", "[]", "{}", '{"verification": 3}', "[" * 100_000):
        (tmp_path / path).write_text(content)
        code, said = checked(tmp_path, [("A", path)])
        assert (code, "is no record" in said) == (1, True)


def test_a_name_cannot_begin_a_line_of_its_own(tmp_path: Path) -> None:
    # In a log of GitHub's a line that begins with two colons is a command.
    _, said = checked(tmp_path, [("A", "leaderboard/records/s/x\n::set-env name=PATH::/tmp\x1b[31m")])
    assert not any(line.startswith("::") for line in said.splitlines())
    assert "\x1b" not in said
