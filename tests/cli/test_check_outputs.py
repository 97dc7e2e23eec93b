"""Tests of where a check's report goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.check_outputs import CheckOutputs
from robustbench_safety.errors import StorageError, UsageError
from robustbench_safety.records import CheckReport
from robustbench_safety.reporting.gate.output import annotations_of, junit_of, markdown_of
from tests.reporting.gate.reports import report


def test_each_form_goes_to_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = CheckOutputs(
        json=tmp_path / "new" / "a.json",
        junit=tmp_path / "b.xml",
        markdown=tmp_path / "c.md",
        annotations=tmp_path / "d.txt",
    )
    assert not outputs.takes_the_screen
    outputs.write(report())
    assert CheckReport.model_validate_json((tmp_path / "new" / "a.json").read_bytes()) == report()
    assert (tmp_path / "b.xml").read_text(encoding="utf-8") == junit_of(report())
    assert (tmp_path / "c.md").read_text(encoding="utf-8") == markdown_of(report())
    assert (tmp_path / "d.txt").read_text(encoding="utf-8") == annotations_of(report())
    assert capsys.readouterr().out == ""


def test_a_hyphen_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = CheckOutputs(json=Path("-"))
    assert outputs.takes_the_screen
    outputs.write(report())
    assert CheckReport.model_validate_json(capsys.readouterr().out) == report()


def test_two_forms_do_not_share_standard_output() -> None:
    with pytest.raises(UsageError, match="--json - and --markdown -"):
        _ = CheckOutputs(json=Path("-"), markdown=Path("-")).takes_the_screen


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"a\.json"):
        CheckOutputs(json=tmp_path / "file" / "a.json").write(report())
