"""Threads whose results come back in order, with little under way at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from robustbench_safety.data.verifying.ordered_pool import ordered_pool
from robustbench_safety.errors import UsageError


def test_results_come_in_the_order_of_the_items_though_the_first_takes_longest() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    with ordered_pool(4) as pool:
        assert list(pool.map(slow_first, range(50))) == [item * item for item in range(50)]


def test_no_more_items_are_made_than_the_threads_have_work_for() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        for item in range(1000):
            made += 1
            yield item

    with ordered_pool(2) as pool:
        for taken, _ in enumerate(pool.map(lambda item: item, items()), 1):
            assert made <= taken + 4
    assert made == 1000


def test_an_error_comes_out_and_what_has_not_begun_is_dropped() -> None:
    begun: list[int] = []

    def refuse(item: int) -> None:
        begun.append(item)
        time.sleep(0.1 * item)
        raise ValueError(str(item))

    with pytest.raises(ValueError, match="0"), ordered_pool(1) as pool:
        list(pool.map(refuse, range(1000)))
    assert begun in ([0], [0, 1])


def test_less_than_one_thread_is_refused() -> None:
    with pytest.raises(UsageError, match="workers is out of range"), ordered_pool(0):
        pass
