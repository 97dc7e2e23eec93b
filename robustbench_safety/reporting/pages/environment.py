"""The one Jinja2 environment of all pages: every text is escaped, and a missing name is an error."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["STATIC", "environment", "one_line", "render"]

_HERE = Path(__file__).parent

#: The style sheet and the script that all pages share.
STATIC = _HERE / "static"


def render(template: str, **context: object) -> str:
    """Return the page that a template makes.

    Args:
        template: File name in ``templates``.
        context: What the template speaks of. ``base.html`` asks for two: ``root``, the relative path from the
            page to the site's first page ("" or "../"), and, where the page is to stand alone in one file,
            ``inline=True``.
    """
    return environment().get_template(template).render(**context)


@cache
def environment() -> Environment:
    """Return the environment: templates of this package, autoescape on, strict about names."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    made.filters["one_line"] = one_line
    made.globals["static_text"] = _static_text
    made.globals["static_hash"] = _static_hash
    return made


def one_line(text: str, longest: int = 200) -> str:
    r"""Return text that somebody handed in as a page may show it: printable, in one line, not without end.

    What turns the direction of writing, steers a terminal or has no width is a blank. Escaping for HTML is
    the template's.

    Example:
        >>> one_line("a\x1b[31m\u202e b\n" + "c" * 9, longest=12)
        'a [31m b ccc…'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[:longest]}…"


@cache
def _static_text(name: str) -> Markup:
    """Return a file of ``static`` to stand inside a page: it is ours and holds no end tag."""
    return Markup((STATIC / name).read_text(encoding="utf-8"))  # noqa: S704  # our own file, no input


@cache
def _static_hash(name: str) -> str:
    """Return what a content security policy calls an inline script by."""
    content = (STATIC / name).read_bytes()
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
