"""Charts: what is drawn is what was measured, said in words too, and no name does harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis, axis_over, range_of, stretched, ticks_between
from robustbench_safety.reporting.charts.heat_map import N_SHADES, heat_table, row_mean, shade, worst_cell
from robustbench_safety.reporting.charts.pareto import front_of, pareto_plot
from robustbench_safety.reporting.charts.profile import better_than, profile_strips
from robustbench_safety.reporting.charts.reliability import overconfident_share, reliability_diagram
from robustbench_safety.reporting.charts.risk_coverage import risk_coverage_curve
from robustbench_safety.reporting.charts.scatter import shift_scatter
from robustbench_safety.reporting.charts.score_histogram import score_histogram, shares
from robustbench_safety.reporting.charts.shapes import (
    Cloud,
    HeatGroup,
    HeatMap,
    HeatRow,
    Histogram,
    Line,
    Numbers,
    Pareto,
    Point,
    Quantity,
    Reliability,
    RiskCoverage,
    Scatter,
    Strip,
)
from robustbench_safety.reporting.charts.svg import dots
from robustbench_safety.reporting.pages.environment import STATIC


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)  # noqa: S314  # what we have drawn


HOSTILE = "<script>alert(1)</script>\"'&=1+1 [bold]\x1b[31m $x$ \u202e" + "x" * 5000

LOWER = Quantity(title="corruptions", unit="fraction", direction="lower")
HIGHER = Quantity(title="anomaly", unit="fraction", direction="higher")
POINTS = (
    Point(name="a", x=0.2, y=0.9, front=True),
    Point(name=HOSTILE, x=0.3, y=0.95, front=True),
    Point(name="c", x=0.4, y=0.5),
)
CLOUD = Cloud(points=POINTS)
HEAT = HeatMap(
    cell="c_error",
    dataset="cifar-10-c",
    levels=(1, 2),
    groups=(
        HeatGroup(name="noise", rows=(HeatRow(name="shot_noise", values=(0.1, 0.25)),)),
        HeatGroup(name="blur", rows=(HeatRow(name="zoom_blur", values=(0.5, None)),)),
    ),
    n=10_000,
    clean=0.06,
)
RELIABILITY = Reliability(
    cell="clean_rms",
    title=HOSTILE,
    bins=(*((0, None, None),) * 13, (25, 0.9, 0.7), (75, 0.98, 0.99)),
    measured="Clean rms: 6.02 %.",
)
RISKS = RiskCoverage(cell="rms", title=HOSTILE, risks=tuple(i / 500 for i in range(1, 101)))
HISTOGRAM = Histogram(
    cell="svhn_auroc", dataset="svhn", detector=HOSTILE, low=-1.0, high=0.0,
    inside=(8, 2, 0), outside=(0, 5, 5), auroc=0.95,
)  # fmt: skip
STRIP = Strip(
    quantity=LOWER, field=Numbers(values=(0.2, 0.3, 0.4)), own=0.3, low=0.28, high=0.32, rank="1–2 of 3"
)
LINE = Line(curve=tuple((x / 10, x / 20, x / 25, x / 15) for x in range(2, 10)), n_models=200)
SCATTER = Scatter(cell="r", x=HIGHER, y=HIGHER, stretch="logit", field=CLOUD, own=POINTS[1], line=LINE)
PARETO = Pareto(x=LOWER, y=HIGHER, field=CLOUD, own=POINTS[1])

SVG: dict[str, Callable[[str], Markup]] = {
    "reliability": lambda prefix: reliability_diagram(prefix, RELIABILITY),
    "risk": lambda prefix: risk_coverage_curve(prefix, RISKS),
    "histogram": lambda prefix: score_histogram(prefix, HISTOGRAM),
    "profile": lambda prefix: profile_strips(prefix, [STRIP, replace(STRIP, own=None, rank="")]),
    "scatter": lambda prefix: shift_scatter(prefix, SCATTER),
    "pareto": lambda prefix: pareto_plot(prefix, PARETO),
}
svg = pytest.mark.parametrize("draw", SVG.values(), ids=SVG)


def numbers_in(path: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", path)]


@svg
def test_a_picture_is_named_and_described_by_its_own_ids(draw: Callable[[str], Markup]) -> None:
    root = parsed(draw("m1"))
    assert root.get("role") == "img"
    title, desc = root.find("title"), root.find("desc")
    assert title is not None
    assert desc is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}" == "m1-t m1-d"
    assert title.text
    assert desc.text
    assert len(desc.text) > 30


@svg
def test_hostile_text_stays_text(draw: Callable[[str], Markup]) -> None:
    drawn = draw("m1")
    root = parsed(drawn)  # broken markup would not parse
    assert {element.tag for element in root.iter()} <= {
        "svg", "title", "desc", "text", "path", "rect", "circle", "g",
    }  # fmt: skip
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn


@svg
def test_the_same_numbers_make_the_same_bytes(draw: Callable[[str], Markup]) -> None:
    assert draw("m1") == draw("m1")


@svg
def test_everything_drawn_lies_inside_the_picture(draw: Callable[[str], Markup]) -> None:
    root = parsed(draw("m1"))
    width, height = numbers_in(root.get("viewBox", ""))[2:]
    for element in root.iter():
        if element.tag == "text":
            assert 0 <= float(element.get("x", "")) <= width
            assert 0 <= float(element.get("y", "")) <= height
        if element.tag == "rect":
            assert float(element.get("height", "")) >= 0
            assert float(element.get("y", "")) + float(element.get("height", "")) <= height


@svg
def test_no_colour_is_written_into_a_picture(draw: Callable[[str], Markup]) -> None:
    # Both schemes need the style sheet's; a colour of the picture's own would stay in the dark.
    drawn = draw("m1")
    assert not re.search(r'(fill|stroke|style)="', drawn)
    style = (STATIC / "charts.css").read_text(encoding="utf-8")
    for name in set(re.findall(r'class="([^"]+)"', drawn)):
        assert f".{name}" in style


def test_cells_print_the_error_in_percent_under_their_severity() -> None:
    root = parsed(heat_table("h", HEAT))
    head = [(cell.text, cell.get("scope")) for cell in root.findall("thead/tr/th")]
    assert head == [("corruption", "col"), ("1", "col"), ("2", "col"), ("mean", "col")]
    rows = root.findall("tbody/tr")
    assert [(row[0].text, row[0].get("scope")) for row in rows] == [
        ("noise", "rowgroup"), ("shot noise", "row"), ("blur", "rowgroup"), ("zoom blur", "row"),
    ]  # fmt: skip
    assert [cell.text for cell in rows[1].findall("td")] == ["10.0", "25.0", "17.5"]
    assert [cell.text for cell in rows[3].findall("td")] == ["50.0", "–", "–"]
    caption = root.findtext("caption") or ""
    assert "10,000 images" in caption
    assert "Without corruption it is 6.0." in caption
    assert "Highest: zoom blur at severity 1, 50.0." in caption


def test_the_mean_of_a_row_is_none_where_a_level_is_missing() -> None:
    assert row_mean(HEAT.groups[0].rows[0]) == pytest.approx(0.175)
    assert row_mean(HEAT.groups[1].rows[0]) is None
    assert worst_cell(HEAT) == ("zoom_blur", 1, 0.5)


def test_a_higher_error_is_never_paler_and_the_scale_reaches_from_0_to_1() -> None:
    shades = [shade(i / 1000) for i in range(1001)]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1], len(set(shades))) == (0, N_SHADES - 1, N_SHADES)
    assert shade(3 * 0.05) == 3  # 0.15000000000000002
    assert shade(0.15) == 3


def luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(full[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_numbers_on_every_shade_can_be_read_in_light_and_dark() -> None:
    style = (STATIC / "charts.css").read_text(encoding="utf-8")
    found = re.findall(
        r"\.s(\d+) \{ background: light-dark\((\S+), (\S+)\); color: light-dark\((\S+), (\S+)\); \}", style
    )
    assert [int(step[0]) for step in found] == list(range(N_SHADES))
    for _, light, dark, light_ink, dark_ink in found:
        assert contrast(light, light_ink) >= 4.5
        assert contrast(dark, dark_ink) >= 4.5
    # The scale is one of lightness too: it reads without colours.
    light, dark = ([luminance(step[place]) for step in found] for place in (1, 2))
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark)


def test_a_reliability_bar_is_as_high_as_its_accuracy_and_the_gap_reaches_the_confidence() -> None:
    root = parsed(reliability_diagram("r", RELIABILITY))
    bars = root.findall("g")
    assert len(bars) == 2  # empty bins have none
    assert "25 images, mean confidence 90.0 %, accuracy 70.0 %" in (bars[0].findtext("title") or "")
    accuracy, gap, level = bars[0].findall("rect")[:3]
    whole = float(accuracy.get("height", "")) / 0.7
    assert float(gap.get("height", "")) == pytest.approx(0.2 * whole, abs=0.2)
    top = pytest.approx(float(accuracy.get("y", "")), abs=0.11)
    assert float(gap.get("y", "")) + float(gap.get("height", "")) == top
    assert float(level.get("y", "")) + 1 == top
    # Where the accuracy is above the confidence the bar ends at that, and the gap lies on top of it.
    accuracy, gap, level = bars[1].findall("rect")[:3]
    assert float(level.get("y", "")) + 1 == pytest.approx(float(gap.get("y", "")), abs=0.11)
    assert float(accuracy.get("height", "")) == pytest.approx(0.98 * whole, abs=0.2)


def test_overconfidence_is_weighed_by_images() -> None:
    assert overconfident_share(RELIABILITY) == 0.25
    desc = parsed(reliability_diagram("r", RELIABILITY)).findtext("desc") or ""
    assert "25 % of the images lie in bins where the mean confidence is above the accuracy" in desc
    assert "25 of 100 images with a mean confidence of 90.0 % and an accuracy of 70.0 %" in desc
    assert "Clean rms: 6.02 %." in desc


def test_the_risk_is_written_at_half_at_80_percent_and_at_all() -> None:
    root = parsed(risk_coverage_curve("c", RISKS))
    written = [one.text for one in root.iter("text") if one.get("class") == "c-value"]
    assert written == ["10.0", "16.0", "20.0"]
    assert "20.0 % when every image is answered" in (root.findtext("desc") or "")


def test_the_outlines_of_a_histogram_are_shares_of_their_own_number() -> None:
    assert shares((8, 2, 0)) == [0.8, 0.2, 0.0]
    assert shares((0, 0)) == [0.0, 0.0]
    root = parsed(score_histogram("o", HISTOGRAM))
    known, unknown = [one.get("d", "") for one in root.findall("path")[:2]]
    assert known.startswith("M12 116v-92h112v69h112v23h112")  # 92 units are the highest share, 0.8
    assert unknown.startswith("M12 116h112v-57h112h112v57Z"[:14])
    assert "AUROC 95.00 %" in (root.findtext("desc") or "")


def test_right_is_better_in_every_strip() -> None:
    for quantity, better, worse in ((LOWER, 0.1, 0.9), (HIGHER, 0.9, 0.1)):
        axis = axis_over(quantity, [0.1, 0.9], start=0, end=100)
        assert axis.at(better) > axis.at(worse)
    assert better_than(STRIP) == (1, 2)
    assert better_than(replace(STRIP, quantity=HIGHER, own=0.4)) == (2, 2)
    assert better_than(replace(STRIP, own=None)) == (0, 0)
    assert better_than(replace(STRIP, own=0.25, rank="")) == (2, 3)  # a row that is not in the field itself
    assert better_than(replace(STRIP, rank="")) == (1, 3)  # neither is this one, though it equals one that is


def test_a_profile_says_value_and_rank_and_what_is_missing() -> None:
    root = parsed(profile_strips("p", [STRIP, replace(STRIP, own=None, rank="")]))
    said = [one.text for one in root.iter("text")]
    assert "30.00 %, rank 1–2 of 3" in said
    assert "not measured" in said
    assert "better than 1 of 2 other ranked rows, rank 1–2 of 3" in (root.findtext("desc") or "")
    root = parsed(profile_strips("p", [replace(STRIP, rank="")]))
    assert (root.findtext("desc") or "").endswith("better than 1 of 3 ranked rows.")


def test_a_pareto_front_holds_what_nothing_beats_in_both_columns() -> None:
    assert [one.x for one in front_of(CLOUD, LOWER, HIGHER)] == [0.2, 0.3]
    twins = Cloud(points=(Point(name="b", x=1, y=1), Point(name="a", x=1, y=1), Point(name="c", x=2, y=0.5)))
    assert [one.name for one in front_of(twins, LOWER, HIGHER)] == ["a"]
    desc = parsed(pareto_plot("q", PARETO)).findtext("desc") or ""
    assert "Of 3 ranked rows 2 lie on the front" in desc
    assert ": on the front of these two." in desc


def test_rows_of_the_field_are_named_where_they_are_few_and_one_path_where_they_are_many() -> None:
    few = parsed(pareto_plot("q", PARETO))
    names = [one.text or "" for path in few.findall("path") for one in path.findall("title")]
    assert len(names) == 3
    assert max(map(len, names)) < 200
    many = Cloud(points=tuple(Point(name=str(i), x=i / 2000, y=(i * 7 % 2000) / 2000) for i in range(2000)))
    drawn = pareto_plot("q", replace(PARETO, field=many))
    assert len(drawn) < 40_000
    assert not [path for path in parsed(drawn).findall("path") if path.findall("title")]


def test_the_name_of_a_row_stands_beside_its_dot_inside_the_picture() -> None:
    for x in (0.2, 0.3, 0.4):
        for name in ("a", "a name of some length", "x" * 200):
            own = Point(name=name, x=x, y=0.9)
            root = parsed(pareto_plot("q", replace(PARETO, own=own)))
            (label,) = [one for one in root.iter("text") if one.get("class") == "c-name"]
            at, length = float(label.get("x", "")), 6.9 * len(label.text or "")
            ends = (at - length, at) if label.get("text-anchor") == "end" else (at, at + length)
            assert ends[0] >= 0
            assert ends[1] <= 361


def test_dots_on_one_place_are_drawn_once() -> None:
    assert dots([(1.0, 2.0), (1.1, 2.2), (5, 5)], "c-field") == '<path d="M1 2h0M5 5h0" class="c-field"/>'
    assert dots([], "c-field") == ""


def test_a_scatter_without_a_line_says_so() -> None:
    plain = replace(SCATTER, line=None, stretch="linear")
    assert "no line of published models" in (parsed(shift_scatter("s", plain)).findtext("desc") or "")
    assert "The line is that of 200 published models" in (
        parsed(shift_scatter("s", SCATTER)).findtext("desc") or ""
    )


def test_a_line_on_stretched_axes_is_straight() -> None:
    odds = [p / (1 - p) for p in (0.3, 0.5, 0.7, 0.9)]
    curve = tuple((o / (1 + o), 0.5 * o / (1 + 0.5 * o), 0.1, 0.9) for o in odds)
    root = parsed(shift_scatter("s", replace(SCATTER, line=Line(curve=curve, n_models=3))))
    trend = next(one for one in root.findall("path") if one.get("class") == "c-trend")
    values = numbers_in(trend.get("d", ""))
    xs, ys = values[::2], values[1::2]
    slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
    assert all(abs(ys[0] + slope * (x - xs[0]) - y) < 0.3 for x, y in zip(xs, ys, strict=True))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.117, 0.183, (0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18)[::2]),
        (-0.1, 0.1, (-0.1, -0.05, 0.0, 0.05, 0.1)),
    ],
)
def test_ticks_are_round_numbers_in_the_range(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks_between(low, high) == expected


def test_the_largest_numbers_still_have_an_axis() -> None:
    nats = Quantity(title="nll", unit="nats", direction="lower")
    axis = axis_over(nats, [-1.7e308, 0.4, 1.7e308], start=0, end=100)
    assert len(axis.ticks()) > 1
    assert axis.at(1.7e308) < axis.at(0.4) < axis.at(-1.7e308)


def test_a_stretched_axis_takes_its_ends_for_0_and_1() -> None:
    axis = Axis(low=0.01, high=0.99, start=0, end=100, stretch="probit")
    assert [axis.at(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0, 50, 100])
    labels = axis.ticks()
    assert len(labels) > 1
    assert all(axis.at(high) - axis.at(low) >= 26 for low, high in pairwise(labels))
    assert stretched(1.0, "logit") == pytest.approx(9.21, abs=0.01)


def test_a_field_of_one_value_still_has_a_range() -> None:
    low, high = range_of([0.25], "fraction")
    assert low < 0.25 < high
    low, high = range_of([0.0], "nats")
    assert low <= 0.0 < high
