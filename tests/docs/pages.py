"""The pages of the documentation, and the blocks of code that stand on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.long_checks import LONG

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"

#: Every page a reader may copy from; those of the site, and the two that lie above it.
PAGES = (
    *sorted(path.relative_to(REPOSITORY).as_posix() for path in DOCS.rglob("*.md")),
    "CONTRIBUTING.md",
    "README.md",
)

#: What is run, read or written; `text` is for what is only looked at.
_LANGUAGES = ("sh", "python", "pycon", "yaml", "toml")

#: Titles of blocks that are read and not run: what they need is not at hand where the tests run.
NOT_RUN = ("needs data", "needs weights", "needs a network", "takes a minute")

#: That of blocks which the longer checks run.
TAKES_A_MINUTE = "takes a minute"

_FENCE = re.compile(r"^```(?P<language>\w*)(?P<rest>.*)$")
_TITLE = re.compile(r'title="([^"]*)"')
_INLINE = re.compile(r"`((?:\.venv/bin/)?rbs(?: [^`]+)?)`")
_EXIT_CODE = re.compile(r"ends with exit code (\d)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    title: str | None
    text: str
    line: int
    """Of its first line, from 1."""

    @property
    def file(self) -> str | None:
        """The file that it is to be written to before what follows is run."""
        return self.title if self.title and re.fullmatch(r"[\w./-]+\.\w+", self.title) else None

    @property
    def is_run(self) -> bool:
        return self.file is None and (self.title not in NOT_RUN or (LONG and self.title == TAKES_A_MINUTE))

    @property
    def exit_code(self) -> int:
        """What the last command of the block is to return."""
        code = _EXIT_CODE.fullmatch(self.title or "")
        return int(code[1]) if code else 0

    @property
    def fault(self) -> str | None:
        """What is wrong with how the block is marked, by the rules that CONTRIBUTING.md has."""
        if self.language == "text":
            return None
        if self.language not in _LANGUAGES:
            return f"a block is {', '.join(_LANGUAGES)} or text, and this is {self.language or 'none'}"
        if self.title is None or self.file or self.title in NOT_RUN:
            return None
        if self.language == "sh" and _EXIT_CODE.fullmatch(self.title):
            return None
        return f"no block may be called {self.title!r}"

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, those that go on in the next one joined."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and line.strip()[0] != "#"]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    found: list[Block] = []
    opening: re.Match[str] | None = None
    start, inside = 0, list[str]()
    for number, line in enumerate((REPOSITORY / page).read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opening is None and fence:
            opening, start, inside = fence, number + 1, []
        elif opening is not None and line.rstrip() == "```":
            title = _TITLE.search(opening["rest"])
            found.append(
                Block(
                    language=opening["language"],
                    title=title[1] if title else None,
                    text="\n".join(inside) + "\n",
                    line=start,
                )
            )
            opening = None
        else:
            inside.append(line)
    assert opening is None, f"{page}: the block at line {start} has no end"
    return found


def inline_commands(page: str) -> list[str]:
    """Return what stands as a command within the sentences of a page."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(command.split()) for command in _INLINE.findall(sentences)]
