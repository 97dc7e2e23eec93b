"""Tests of a report as a comment: what is in it, and that no text in it is more than text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from robustbench_safety.reporting.gate.output import markdown_of
from robustbench_safety.reporting.gate.output.markdown import COMMENT_MARK
from tests.reporting.gate.reports import HOSTILE, hostile_report, report
from tests.reporting.test_plain_text import without_code

#: Of our own.
TAGS = {"details", "/details", "summary", "/summary", "sub", "/sub"}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_brings_markup_links_or_mentions(text: str) -> None:
    body = markdown_of(hostile_report(text))
    lines = body.splitlines()
    assert lines[0] == COMMENT_MARK
    outside = "\n".join(without_code(line) for line in lines[1:])
    assert "`" not in outside
    assert set(re.findall(r"<([^>]*)>", outside)) <= TAGS
    # References and their numbers aside, as GitHub sees the text once they are resolved.
    seen = html.unescape(outside)
    assert not re.search(r"@\w|#\d|(?i:gh-)\d|://|www\.", seen)
    assert not re.search(r"[\[\]]", re.sub(r"&#\d+;", "", outside))


@pytest.mark.parametrize("text", HOSTILE)
def test_every_row_of_a_table_has_the_cells_of_its_head(text: str) -> None:
    body = markdown_of(hostile_report(text))
    rows = [line for line in body.splitlines() if line.startswith("|")]
    counts = [line.count("|") for line in rows]
    assert counts == [10] * 7 + [8] * 3


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_begins_with_what_a_text_has_put_there(text: str) -> None:
    # Of the ordinary report line for line the same beginnings: neither headings, lists nor lines are added.
    def beginnings(body: str) -> list[str]:
        return [re.match(r"<[^>]*>|[|#<*-]*", line)[0] for line in body.splitlines()]  # type: ignore[index]

    assert beginnings(markdown_of(hostile_report(text))) == beginnings(markdown_of(report()))


def test_the_comment_says_verdict_numbers_conditions_and_notes() -> None:
    body = markdown_of(report())
    assert "### rbs check: failed" in body
    assert "**1 of 4 gated columns got worse: corruptions**" in body
    assert "Candidate **ResNet-32** (verified, `aaaaaaaa`) against baseline **ResNet-20** (partial" in body
    row = next(line for line in body.splitlines() if "| corruptions |" in line)
    assert row == (
        "| **worse** | corruptions | 12.00 % | 14.05 % | +2.05 points | +1.70 to +2.40 | 0.50 points | "
        "sign-flip test, n = 10,000 | p &lt; 0.001 |"
    )
    assert "| ok | nll | 0.5000 | 0.4800 | -0.0200 | – | 0.0050 |" in body
    assert "| not gated | anomaly | – | – | – | – | – | – | – |" in body
    assert "the two intervals alone, not paired" in body
    assert "- calibration: predictions on CIFAR-10-C are not at hand" in body
    assert "<details><summary>Worst conditions</summary>\n\n| condition |" in body
    assert "- cifar-10-c/corruption/gaussian&#95;noise-5: `00017`, `00042`" in body
    assert "- other batch sizes: 512 and 1000" in body
    assert "rejected at 0.05 after Holm" in body


def test_a_check_that_passed_says_so_and_how_it_was_decided() -> None:
    body = markdown_of(report(failed=False, fail_on_any=True))
    assert "### rbs check: passed" in body
    assert "**none of 4 gated columns got worse beyond its tolerance**" in body
    assert "A column fails when its drop is above its tolerance.</sub>" not in body
    assert "A column fails when its drop is above its tolerance. Drops are" in body


def test_a_comment_is_never_longer_than_github_takes() -> None:
    whole = report(text="|" * 300)
    many = whole.model_copy(update={"notes": tuple("@" * 1000 for _ in range(500))})
    body = markdown_of(many)
    assert len(body) < 65_536
    assert "This comment was cut" in body


class Tags(HTMLParser):
    """The elements of a page in their order, and its words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(" ".join([tag, *(name for name, _ in attrs if name != "style")]))

    def handle_data(self, data: str) -> None:
        self.words += data


def rendered(text: str) -> Tags:
    """Return a comment as an independent reader of CommonMark with tables, raw HTML allowed, shows it."""
    page = Tags()
    page.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
    return page


@pytest.mark.parametrize("text", HOSTILE)
def test_a_reader_of_markdown_sees_the_elements_of_an_ordinary_report(text: str) -> None:
    assert rendered(markdown_of(hostile_report(text))).tags == rendered(markdown_of(report())).tags


def test_a_reader_of_markdown_sees_a_hostile_name_as_it_is() -> None:
    words = rendered(markdown_of(hostile_report("<b>*a*</b> | `x` [l](u) &amp;"))).words
    assert "Candidate <b>*a*</b> | `x` [l](u) &amp; (verified" in words
