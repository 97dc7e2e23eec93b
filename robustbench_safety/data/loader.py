"""From a reader to blocks of pixels, read ahead in the background, with the data digest taken on the way."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import ArrayReader, FileReader, Indices, Reader, Stored, sample_digest
from robustbench_safety.data.transforms import Transform
from robustbench_safety.errors import DataError

if TYPE_CHECKING:
    import torch

__all__ = ["Block", "Loader", "limited", "stored_digest"]

#: Blocks made ahead of the network: one under way and one ready hide the reading, more only cost memory.
_AHEAD = 2
#: Samples read at a time where nothing is decoded.
_DIGESTED_TOGETHER = 256

_Pixels = NDArray[np.uint8] | NDArray[np.float32]


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
        self._digest: str | None = None

    def __iter__(self) -> Iterator[Block]:
        hasher = hashlib.sha256()
        # One thread reads in order (the digest is taken there), a pool of them decodes, and one puts blocks
        # together, so that the decoders wait neither for the reading and hashing nor for the copying. They
        # end in the order read, decode, join: each may wait for the one before.
        with (
            _threads(1, "join") as joining,
            _threads(self._workers, "decode") as decoding,
            _threads(1, "read") as reading,
        ):
            pending: deque[Future[Block]] = deque()
            for start in range(0, len(self._indices), self._block):
                indices = self._indices[start : start + self._block]
                read = reading.submit(self._read, indices, hasher, decoding)
                pending.append(joining.submit(_join, start, len(indices), read))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        self._digest = self._reader.finish_digest(hasher.hexdigest())

    def data_digest(self) -> str:
        """Return the data digest over the samples of a whole iteration."""
        if self._digest is None:
            raise RuntimeError("the data digest is known when all blocks have been read")
        return self._digest

    def _read(self, indices: Indices, hasher: hashlib._Hash, decoding: Executor) -> Callable[[], _Pixels]:
        """Read and hash a block; return what waits for its pixels."""
        stored = self._reader.stored(indices)
        _add_samples(hasher, self._reader, indices, self._keys, stored)
        if isinstance(self._reader, ArrayReader):
            reader = self._reader
            return lambda: self._resized(reader.block(indices, stored), decoding)
        images = [
            decoding.submit(self._decode, self._reader, int(index), content)
            for index, content in zip(indices, stored, strict=True)
        ]
        return lambda: _joined([image.result() for image in images], clips=self._reader.frames > 1)

    def _decode(self, reader: FileReader, index: int, stored: Stored) -> NDArray[np.uint8]:
        pixels = reader.decode(index, stored)
        if reader.frames == 1:
            return self._transform(pixels)
        return np.stack([self._transform(frame) for frame in pixels])

    def _resized(self, images: _Pixels, decoding: Executor) -> _Pixels:
        if self._transform.keeps(*images.shape[1:3]):
            return images
        return np.stack(list(decoding.map(self._transform, images)))


def _joined(images: Sequence[NDArray[np.uint8]], *, clips: bool) -> NDArray[np.uint8]:
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise DataError(
            "images of several sizes cannot share a batch",
            expected="one size after the network's preprocessing",
            found=", ".join(sorted("x".join(map(str, size[-3:-1])) for size in sizes)[:5]),
            fix="state input_size, resize and crop in the model file",
        )
    return np.concatenate(images) if clips else np.stack(images)


@contextmanager
def _threads(n: int, name: str) -> Iterator[Executor]:
    """Give ``n`` threads; when the block ends, what has not begun is dropped and what has is waited for."""
    pool = ThreadPoolExecutor(n, f"rbs-{name}")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _join(start: int, samples: int, read: Future[Callable[[], _Pixels]]) -> Block:
    import torch  # takes seconds, and the commands that list and check datasets do without

    images = read.result()()
    # torch warns about read-only memory, which a view of a file's bytes is.
    writable = images if images.flags.writeable else images.copy()
    return Block(start=start, samples=samples, images=torch.from_numpy(writable))


def _add_samples(
    hasher: hashlib._Hash,
    reader: Reader,
    indices: Indices,
    keys: Sequence[str],
    stored: Sequence[Stored],
) -> None:
    for index, content in zip(indices, stored, strict=True):
        sample_digest(hasher, reader.sample_ids[index], keys[index], content)


def stored_digest(reader: Reader, indices: NDArray[np.int64], label_keys: Sequence[str]) -> str:
    """Return the data digest without decoding: what a run over these samples would record."""
    hasher = hashlib.sha256()
    for start in range(0, len(indices), _DIGESTED_TOGETHER):
        part = indices[start : start + _DIGESTED_TOGETHER]
        _add_samples(hasher, reader, part, label_keys, reader.stored(part))
    return reader.finish_digest(hasher.hexdigest())
