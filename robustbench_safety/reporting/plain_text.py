"""Text that somebody sent, put where it stays text: on one line, in Markdown, in a code span."""

from __future__ import annotations

import re

__all__ = ["code", "escaped", "one_line", "unlinked"]

#: Characters of a name or sample id that are shown; a file that somebody handed in may have millions.
_LONGEST = 200
#: Characters that Markdown or HTML would read. Written as references they cannot structure anything.
_STRUCTURE = re.compile(r"[&<>\\`*_\[\]|~$!{}]")
#: What GitHub links in plain text, references or not: mentions, issues, addresses. A space without width
#: after it takes it apart.
_LINKED = re.compile(r"@|#|(?i:gh-)(?=[0-9])|:(?=//)|(?i:www)(?=\.)|(?i:mailto|xmpp)(?=:)")
#: What would begin a list or a heading at the start of an item.
_BEGINNING = re.compile(r"^(?:[-+=]|[0-9]{1,9}(?=[.)]))")
_APART = "\u200b"


def one_line(text: str, *, longest: int = _LONGEST) -> str:
    r"""Return text on one line: whatever is no printable character is a space.

    Args:
        text: Anything.
        longest: Characters kept.

    Example:
        >>> one_line("a name\r\nand\x1b[31m more")
        'a name and [31m more'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def unlinked(text: str) -> str:
    r"""Return text of which GitHub makes no mention, no reference to an issue, and no link.

    Example:
        >>> unlinked("ask @me").encode("ascii", "backslashreplace")
        b'ask @\\u200bme'
    """
    return _LINKED.sub(lambda found: found.group() + _APART, text)


def escaped(text: str, *, longest: int = 200) -> str:
    """Return text that stays text: no markup, no link, no mention, on one line.

    Example:
        >>> escaped("a|b <script>")
        'a&#124;b &#60;script&#62;'
    """
    line = unlinked(one_line(text, longest=longest))
    line = _STRUCTURE.sub(lambda found: f"&#{ord(found.group())};", line)
    return _BEGINNING.sub(
        lambda found: f"{found.group()}{_APART}" if found.group().isdigit() else f"&#{ord(found.group())};",
        line,
    )


def code(text: str) -> str:
    """Return text as a code span, for a line outside of a table: a fence of more backticks than it has."""
    line = one_line(text) or " "
    runs = [len(run) for run in re.findall("`+", line)]
    fence = "`" * (max(runs, default=0) + 1)
    # A space on either side is taken away again; without, a backtick at an end would belong to the fence.
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"
