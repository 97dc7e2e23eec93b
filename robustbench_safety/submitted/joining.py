"""Rows in any order to the samples of a condition, in the manifest's order: each exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from robustbench_safety.data import Dataset, limited, stored_digest
from robustbench_safety.data.base import array_ids, sample_digest
from robustbench_safety.errors import DataError
from robustbench_safety.jobs import Job, labels_in
from robustbench_safety.predictions import Columns, Values
from robustbench_safety.records import (
    CifarPickleLayout,
    ClipsLayout,
    Condition,
    Covers,
    IdxLayout,
    MatLayout,
    NpyLayout,
)
from robustbench_safety.submitted.tables import Rows, Table
from robustbench_safety.summary import summarize

__all__ = ["Samples", "joined", "samples_of_images", "samples_of_table"]

#: Named in an error.
_SHOWN = 5
_MOST_FRAMES = 1000
#: Layouts whose sample ids are the index.
_COUNTED = (NpyLayout, CifarPickleLayout, IdxLayout, MatLayout)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a condition that a run takes, in the manifest's order."""

    sample_ids: list[str]
    label_keys: list[str]
    """In the data set's own space, "" for none: [n]."""
    labels: NDArray[np.int64]
    """In the label space of the predictions, -1 for none: [n]."""
    others: list[str]
    """Ids of the condition that a limit leaves out: rows of theirs may be there."""
    frames: int
    covers: Covers
    data_digest: Callable[[], str]
    """Takes the digest; of images this reads them all."""
    stamp: str


def samples_of_images(job: Job) -> Samples:
    """Return the samples of images that are at hand.

    Raises:
        DataError: The data are not what the manifest says.
    """
    images = job.open()
    taken = set(images.indices.tolist())
    ids = images.reader.sample_ids
    return Samples(
        sample_ids=[ids[i] for i in images.indices],
        label_keys=[images.label_keys[i] for i in images.indices],
        labels=images.labels[images.indices],
        others=[ids[i] for i in range(len(ids)) if i not in taken],
        frames=job.frames,
        covers="samples",
        data_digest=lambda: stored_digest(images.reader, images.indices, images.label_keys),
        stamp=images.reader.stamp(),
    )


def samples_of_table(
    table: Table,
    name: str | None,
    condition: Condition,
    dataset: Dataset,
    label_space: str,
    limit: int | None,
) -> Samples:
    """Return the samples that the table itself names, sorted by id, checked against the manifest.

    Sorted ids are the manifest's order where samples are counted, and in a class-sorted folder.

    Args:
        table: What was handed in.
        name: Of the condition in the table.
        condition: Which.
        dataset: Whose.
        label_space: Of the predictions.
        limit: Samples taken; None for all.

    Raises:
        DataError: Another number of samples than the manifest's, or labels of no class.
    """
    manifest, where = dataset.manifest, f"{table.where(name)}: {condition.path}"
    keys, frames = _named_samples(table, name, dataset, condition)
    ids = sorted(keys)
    counts = (manifest.samples, *manifest.samples_also)
    if len(ids) not in counts:
        raise DataError(
            f"{where} does not have the samples of {dataset.name}",
            expected=" or ".join(map(str, counts)),
            found=str(len(ids)),
            fix="hand in every sample once",
        )
    if isinstance(manifest.layout, _COUNTED):
        counted = array_ids(len(ids))
        if odd := sorted(set(ids) - set(counted)):
            raise DataError(
                f"{where}: sample_id {odd[0][:80]!r}",
                expected=f"the index in the published array, {counted[0]} to {counted[-1]}",
            )
    label_keys = [keys[name] for name in ids]
    if wrong := sorted(set(label_keys) - _possible(dataset)):
        raise DataError(
            f"{where}: label {wrong[0]!r}",
            expected="no label" if manifest.role == "ood" else f"a class of {dataset.name}",
            fix="images are not at hand, so the file must say their labels",
        )
    number = {key: i for i, key in enumerate(dict.fromkeys(label_keys))}
    groups = np.array([number[key] for key in label_keys], dtype=np.int64)
    in_turn = int((np.diff(groups) != 0).sum()) + 1 == len(number)
    indices = limited(groups, limit, class_sorted=in_turn)
    taken = set(indices.tolist())
    hasher = hashlib.sha256()
    for i in indices.tolist():
        sample_digest(hasher, ids[i], label_keys[i], b"")
    chosen = [label_keys[i] for i in indices.tolist()]
    return Samples(
        sample_ids=[ids[i] for i in indices.tolist()],
        label_keys=chosen,
        labels=labels_in(label_space, dataset, chosen),
        others=[ids[i] for i in range(len(ids)) if i not in taken],
        frames=frames,
        covers="ids-and-labels",
        data_digest=hasher.hexdigest,
        stamp="none",
    )


