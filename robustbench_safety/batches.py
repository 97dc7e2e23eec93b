"""Batches that halve themselves when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from robustbench_safety.errors import ModelError

__all__ = ["Batches", "is_out_of_memory"]

Result = TypeVar("Result")

#: What torch says where it raises no type of its own: on a CPU and on MPS.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _OUT_OF_MEMORY)


class Batches:
    """Cuts work into batches; a batch that does not fit into memory is halved, and so are all after it.

    Args:
        size: Images in a batch to begin with.
        say: Told when a batch was halved.
    """

    def __init__(self, size: int, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.size = self._asked = size
        self._say = say

    @property
    def reduced(self) -> int | None:
        """Images in a batch where memory has run out; None where it never has."""
        return self.size if self.size < self._asked else None

    def map(self, run: Callable[[int, int], Result], n: int) -> list[Result]:
        """Return what ``run(first, last)`` gives for each batch of ``n`` images, in order.

        Raises:
            ModelError: Not even one image fits into memory.
        """
        results: list[Result] = []
        first = 0
        while first < n:
            last = min(first + self.size, n)
            try:
                results.append(run(first, last))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            else:
                first = last
                continue
            # Outside the except: the error holds the frames, and with them the tensors that filled memory.
            self._halve(last - first, reason)
        return results

    def _halve(self, size: int, reason: str) -> None:
        if size == 1:
            raise ModelError(
                "memory is too small for one image",
                found=reason[:200],
                fix="choose another device, or --precision bfloat16",
            )
        self.size = size // 2
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        self._say(f"out of memory with {size} images at a time: going on with {self.size}")
