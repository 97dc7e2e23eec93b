"""Words of SVG that all charts are put together from. Colours are left to classes of the style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis
from robustbench_safety.reporting.charts.shapes import Unit

__all__ = [
    "WIDTH",
    "dots",
    "figure",
    "grid",
    "number",
    "path",
    "shortened",
    "spoken",
    "text",
    "tick_label",
]

#: Of every picture, in its own units: as wide as a phone's screen, so that letters stay readable there.
WIDTH = 360
#: Width of a letter of an axis's title.
_LETTER = 5.6
#: Characters of a name inside a picture.
_LONGEST_NAME = 30


def number(value: float) -> str:
    """Return a coordinate with one decimal, without what adds nothing.

    Example:
        >>> number(12.04), number(-0.04), number(3.25)
        ('12', '0', '3.2')
    """
    written = f"{value:.1f}"
    if not written.endswith(".0"):
        return written
    return "0" if written == "-0.0" else written[:-2]


def spoken(words: str) -> str:
    """Return text for markup: escaped, and without characters that are not to be seen."""
    shown = words if words.isprintable() else "".join(c if c.isprintable() else " " for c in words)
    return escape(shown)


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name cut to what a picture has room for.

    Example:
        >>> shortened("a" * 50, 8)
        'aaaaaaa…'
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def figure(prefix: str, *, title: str, finding: str, height: float, body: Iterable[str]) -> Markup:
    """Return a picture that says by its title and description what it shows.

    Args:
        prefix: Stands before every id: one of its own for each picture of a page.
        title: Name of the chart.
        finding: What it shows, in words: for those who cannot see it.
        height: In units of which the picture is ``WIDTH`` wide.
        body: Elements, escaped already.
    """
    return Markup(  # noqa: S704  # every text in it is escaped
        f'<svg class="chart" viewBox="0 0 {WIDTH} {number(height)}" role="img" '
        f'aria-labelledby="{spoken(prefix)}-t {spoken(prefix)}-d">'
        f'<title id="{spoken(prefix)}-t">{spoken(title)}</title>'
        f'<desc id="{spoken(prefix)}-d">{spoken(finding)}</desc>{"".join(body)}</svg>'
    )


def text(x: float, y: float, words: str, kind: str, *, anchor: str = "", turned: bool = False) -> str:
    """Return a line of text.

    Args:
        x: Where it is anchored.
        y: Its base line.
        words: Unescaped.
        kind: Class of the style sheet.
        anchor: ``middle`` or ``end``; "" for its start.
        turned: Whether it runs upwards.
    """
    where = f' text-anchor="{anchor}"' if anchor else ""
    turn = f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
    return f'<text x="{number(x)}" y="{number(y)}" class="{kind}"{where}{turn}>{spoken(words)}</text>'


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> str:
    """Return a line through points [P, 2]."""
    steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path d="M{steps}{"Z" if closed else ""}" class="{kind}"/>'


def dots(places: Iterable[tuple[float, float]], kind: str) -> str:
    """Return many round dots as one path: thousands of rows stay a few kilobytes.

    Each is drawn once where several fall on one place.
    """
    drawn = dict.fromkeys(f"M{x:.0f} {y:.0f}h0" for x, y in places)
    return f'<path d="{"".join(drawn)}" class="{kind}"/>' if drawn else ""


def tick_label(value: float, unit: Unit) -> str:
    """Return what stands at a tick: percent for fractions, without the sign.

    Example:
        >>> tick_label(0.325, "fraction"), tick_label(1.5, "nats")
        ('32.5', '1.5')
    """
    return f"{round(100 * value, 6):g}" if unit == "fraction" else f"{round(value, 6):g}"


def grid(x: Axis, y: Axis, *, x_title: str, y_title: str, x_unit: Unit, y_unit: Unit) -> list[str]:
    """Return grid lines with their numbers, and the titles of both axes."""
    left, right = sorted((x.start, x.end))
    top, bottom = sorted((y.start, y.end))
    out = []
    for value in x.ticks():
        at = x.at(value)
        out.append(f'<path d="M{number(at)} {number(top)}V{number(bottom)}" class="c-grid"/>')
        out.append(text(at, bottom + 14, tick_label(value, x_unit), "c-tick", anchor="middle"))
    for value in y.ticks():
        at = y.at(value)
        out.append(f'<path d="M{number(left)} {number(at)}H{number(right)}" class="c-grid"/>')
        out.append(text(left - 5, at + 3.5, tick_label(value, y_unit), "c-tick", anchor="end"))
    across, up = (int(length / _LETTER) for length in (right - left, bottom - top))
    out.append(text((left + right) / 2, bottom + 30, shortened(x_title, across), "c-label", anchor="middle"))
    middle = (top + bottom) / 2
    out.append(text(12, middle, shortened(y_title, up), "c-label", anchor="middle", turned=True))
    return out
