"""The environment of all pages: nothing of a text is markup, and a page may stand alone."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from jinja2 import UndefinedError

from robustbench_safety.reporting.pages.environment import STATIC, environment, one_line, render


def test_every_text_is_escaped() -> None:
    page = environment().from_string('<p title="{{ name }}">{{ name }}</p>').render(name="<script>'\"&")
    assert page == '<p title="&lt;script&gt;&#39;&#34;&amp;">&lt;script&gt;&#39;&#34;&amp;</p>'


def test_a_name_that_nobody_gave_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="root"):
        render("base.html")


def test_a_page_of_the_site_names_its_files_by_relative_paths_alone() -> None:
    page = render("base.html", root="../")
    assert re.findall(r'(?:src|href)="([^"#]{1,40})"', page) == [
        "../static/site.css",
        "../static/site.js",
        "../index.html",
    ]
    assert "://" not in page


def test_a_page_that_stands_alone_names_no_file_and_runs_its_own_script_alone() -> None:
    page = render("base.html", root="", inline=True)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page


@pytest.mark.parametrize("name", ["site.css", "site.js"])
def test_what_stands_inside_a_page_does_not_end_it(name: str) -> None:
    assert "</" not in (STATIC / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ResNet-20 (mine)", "ResNet-20 (mine)"),
        ("a\x1b[31mb\r\nc\x00", "a [31mb c"),
        ("abc\u202egnp.exe", "abc gnp.exe"),
        ("é 日本 Ω", "é 日本 Ω"),
        ("y" * 5000, "y" * 200 + "…"),
        ("\u200b" * 5000 + "end", "…"),
    ],
)
def test_a_name_is_shown_in_one_printable_line_of_some_length(text: str, shown: str) -> None:
    assert one_line(text) == shown
