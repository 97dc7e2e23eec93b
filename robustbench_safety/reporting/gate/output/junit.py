"""A report as JUnit XML: a test case for each column, for every dashboard of test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from robustbench_safety.records import CheckedRecord, CheckReport, ColumnCheck
from robustbench_safety.reporting.gate.output.words import column_sentence, verdict, worse_conditions
from robustbench_safety.reporting.plain_text import one_line

__all__ = ["junit_of"]

#: XML 1.0 has no way to write these, not even as a reference: section 2.2 of its specification.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_NOTE = 1000
#: Conditions of which a failure shows sample ids, the worst first.
_N_CONDITIONS = 10


def junit_of(report: CheckReport) -> str:
    """Return one test suite with a case for each column: failed, skipped where it is not gated, or passed.

    Notes are the suite's standard output, the two records its properties.
    """
    columns = report.columns
    counts = {
        "tests": str(len(columns)),
        "failures": str(sum(column.failed for column in columns)),
        "errors": "0",
        "skipped": str(sum(not column.gated for column in columns)),
        "time": "0",  # of a report; some readers refuse a suite without it
    }
    top = ET.Element("testsuites", {"name": "rbs check", **counts})
    suite = ET.SubElement(top, "testsuite", {"name": f"rbs check {report.suite.name}", **counts})
    properties = ET.SubElement(suite, "properties")
    facts = {
        "suite": f"{report.suite.name}, version {report.suite.version}, digest {report.suite.digest}",
        "candidate": _record(report.candidate),
        "baseline": _record(report.baseline),
        "alpha": f"{report.alpha:g}",
        "fail_on_any": "true" if report.fail_on_any else "false",
        "verdict": verdict(report),
    }
    for name, value in facts.items():
        ET.SubElement(properties, "property", {"name": name, "value": _legal(value)})
    for column in columns:
        _add_case(suite, column, report)
    if report.notes:
        notes = "\n".join(one_line(note, longest=_LONGEST_NOTE) for note in report.notes)
        ET.SubElement(suite, "system-out").text = _legal(notes)
    ET.indent(top)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


def _add_case(suite: ET.Element, column: ColumnCheck, report: CheckReport) -> None:
    names = {"classname": f"rbs.check.{report.suite.name}", "name": column.column, "time": "0"}
    case = ET.SubElement(suite, "testcase", names)
    sentence = _legal(column_sentence(column, fail_on_any=report.fail_on_any))
    if column.failed:
        failure = ET.SubElement(case, "failure", {"type": "regression", "message": sentence})
        examples = [
            f"{one.condition.path}: {', '.join(one_line(name) for name in one.newly_wrong)}"
            for one in worse_conditions(report, _N_CONDITIONS)
            if one.newly_wrong
        ]
        failure.text = _legal("\n".join([sentence, *_headed("newly wrong, for example:", examples)]))
    elif not column.gated:
        ET.SubElement(case, "skipped", {"message": sentence})
    else:
        ET.SubElement(case, "system-out").text = sentence


def _headed(head: str, lines: list[str]) -> list[str]:
    return [head, *lines] if lines else []


def _record(record: CheckedRecord) -> str:
    return f"{one_line(record.name)}, {record.kind}, sha256 {record.digest}"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
