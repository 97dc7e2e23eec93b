"""Tests of ``rbs export``."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from tests.golden.make import RECORD


def test_an_export_says_where_its_files_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(RECORD), "--out", str(tmp_path), "--model-id", "octo/digits"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert f"model card   {tmp_path / 'README.md'}" in out
    assert (tmp_path / ".eval_results").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.json", "--out", "x", "--model-id", "a/b"], "cannot be read"),
        ([str(RECORD), "--out", "x", "--model-id", "none"], "model id cannot be used"),
        ([str(RECORD), "--out", "x"], "--model-id"),
    ],
)
def test_an_export_that_cannot_be_made_ends_with_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
