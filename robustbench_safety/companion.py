"""The companion of a record: what two records are paired by when the predictions are not at hand.

A compact Parquet file that goes into git beside the record. One row for each source image (or clip) of each
dataset; what needs more, calibration under corruption or flips of single frames, pairs by the predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from robustbench_safety import metrics
from robustbench_safety.data.label_sets import Labels
from robustbench_safety.errors import FileFormatError
from robustbench_safety.files import atomic_path, digest_of, reads
from robustbench_safety.measures import Outputs
from robustbench_safety.predictions import Predictions
from robustbench_safety.records import Record

__all__ = ["Companion", "CompanionRows", "read_companion", "write_companion"]

_CONDITIONS_KEY = b"robustbench_safety_companion"
#: Of those that stand before the scores and groups.
_TYPES = {
    "dataset": pa.string(),
    "source_id": pa.string(),
    "correct": pa.binary(),
    "flips": pa.list_(pa.uint8()),
    "predicted": pa.int32(),
    "confidence": pa.float32(),
}
_TEXTS = ("dataset", "source_id", "correct")
_SCORE, _GROUP = "score_", "group_"
#: A scorecard of ImageNet has fewer than a million rows, and fewer than 100 sequences of 5,000 clips.
_MOST_ROWS, _MOST_VALUES = 10_000_000, 100_000_000
#: Bytes unpacked. What is repeated packs well: 10 kilobytes of a file can be ten gigabytes of text.
_LARGEST = 2 * 2**30


class _Order(Record):
    """Of one dataset, in the metadata."""

    correct: tuple[str, ...]
    """Paths of the conditions, first in the lowest bit."""
    flips: tuple[str, ...]
    """Paths of the sequences."""


@dataclass
class CompanionRows:
    """Rows of one dataset, one for each source image or clip."""

    source_ids: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Group columns."""
    correct: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """By condition."""
    flips: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """By sequence."""
    predicted: NDArray[np.int32] | None = None
    confidence: NDArray[np.float32] | None = None
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By detector."""


class Companion:
    """Collected while the conditions of a record are read; or read from a file.

    Args:
        datasets: Rows to begin with, by dataset; None for none.
    """

    def __init__(self, datasets: Mapping[str, CompanionRows] | None = None) -> None:
        self._datasets: dict[str, CompanionRows] = dict(datasets or {})

    @property
    def datasets(self) -> Mapping[str, CompanionRows]:
        """The rows, by dataset."""
        return self._datasets

    def add(
        self,
        predictions: Predictions,
        truth: Labels | None = None,
        columns: Mapping[str, list[str]] | None = None,
    ) -> None:
        """Keep what pairs of one condition: correct bits, flips, and on clean images class and confidence.

        A condition on some of a dataset's images is not kept: the rows are those of all. It pairs by the
        predictions alone.

        Args:
            predictions: One condition.
            truth: Labels where an image may have several right classes.
            columns: Group columns of the samples.
        """
        attack = predictions.header.attack
        if attack is not None and attack.settings.images is not None:
            return
        condition, outputs = predictions.header.condition, Outputs(predictions, truth=truth)
        rows = self._rows(predictions)
        rows.columns = dict(columns or {})
        if condition.kind == "sequence":
            flips = metrics.flips_per_clip(outputs.clips, compare=outputs.compare)
            rows.flips[condition.path] = flips.astype(np.uint8)
            return
        if outputs.kept.all() and (predictions.labels >= 0).all():
            rows.correct[condition.path] = outputs.correct == 1
        if condition.kind == "clean":
            rows.predicted = outputs.predicted.astype(np.int32)
        if condition.kind == "clean" and predictions.header.columns != "top1":
            rows.confidence = outputs.confidence.astype(np.float32)

    def add_scores(self, predictions: Predictions, detector: str, scores: NDArray[np.float64]) -> None:
        """Keep the OOD scores of one set; those on a class subset, which leaves images out, are not kept."""
        if len(scores) == len(predictions.sample_ids):
            self._rows(predictions).scores[detector] = scores.astype(np.float32)

    def digest(self) -> str:
        """Return the digest over everything that is kept."""
        content = {
            name: {
                **({"columns": _columns_digests(rows)} if rows.columns else {}),
                "source_ids": _digest("\n".join(rows.source_ids).encode()),
                "correct": {
                    path: _digest(np.packbits(bits).tobytes()) for path, bits in rows.correct.items()
                },
                "flips": {path: _digest(flips.tobytes()) for path, flips in rows.flips.items()},
                "predicted": None if rows.predicted is None else _digest(_little(rows.predicted)),
                "confidence": None if rows.confidence is None else _digest(_little(rows.confidence)),
                "scores": {detector: _digest(_little(scores)) for detector, scores in rows.scores.items()},
            }
            for name, rows in self._datasets.items()
        }
        return digest_of(content)

    def table(self) -> pa.Table:
        """Return the rows.

        Columns: dataset, source_id; ``correct``, one bit a condition, first condition in the lowest bit;
        ``flips``, one count a sequence; predicted, confidence; ``score_<detector>``; ``group_<column>`` where
        a dataset has group columns. The metadata list the conditions and sequences of each dataset in the
        order of the bits and counts.
        """
        detectors = sorted({detector for rows in self._datasets.values() for detector in rows.scores})
        groups = sorted({column for rows in self._datasets.values() for column in rows.columns})
        parts = [_part(name, rows, detectors, groups) for name, rows in self._datasets.items()]
        order = {
            name: {"correct": list(rows.correct), "flips": list(rows.flips)}
            for name, rows in self._datasets.items()
        }
        return pa.concat_tables(parts).replace_schema_metadata({_CONDITIONS_KEY: json.dumps(order)})

    def _rows(self, predictions: Predictions) -> CompanionRows:
        name = predictions.header.condition.dataset
        return self._datasets.setdefault(name, CompanionRows(source_ids=predictions.sample_ids))


def write_companion(path: Path, companion: Companion) -> None:
    """Write the companion atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(companion.table(), temporary, compression="zstd", compression_level=19)


