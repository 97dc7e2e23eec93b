"""Tests of a report as JSON."""

from __future__ import annotations

import json

import pytest

from robustbench_safety.records import CheckReport
from robustbench_safety.reporting.gate.output import json_of
from tests.reporting.gate.reports import HOSTILE, hostile_report, report


@pytest.mark.parametrize("text", HOSTILE)
def test_a_report_is_read_back_as_it_was(text: str) -> None:
    whole = hostile_report(text)
    assert CheckReport.model_validate_json(json_of(whole)) == whole


def test_no_character_of_a_name_reaches_the_terminal_as_it_is() -> None:
    text = json_of(hostile_report("\x1b[31m\u202e"))
    assert text.isascii()
    assert "\x1b" not in text


def test_the_schema_of_a_report_names_every_field_that_is_written() -> None:
    written = json.loads(json_of(report()))
    schema = CheckReport.model_json_schema(mode="serialization")
    assert set(written) == set(schema["properties"])
    assert set(written["columns"][0]) == set(schema["$defs"]["ColumnCheck"]["properties"])
