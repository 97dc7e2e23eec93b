"""The site in a real browser, opened from the disk: nothing is fetched, nothing fails, all can be used."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from robustbench_safety.reporting.pages.environment import STATIC
from robustbench_safety.reporting.pages.site import build_site
from robustbench_safety.reporting.pages.suite_page import HEAT_LEVELS, suite_page
from robustbench_safety.reporting.ranking import RankInterval
from robustbench_safety.reporting.rows import boards
from tests.conftest import REPOSITORY
from tests.leaderboards import FOUR_ROWS, HOSTILE, file, file_hostile, four_rows

SUITES = ("cifar10-clean", FOUR_ROWS, "digits-safety")
REPORTED = """\
name: paper
title: A paper's table
suite: digits-safety
source: A. Author, A paper, 2024, table 3
rows:
  - {name: Their network, model: a CNN, scores: {corruptions: {value: 12.5, certainty: recalled}}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no browser tests: install Chromium, Debian's package `chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed one with the rows that are known by sight."""
    return four_rows(tmp_path_factory.mktemp("committed") / "leaderboard")


@pytest.fixture(scope="module")
def site(leaderboard: Path) -> Path:
    build_site(leaderboard)
    return leaderboard / "site"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with every kind of row, a number that is missing, and names that would do harm."""
    leaderboard = tmp_path_factory.mktemp("mixed")
    file_hostile(leaderboard)
    file(leaderboard, "whole", scores={"corruptions": 0.2, "anomaly": 0.9})
    file(leaderboard, "hollow", scores={"corruptions": 0.1, "anomaly": None})
    file(leaderboard, "sent", kind="self-reported", scores={"corruptions": 0.05})
    file(leaderboard, "again", kind="recomputed", scores={"corruptions": 0.04})
    file(leaderboard, "a part", status="partial", partial_because=["a limit of 100 images"], limit=100)
    (leaderboard / "reported").mkdir()
    (leaderboard / "reported" / "paper.yaml").write_text(REPORTED)
    build_site(leaderboard)
    return leaderboard / "site"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from _quiet_page(browser)


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    yield from _quiet_page(browser, viewport={"width": 360, "height": 740}, has_touch=True)


def _quiet_page(browser: Browser, **options: object) -> Iterator[Page]:
    """Give a page that must ask for files alone, write no error and open no dialog."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # passed on as they are
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(f"console: {message.text}"))
    opened.on("pageerror", lambda error: wrong.append(f"error: {error}"))

    def dismiss(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("dialog", dismiss)
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "about:")) else wrong.append(request.url)
        ),
    )
    opened.set_default_timeout(10_000)
    yield opened
    context.close()
    assert wrong == []


def go(page: Page, site: Path, name: str) -> None:
    page.goto((site / name).as_uri())


def names(page: Page) -> list[str]:
    """Return the rows in sight, top down, by name."""
    bdi = page.locator("tbody tr[data-kind]:visible th bdi:first-child")
    found = bdi.evaluate_all("all => all.filter(one => !one.closest('small')).map(one => one.textContent)")
    return [str(name) for name in found]


def keys(page: Page, column: str) -> list[str]:
    """Return what the first group of rows is sorted by in a column, top down; "" for a missing number."""
    heads = page.locator("thead th").evaluate_all("all => all.map(one => one.dataset.id)")
    cells = page.locator(f"tbody:first-of-type tr[data-kind] > :nth-child({heads.index(column) + 1})")
    return [str(key) for key in cells.evaluate_all("all => all.map(one => one.dataset.v)")]


def values(page: Page, column: str) -> list[float]:
    return [float(key) for key in keys(page, column)]


def header(page: Page, title: str) -> Locator:
    return page.get_by_role("columnheader", name=re.compile(f"^{title}"))


def test_every_page_loads_without_an_error(page: Page, site: Path) -> None:
    pages = [*site.glob("**/index.html"), *(next(site.glob(f"{suite}/*--*.html")) for suite in SUITES)]
    assert len(pages) > len(SUITES) + 3
    for path in pages:
        page.goto(path.as_uri())
        assert page.get_by_role("heading", level=1).count() == 1, path
        assert page.title()


