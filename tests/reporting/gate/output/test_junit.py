"""Tests of a report as JUnit XML, against what readers of it demand."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from robustbench_safety.reporting.gate.output import junit_of
from tests.reporting.gate.reports import HOSTILE, hostile_report, report

#: Of the schema that Jenkins and Surefire share: what an element may hold, and which attributes it must have.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"failure", "skipped", "system-out"},
    "failure": set(),
    "skipped": set(),
    "system-out": set(),
}
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"name", "classname", "time"},
    "property": {"name", "value"},
    "failure": {"type", "message"},
    "skipped": {"message"},
}


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text.encode())  # noqa: S314  # our own text; were it hostile, it would be a finding


def check_schema(element: ET.Element) -> None:
    assert element.tag in CHILDREN
    assert REQUIRED.get(element.tag, set()) <= set(element.attrib)
    for child in element:
        assert child.tag in CHILDREN[element.tag]
        check_schema(child)


@pytest.mark.parametrize("text", HOSTILE)
def test_every_report_is_xml_of_the_schema(text: str) -> None:
    top = parsed(junit_of(hostile_report(text)))
    check_schema(top)
    assert [case.get("name") for case in top.iter("testcase")] == [
        *("corruptions", "adversaries", "calibration", "nll", "anomaly")
    ]


def test_a_failed_column_is_a_failure_and_one_that_is_not_gated_is_skipped() -> None:
    suite = parsed(junit_of(report())).find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "0", "skipped": "1"}  # fmt: skip
    cases = {str(case.get("name")): case for case in suite.iter("testcase")}
    failure = cases["corruptions"].find("failure")
    assert failure is not None
    assert "worse by 2.05 points (95 % interval +1.70 to +2.40)" in str(failure.get("message"))
    assert "cifar-10-c/corruption/gaussian_noise-5: 00017, 00042" in str(failure.text)
    skipped = cases["anomaly"].find("skipped")
    assert skipped is not None
    assert "not measured in either" in str(skipped.get("message"))
    for name in ("adversaries", "calibration", "nll"):
        assert [child.tag for child in cases[name]] == ["system-out"]


def test_a_report_that_passed_has_no_failure() -> None:
    top = parsed(junit_of(report(failed=False)))
    assert list(top.iter("failure")) == []
    assert top.get("failures") == "0"


def test_records_and_notes_are_named() -> None:
    top = parsed(junit_of(report()))
    facts = {str(one.get("name")): str(one.get("value")) for one in top.iter("property")}
    assert facts["candidate"] == f"ResNet-32, verified, sha256 {'a' * 64}"
    assert facts["suite"] == f"cifar10-safety, version 2, digest {'1' * 64}"
    suite = top.find("testsuite")
    assert suite is not None
    assert suite.findtext("system-out") == "other batch sizes: 512 and 1000"


def test_a_character_that_xml_cannot_hold_is_replaced() -> None:
    text = junit_of(hostile_report("a\x00b\ufffec"))
    assert not {"\x00", "\ufffe"} & set(text)
