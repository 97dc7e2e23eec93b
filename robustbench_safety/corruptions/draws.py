"""Random draws for a batch: every image has a stream of its own, so that no other image can change its draws.

Two kinds with one face. NumPy's counter-based Philox makes the draws on a CPU; on another device torch's own
generator makes them there, because 150,000 normal draws an image take longer on a CPU than all the rest on a
GPU. The two give different draws of the same law: a record names its stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from robustbench_safety.streams import STREAM, random_stream, stream_key

__all__ = ["WORD_BITS", "Draws", "NumpyDraws", "TorchDraws", "draws_for", "stream_name"]

#: Bits of a uniform whole draw: as many as an int32 holds without its sign.
WORD_BITS = 31

_Shape = Sequence[int]


class Draws(Protocol):
    """Draws for N images; every tensor is [N, *shape] on the images' device, row i from image i's stream."""

    def normal(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws of N(0, 1)."""

    def random(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws, uniform in [0, 1)."""

    def integers(self, low: int, high: int, shape: _Shape) -> torch.Tensor:
        """Return int64 draws, uniform in low, ..., high - 1."""

    def words(self, shape: _Shape) -> torch.Tensor:
        """Return int32 draws, uniform in 0, ..., 2**WORD_BITS - 1."""


class NumpyDraws:
    """Draws by NumPy, one generator an image.

    Args:
        start: Returns N generators, in the batch's order; called with the first draw.
        device: Where the tensors go.
    """

    def __init__(self, start: Callable[[], Sequence[np.random.Generator]], device: torch.device) -> None:
        self._start, self._device = start, device

    @cached_property
    def _generators(self) -> Sequence[np.random.Generator]:
        # Half of the corruptions draw nothing, and 20 microseconds an image are a tenth of some of them.
        return self._start()

    def normal(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws of N(0, 1)."""
        rows = np.empty((len(self._generators), *shape))
        for row, generator in zip(rows, self._generators, strict=True):
            generator.standard_normal(out=row)
        return torch.from_numpy(rows).to(self._device)

    def random(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws, uniform in [0, 1)."""
        rows = np.empty((len(self._generators), *shape))
        for row, generator in zip(rows, self._generators, strict=True):
            generator.random(out=row)
        return torch.from_numpy(rows).to(self._device)

    def integers(self, low: int, high: int, shape: _Shape) -> torch.Tensor:
        """Return int64 draws, uniform in low, ..., high - 1."""
        rows = [generator.integers(low, high, size=tuple(shape)) for generator in self._generators]
        return torch.from_numpy(np.stack(rows)).to(self._device)

    def words(self, shape: _Shape) -> torch.Tensor:
        """Return int32 draws, uniform in 0, ..., 2**WORD_BITS - 1."""
        count = math.prod(shape)
        rows = np.empty((len(self._generators), count), dtype=np.int32)
        for row, generator in zip(rows, self._generators, strict=True):
            # Two draws of each 64 bits, lower half first: twice as fast as Generator.integers.
            raw = generator.bit_generator.random_raw((count + 1) // 2).astype("<u8", copy=False)
            np.right_shift(raw.view("<u4")[:count], 32 - WORD_BITS, out=row.view(np.uint32))
        return torch.from_numpy(rows).view(-1, *shape).to(self._device)


class TorchDraws:
    """Draws by torch on a device of its own, one generator an image.

    Args:
        start: Returns N generators of ``device``, in the batch's order; called with the first draw.
        device: Where the draws are made.
    """

    def __init__(self, start: Callable[[], Sequence[torch.Generator]], device: torch.device) -> None:
        self._start, self._device = start, device

    @cached_property
    def _generators(self) -> Sequence[torch.Generator]:
        return self._start()

    def normal(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws of N(0, 1)."""
        rows = torch.empty((len(self._generators), *shape), dtype=torch.float64, device=self._device)
        for row, generator in zip(rows, self._generators, strict=True):
            row.normal_(generator=generator)
        return rows

    def random(self, shape: _Shape) -> torch.Tensor:
        """Return float64 draws, uniform in [0, 1)."""
        rows = torch.empty((len(self._generators), *shape), dtype=torch.float64, device=self._device)
        for row, generator in zip(rows, self._generators, strict=True):
            row.uniform_(generator=generator)
        return rows

    def integers(self, low: int, high: int, shape: _Shape) -> torch.Tensor:
        """Return int64 draws, uniform in low, ..., high - 1."""
        rows = torch.empty((len(self._generators), *shape), dtype=torch.int64, device=self._device)
        for row, generator in zip(rows, self._generators, strict=True):
            row.random_(low, high, generator=generator)
        return rows

    def words(self, shape: _Shape) -> torch.Tensor:
        """Return int32 draws, uniform in 0, ..., 2**WORD_BITS - 1."""
        rows = torch.empty((len(self._generators), *shape), dtype=torch.int32, device=self._device)
        for row, generator in zip(rows, self._generators, strict=True):
            row.random_(0, 2**WORD_BITS, generator=generator)
        return rows


def draws_for(seed: int, keys: Sequence[tuple[str | int, ...]], device: torch.device) -> Draws:
    """Return the draws of N images.

    Args:
        seed: Of the suite or the caller.
        keys: N; what each image's draws are for: corruption, severity, sample id.
        device: Where the images are.
    """
    if device.type == "cpu":
        return NumpyDraws(lambda: [random_stream(seed, *key) for key in keys], device)

    def start() -> list[torch.Generator]:
        generators = []
        for key in keys:
            generator = torch.Generator(device)
            # torch takes a seed of 64 bits, and a negative one for its complement.
            generator.manual_seed(int.from_bytes(stream_key(seed, *key)[:8], "little") >> 1)
            generators.append(generator)
        return generators

    return TorchDraws(start, device)


def stream_name(device: torch.device) -> str:
    """Return the name of the stream of a device, as records have it."""
    return STREAM if device.type == "cpu" else f"torch-{device.type}-1"
