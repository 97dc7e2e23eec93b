"""Reliability diagram: accuracy in bins of confidence, the gap between the two shaded."""

from __future__ import annotations

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis
from robustbench_safety.reporting.charts.shapes import Reliability
from robustbench_safety.reporting.charts.svg import figure, grid, number, spoken, text

__all__ = ["overconfident_share", "reliability_diagram", "reliability_finding"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 348.0, 12.0, 236.0
#: Bars of the number of images hang below the axis's title.
_COUNTS_TOP, _COUNTS_BOTTOM = 278.0, 318.0
_HEIGHT = 336.0


def overconfident_share(shape: Reliability) -> float:
    """Return the share of images in bins whose mean confidence is above their accuracy, a fraction."""
    n = sum(count for count, _, _ in shape.bins)
    above = sum(
        count
        for count, confidence, accuracy in shape.bins
        if confidence is not None and accuracy is not None and confidence > accuracy
    )
    return above / n if n else 0.0


def reliability_finding(shape: Reliability) -> str:
    """Return in words what the diagram shows."""
    filled = [one for one in shape.bins if one[1] is not None and one[2] is not None]
    if not filled:
        return "There is no image in any bin."
    over = overconfident_share(shape)
    words = (
        f"{100 * over:.0f} % of the images lie in bins where the mean confidence is above the accuracy, "
        f"{100 * (1 - over):.0f} % where it is not."
    )
    # The bin that weighs most, not one with three images in it.
    n = sum(count for count, _, _ in filled)
    count, confidence, accuracy = max(filled, key=lambda one: one[0] * abs((one[1] or 0) - (one[2] or 0)))
    words += (
        f" The heaviest gap: {count:,} of {n:,} images with a mean confidence of "
        f"{100 * (confidence or 0):.1f} % and an accuracy of {100 * (accuracy or 0):.1f} %."
    )
    return f"{words} {shape.measured}".strip()


def reliability_diagram(prefix: str, shape: Reliability) -> Markup:
    """Return the diagram: bars of accuracy, their gap to the mean confidence, and how many images each has.

    Args:
        prefix: Stands before every id.
        shape: Bins of equal width, fractions.
    """
    x = Axis(low=0, high=1, start=_LEFT, end=_RIGHT)
    y = Axis(low=0, high=1, start=_BOTTOM, end=_TOP)
    body = grid(x, y, x_title="confidence %", y_title="accuracy %", x_unit="fraction", y_unit="fraction")
    most = max((count for count, _, _ in shape.bins), default=0) or 1
    for i, (count, confidence, accuracy) in enumerate(shape.bins):
        if confidence is None or accuracy is None:
            continue
        low, high = i / len(shape.bins), (i + 1) / len(shape.bins)
        left, width = x.at(low) + 0.6, x.at(high) - x.at(low) - 1.2
        says = (
            f"confidence {100 * low:.0f} to {100 * high:.0f} %: {count:,} images, mean confidence "
            f"{100 * confidence:.1f} %, accuracy {100 * accuracy:.1f} %"
        )
        top, bottom = sorted((y.at(accuracy), y.at(confidence)))
        tall = (_COUNTS_BOTTOM - _COUNTS_TOP) * count / most
        body.append(
            f"<g><title>{spoken(says)}</title>"
            f"{_bar(left, bottom, width, _BOTTOM - bottom, 'c-bar')}"
            f"{_bar(left, top, width, bottom - top, 'c-gap')}"
            f"{_bar(left, y.at(accuracy) - 1, width, 2, 'c-level')}"
            f"{_bar(left, _COUNTS_BOTTOM - tall, width, tall, 'c-count')}</g>"
        )
    body.append(
        f'<path d="M{number(_LEFT)} {number(_BOTTOM)}L{number(_RIGHT)} {number(_TOP)}" class="c-diagonal"/>'
    )
    body += [
        f'<path d="M{number(_LEFT)} {number(_COUNTS_BOTTOM)}H{number(_RIGHT)}" class="c-axis"/>',
        text(_LEFT - 5, _COUNTS_TOP + 4, f"{most:,}", "c-tick", anchor="end"),
        text(_LEFT - 5, _COUNTS_BOTTOM, "0", "c-tick", anchor="end"),
        text((_LEFT + _RIGHT) / 2, _COUNTS_BOTTOM + 14, "images in each bin", "c-label", anchor="middle"),
        _bar(_LEFT + 10, _TOP + 12, 10, 2, "c-level"),
        text(_LEFT + 25, _TOP + 17, "accuracy", "c-label"),
        _bar(_LEFT + 10, _TOP + 24, 10, 10, "c-gap"),
        text(_LEFT + 25, _TOP + 33, "gap to the confidence", "c-label"),
    ]
    return figure(
        prefix,
        title=f"Reliability diagram, {shape.title}",
        finding=reliability_finding(shape),
        height=_HEIGHT,
        body=body,
    )


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
        f'class="{kind}"/>'
    )
