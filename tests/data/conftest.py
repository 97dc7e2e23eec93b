"""Manifests, official-looking CIFAR batches and folders of pictures, small and seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data import DataRoot, Dataset
from robustbench_safety.records import DatasetManifest

MakeManifest = Callable[..., DatasetManifest]
MakeDataset = Callable[..., Dataset]
MakeBatch = Callable[..., bytes]
MakeFolder = Callable[[Path, int], None]


@pytest.fixture
def make_manifest() -> MakeManifest:
    """Return a function that makes a manifest of an npy stack, fields changed as told."""

    def make(**change: object) -> DatasetManifest:
        fields: dict[str, object] = {
            "name": "mine",
            "version": 1,
            "title": "Mine",
            "role": "clean",
            "layout": {"type": "npy", "images": "images.npy", "labels": "labels.npy"},
            "folder": "mine",
            "conditions": [{"kind": "clean", "names": ["clean"], "levels": [0]}],
            "label_space": "digits",
            "samples": 12,
            "licence": "none",
            "citation": "none",
        }
        return DatasetManifest.model_validate({**fields, **change}, strict=False)

    return make


@pytest.fixture
def make_dataset(make_manifest: MakeManifest, tmp_path: Path) -> MakeDataset:
    """Return a function that makes a dataset of that manifest, below ``tmp_path``, with three classes."""

    def make(*, classes: Sequence[str] = ("a", "b", "c"), **change: object) -> Dataset:
        manifest = make_manifest(**change)
        return Dataset(manifest=manifest, data=DataRoot(root=tmp_path), classes=tuple(classes))

    return make


def python2_text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


@pytest.fixture
def make_batch() -> MakeBatch:
    """Return a function that writes pixels uint8 [N, 3072] and labels as the official files were written."""

    def make(
        pixels: NDArray[np.uint8],
        labels: Sequence[int],
        *,
        field: bytes = b"labels",
        names: int | None = None,
    ) -> bytes:
        n = len(pixels) if names is None else names
        put = iter(b"r" + i.to_bytes(4, "little") for i in range(1, 10_000))
        array = [
            b"cnumpy.core.multiarray\n_reconstruct\n" + next(put) + b"cnumpy\nndarray\n" + next(put),
            b"K\x00\x85" + python2_text(b"b") + b"\x87R" + next(put),
            b"(K\x01J" + len(pixels).to_bytes(4, "little") + b"M\x00\x0c\x86cnumpy\ndtype\n" + next(put),
            python2_text(b"u1") + b"K\x00K\x01\x87R" + next(put) + b"(K\x03" + python2_text(b"|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + pixels.size.to_bytes(4, "little"),
            pixels.tobytes() + b"tb",
        ]
        listed = b"".join(b"J" + int(label).to_bytes(4, "little", signed=True) for label in labels)
        files = b"".join(python2_text(b"image_%05d.png" % i) + next(put) for i in range(n))
        return b"".join(
            [
                b"\x80\x02}q\x01(" + python2_text(b"batch_label") + next(put) + python2_text(b"batch 1 of 1"),
                python2_text(field) + next(put) + b"]" + next(put) + b"(" + listed + b"e",
                python2_text(b"data") + next(put) + b"".join(array),
                python2_text(b"filenames") + next(put) + b"]" + next(put) + b"(" + files + b"eu.",
            ]
        )

    return make


@pytest.fixture
def make_folder() -> MakeFolder:
    """Return a function that fills a folder with ``n`` PNG pictures for each of the classes a, b, c."""

    def make(root: Path, n: int) -> None:
        draws = np.random.default_rng(0)
        for key in "abc":
            (root / key).mkdir(parents=True)
            for i in range(n):
                pixels = draws.integers(0, 256, size=(9 + i, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / key / f"img_{i}.png")

    return make
