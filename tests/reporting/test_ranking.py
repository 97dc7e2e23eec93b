"""Ranks from intervals, and the Pareto front, against definitions written out in loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.reporting.ranking import RankInterval, pareto_front, rank_intervals

few = st.integers(min_value=0, max_value=6)


def test_ranks_worked_by_hand() -> None:
    # a ends before c and d begin; b touches c at 4, so these two are tied; d is after all.
    ends = {"a": (1.0, 2.0), "b": (1.5, 4.0), "c": (4.0, 5.0), "d": (6.0, 6.0)}
    low, high = np.array(list(ends.values())).T
    ranks = dict(zip(ends, map(str, rank_intervals(low, high)), strict=True))
    assert ranks == {"a": "1–2", "b": "1–3", "c": "2–3", "d": "4"}


@given(st.lists(st.tuples(few, few), max_size=8))
def test_ranks_count_who_is_surely_better_and_who_surely_worse(pairs: list[tuple[int, int]]) -> None:
    low = np.array([min(pair) for pair in pairs], dtype=np.float64)
    high = np.array([max(pair) for pair in pairs], dtype=np.float64)
    for i, rank in enumerate(rank_intervals(low, high)):
        assert rank.best == 1 + sum(high[j] < low[i] for j in range(len(pairs)))
        assert rank.worst == len(pairs) - sum(low[j] > high[i] for j in range(len(pairs)))
        assert 1 <= rank.best <= rank.worst <= len(pairs)


def test_rows_without_intervals_of_the_same_value_share_all_ranks() -> None:
    value = np.array([0.5, 0.5, 0.25])
    assert rank_intervals(value, value) == [
        RankInterval(best=2, worst=3),
        RankInterval(best=2, worst=3),
        RankInterval(best=1, worst=1),
    ]


@pytest.mark.parametrize(("low", "high"), [(np.nan, 1.0), (0.0, np.inf), (2.0, 1.0)])
def test_an_interval_that_is_none_has_no_rank(low: float, high: float) -> None:
    with pytest.raises(UndefinedMetricError, match="ranks of intervals that are none"):
        rank_intervals(np.array([low]), np.array([high]))


@given(st.lists(st.tuples(few, few, few), min_size=1, max_size=10))
def test_the_front_is_what_no_other_row_dominates(points: list[tuple[int, ...]]) -> None:
    def dominates(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        nowhere_worse = all(a <= b for a, b in zip(one, other, strict=True))
        return nowhere_worse and one != other

    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert pareto_front([[float(x) for x in point] for point in points]).tolist() == expected


def test_the_front_of_more_rows_than_are_compared_at_a_time() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((600, 2))
    # In two columns the front is where the running minimum of the second falls, along the first.
    order = np.argsort(points[:, 0])
    along = points[order, 1]
    expected = np.zeros(600, dtype=bool)
    expected[order] = along <= np.minimum.accumulate(along)
    assert (pareto_front(points) == expected).all()