def joined(
    table: Table, name: str | None, samples: Samples, condition: Condition, columns: Columns
) -> Values:
    """Return the predictions of the samples, in their order (and the order of their frames).

    Args:
        table: What was handed in.
        name: Of the condition in the table.
        samples: Of the condition.
        condition: Which; for errors.
        columns: What is to be stored.

    Returns:
        Columns of n * frames rows.

    Raises:
        DataError: A sample is missing, unknown or there twice, or has another label.
    """
    where = f"{table.where(name)}: {condition.path}"
    n, frames = len(samples.sample_ids), samples.frames
    known = pa.array([*samples.sample_ids, *samples.others], pa.string())
    right = np.array([*samples.label_keys, *[""] * len(samples.others)], dtype=object)
    row_labels = np.repeat(samples.labels, frames)
    # Those left out by a limit have a place too: there twice is wrong there too.
    seen = np.zeros(len(known) * frames, dtype=np.bool_)
    otherwise: list[NDArray[np.int64]] = []
    first = ""
    out: dict[str, NDArray[np.float32] | NDArray[np.int32]] = {}
    for rows in table.rows(name):
        position = pc.index_in(rows.sample_ids, value_set=known)
        if position.null_count:
            strange = rows.sample_ids.filter(position.is_null()).to_pylist()
            raise _wrong(where, "unknown to the data set", strange, f"ids such as {samples.sample_ids[0]}")
        at = position.to_numpy(zero_copy_only=False).astype(np.int64)
        place = at * frames + _frame_numbers(where, rows, frames)
        twice = seen[place] | (np.bincount(place, minlength=len(seen))[place] > 1)
        if twice.any():
            raise _wrong(where, "there twice", _names(known, at[twice]), "each sample once")
        seen[place] = True
        needed = at < n
        if rows.labels is not None:
            given = np.array(rows.labels.to_pylist(), dtype=object)
            other = needed & (given != right[at])
            if other.any():
                row = int(np.flatnonzero(other)[0])
                first = first or f"{right[at[row]]!r}, not {given[row]!r}, for {known[at[row]]}"
                otherwise.append(at[other])
        if rows.values is None or not needed.any():
            continue
        place, values = place[needed], rows.values[needed]
        for column, array in _stored(values, row_labels[place], columns).items():
            if column not in out:
                out[column] = np.empty((n * frames, *array.shape[1:]), dtype=array.dtype)
            out[column][place] = array
    if otherwise:
        positions = np.concatenate(otherwise)
        raise _wrong(where, "labelled otherwise by the data set", _names(known, positions), first)
    missing = np.flatnonzero(~seen[: n * frames]) // frames
    if len(missing):
        raise _wrong(
            where, "missing", _names(known, missing), "every sample" + (" with every frame" * (frames > 1))
        )
    return out


def _stored(
    values: NDArray[np.float32] | NDArray[np.int32], labels: NDArray[np.int64], columns: Columns
) -> Values:
    if columns == "top1":
        return {"top_classes": values}
    if columns == "logits":
        return {"logits": values}
    return summarize(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(labels))


def _named_samples(
    table: Table, name: str | None, dataset: Dataset, condition: Condition
) -> tuple[dict[str, str], int]:
    """Return the label of every sample that the table names, and the number of frames."""
    manifest, where = dataset.manifest, f"{table.where(name)}: {condition.path}"
    most = max(manifest.samples, *manifest.samples_also, 0)
    keys: dict[str, str] = {}
    last = 0
    for rows in table.rows(name, keys_alone=True):
        given = rows.labels.to_pylist() if rows.labels is not None else [""] * len(rows.sample_ids)
        for sample_id, label in zip(rows.sample_ids.to_pylist(), given, strict=True):
            if keys.setdefault(sample_id, label) != label:
                raise _wrong(where, "given two labels", [sample_id], "one")
        if rows.frames is not None and len(rows.frames):
            last = max(last, int(rows.frames.max()))
        if len(keys) > most:
            raise DataError(
                f"{where} has more samples than {dataset.name}",
                expected=str(most),
                found=f"{len(keys)} or more, {next(reversed(keys))} among them",
            )
    frames = last + 1
    if isinstance(manifest.layout, ClipsLayout):
        frames = manifest.layout.frames_of.get(condition.name, manifest.layout.frames)
    if (frames > 1) != (condition.kind == "sequence") or frames > _MOST_FRAMES:
        raise DataError(
            f"{where} has {frames} frames",
            expected="clips of two frames or more" if condition.kind == "sequence" else "images, not clips",
            fix="number the frames of each clip from 0 in the column frame",
        )
    return keys, frames


def _possible(dataset: Dataset) -> frozenset[str]:
    return frozenset(("",)) if dataset.manifest.role == "ood" else frozenset(dataset.classes)


def _frame_numbers(where: str, rows: Rows, frames: int) -> NDArray[np.int64]:
    if rows.frames is None:
        if frames > 1:
            raise DataError(
                f"{where}: column frame is missing", expected=f"the number of each frame, 0 to {frames - 1}"
            )
        return np.zeros(len(rows.sample_ids), dtype=np.int64)
    wrong = (rows.frames < 0) | (rows.frames >= frames)
    if wrong.any():
        raise DataError(
            f"{where}: frame {rows.frames[wrong][0]}", expected=f"0 to {frames - 1}" if frames > 1 else "0"
        )
    return rows.frames


def _names(known: pa.Array, positions: NDArray[np.int64]) -> list[str]:
    names: list[str] = known.take(pa.array(np.unique(positions))).to_pylist()
    return names


def _wrong(where: str, how: str, names: Sequence[str], expected: str) -> DataError:
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    number = f"{len(names)} samples are" if len(names) > 1 else "a sample is"
    return DataError(f"{where}: {number} {how}: {shown}{more}", expected=expected)
