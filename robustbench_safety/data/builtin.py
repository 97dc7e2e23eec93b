"""Images that need no files: the embedded digits, and noise for anomaly detection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from robustbench_safety.data.base import (
    ArrayReader,
    Indices,
    Stored,
    array_ids,
    check_count,
    checked_labels,
)
from robustbench_safety.records import BuiltinLayout, DatasetManifest
from robustbench_safety.streams import STREAM, random_stream

__all__ = ["DIGITS_SPLIT", "DigitsReader", "NoiseReader", "open_builtin"]

Split = Literal["train", "tune", "test"]
_Shape = tuple[int, int, int]

#: How many of the 1,797 scans fall to each part; in the order of the sha256 of their index.
DIGITS_SPLIT: dict[Split, int] = {"test": 850, "tune": 150, "train": 797}

#: The noise is the same for every suite and model, so its seed is part of the definition.
_NOISE_SEED = 0


class DigitsReader(ArrayReader):
    """scikit-learn's scans of handwritten digits, enlarged from 8x8 grey to 32x32 RGB.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part, 1,797
    scans by 13 writers, 17 grey levels).
    """

    def __init__(self, split: Split, *, labelled: bool = True) -> None:
        chosen, labels, images = _digits()
        self._chosen = chosen[split]
        self._images = images
        ids = array_ids(len(images))
        self.sample_ids = [ids[i] for i in self._chosen]
        self.labels = labels[self._chosen] if labelled else np.full(len(self._chosen), -1, dtype=np.int64)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the pixels of each picture, row by row."""
        return [memoryview(self._images[i]).cast("B") for i in self._chosen[indices]]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, 32, 32, 3]."""
        return self._images[self._chosen[indices]]

    def stamp(self) -> str:
        """Return a constant: there is no file that could change."""
        return "builtin"


@cache  # 40 conditions of a suite are made from the same 5 MB
def _digits() -> tuple[dict[Split, Indices], NDArray[np.int64], NDArray[np.uint8]]:
    """Return which scans belong to each split, and the labels and pictures of all of them."""
    scans = load_digits()
    order = sorted(range(len(scans.images)), key=lambda i: hashlib.sha256(b"digits-%d" % i).digest())
    chosen: dict[Split, Indices] = {}
    first = 0
    for name, n in DIGITS_SPLIT.items():
        chosen[name] = np.sort(np.array(order[first : first + n], dtype=np.int64))
        first += n
    images = np.stack([_enlarged(scan) for scan in scans.images])
    images.flags.writeable = False
    return chosen, scans.target.astype(np.int64), images


def _enlarged(scan: NDArray[np.float64]) -> NDArray[np.uint8]:
    grey = np.rint(scan * (255 / 16)).astype(np.uint8)
    large = Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(large)[:, :, None], 3, axis=2)


def _gaussian(draw: np.random.Generator, shape: _Shape) -> NDArray[np.float64]:
    """N(0, 0.5^2) on [-1, 1], clipped."""
    return np.clip(draw.normal(0.0, 0.5, size=shape), -1, 1)


def _rademacher(draw: np.random.Generator, shape: _Shape) -> NDArray[np.float64]:
    """-1 or 1 with equal chance."""
    return draw.integers(0, 2, size=shape).astype(np.float64) * 2 - 1


def _blobs(draw: np.random.Generator, shape: _Shape) -> NDArray[np.float64]:
    """Bernoulli(0.7), blurred, what falls below 0.75 set to 0."""
    # The published code blurs with sigma 1.5 along the channel axis too; border and reach are scikit-image's.
    points = (draw.random(shape) < 0.7).astype(np.float64)
    blurred = gaussian_filter(points, sigma=1.5, mode="nearest", truncate=4.0)
    return np.asarray(np.where(blurred < 0.75, 0.0, blurred) * 2 - 1, dtype=np.float64)


_NOISE: dict[str, Callable[[np.random.Generator, _Shape], NDArray[np.float64]]] = {
    "gaussian-noise": _gaussian,
    "rademacher-noise": _rademacher,
    "blobs": _blobs,
}


class NoiseReader(ArrayReader):
    """Noise pictures, float32 in [0, 1], unquantised: (x + 1) / 2 of the published network-space noise.

    Source: Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, 2019 (its code).
    """

    def __init__(self, generator: str, n: int, *, size: tuple[int, int] = (32, 32)) -> None:
        self._name, self._shape = generator, (*size, 3)
        self.sample_ids = array_ids(n)
        self.labels = np.full(n, -1, dtype=np.int64)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the float32 values of each picture, little-endian."""
        make = _NOISE[self._name]
        streams = (random_stream(_NOISE_SEED, self._name, self.sample_ids[i]) for i in indices)
        return [((make(stream, self._shape) + 1) / 2).astype("<f4").tobytes() for stream in streams]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.float32]:  # noqa: ARG002
        """Return float32 [n, H, W, 3] in [0, 1]."""
        return np.frombuffer(b"".join(stored), dtype="<f4").astype(np.float32).reshape(-1, *self._shape)

    def stamp(self) -> str:
        """Return the name of the stream that the noise is drawn from."""
        return STREAM


def open_builtin(
    manifest: DatasetManifest, layout: BuiltinLayout, classes: Sequence[str]
) -> DigitsReader | NoiseReader:
    """Return the reader of a builtin dataset.

    Raises:
        DataError: The manifest states another number of images, or too few classes.
    """
    if layout.generator != "digits":
        reader = NoiseReader(layout.generator, manifest.samples, size=manifest.image_size or (32, 32))
        checked_labels(manifest.name, manifest, reader.labels, classes)
        return reader
    digits = DigitsReader(layout.split, labelled=manifest.role != "ood")
    check_count(f"the {layout.split} part of the digits", manifest, len(digits.sample_ids))
    checked_labels(manifest.name, manifest, digits.labels, classes)
    return digits