def read_companion(path: Path, *, digest: str | None = None) -> Companion:
    """Read what :func:`write_companion` has written.

    Args:
        path: The file.
        digest: ``companion_digest`` of the record that it lies beside; None to take the file as it is.

    Raises:
        StorageError: The system cannot read it.
        FileFormatError: It is no companion, or not the one of that record.
    """
    with reads(path), path.open("rb") as handle:
        try:
            companion = _read(path, handle)
        except pa.ArrowException as error:
            found = " ".join(str(error).split())[:200]
            raise _broken(path, "a Parquet file as it lies beside a record", found) from error
    if digest is not None and (actual := companion.digest()) != digest:
        raise _broken(path, f"the companion of its record, digest {digest}", actual)
    return companion


def _read(path: Path, handle: BinaryIO) -> Companion:
    file = pq.ParquetFile(handle)
    schema = file.schema_arrow
    _check_columns(path, schema)
    if file.metadata.num_rows > _MOST_ROWS:
        raise _broken(path, f"at most {_MOST_ROWS} rows", str(file.metadata.num_rows))
    text = (schema.metadata or {}).get(_CONDITIONS_KEY, b"")
    try:
        order = TypeAdapter(dict[str, _Order]).validate_json(text)
    except ValidationError as error:
        expected = "metadata that list the conditions of each dataset"
        raise _broken(path, expected, repr(text[:80])) from error
    table = _unpacked(path, handle, file)
    datasets = {}
    for name, own in order.items():
        rows = table.filter(pc.equal(table.column("dataset"), name))
        datasets[name] = _rows_of(f"{path}: dataset {name[:80]}", rows, own)
    n_read = sum(len(rows.source_ids) for rows in datasets.values())
    if n_read != table.num_rows:
        raise _broken(
            path, "rows of the datasets that its metadata list", f"{table.num_rows - n_read} others"
        )
    return Companion(datasets)


def _unpacked(path: Path, handle: BinaryIO, file: pq.ParquetFile) -> pa.Table:
    """Return the rows, once it is known that they fit into memory."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    size = sum(group.total_byte_size for group in groups)
    schema = file.schema_arrow
    texts = [name for name in schema.names if name.startswith(_GROUP) or name in _TEXTS]
    table = None
    if values <= _MOST_VALUES and size <= _LARGEST:
        table = pq.ParquetFile(handle, read_dictionary=texts).read().combine_chunks()
        table.validate(full=True)
        size = sum(map(_size_of_texts, table.select(texts).columns))
    if table is None or size > _LARGEST:
        raise _broken(path, f"at most {_LARGEST} bytes and {_MOST_VALUES} values", f"{size} and {values}")
    return table.cast(schema)


def _size_of_texts(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column of texts, each kept once, when each row has its own."""
    sizes = 0
    for chunk in column.chunks:
        lengths = pc.fill_null(pc.binary_length(chunk.dictionary), 0)
        sizes += pc.sum(pc.take(lengths.cast(pa.int64()), chunk.indices)).as_py() or 0
    return sizes


def _check_columns(path: Path, schema: pa.Schema) -> None:
    types = dict(zip(schema.names, schema.types, strict=True))
    expected = dict(_TYPES)
    expected |= {name: pa.float32() for name in types if name.startswith(_SCORE)}
    expected |= {name: pa.string() for name in types if name.startswith(_GROUP)}
    if types != expected or len(types) < len(schema.names):
        odd = sorted(name for name in {*types, *expected} if types.get(name) != expected.get(name))
        name = odd[0] if odd else "repeated"
        raise _broken(
            path, f"column {name[:80]!r}: {expected.get(name, 'none')}", str(types.get(name, "none"))
        )


