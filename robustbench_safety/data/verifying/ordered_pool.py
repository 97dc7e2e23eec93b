"""Work spread over threads whose results come back in order, with a bounded number under way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from robustbench_safety.errors import UsageError

__all__ = ["OrderedPool", "ordered_pool"]

T = TypeVar("T")
R = TypeVar("R")

#: Pieces of work under way or waiting, for each thread: none has to wait, and memory stays bounded.
_AHEAD = 2


class OrderedPool:
    """Threads that work on the items of a lazy list."""

    def __init__(self, pool: ThreadPoolExecutor, workers: int) -> None:
        self._pool, self._ahead = pool, _AHEAD * workers

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the result for each item, in order; the calling thread makes the items as they are needed."""
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def ordered_pool(workers: int | None) -> Iterator[OrderedPool]:
    """Give a pool; when the block ends, what has not begun is dropped and what has is waited for.

    Args:
        workers: Threads; None for one a core, at most 8.

    Raises:
        UsageError: There are to be less than one.
    """
    if workers is not None and workers < 1:
        raise UsageError(
            "workers is out of range", expected="1 or more", found=str(workers), fix="name another number"
        )
    n = workers or min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(n, "rbs-verify")
    try:
        yield OrderedPool(pool, n)
    finally:
        pool.shutdown(cancel_futures=True)
