"""The page of a suite as it is written: sound HTML, honest colours, and every note with its number."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robustbench_safety.reporting.known_attacks import BestKnown
from robustbench_safety.reporting.pages.index_page import index_page
from robustbench_safety.reporting.pages.site import build_site
from robustbench_safety.reporting.pages.suite_page import suite_page
from robustbench_safety.reporting.pages.table_data import json_table
from robustbench_safety.reporting.ranking import RankInterval
from robustbench_safety.reporting.reported import ReportedRow, ReportedScore
from robustbench_safety.reporting.rows import Board, Row, boards
from tests.leaderboards import FOUR_ROWS, file_hostile, four_rows

VOID = {"meta", "link", "input", "img", "br", "wbr"}


class Page(HTMLParser):
    """What a page is made of; an end tag without its start is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    leaderboard = four_rows(tmp_path_factory.mktemp("four") / "leaderboard")
    (found,) = (one for one in boards(leaderboard) if one.suite.name == FOUR_ROWS)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    leaderboard = tmp_path_factory.mktemp("hostile")
    file_hostile(leaderboard)
    build_site(leaderboard)
    return leaderboard / "site"


def test_every_page_is_sound(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for path in pages:
        text = path.read_text()
        page = Page(text)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert [name for name, n in Counter(ids).items() if n > 1] == [], path.name
        assert all("scope" in attributes for attributes in page.all("th")), path.name
        assert all(attributes.get("alt") for attributes in page.all("img")), path.name
        for attributes in page.all("svg"):
            assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img", path.name
        assert not re.search(r"https?:|//[a-z]", re.sub(r"<code>.*?</code>|<pre.*?</pre>", "", text)), (
            path.name
        )
        for _, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")], path.name
            target = attributes.get("href", attributes.get("src", ""))
            if target.startswith("#"):
                assert target[1:] in ids, f"{path.name}: {target}"
            elif target and not target.startswith("data:"):
                assert (path.parent / target.partition("#")[0]).is_file(), f"{path.name}: {target}"


def test_rows_of_the_same_ranks_have_one_colour(board: Board) -> None:
    def with_ranks(*ranks: tuple[int, int]) -> list[str]:
        rows = [
            replace(row, ranks={"corruptions": RankInterval(best=best, worst=worst)})
            for row, (best, worst) in zip(board.rows, ranks, strict=True)
        ]
        text = suite_page(replace(board, rows=tuple(rows)))
        return re.findall(r'<td role="cell" class="(h\d)"', text)

    assert with_ranks((1, 1), (2, 2), (3, 3), (4, 4)) == ["h6", "h4", "h2", "h0"]
    assert with_ranks((1, 4), (1, 4), (1, 4), (1, 4)) == ["h3"] * 4
    assert with_ranks((1, 2), (1, 2), (3, 4), (3, 4)) == ["h5", "h5", "h1", "h1"]


def test_a_row_that_is_not_ranked_and_a_single_one_have_no_colour(board: Board) -> None:
    others = tuple(replace(row, ranked=False, ranks={}, on_front=False) for row in board.rows)
    text = suite_page(replace(board, rows=others))
    assert 'role="cell" class="h' not in text
    assert "rank 1" not in text
    assert "Not ranked: not verified" in text
    assert 'role="cell" class="h' not in suite_page(replace(board, rows=board.rows[:1]))


def test_intervals_and_ranks_are_explained_wherever_they_stand(board: Board) -> None:
    def explained(rows: tuple[Row, ...]) -> list[bool]:
        text = suite_page(replace(board, rows=rows))
        return [
            words in text for words in ("its 95 % interval.", "the ranks that it may", "The colour is that")
        ]

    bare = tuple(replace(row, ranked=False, ranks={}, on_front=False) for row in board.rows)
    assert explained(board.rows) == [True, True, True]
    assert explained(board.rows[:1]) == [True, True, False]
    assert explained(bare) == [True, False, False]
    assert explained(()) == [False, False, False]


def test_a_cell_says_value_interval_and_ranks(board: Board) -> None:
    page = Page(suite_page(board))
    head, first = page.rows[0], page.rows[1]
    assert first[0].startswith("ResNet-4b, PGD")
    assert "◆ Pareto front" in first[0]
    assert head[2] == "corruptions%, lower is better"
    assert first[2].split("\n") == ["30.5729.90 – 31.23", "rank 1"]
    assert head[6] == "anomaly%, higher is better"
    worst = [title.startswith("worst corruption") for title in head].index(True)
    assert "contrast" in first[worst]


def test_a_row_sorts_by_the_best_known_error_and_names_its_source(board: Board) -> None:
    row = board.rows[0]
    known = BestKnown(value=0.5, low=0.49, high=0.51, source="<b>AutoAttack</b>, by others (recalled)")
    text = suite_page(replace(board, rows=(replace(row, best_known={"adversaries": known}), *board.rows[1:])))
    assert 'data-v="0.5">37.12' in text
    assert "best known 50.00" in text
    (note,) = re.findall(r'<li id="note-1">(.*?)</li>', text)
    assert note == "Best known: &lt;b&gt;AutoAttack&lt;/b&gt;, by others (recalled)"


def test_equal_notes_are_told_once(board: Board) -> None:
    rows = []
    for row in board.rows:
        score = row.record.scores["anomaly"].model_copy(
            update={"value": None, "interval": None, "reason": "no set of anomalies"}
        )
        scores = {**row.record.scores, "anomaly": score}
        rows.append(replace(row, record=row.record.model_copy(update={"scores": scores})))
    text = suite_page(replace(board, rows=tuple(rows)))
    assert text.count('href="#note-1"') == 4
    assert re.findall(r'<li id="note-\d">(.*?)</li>', text) == ["anomaly: no set of anomalies"]


def test_a_paper_s_numbers_stand_as_they_are_printed(board: Board) -> None:
    scores = {
        "corruptions": ReportedScore(value=12.4, source="A paper, 2022", certainty="verified"),
        "clean_error": ReportedScore(value=4.0, source="Another", certainty="recalled"),
    }
    row = ReportedRow(
        name="<i>AugMix", model="WRN", scores=scores, source="A paper, 2022", note="Other images"
    )
    text = suite_page(replace(board, reported=(row,)))
    assert "&lt;i&gt;AugMix" in text
    last = Page(text).rows[-1]
    assert last[1:3] == ["reported", "12.4from its source"]
    assert "43recalled, not verified" in last  # with the number of its note
    assert re.findall(r'<li id="note-\d">(.*?)</li>', text) == ["A paper, 2022", "Other images", "Another"]


def test_a_paper_s_row_says_once_how_sure_all_its_numbers_are(board: Board) -> None:
    score = ReportedScore(value=12.4, source="A paper, 2022", certainty="recalled")
    row = ReportedRow(
        name="AugMix",
        model="WRN",
        scores={"corruptions": score, "clean_error": score},
        source="A paper, 2022",
        note=None,
    )
    last = Page(suite_page(replace(board, reported=(row,)))).rows[-1]
    assert last[1:3] == ["reportedrecalled, not verified", "12.4"]


def test_rows_stand_as_the_table_says_that_they_are_sorted(board: Board) -> None:
    def paper(name: str, value: float | None) -> ReportedRow:
        scores = {"clean_error": ReportedScore(value=1.0, source="A", certainty="verified")}
        if value is not None:
            scores["corruptions"] = ReportedScore(value=value, source="A", certainty="verified")
        return ReportedRow(name=name, model="WRN", scores=scores, source="A", note=None)

    papers = (paper("none", None), paper("worse", 20.0), paper("better", 3.0))
    page = Page(suite_page(replace(board, rows=board.rows[::-1], reported=papers)))
    names = [row[0] for row in page.rows[1:]]
    assert [name.partition("python")[0].rstrip("12WRN") for name in names] == [
        "ResNet-4b, PGD",
        "conv-marabou",
        "conv-small, PGD",
        "conv-wide, provably robust",
        "Reported by papers and other pages, for reference: never ranked",
        "better",
        "worse",
        "none",
    ]
    (head,) = (one for one in page.all("th") if "aria-sort" in one)
    assert (head["data-id"], head["aria-sort"]) == ("corruptions", "ascending")


def test_beside_columns_are_off_from_the_start_where_there_are_many(board: Board) -> None:
    boxes = [one for one in Page(suite_page(board)).all("input") if one.get("name") == "column"]
    on = [one["value"] for one in boxes if "checked" in one]
    assert on == ["corruptions", "consistency", "adversaries", "calibration", "anomaly", "clean_error"]
    assert len(boxes) == 13
    few = replace(board, columns=tuple(column for column in board.columns if column.id in (*on, "clean_rms")))
    boxes = [one for one in Page(suite_page(few)).all("input") if one.get("name") == "column"]
    assert all("checked" in one for one in boxes)


def test_the_json_holds_every_number_of_the_table(board: Board) -> None:
    table = json.loads(json_table(board))
    assert [column["id"] for column in table["columns"]] == [column.id for column in board.columns]
    (first, *_) = table["rows"]
    score = board.rows[0].record.scores["adversaries"]
    assert score.interval is not None
    assert first["scores"]["adversaries"] == {
        "value": score.value,
        "low": score.interval.low,
        "high": score.interval.high,
        "rank": [1, 1],
    }
    assert first["record_digest"] == board.rows[0].digest


def test_a_paper_s_number_in_the_json_has_its_unit(board: Board) -> None:
    score = ReportedScore(value=12.4, source="A paper, 2022", certainty="verified")
    row = ReportedRow(
        name="AugMix", model="WRN", scores={"corruptions": score}, source="A paper, 2022", note=None
    )
    (found,) = json.loads(json_table(replace(board, reported=(row,))))["reported"]
    assert found["scores"]["corruptions"] == {
        "value": 12.4,
        "unit": "percent",
        "certainty": "verified",
        "source": "A paper, 2022",
    }


def test_the_first_page_counts_the_rows_of_each_kind(board: Board) -> None:
    text = index_page([board])
    assert '<a href="cifar10-safety-generated/index.html">' in text
    assert "4 verified. Columns: corruptions, consistency, adversaries, calibration, anomaly." in text
    assert "alone, so far" not in text
    assert "alone, so far" in index_page([replace(board, rows=())])
    assert "There is no record yet" in index_page([])
