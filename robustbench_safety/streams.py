"""Random streams that depend on names alone, so that no order, batch size or shard can change a draw."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["GENERATOR", "GENERATOR_VERSION", "STREAM", "random_stream", "stream_key"]

#: Name of what makes corrupted images; with the version it goes into the digests of every generated dataset.
GENERATOR = "rbs-corruptions"
#: Raised with every change that can move a pixel.
GENERATOR_VERSION = "2"

#: Name of the stream, written into the data digest of everything that is generated from it.
STREAM = "numpy-philox-1"


def random_stream(seed: int, *keys: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``seed`` and ``keys``.

    Two calls with equal arguments give equal draws; any other argument gives an independent stream:
    the key of the counter-based generator Philox is a hash of the arguments.

    Args:
        seed: Seed of the suite or the caller.
        keys: What the draw is for, e.g. corruption name, severity and sample id.

    Example:
        >>> a = random_stream(0, "gaussian_noise", 3, "00017").standard_normal()
        >>> a == random_stream(0, "gaussian_noise", 3, "00017").standard_normal()
        True
        >>> a == random_stream(0, "gaussian_noise", 4, "00017").standard_normal()
        False
    """
    key = np.frombuffer(stream_key(seed, *keys)[:16], dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def stream_key(seed: int, *keys: str | int) -> bytes:
    """Return the 32 bytes that a stream of ``seed`` and ``keys`` starts from."""
    # repr keeps 1 and "1" apart and the separator cannot be forged from inside a key.
    return hashlib.sha256(repr((STREAM, seed, *keys)).encode()).digest()
