"""The official pickled batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    ArrayReader,
    Indices,
    Place,
    Stored,
    array_ids,
    check_class_counts,
    check_count,
    checked_labels,
)
from robustbench_safety.data.cifar_pickle import read_cifar_pickle
from robustbench_safety.records import CifarPickleLayout

__all__ = ["CifarPickleReader"]


class CifarPickleReader(ArrayReader):
    """The official pickled batches, one after another."""

    def __init__(self, place: Place, layout: CifarPickleLayout) -> None:
        self._paths = [place.folder / name for name in layout.files]
        batches = [
            read_cifar_pickle(path, layout.label_field, md5=md5)
            for path, md5 in zip(self._paths, layout.files.values(), strict=True)
        ]
        self._rows = batches[0][0] if len(batches) == 1 else np.concatenate([rows for rows, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        check_count(place.folder, place.manifest, len(self._rows))
        self.sample_ids = array_ids(len(self._rows))
        self.labels = checked_labels(place.folder, place.manifest, labels, place.classes)
        self._groups = labels.astype(np.int64)
        check_class_counts(place.folder, place.manifest, self._groups, place.classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the 3,072 values of each image, channel by channel."""
        return [memoryview(self._rows[i]) for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, 32, 32, 3]."""
        pixels = self._rows[indices].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

    def files(self) -> Sequence[Path]:
        """Return the batch files."""
        return self._paths
