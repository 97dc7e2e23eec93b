"""The difference of two AUROCs on the same images: by hand, the paper's matrices, draws, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import auroc, auroc_interval, independent_difference, paired_auroc_difference

Floats = NDArray[np.float64]


def models(
    rng: np.random.Generator, n_in: int, n_out: int, *, shifts: tuple[float, float], shared: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Draw scores of two models of which ``shared`` of the variance is the image's."""
    out = []
    for n, moved in ((n_in, (0.0, 0.0)), (n_out, shifts)):
        image = rng.normal(size=n) * math.sqrt(shared)
        out.append([image + rng.normal(size=n) * math.sqrt(1 - shared) + shift for shift in moved])
    return out[0][0], out[1][0], out[0][1], out[1][1]


def by_matrices(in_a: Floats, out_a: Floats, in_b: Floats, out_b: Floats) -> tuple[float, float]:
    """Return difference and variance as the paper writes them: every pair, then S10 / m + S01 / n."""

    def wins(inside: Floats, outside: Floats) -> Floats:
        above = outside[:, None] - inside[None, :]
        return np.asarray((above > 0) + 0.5 * (above == 0))

    tables = [wins(in_a, out_a), wins(in_b, out_b)]
    s10 = np.cov([table.mean(axis=1) for table in tables])
    s01 = np.cov([table.mean(axis=0) for table in tables])
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (s10 / len(out_a) + s01 / len(in_a)) @ contrast
    return float(tables[0].mean() - tables[1].mean()), float(variance)


def test_two_models_by_hand() -> None:
    # AUROC 1 and 3/4. Shares above the ID images: 1, 1 and 1, 1/2; below the OOD images: 1, 1 and 1/2, 1.
    # Differences 0, 1/2 and 1/2, 0, each of variance 1/8 and of a mean of two: 1/16 + 1/16 in all.
    found = paired_auroc_difference(
        np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([1.0, 3.0]), np.array([2.0, 4.0])
    )
    assert found.difference == 0.25
    assert found.interval.low == pytest.approx(0.25 - 1.959964 * math.sqrt(1 / 8), abs=1e-6)
    assert found.interval.high == pytest.approx(0.25 + 1.959964 * math.sqrt(1 / 8), abs=1e-6)


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_it_is_what_the_paper_writes_with_matrices(digits: int) -> None:
    # Rounded, so that scores tie.
    drawn = models(np.random.default_rng(digits), 70, 50, shifts=(1.0, 0.7), shared=0.6)
    rounded = [np.round(scores, digits) for scores in drawn]
    found = paired_auroc_difference(rounded[0], rounded[1], rounded[2], rounded[3])
    difference, variance = by_matrices(rounded[0], rounded[1], rounded[2], rounded[3])
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.difference == pytest.approx(auroc(*rounded[:2]) - auroc(*rounded[2:]), abs=1e-12)
    assert found.interval.high - found.interval.low == pytest.approx(
        2 * 1.959964 * math.sqrt(variance), rel=1e-6
    )


