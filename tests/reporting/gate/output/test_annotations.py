"""Tests of a report as workflow commands, read as GitHub's runner reads them."""

from __future__ import annotations

import re

import pytest

from robustbench_safety.reporting.gate.output import annotations_of
from tests.reporting.gate.reports import HOSTILE, hostile_report, report


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return (kind, properties, message) of each line, unescaped as the runner does."""
    found = []
    for line in text.splitlines():
        head = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert head, line
        pairs = dict(part.split("=", 1) for part in head[2].split(","))
        properties = {
            key: value.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
            for key, value in pairs.items()
        }
        found.append((head[1], properties, head[3].replace("%0A", "\n").replace("%25", "%")))
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_forges_a_command_or_a_line(text: str) -> None:
    found = commands(annotations_of(hostile_report(text)))
    kinds = [kind for kind, _, _ in found]
    assert kinds == ["error", "error", "notice", "notice"]
    assert all(set(properties) == {"title"} for _, properties, _ in found)


def test_a_failed_column_is_an_error_with_its_numbers() -> None:
    kind, properties, message = commands(annotations_of(report()))[1]
    assert (kind, properties["title"]) == ("error", "rbs check: corruptions got worse")
    assert message.startswith("corruptions is worse by 2.05 points (95 % interval +1.70 to +2.40); 12.00 %")
    assert "tolerance 0.50 points; sign-flip test over 10,000 units: p < 0.001 after Holm" in message


def test_a_note_and_a_column_that_is_not_gated_are_notices() -> None:
    found = commands(annotations_of(report(failed=False)))
    assert [kind for kind, _, _ in found] == ["notice", "notice", "notice"]
    assert found[1][2].endswith("not gated; not measured in either")
    assert found[2][2] == "other batch sizes: 512 and 1000"
    assert found[0][1]["title"] == "rbs check: passed"
    assert found[0][2].startswith("ResNet-32 against ResNet-20 on cifar10-safety: none of 4 gated columns")


def test_the_percent_sign_is_escaped_first() -> None:
    line = annotations_of(hostile_report("100%0A")).splitlines()[0]
    assert "100%250A" in line
    assert "title=rbs check%3A failed::" in line


def test_what_a_note_has_said_is_not_said_again() -> None:
    whole = report()
    noted = whole.model_copy(update={"notes": ("anomaly is not gated: not measured in either",)})
    titles = [properties["title"] for _, properties, _ in commands(annotations_of(noted))]
    assert titles == ["rbs check: failed", "rbs check: corruptions got worse", "rbs check: note"]
