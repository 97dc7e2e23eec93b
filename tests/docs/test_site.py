"""The built site: whole, every link leads somewhere, and nothing in it is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from robustbench_safety.suites import load_suite
from tests.docs.pages import DOCS, REPOSITORY

PUBLIC = (
    "robustbench_safety",
    "robustbench_safety.metrics",
    "robustbench_safety.corruptions",
    "robustbench_safety.detectors",
)


@dataclass(kw_only=True)
class Page(HTMLParser):
    """What a page refers to and can be referred to by."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(value for name, value in given.items() if name in ("id", "name"))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given:
            self.loads.append(given["href"])
        for name in ("src", "srcset", "data", "poster"):
            if name in given and tag != "meta":
                self.loads.append(given[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning while it is built is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Page()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


def test_every_page_is_built_and_in_the_nav(site: Path) -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE))
    for path in DOCS.rglob("*.md"):
        page = path.relative_to(DOCS)
        assert (site / page.with_suffix(".html")).is_file()
        assert str(page) in named, f"{page} is not in the nav of mkdocs.yml"


def test_every_link_inside_leads_to_a_page_and_a_place_on_it(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links start from the address that was not found
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            known = pages.get(target)
            if not target.is_file() or (fragment and (known is None or fragment not in known.ids)):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, "\n".join(broken)


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        outside = [load for load in page.loads if urlsplit(load).scheme or load.startswith("//")]
        assert not [load for load in outside if not load.startswith("data:")], path.relative_to(site)
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_from_a_disk_the_search_finds_and_the_browser_asks_nobody(site: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on the path; Debian's package is called chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = running.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{(site / 'columns' / 'calibration.html').as_uri()}")
        page.locator("input.md-search__input").click()
        page.keyboard.type("gradients")
        expect(page.locator(".md-search-result__item", has_text="Adversaries")).not_to_have_count(0)
        running.close()
    assert not faults
    assert {urlsplit(address).scheme for address in asked} <= {"file", "about", "data"}


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_on_the_page_of_the_api(
    package: str, pages: dict[Path, Page], site: Path
) -> None:
    module = import_module(package)
    names = {name for name in module.__all__ if name not in ("__version__", "metrics", "corruptions")}
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    listed = re.findall(rf"^::: {re.escape(package)}\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(names)
    assert {f"{package}.{name}" for name in names} <= pages[site / "api.html"].ids


def test_the_docstrings_are_rendered_with_their_sections_and_without_their_markup(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    assert ":func:" not in text
    assert "<strong>Conventions.</strong>" in text
    assert "<strong>Source.</strong>" in text
    assert "&gt;&gt;&gt; Conventions" not in text
    assert not re.search(r"<p>&gt;&gt;&gt;", text)
    # A role has become a link to the function that it names.
    assert 'href="#robustbench_safety.metrics.rms_calibration_error_hendrycks"' in text


# ---------------------------------------------------- what the pages say of suites and numbers


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = text.partition(f"\n## {heading}\n")[2].strip().splitlines()
    table = [line for line in lines[: lines.index("")] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("page", sorted(path.name for path in (DOCS / "columns").glob("*.md")))
def test_a_columns_page_names_columns_that_its_suites_have(page: str) -> None:
    table = rows(f"columns/{page}", "Where it stands")
    assert len(table) > 1
    for where, columns, beside in table:
        if where.startswith("a dataset's own name"):
            continue
        for name in re.findall(r"`([^`]+)`", where):
            suite = load_suite(name)
            assert set(re.findall(r"`(\w+)`", columns)) <= set(suite.columns), name
            assert set(re.findall(r"`(\w+)`", beside)) <= set(suite.beside), name


@pytest.mark.parametrize("page", sorted(path.name for path in (DOCS / "columns").glob("*.md")))
def test_a_columns_page_has_formula_example_conventions_and_sources(page: str) -> None:
    text = (DOCS / "columns" / page).read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Formula", "Worked example", "Conventions", "What moves the number", "Where it stands", "Sources"
    ]  # fmt: skip
    assert "\n> " in text.partition("## Formula")[2].partition("## Worked example")[0]
    assert "```pycon" in text.partition("## Worked example")[2].partition("## Conventions")[0]


def test_the_demos_table_of_the_quick_start_is_the_one_of_the_leaderboard() -> None:
    committed = (REPOSITORY / "leaderboard" / "tables" / "digits-safety.md").read_text(encoding="utf-8")
    shown = [
        line for line in (DOCS / "quickstart.md").read_text().splitlines() if line.startswith("| digits CNN")
    ]
    assert len(shown) == 2
    for line in shown:
        name, *values = [cell.strip() for cell in line.strip("| ").split("|")]
        (row,) = [other for other in committed.splitlines() if f" {name} |" in other]
        for value in values:
            assert value in row


def test_the_configuration_names_no_address() -> None:
    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0])
    assert settings["theme"]["font"] is False
    assert "://" not in (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
