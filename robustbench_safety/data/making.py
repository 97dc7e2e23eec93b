"""Corrupted images and sequences to disk, in the layout that CIFAR-10-C and CIFAR-10-P were published in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import ArrayReader
from robustbench_safety.data.store import Dataset
from robustbench_safety.errors import DataError, UsageError
from robustbench_safety.files import atomic_path, digest_of, write_bytes
from robustbench_safety.records import (
    ClipsLayout,
    Condition,
    DatasetManifest,
    GeneratedLayout,
    NpyLayout,
)

__all__ = ["make_dataset"]

#: Images made at a time.
_TOGETHER = 256
#: File that says what the others were made of.
_NOTE = "made.json"


def make_dataset(
    dataset: Dataset, out: Path, *, name: str, seed: int = 0, advance: Callable[[int, int], None]
) -> DatasetManifest:
    """Write a generated dataset to disk: ``<name>.npy`` for each corruption or sequence, and ``labels.npy``.

    Files that an earlier call has finished with the same seed and generator are kept.

    Args:
        dataset: One whose images are made on the fly.
        out: Folder for the files.
        name: Of the dataset of files: its numbers are its own.
        seed: Of the corruptions.
        advance: Told how many conditions are written, and how many there are.

    Returns:
        The manifest of what was written.

    Raises:
        UsageError: The dataset is not made on the fly.
        DataError: Its clean images are missing, or ``out`` holds what was made otherwise.
        StorageError: ``out`` cannot be written.
    """
    layout = dataset.manifest.layout
    if not isinstance(layout, GeneratedLayout):
        raise UsageError(
            f"dataset {dataset.name} is not made by the package",
            expected="one whose layout is generated; `rbs data list` shows them",
            found=f"layout {layout.type}",
        )
    conditions = dataset.manifest.all_conditions()
    names = list(dict.fromkeys(condition.name for condition in conditions))
    levels = len({condition.level for condition in conditions})
    if dataset.manifest.role == "sequence" and levels > 1:
        raise UsageError(
            f"dataset {dataset.name} has sequences at several levels",
            expected="one level: clips of several have no published place in one file",
            fix="describe each level as a dataset of its own",
        )
    note = {"made_of": digest_of(dataset.scored_fields()), "seed": seed}
    _check_note(out, note)
    frames: dict[str, int] = {}
    labels: NDArray[np.int64] | None = None
    done = 0
    for group in names:
        members = [condition for condition in conditions if condition.name == group]
        readers = [_opened(dataset, condition, seed) for condition in members]
        frames[group], labels = readers[0].frames, readers[0].labels
        path = out / f"{group}.npy"
        if not path.exists():
            _write(path, readers)
        done += len(members)
        advance(done, len(conditions))
    stacked = np.tile(labels if labels is not None else np.zeros(0, np.int64), levels)
    with atomic_path(out / "labels.npy") as temporary, temporary.open("wb") as handle:
        np.save(handle, stacked, allow_pickle=False)
    return _manifest(dataset.manifest, name, out, levels, frames)


def _opened(dataset: Dataset, condition: Condition, seed: int) -> ArrayReader:
    reader = dataset.open(condition, seed=seed)
    if not isinstance(reader, ArrayReader):
        raise DataError(f"{condition.path} cannot be stacked", expected="images of one size")
    return reader


def _check_note(out: Path, note: dict[str, object]) -> None:
    """Refuse a folder of other images; a new one gets the note first, so that a killed run is told too."""
    path = out / _NOTE
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise DataError(f"{out} is not empty", expected="a new folder, or what was made before")
        write_bytes(path, f"{json.dumps(note, indent=1, sort_keys=True)}\n".encode())
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != note:
        raise DataError(
            f"{out} holds images that were made otherwise", expected=str(note), found=str(found),
            fix="name another folder")  # fmt: skip


def _write(path: Path, readers: list[ArrayReader]) -> None:
    """Write the levels of one corruption one after another, or the clips of one sequence."""
    n = len(readers[0].sample_ids)
    first = readers[0].block(np.zeros(1, np.int64), readers[0].stored(np.zeros(1, np.int64)))
    clip = (readers[0].frames,) if readers[0].frames > 1 else ()
    with (
        atomic_path(path) as temporary,
        _stack(temporary, (n * len(readers), *clip, *first.shape[1:])) as stack,
    ):
        for level, reader in enumerate(readers):
            for start in range(0, n, _TOGETHER):
                indices = np.arange(start, min(start + _TOGETHER, n))
                pixels = reader.block(indices, reader.stored(indices))
                rows = slice(level * n + start, level * n + start + len(indices))
                stack[rows] = pixels.reshape(len(indices), *clip, *pixels.shape[1:])


@contextmanager
def _stack(path: Path, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    stack = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    yield stack
    stack.flush()


def _manifest(
    made_of: DatasetManifest, name: str, out: Path, levels: int, frames: dict[str, int]
) -> DatasetManifest:
    usual = max(set(frames.values()), key=list(frames.values()).count)
    layout: ClipsLayout | NpyLayout
    if made_of.role == "sequence":
        others = {key: n for key, n in frames.items() if n != usual}
        layout = ClipsLayout(
            type="clips", format="npy", path="{name}.npy", frames=usual, frames_of=others, labels="labels.npy"
        )
    else:
        layout = NpyLayout(type="npy", images="{name}.npy", labels="labels.npy", levels_in_rows=levels)
    return made_of.model_copy(
        update={
            "name": name,
            "title": f"{made_of.title}, written to disk",
            "layout": layout,
            "folder": out.resolve().name,
            "extras": (_NOTE,),
        }
    )
