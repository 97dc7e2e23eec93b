"""Turns the sections and roles of our docstrings into what the site's renderer knows; a Griffe extension."""

from __future__ import annotations

import re
from typing import Any

from griffe import Attribute, Docstring, Extension, Object

#: ``:func:`name` `` and its like.
_ROLE = re.compile(r":(?:func|class|meth|mod|attr):`~?([^`]+)`")
#: Sections that the Google style does not have: their paragraphs follow with the title in bold.
_TITLED = re.compile(r"^(Conventions|Source):\n((?:(?:    .*)?\n)*(?:    .*)?)", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(Extension):
    """Rewrites every docstring before it is parsed."""

    def on_attribute(self, *, attr: Attribute, **_: Any) -> None:
        """Take the comment above a constant, ``#: ...``, for its docstring where it has none."""
        if attr.docstring is None and (text := _comment_above(attr)):
            attr.docstring = Docstring(text, parent=attr)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value, ".".join(obj.path.split(".")[:2]))


def _comment_above(attr: Attribute) -> str:
    """Return the lines that begin with ``#:`` above an attribute, without that mark."""
    found: list[str] = []
    for line in reversed(attr.lines_collection[attr.filepath][: (attr.lineno or 1) - 1]):
        if not line.startswith("#: "):
            break
        found.append(line.removeprefix("#: "))
    return "\n".join(reversed(found))


def rewritten(text: str, package: str) -> str:
    """Return the docstring as the renderer takes it; roles link to the public name of ``package``."""

    def linked(role: re.Match[str]) -> str:
        name = role[1]
        target = name if name.startswith("robustbench_safety.") else f"{package}.{name}"
        return f'<autoref optional identifier="{target}"><code>{name}</code></autoref>'

    def titled(section: re.Match[str]) -> str:
        lines = [line.removeprefix("    ") for line in section[2].rstrip().split("\n")]
        return f"**{section[1]}.** " + "\n".join(lines) + "\n\n"

    return _EXAMPLE.sub("Examples:", _TITLED.sub(titled, _ROLE.sub(linked, text)))