def _rows_of(where: str, table: pa.Table, order: _Order) -> CompanionRows:
    ids = table.column("source_id")
    if not len(ids) or ids.null_count or len(pc.unique(ids)) < len(ids):
        raise _broken(where, "one row or more, each of another source_id", f"{len(ids)} rows")
    rows = CompanionRows(source_ids=ids.to_pylist())
    if len(set(order.correct)) < len(order.correct) or len(set(order.flips)) < len(order.flips):
        raise _broken(where, "metadata that list each condition once", "one of them twice")
    if order.correct:
        width = (len(order.correct) + 7) // 8
        column = table.column("correct")
        if column.null_count or not pc.all(pc.equal(pc.binary_length(column), width)).as_py():
            raise _broken(where, f"{len(order.correct)} bits a row in column correct", "others")
        packed = np.frombuffer(b"".join(column.to_pylist()), dtype=np.uint8).reshape(-1, width)
        bits = np.unpackbits(packed, axis=1, bitorder="little").astype(np.bool_)
        rows.correct = {path: bits[:, i] for i, path in enumerate(order.correct)}
    if order.flips:
        column, width = table.column("flips"), len(order.flips)
        counts = pc.list_flatten(column)
        lengths = pc.equal(pc.list_value_length(column), width)
        if column.null_count or counts.null_count or not pc.all(lengths).as_py():
            raise _broken(where, f"{width} counts a row in column flips", "others")
        by_clip = counts.to_numpy().reshape(-1, width)
        rows.flips = {path: by_clip[:, i] for i, path in enumerate(order.flips)}
    kept = {name: column for name in table.column_names if (column := _whole(where, table, name)) is not None}
    rows.predicted = kept["predicted"].to_numpy() if "predicted" in kept else None
    rows.confidence = kept["confidence"].to_numpy() if "confidence" in kept else None
    for name, column in kept.items():
        if name.startswith(_SCORE):
            rows.scores[name.removeprefix(_SCORE)] = column.to_numpy()
        elif name.startswith(_GROUP):
            rows.columns[name.removeprefix(_GROUP)] = column.to_pylist()
    return rows


def _whole(where: str, table: pa.Table, name: str) -> pa.ChunkedArray | None:
    """Return a column that a dataset has in all its rows; None for one that it has in none."""
    column: pa.ChunkedArray = table.column(name)
    if column.null_count == len(column):
        return None
    if column.null_count and name not in ("correct", "flips"):
        raise _broken(where, f"column {name[:80]} in every row or in none", f"{column.null_count} empty")
    return column


def _broken(where: Path | str, expected: str, found: str) -> FileFormatError:
    return FileFormatError(
        f"{where} is no companion that can be read",
        expected=expected,
        found=found,
        fix="make it anew with `rbs score` or `rbs rescore`",
    )


def _part(name: str, rows: CompanionRows, detectors: list[str], groups: list[str]) -> pa.Table:
    n = len(rows.source_ids)
    columns: dict[str, pa.Array] = {
        "dataset": pa.array([name] * n, pa.string()),
        "source_id": pa.array(rows.source_ids, pa.string()),
        "correct": pa.nulls(n, pa.binary()),
        "flips": pa.nulls(n, pa.list_(pa.uint8())),
        "predicted": pa.array(rows.predicted) if rows.predicted is not None else pa.nulls(n, pa.int32()),
        "confidence": pa.array(rows.confidence) if rows.confidence is not None else pa.nulls(n, pa.float32()),
    }
    if rows.correct:
        bits = np.packbits(np.stack(list(rows.correct.values()), axis=1), axis=1, bitorder="little")
        columns["correct"] = pa.array([row.tobytes() for row in bits], pa.binary())
    if rows.flips:
        counts = np.stack(list(rows.flips.values()), axis=1)
        columns["flips"] = pa.array(counts.tolist(), pa.list_(pa.uint8()))
    for detector in detectors:
        scores = rows.scores.get(detector)
        columns[f"{_SCORE}{detector}"] = pa.array(scores) if scores is not None else pa.nulls(n, pa.float32())
    for column in groups:
        values = rows.columns.get(column)
        columns[f"{_GROUP}{column}"] = pa.array(values) if values is not None else pa.nulls(n, pa.string())
    return pa.table(columns)


def _columns_digests(rows: CompanionRows) -> dict[str, str]:
    return {name: _digest("\n".join(values).encode()) for name, values in rows.columns.items()}


def _little(values: NDArray[np.int32] | NDArray[np.float32]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
