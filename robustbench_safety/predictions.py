"""Stored predictions: one Parquet file for each (model, condition), written once, whole and atomically.

The metadata of a file hold a header, which says what the predictions were made from, and a digest over them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustbench_safety.errors import (
    DataError,
    FileFormatError,
    IncompatiblePredictionsError,
    UndefinedMetricError,
)
from robustbench_safety.files import atomic_path, digest_of
from robustbench_safety.labels import project_logits
from robustbench_safety.records import (
    AttackOutcome,
    Columns,
    PredictionsHeader,
)

__all__ = [
    "AttackOutcome",
    "Columns",
    "Predictions",
    "PredictionsHeader",
    "PredictionsWriter",
    "Values",
    "read_header",
    "read_predictions",
    "written",
]

Values = Mapping[str, NDArray[np.float32] | NDArray[np.int32]]
"""``logits`` [rows, K], or the columns of a summary, or of top-1 classes alone ``top_classes`` [rows, 1]."""

#: Key of the header in the metadata of the Parquet file.
_HEADER_KEY = b"robustbench_safety"
#: Rows kept in memory before they go to the file: at 1,000 classes 16 MB of logits.
_ROWS_IN_MEMORY = 4096


class PredictionsWriter:
    """Appends rows to one file; nothing of it is seen until :func:`written` has ended well."""

    def __init__(self, path: Path, *, frames: int) -> None:
        self._path, self._frames = path, frames
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[tuple[Sequence[str], NDArray[np.int64], Values]] = []
        self._n_waiting = 0
        self._hashers: dict[str, hashlib._Hash] = {}

    def append(self, sample_ids: Sequence[str], labels: NDArray[np.int64], values: Values) -> None:
        """Append the rows of whole samples: ``frames`` rows for each id."""
        # Batches are small: hashed and converted one by one they would cost as much as reading the images.
        self._waiting.append((sample_ids, labels, values))
        self._n_waiting += len(labels)
        if self._n_waiting >= _ROWS_IN_MEMORY:
            self._flush()

    def digest(self) -> str:
        """Return the digest over all columns appended so far; it does not depend on how they were cut."""
        self._flush()
        return digest_of({name: hasher.hexdigest() for name, hasher in self._hashers.items()})

    def finish(self, header: PredictionsHeader) -> None:
        """Write what is left and the header.

        Raises:
            DataError: No row was appended.
        """
        self._flush()
        if self._writer is None:
            raise DataError(f"{header.condition.path}: there is nothing to store", expected="one row or more")
        self._writer.add_key_value_metadata({_HEADER_KEY: header.model_dump_json()})
        self.close()

    def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _hash(self, column: str, content: bytes) -> None:
        self._hashers.setdefault(column, hashlib.sha256()).update(content)

    def _flush(self) -> None:
        if not self._waiting:
            return
        ids = [name for names, _, _ in self._waiting for name in names]
        plain: dict[str, NDArray[np.generic]] = {}
        if self._frames > 1:
            plain["frame"] = np.tile(np.arange(self._frames, dtype=np.int16), len(ids))
        plain["label"] = np.concatenate([labels for _, labels, _ in self._waiting]).astype(np.int32)
        for name in self._waiting[0][2]:
            plain[name] = np.concatenate([values[name] for _, _, values in self._waiting])
        self._waiting, self._n_waiting = [], 0
        self._hash("sample_id", _id_bytes(ids))
        repeated = np.repeat(np.asarray(ids, dtype=object), self._frames)
        columns: dict[str, pa.Array] = {"sample_id": pa.array(repeated, pa.string())}
        for name, array in plain.items():
            self._hash(name, _column_bytes(array))
            columns[name] = _to_arrow(array)
        table = pa.table(columns)
        if self._writer is None:
            # Logits hardly repeat: a dictionary of them costs time and gains nothing.
            repeating = [name for name in table.column_names if name in ("sample_id", "label", "frame")]
            self._writer = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", compression_level=1, use_dictionary=repeating
            )
        self._writer.write_table(table)


@contextmanager
def written(path: Path, *, frames: int) -> Iterator[PredictionsWriter]:
    """Give a writer whose file appears at ``path`` when the block ends well, and otherwise not at all."""
    with atomic_path(path) as temporary:
        writer = PredictionsWriter(temporary, frames=frames)
        try:
            yield writer
        except BaseException:
            # The file goes away; that a full disk cannot take its end either must not hide what went wrong.
            with suppress(OSError):
                writer.close()
            raise
        writer.close()


def _id_bytes(sample_ids: Sequence[str]) -> bytes:
    """Return what the digest covers of the sample ids."""
    return "".join(f"{name}\n" for name in sample_ids).encode()


def _column_bytes(array: NDArray[np.generic]) -> bytes:
    """Return what the digest covers of any other column: its values row by row, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _to_arrow(array: NDArray[np.generic]) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of one model on one condition, rows in manifest order (and frame order)."""

    header: PredictionsHeader
    sample_ids: list[str]
    """Of each sample, not each row: n."""
    labels: NDArray[np.int64]
    """Of each row; -1 for out-of-distribution images: [n * frames]."""
    values: Values
    """``logits`` [rows, K], or the columns of a summary."""

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Class of the largest logit, of equal ones the lowest index: [rows]."""
        if "logits" in self.values:
            return np.asarray(self.values["logits"].argmax(axis=1), dtype=np.int64)
        return np.asarray(self.values["top_classes"][:, 0], dtype=np.int64)

    @cached_property
    def correct(self) -> NDArray[np.float64]:
        """1 where right, else 0: [rows]."""
        return np.asarray(self.predicted == self.labels, dtype=np.float64)

    def logits(
        self, *, rows: NDArray[np.bool_] | None = None, columns: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return the logits [rows, K]; only the ``rows`` and ``columns`` asked for, where they are named.

        Raises:
            IncompatiblePredictionsError: Only a summary was stored.
            UndefinedMetricError: Only top-1 classes were handed in.
        """
        if self.header.columns == "top1":
            raise UndefinedMetricError("only top-1 classes were handed in")
        if "logits" not in self.values:
            raise IncompatiblePredictionsError(
                f"{self.header.condition.path}: only a summary of the logits was stored",
                expected="logits",
                found="summary",
                fix="choose a metric that a summary can give",
            )
        found = np.asarray(self.values["logits"], dtype=np.float32)
        # Cut before the conversion: the logits of ImageNet's validation set have 400 MB in float64.
        found = found if rows is None else found[rows]
        found = found if columns is None else project_logits(found, columns)
        return found.astype(np.float64)


def read_header(path: Path) -> PredictionsHeader:
    """Return the header of a file of predictions.

    Raises:
        FileFormatError: It is no such file.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _not_predictions(path, str(error)) from error
    if _HEADER_KEY not in metadata:
        raise _not_predictions(path, "a Parquet file without our header")
    try:
        return PredictionsHeader.model_validate_json(metadata[_HEADER_KEY])
    except ValueError as error:
        raise _not_predictions(path, "a header of another version") from error


def read_predictions(path: Path) -> Predictions:
    """Read one file of predictions and check it against the digest in its header.

    Raises:
        FileFormatError: It is no such file, or its content was changed.
    """
    header = read_header(path)
    try:
        # Not pq.read_table: it takes a folder called "a=b" above the file for a column of it.
        with pq.ParquetFile(path) as file:
            table = file.read()
        rows: list[str] = table.column("sample_id").to_pylist()
        arrays = {name: _to_numpy(table.column(name)) for name in table.column_names if name != "sample_id"}
        ids = rows[:: header.frames]
        digests = {name: hashlib.sha256(_column_bytes(array)).hexdigest() for name, array in arrays.items()}
        digests["sample_id"] = hashlib.sha256(_id_bytes(ids)).hexdigest()
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise _not_predictions(path, str(error)) from error
    found = digest_of(digests)
    if found != header.predictions_digest:
        raise FileFormatError(
            f"{path}: the predictions are not those that were written",
            expected=f"digest {header.predictions_digest}",
            found=found,
            fix="remove the file and predict again",
        )
    if (len(ids), len(rows)) != (header.n, header.n * header.frames):
        raise _not_predictions(path, f"{len(rows)} rows, where the header says {header.n} x {header.frames}")
    # The digest has told that these are the columns that were written, and of the types they had.
    labels = arrays.pop("label").astype(np.int64)
    arrays.pop("frame", None)
    return Predictions(header=header, sample_ids=ids, labels=labels, values=cast(Values, arrays))


def _to_numpy(column: pa.ChunkedArray) -> NDArray[np.generic]:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # an empty or still chunked column, depending on the version
        whole = pa.concat_arrays(whole.chunks)
    if pa.types.is_fixed_size_list(whole.type):
        flat = whole.flatten().to_numpy(zero_copy_only=False)
        width: int = whole.type.list_size
        out: NDArray[np.generic] = flat.reshape(-1, width)
        return out
    plain: NDArray[np.generic] = whole.to_numpy(zero_copy_only=False)
    return plain


def _not_predictions(path: Path, found: str) -> FileFormatError:
    return FileFormatError(
        f"{path} is not a file of predictions",
        found=" ".join(found.split()),
        fix="remove it and predict again",
    )
