"""Batches that halve themselves when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from robustbench_safety.batches import Batches, is_out_of_memory
from robustbench_safety.errors import ModelError

CPU = (
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


def fits(most: int, error: Exception) -> Callable[[int, int], tuple[int, int]]:
    """Return a pass that has room for ``most`` images."""

    def run(first: int, last: int) -> tuple[int, int]:
        if last - first > most:
            raise error
        return first, last

    return run


def test_every_image_goes_through_once_and_in_order() -> None:
    assert Batches(4).map(lambda first, last: list(range(first, last)), 10) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError(CPU),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_said_so_and_gone_on_with(error: Exception) -> None:
    said: list[str] = []
    batches = Batches(8, say=said.append)
    assert batches.map(fits(3, error), 9) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]
    assert said == [
        "out of memory with 8 images at a time: going on with 4",
        "out of memory with 4 images at a time: going on with 2",
    ]
    assert batches.reduced == 2


def test_a_halved_batch_stays_halved_for_what_comes_after() -> None:
    batches = Batches(8)
    batches.map(fits(4, MemoryError()), 8)
    assert batches.map(lambda first, last: last - first, 8) == [4, 4]


def test_nothing_is_reduced_where_memory_is_enough() -> None:
    batches = Batches(8)
    batches.map(fits(8, MemoryError()), 20)
    assert batches.reduced is None


def test_one_image_that_does_not_fit_is_an_error_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"memory is too small for one image; found .*can't allocate memory"):
        Batches(4).map(fits(0, RuntimeError(CPU)), 4)


def test_another_failure_is_passed_on_at_once() -> None:
    said: list[str] = []
    with pytest.raises(RuntimeError, match="shapes do not match"):
        Batches(4, say=said.append).map(fits(0, RuntimeError("shapes do not match")), 4)
    assert said == []
    assert not is_out_of_memory(ValueError("out of memory"))