def test_the_mean_over_several_sets_knows_that_they_share_the_images_inside() -> None:
    # Against 1,000 draws of the ID images, the same in both models and in all sets, and of each set's own.
    rng = np.random.default_rng(5)
    in_a, out_a, in_b, out_b = models(rng, 120, 240, shifts=(1.2, 0.8), shared=0.5)
    cut = (90, 170)
    sets_a, sets_b = np.split(out_a, cut), np.split(out_b, cut)
    found = paired_auroc_difference(in_a, sets_a, in_b, sets_b)
    drawn = []
    for _ in range(1000):
        inside = rng.integers(120, size=120)
        outside = [rng.integers(len(one), size=len(one)) for one in sets_a]
        areas = [
            np.mean([auroc(scores[inside], one[at]) for one, at in zip(sets, outside, strict=True)])
            for scores, sets in ((in_a, sets_a), (in_b, sets_b))
        ]
        drawn.append(areas[0] - areas[1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.interval.high - found.interval.low == pytest.approx(high - low, rel=0.1)
    assert found.interval.low == pytest.approx(low, abs=0.01)


def test_it_covers_the_true_difference_and_is_narrower_than_two_apart() -> None:
    # The AUROC of normal scores of variance 1 that are d apart is ndtr(d / sqrt(2)).
    rng = np.random.default_rng(0)
    true = float(ndtr(1.0 / math.sqrt(2)) - ndtr(0.8 / math.sqrt(2)))
    covered, n = 0, 600
    for _ in range(n):
        drawn = models(rng, 150, 100, shifts=(1.0, 0.8), shared=0.7)
        interval = paired_auroc_difference(*drawn).interval
        covered += interval.low <= true <= interval.high
        (a, of_a), (b, of_b) = ((auroc(*one), auroc_interval(*one)) for one in (drawn[:2], drawn[2:]))
        apart = independent_difference(a, of_a, b, of_b)
        assert interval.high - interval.low < apart.high - apart.low
    # Of 600 draws at 95 % two standard errors are 1.8 points.
    assert 0.93 <= covered / n <= 0.97


def test_two_perfect_models_are_not_known_to_be_the_same() -> None:
    inside, outside = np.zeros(100), np.ones(50)
    found = paired_auroc_difference(inside, outside, inside, outside + 1)
    assert found.difference == 0
    assert found.interval.high == -found.interval.low == pytest.approx(1 - 0.025 ** (1 / 50))
    assert found.interval.method == "clopper-pearson (all 50 values equal)"


@given(data=st.data(), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_it_is_ordered_within_its_range_blind_to_the_order_and_odd(data: st.DataObject, seed: int) -> None:
    values = st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6)
    n_in, n_out = data.draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    in_a, in_b, out_a, out_b = (
        np.array(data.draw(st.lists(values, min_size=n, max_size=n))) for n in (n_in, n_in, n_out, n_out)
    )
    found = paired_auroc_difference(in_a, out_a, in_b, out_b)
    assert -1 <= found.interval.low <= found.difference <= found.interval.high <= 1
    rng = np.random.default_rng(seed)
    i, o = rng.permutation(n_in), rng.permutation(n_out)
    assert paired_auroc_difference(in_a[i], out_a[o], in_b[i], out_b[o]) == found
    back = paired_auroc_difference(in_b, out_b, in_a, out_a)
    assert back.difference == pytest.approx(-found.difference, abs=1e-12)
    assert back.interval.low == pytest.approx(-found.interval.high, abs=1e-9)


GOOD = (np.array([0.0, 1.0, 0.5]), np.array([1.0, 2.0]), np.array([0.0, 2.0, 1.0]), np.array([1.0, 3.0]))


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_refused(position: int, bad: float) -> None:
    spoilt = [array.copy() for array in GOOD]
    spoilt[position][-1] = bad
    with pytest.raises(UndefinedMetricError):
        paired_auroc_difference(spoilt[0], spoilt[1], spoilt[2], spoilt[3])


def test_what_cannot_be_paired_is_refused() -> None:
    in_a, out_a, in_b, out_b = GOOD
    for arrays in (
        (in_a[:2], out_a, in_b, out_b),
        (in_a, out_a, in_b, np.array([1.0, 3.0, 4.0])),
        (in_a[:0], out_a, in_b[:0], out_b),
    ):
        with pytest.raises(UndefinedMetricError):
            paired_auroc_difference(*arrays)
    with pytest.raises(UndefinedMetricError, match="found 2 and 1"):
        paired_auroc_difference(in_a, [out_a, out_a], in_b, [out_b])
    with pytest.raises(UndefinedMetricError, match="found 0 and 0"):
        paired_auroc_difference(in_a, [], in_b, [])
    with pytest.raises(UndefinedMetricError, match="at least 2 images in each; found 1"):
        paired_auroc_difference(in_a, out_a[:1], in_b, out_b[:1])
    with pytest.raises(UsageError, match="level cannot be used"):
        paired_auroc_difference(*GOOD, level=1.0)
