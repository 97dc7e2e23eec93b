"""What every page must keep: markup that closes, ids of its own, named pictures, headed tables."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

__all__ = ["Page", "check_page"]

_VOID = {"meta", "link", "br", "input", "hr", "img"}


class Page(HTMLParser):
    """A page, taken apart.

    Attributes:
        tags: Every tag with its attributes, in order.
        text: All text outside of style and script.
        texts: The text within each tag that has an id, by id.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append((tag, dict(attrs).get("id") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] not in ("style", "script"):
            self.words.append(data)
            for _, id_ in self._open:
                self.texts[id_] = self.texts.get(id_, "") + data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def name_of(self, attributes: dict[str, str]) -> str:
        """What a screen reader calls a landmark."""
        named_by = attributes.get("aria-labelledby", "").split()
        return attributes.get("aria-label") or " ".join(self.texts[id_] for id_ in named_by)


def check_page(html: str) -> Page:
    """Take a page apart and check what holds of all of them."""
    page = Page(html)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert {name for name, n in ids.items() if n > 1} == set()
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert "://" not in attributes.get(name, "")
            assert not attributes.get(name, "").lower().startswith("javascript:")
    for attributes in page.attributes("svg"):
        assert attributes["role"] == "img"
        assert len(attributes["aria-labelledby"].split()) == 2
    for attributes in page.attributes("th"):
        assert attributes["scope"] in {"col", "row", "rowgroup", "colgroup"}
    # A region that scrolls can be reached by keyboard and has a name.
    for tag, attributes in page.tags:
        if tag == "div" and attributes.get("class") == "wide":
            assert attributes["tabindex"] == "0"
            assert attributes["role"] == "region"
        if tag == "pre" and attributes.get("class") != "command":  # a command is wrapped
            assert attributes["tabindex"] == "0"
    landmarks = Counter(
        page.name_of(attributes)
        for tag, attributes in page.tags
        if tag == "section" or attributes.get("role") == "region"
    )
    assert landmarks[""] == 0
    assert {name for name, n in landmarks.items() if n > 1} == set()
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    return page
