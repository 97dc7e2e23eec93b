"""Histogram of OOD scores: known images against unknown ones, each as shares of its own number."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from robustbench_safety.reporting.charts.shapes import Histogram
from robustbench_safety.reporting.charts.svg import figure, number, text

__all__ = ["histogram_finding", "score_histogram", "shares"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 12.0, 348.0, 24.0, 116.0
_HEIGHT = 148.0


def shares(counts: Sequence[int]) -> list[float]:
    """Return counts as shares of their sum."""
    n = sum(counts)
    return [count / n if n else 0.0 for count in counts]


def histogram_finding(shape: Histogram) -> str:
    """Return in words what the histogram shows."""
    ends = f"scores from {shape.low:.4g} to {shape.high:.4g}"
    n = f"{sum(shape.inside):,} known and {sum(shape.outside):,} unknown images, {ends}, higher is less known"
    if shape.auroc is None:
        return f"{n}."
    return (
        f"{n}. AUROC {100 * shape.auroc:.2f} %: so often has an unknown image a higher score than a known "
        "one; 50 % is chance."
    )


def score_histogram(prefix: str, shape: Histogram) -> Markup:
    """Return the two outlines, one over the other.

    Args:
        prefix: Stands before every id.
        shape: Counts in bins of equal width.
    """
    inside, outside = shares(shape.inside), shares(shape.outside)
    highest = max([*inside, *outside], default=0.0) or 1.0
    body = [_outline(inside, highest, "c-known"), _outline(outside, highest, "c-unknown")]
    body += [
        f'<path d="M{number(_LEFT)} {number(_BOTTOM)}H{number(_RIGHT)}" class="c-axis"/>',
        text(_LEFT, _BOTTOM + 14, f"{shape.low:.3g}", "c-tick"),
        text(_RIGHT, _BOTTOM + 14, f"{shape.high:.3g}", "c-tick", anchor="end"),
        text((_LEFT + _RIGHT) / 2, _BOTTOM + 27, "OOD score →", "c-label", anchor="middle"),
        text(_LEFT, _TOP - 10, "known", "c-known-label"),
        text(_LEFT + 46, _TOP - 10, "unknown", "c-unknown-label"),
    ]
    if shape.auroc is not None:
        body.append(text(_RIGHT, _TOP - 10, f"AUROC {100 * shape.auroc:.2f} %", "c-value", anchor="end"))
    return figure(
        prefix,
        title=f"OOD scores, {shape.title}",
        finding=histogram_finding(shape),
        height=_HEIGHT,
        body=body,
    )


def _outline(parts: Sequence[float], highest: float, kind: str) -> str:
    """Return the steps of a histogram as one path, in relative moves: half as long as absolute ones."""
    width = (_RIGHT - _LEFT) / len(parts)
    steps, level = [], 0
    for i, part in enumerate(parts):
        # Whole units upwards: a step is at most half a unit off, which nobody sees.
        height = round((_BOTTOM - _TOP) * part / highest)
        across = round((i + 1) * width) - round(i * width)
        steps.append((f"v{level - height}" if height != level else "") + f"h{across}")
        level = height
    return f'<path d="M{number(_LEFT)} {number(_BOTTOM)}{"".join(steps)}v{level}Z" class="{kind}"/>'
