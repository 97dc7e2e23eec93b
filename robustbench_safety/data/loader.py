"""From a reader to blocks of pixels, read ahead in the background, with the data digest taken on the way."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.data.readers import ArrayReader, FileReader, Reader, Stored, sample_digest
from robustbench_safety.data.transforms import Transform

__all__ = ["Block", "Loader", "limited", "stored_digest"]

#: Blocks made ahead of the network: one under way and one ready hide the reading, more only cost memory.
_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive samples of a run."""

    start: int
    """Position of the first sample."""
    samples: int
    images: torch.Tensor
    """[samples * frames, H, W, 3], uint8 or float32 in [0, 1]."""


def limited(labels: NDArray[np.int64], limit: int | None, *, class_sorted: bool) -> NDArray[np.int64]:
    """Return which samples a run takes, in manifest order: int64 [n].

    The first ``limit``; from a set that is sorted by class, one of each class in turn.

    Example:
        >>> import numpy as np
        >>> limited(np.array([0, 0, 0, 1, 1, 1]), 3, class_sorted=True)
        array([0, 1, 3])
    """
    n = len(labels)
    if limit is None or limit >= n:
        return np.arange(n)
    if not class_sorted:
        return np.arange(limit)
    order = np.argsort(labels, kind="stable")
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    turn = np.empty(n, dtype=np.int64)
    turn[order] = np.arange(n) - np.repeat(first, counts)
    return np.sort(np.lexsort((labels, turn))[:limit])


class Loader:
    """Iterates over a reader's samples in blocks, in order, each once.

    Args:
        reader: Images of one condition.
        indices: Which samples: int64 [n].
        label_keys: Class key of every sample of the reader, "" for out-of-distribution images.
        transform: From stored pixels to the network's input.
        block: Samples in a block.
        workers: Threads that decode.
    """

    def __init__(
        self,
        reader: Reader,
        indices: NDArray[np.int64],
        label_keys: Sequence[str],
        transform: Transform,
        *,
        block: int,
        workers: int,
    ) -> None:
        self._reader, self._indices, self._keys = reader, indices, label_keys
        self._transform, self._block, self._workers = transform, block, workers
        self._hasher = hashlib.sha256()

    def __iter__(self) -> Iterator[Block]:
        # One thread reads in order (the digest is taken there); a pool of them decodes.
        reading = ThreadPoolExecutor(1, "rbs-read")
        decoding = ThreadPoolExecutor(self._workers, "rbs-decode")
        pending: deque[Future[Block]] = deque()
        try:
            for start in range(0, len(self._indices), self._block):
                pending.append(reading.submit(self._make, start, decoding))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            reading.shutdown(cancel_futures=True)
            decoding.shutdown(cancel_futures=True)

    def data_digest(self) -> str:
        """Return the data digest; whole once the iteration has ended."""
        return self._reader.finish_digest(self._hasher.hexdigest())

    def _make(self, start: int, decoding: ThreadPoolExecutor) -> Block:
        indices = self._indices[start : start + self._block]
        stored = self._reader.stored(indices)
        _add_samples(self._hasher, self._reader, indices, self._keys, stored)
        if isinstance(self._reader, ArrayReader):
            images = self._reader.block(indices, stored)
            if not self._transform.keeps(*images.shape[1:3]):
                images = np.stack(list(decoding.map(self._transform, images)))
        else:
            images = np.stack(list(decoding.map(self._decode, indices, stored)))
        return Block(start=start, samples=len(indices), images=torch.from_numpy(_writable(images)))

    def _decode(self, index: np.int64, stored: Stored) -> NDArray[np.uint8]:
        assert isinstance(self._reader, FileReader)  # noqa: S101  # the only other kind there is
        pixels = self._transform(self._reader.decode(int(index), stored))
        return pixels  # type: ignore[return-value]  # a file's pixels are 8-bit and stay so


def _writable(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.float32]:
    # torch warns about read-only memory, which a view of a file's bytes is.
    return images if images.flags.writeable else images.copy()


def _add_samples(
    hasher: hashlib._Hash,
    reader: Reader,
    indices: NDArray[np.int64],
    keys: Sequence[str],
    stored: Sequence[Stored],
) -> None:
    for index, content in zip(indices, stored, strict=True):
        sample_digest(hasher, reader.sample_ids[index], keys[index], content)


def stored_digest(reader: Reader, indices: NDArray[np.int64], label_keys: Sequence[str]) -> str:
    """Return the data digest without decoding: what a run over these samples would record."""
    hasher = hashlib.sha256()
    for start in range(0, len(indices), 256):
        part = indices[start : start + 256]
        _add_samples(hasher, reader, part, label_keys, reader.stored(part))
    return reader.finish_digest(hasher.hexdigest())
