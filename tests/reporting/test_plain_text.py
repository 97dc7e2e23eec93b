"""Tests of text that must stay text."""

from __future__ import annotations

import html
import re

import pytest

from robustbench_safety.reporting.plain_text import code, escaped
from tests.reporting.gate.reports import HOSTILE


def without_code(text: str) -> str:
    """Return Markdown without its code spans, found as CommonMark finds them: fences of equal length."""
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_shown_is_the_text_itself(text: str) -> None:
    shown = html.unescape(escaped(text)).replace("\u200b", "")
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert shown == (words if len(words) <= 200 else f"{words[:197]}...")


@pytest.mark.parametrize("text", ["`", "``", "a`b", "`a", "a``b`", "", " "])
def test_a_code_span_ends_where_it_should(text: str) -> None:
    span = code(text)
    assert without_code(f"x {span} y") == "x  y"
