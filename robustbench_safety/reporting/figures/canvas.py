"""The paper that figures are drawn on: fonts, colours, and the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

__all__ = [
    "ACCENT",
    "FIELD",
    "FRONT",
    "INK",
    "LINE",
    "OTHER",
    "SOFT",
    "bare",
    "drawable",
    "png_of",
    "style",
]

#: The colours of the pages in light, which are told apart without red against green.
INK, SOFT, LINE = "#17212b", "#52606d", "#e4e1da"
ACCENT, OTHER, FIELD, FRONT = "#1f6fab", "#b45309", "#57606a", "#1f6fab"
_DPI = 200
#: Characters of a name in a figure.
_LONGEST = 48
_FONT = "DejaVu Sans"  # comes with matplotlib: the same everywhere
_STYLE: dict[str, object] = {
    "font.family": _FONT,
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.1,
    "savefig.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in this package's style; whatever the user has set up holds again afterwards."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG, without the version of the library that the file would else name."""
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()


def drawable(name: str, longest: int = _LONGEST) -> str:
    """Return a name as a figure can show it: one line, cut, with a box for what the font does not have."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name[: 4 * longest]).split())
    cut = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return "".join(c if _in_font(c) else "□" for c in cut)


@cache
def _in_font(character: str) -> bool:
    return get_font(findfont(_FONT)).get_char_index(ord(character)) != 0


def bare(axes: Axes) -> None:
    """Take the frame and the grid away."""
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