def test_a_click_sorts_the_best_first_and_a_second_one_the_worst(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    for title, best in (("adversaries", min), ("anomaly", max)):
        button = header(page, title).get_by_role("button")
        button.click()
        first = values(page, title)
        assert first[0] == best(first)
        assert first == sorted(first, reverse=best is max)
        assert header(page, title).get_attribute("aria-sort") == (
            "ascending" if best is min else "descending"
        )
        button.click()
        assert values(page, title) == first[::-1]
    assert page.locator("th[aria-sort]").count() == 1


def test_the_keyboard_sorts_too(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    header(page, "consistency").get_by_role("button").focus()
    page.keyboard.press("Enter")
    first = values(page, "consistency")
    assert first == sorted(first)
    page.keyboard.press("Space")
    assert values(page, "consistency") == first[::-1]
    header(page, "model").get_by_role("button").press("Enter")
    assert names(page) == sorted(names(page), key=str.lower)


def test_every_control_is_reached_by_tab_and_shows_that_it_has_the_focus(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        one, outline = page.evaluate(
            "(() => { const one = document.activeElement;"
            " const name = one.id || one.value || one.textContent.trim();"
            " return [name, getComputedStyle(one).outlineStyle]; })()"
        )
        assert outline != "none", one
        reached.add(one)
    assert {
        "theme",
        "search",
        "Rows and columns",
        "verified",
        "clean_rms",
        "model",
        "conv-marabou",
    } <= reached


def test_rows_are_filtered_by_kind(page: Page, mixed: Path) -> None:
    go(page, mixed, "digits-safety/index.html")
    n = len(HOSTILE) + 6
    expect(page.get_by_role("status")).to_have_text(f"{n} of {n} rows shown")
    for kind in ("verified", "recomputed", "self-reported", "partial"):
        page.get_by_role("checkbox", name=re.compile(f"^{kind}")).uncheck()
    expect(page.get_by_role("status")).to_have_text(f"1 of {n} rows shown")
    assert names(page) == ["Their network"]
    expect(page.get_by_role("rowheader", name=re.compile("^Not ranked"))).to_be_hidden()
    page.get_by_role("checkbox", name=re.compile("^self-reported")).check()
    expect(page.get_by_role("rowheader", name=re.compile("^Not ranked"))).to_be_visible()
    assert names(page) == ["sent", "Their network"]


def test_a_paper_s_number_is_marked_as_not_verified_and_names_its_source(page: Page, mixed: Path) -> None:
    go(page, mixed, "digits-safety/index.html")
    row = page.get_by_role("row", name=re.compile("^Their network"))
    expect(row).to_contain_text("recalled, not verified")
    row.get_by_role("link").first.click()
    expect(page.locator("li:target")).to_contain_text("A. Author, A paper, 2024, table 3")


def test_a_search_leaves_the_rows_with_all_its_words(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    search = page.get_by_role("searchbox", name="Search by name")
    search.fill("PGD conv")
    expect(page.get_by_role("status")).to_have_text("1 of 4 rows shown")
    assert names(page) == ["conv-small, PGD"]
    search.fill("no such model")
    expect(page.get_by_role("status")).to_have_text("0 of 4 rows shown")
    search.fill("")
    expect(page.get_by_role("status")).to_have_text("4 of 4 rows shown")


def test_columns_are_switched_on_and_off(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    expect(header(page, "clean rms")).to_have_count(0)
    page.get_by_role("checkbox", name="clean rms").check()
    expect(header(page, "clean rms")).to_be_visible()
    page.get_by_role("checkbox", name="corruptions", exact=True).uncheck()
    expect(header(page, "corruptions")).to_have_count(0)
    visible = page.locator("tbody tr[data-kind]").first.locator("> :visible").count()
    assert visible == page.locator("thead th:visible").count() == 2 + 6


def test_a_view_stands_in_the_address_and_comes_back_from_there(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    header(page, "anomaly").get_by_role("button").click()
    page.get_by_role("checkbox", name="clean rms").check()
    page.get_by_role("searchbox").fill("conv")
    expect(page.get_by_role("status")).to_have_text("3 of 4 rows shown")
    shown = names(page)
    expect(page).to_have_url(re.compile("#.*search=conv"))
    page.reload()
    expect(header(page, "anomaly")).to_have_attribute("aria-sort", "descending")
    expect(header(page, "clean rms")).to_be_visible()
    assert names(page) == shown
    page.goto(page.url.partition("#")[0] + "#sort=nothing:x&kind=&column=<script>&search=%00")
    page.reload()
    assert names(page) == []


def test_a_model_s_page_opens_from_its_name_and_leads_back(page: Page, site: Path) -> None:
    go(page, site, "index.html")
    page.get_by_role("link", name=FOUR_ROWS).click()
    page.get_by_role("link", name="ResNet-4b, PGD").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("ResNet-4b, PGD")
    page.get_by_role("link", name="robustbench_safety").first.click()
    expect(page.get_by_role("heading", name="Suites")).to_be_visible()


def test_the_csv_that_is_downloaded_is_the_committed_one(page: Page, site: Path) -> None:
    go(page, site, "cifar10-clean/index.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert download.value.suggested_filename == "cifar10-clean.csv"
    committed = REPOSITORY / "leaderboard" / "tables" / "cifar10-clean.csv"
    assert Path(download.value.path()).read_bytes() == committed.read_bytes()


def test_the_table_has_its_roles_and_headers(page: Page, site: Path) -> None:
    go(page, site, f"{FOUR_ROWS}/index.html")
    table = page.get_by_role("table", name=f"Scores on {FOUR_ROWS}")
    assert table.get_by_role("rowheader").all_inner_texts()[0].startswith("ResNet-4b, PGD")
    assert table.get_by_role("columnheader").count() == 8
    assert table.get_by_role("columnheader").get_by_role("button").count() == 8
    assert table.get_by_role("row").count() == 5
    assert table.get_by_role("cell").count() == 4 * 7
    assert page.get_by_role("region", name=f"Scores on {FOUR_ROWS}").get_attribute("tabindex") == "0"


def test_a_missing_number_is_a_dash_with_its_reason_and_is_last_in_either_order(
    page: Page, mixed: Path
) -> None:
    go(page, mixed, "digits-safety/index.html")
    cell = page.get_by_role("row", name=re.compile("^hollow")).locator('td[data-v=""]')
    expect(cell).to_have_text(re.compile("^–"))
    for _ in range(2):
        header(page, "anomaly").get_by_role("button").click()
        assert keys(page, "anomaly")[-1] == ""
        assert "" not in keys(page, "anomaly")[:-1]
    cell.get_by_role("link", name="note").click()
    expect(page.locator("li:target")).to_contain_text("anomaly: the data were not at hand")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_every_colour_can_be_read(browser: Browser, site: Path, scheme: str) -> None:
    for page in _quiet_page(browser, color_scheme=scheme):
        go(page, site, f"{FOUR_ROWS}/index.html")
        seen = page.evaluate(
            """levels => {
              const probe = document.querySelector('td.kind');
              const pairs = [];
              const colour = name => {
                probe.style.color = `var(${name})`;
                return getComputedStyle(probe).color.match(/[0-9.]+/g).map(Number);
              };
              for (let i = 0; i < levels; i++) pairs.push([colour('--heat-ink'), colour(`--heat-${i}`)]);
              for (const ground of ['--paper', '--panel', '--accent-soft'])
                for (const text of ['--ink', '--ink-soft', '--accent'])
                  pairs.push([colour(text), colour(ground)]);
              return pairs;
            }""",
            HEAT_LEVELS,
        )
        assert len(seen) == HEAT_LEVELS + 9
        assert min(contrast(text, ground) for text, ground in seen) >= 4.5
        ground = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number)"
        )
        assert (luminance(ground) < 0.1) == (scheme == "dark")


def luminance(colour: list[float]) -> float:
    """As WCAG 2.2 defines it, of 8-bit sRGB."""
    linear = [
        c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_theme_is_switched_by_a_button_and_stays(page: Page, site: Path) -> None:
    go(page, site, "index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(ground)
    assert dark != before
    go(page, site, f"{FOUR_ROWS}/index.html")
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == before


def test_no_page_is_wider_than_a_phone_and_the_names_stay_in_sight(
    phone: Page, site: Path, mixed: Path
) -> None:
    paths = [*site.glob("**/index.html"), *mixed.glob("**/index.html")]
    paths += [next(site.glob(f"{FOUR_ROWS}/*--*.html")), next(mixed.glob(f"*/{'y' * 60}*.html"))]
    assert len(paths) > 7
    for path in paths:
        phone.goto(path.as_uri())
        width = phone.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, f"{path.name} is {width} px wide"
    go(phone, site, f"{FOUR_ROWS}/index.html")
    expect(phone.get_by_role("checkbox", name="clean rms")).to_be_hidden()
    phone.get_by_text("Rows and columns").click()
    expect(phone.get_by_role("checkbox", name="clean rms")).to_be_visible()
    first = phone.get_by_role("rowheader").first
    left = "one => one.getBoundingClientRect().left"
    before = first.evaluate(left)
    phone.locator(".scroll").evaluate("one => { one.scrollLeft = 300; }")
    assert phone.locator(".scroll").evaluate("one => one.scrollLeft") == 300
    assert first.evaluate(left) == before


def test_no_name_does_harm_on_a_page(page: Page, mixed: Path) -> None:
    go(page, mixed, "digits-safety/index.html")
    shown = names(page)
    assert set(HOSTILE.values()) <= set(shown)
    assert page.locator("script").count() == 1
    assert page.locator("main img").count() == 0
    heights = page.locator("tbody tr[data-kind]").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert max(heights) < 200
    paths = sorted((mixed / "digits-safety").glob("*--*.html"))
    assert len(paths) == len(HOSTILE) + 5
    for path in paths:
        page.goto(path.as_uri())
        assert page.locator("main img[src=x]").count() == 0
        box = page.get_by_role("heading", level=1).bounding_box()
        assert box is not None
        assert box["height"] < 400
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_scripts_every_row_and_column_is_there(browser: Browser, site: Path) -> None:
    for page in _quiet_page(browser, java_script_enabled=False):
        go(page, site, f"{FOUR_ROWS}/index.html")
        assert page.get_by_role("columnheader").count() == 2 + 13
        assert len(page.get_by_role("rowheader").all()) == 4
        expect(page.locator("#controls")).to_be_hidden()
        expect(page.locator("#theme")).to_be_hidden()


def test_a_table_of_1000_rows_is_loaded_and_sorted_within_two_seconds(
    page: Page, tmp_path: Path, leaderboard: Path
) -> None:
    (board,) = (board for board in boards(leaderboard) if board.suite.name == FOUR_ROWS)
    rows = []
    for i in range(1000):
        row = board.rows[i % 4]
        score = row.record.scores["anomaly"].model_copy(update={"value": (i * 7919 % 1000) / 1000})
        record = row.record.model_copy(
            update={"display_name": f"model {i}", "scores": {**row.record.scores, "anomaly": score}}
        )
        ranks = dict.fromkeys(row.ranks, RankInterval(best=i + 1, worst=min(1000, i + 9)))
        rows.append(replace(row, record=record, ranks=ranks, digest=f"{i:064x}"))
    (tmp_path / FOUR_ROWS).mkdir()
    (tmp_path / FOUR_ROWS / "index.html").write_text(suite_page(replace(board, rows=tuple(rows))))
    shutil.copytree(STATIC, tmp_path / "static")
    # The page's own processor time up to the sorted table in sight: what else the machine does is
    # not ours. On a machine at rest the clock says little more.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    go(page, tmp_path, f"{FOUR_ROWS}/index.html")
    page.locator('th[data-id="anomaly"] button').click()
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    found = values(page, "anomaly")
    assert len(found) == 1000
    assert found == sorted(found, reverse=True)
    assert 0 < metrics["TaskDuration"] < 2
