"""Parquet files with a column of encoded images, as the Hugging Face hub stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustbench_safety.data.base import FileReader, Indices, Place, Stored, array_ids, check_count
from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.readers.columns import (
    check_columns,
    check_groups,
    check_picture_type,
    check_unique,
    class_numbers,
    label_column,
    label_names,
    picture_bytes,
    stand_class_by_class,
    text_ids,
)
from robustbench_safety.data.readers.places import globbed
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.records import ParquetLayout

__all__ = ["ParquetReader"]

#: Bytes of pictures in memory at a time. The hub writes 100 rows to a group, 11 MB of ImageNet; other writers
#: put a million rows into one. What cannot be had in parts is a page: pyarrow writes up to 1,024 rows to one,
#: and 1 GB of 250 kB pictures in one row group took 0.8 GB to read for that reason.
_BATCH_BYTES = 32 * 2**20
#: And rows: pictures that are all alike take next to nothing in a file.
_BATCH_ROWS = 256
_NO_CELLS = pa.array([], pa.null())


class ParquetReader(FileReader):
    """Rows of all files, one after another; the pictures of a few rows are in memory at a time."""

    def __init__(self, place: Place, layout: ParquetLayout) -> None:
        self._paths = globbed(place, layout.files)
        files = [_listed(path, place, layout) for path in self._paths]
        n = sum(file.rows for file in files)
        check_count(place.folder, place.manifest, n)
        self._starts = np.cumsum([0, *(file.rows for file in files)])
        self._pictures = _Pictures(layout.image, [group for file in files for group in file.groups])
        self.sample_ids = [sample_id for file in files for sample_id in file.sample_ids]
        if layout.sample_id is None:
            self.sample_ids = array_ids(n)
        check_unique(place.folder, self.sample_ids)
        self._groups = np.concatenate([file.labels for file in files])
        if label_column(place, layout.label, layout.labels) is None:
            self.labels = np.full(n, -1, dtype=np.int64)
        else:
            self.labels = check_groups(place.folder, place, self._groups)
            self.class_sorted = stand_class_by_class(self._groups)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files; rows in ascending order are read once."""
        return [picture_bytes(self._row(i), self._pictures.cell(i)) for i in indices.tolist()]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged picture is named by file and row."""
        return decode_image(stored, Path(self._row(index)))

    def files(self) -> Sequence[Path]:
        """Return the Parquet files."""
        return self._paths

    def _row(self, index: int) -> str:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self._paths[file]}, row {index - self._starts[file]}"


@dataclass(frozen=True, kw_only=True)
class _RowGroup:
    path: Path
    number: int
    rows: int
    batch: int
    """Rows to read at a time."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """What is known of a file without its pictures."""

    rows: int
    labels: NDArray[np.int64]
    """Class indices [N], or zeros where none are read."""
    sample_ids: list[str]
    """Empty where no column holds any."""
    groups: list[_RowGroup]


def _listed(path: Path, place: Place, layout: ParquetLayout) -> _File:
    """Return the labels, ids and row groups of one file; pictures are not read."""
    label = label_column(place, layout.label, layout.labels)
    wanted = [name for name in (label, layout.sample_id) if name is not None]
    with _damage_named(path), _opened(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        check_columns(path, schema.names, [layout.image, *wanted])
        check_picture_type(path, layout.image, schema.field(layout.image).type)
        table = file.read(columns=wanted) if wanted else None
        groups = [
            _row_group(path, number, metadata.row_group(number), layout.image)
            for number in range(metadata.num_row_groups)
        ]
    rows = sum(group.rows for group in groups)
    labels, sample_ids = np.zeros(rows, dtype=np.int64), []
    if label is not None and table is not None:
        names = label_names(path, schema.metadata, label)
        labels = class_numbers(path, place, layout.labels, table.column(label), names)
    if layout.sample_id is not None and table is not None:
        sample_ids = text_ids(path, layout.sample_id, table.column(layout.sample_id))
    return _File(rows=rows, labels=labels, sample_ids=sample_ids, groups=groups)


def _row_group(path: Path, number: int, stated: pq.RowGroupMetaData, image: str) -> _RowGroup:
    columns = [stated.column(i) for i in range(stated.num_columns)]
    size = sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema == image or column.path_in_schema.startswith(f"{image}.")
    )
    fitting = _BATCH_BYTES * stated.num_rows // max(size, 1)
    batch = max(1, min(_BATCH_ROWS, fitting))
    return _RowGroup(path=path, number=number, rows=stated.num_rows, batch=batch)


class _Pictures:
    """The image column of all files, of which one batch of rows is in memory.

    Args:
        column: Its name.
        groups: Row groups of all files, in order.
    """

    def __init__(self, column: str, groups: Sequence[_RowGroup]) -> None:
        self._column, self._groups = column, groups
        self._starts = np.cumsum([0, *(group.rows for group in groups)])
        self._group = -1
        self._batches: Iterator[pa.Array] = iter(())
        self._first, self._cells = 0, _NO_CELLS
        self._file: tuple[Path, pq.ParquetFile] | None = None

    def cell(self, row: int) -> object:
        """Return one cell; going back reads a row group anew."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._first:
            self._cells, self._first = _NO_CELLS, int(self._starts[group])
            self._batches = self._read(self._groups[group])
        while row >= self._first + len(self._cells):
            self._first += len(self._cells)
            # Lets go of the batch before the next one is made; after an error the row group is read anew.
            self._cells, self._group = _NO_CELLS, -1
            self._cells = self._next(self._groups[group].path)
            self._group = group
        return self._cells[row - self._first].as_py()

    def _next(self, path: Path) -> pa.Array:
        with _damage_named(path):
            cells = next(self._batches, None)
        if cells is None:
            raise _damaged(path, "it has fewer rows than it states")
        return cells

    def _read(self, group: _RowGroup) -> Iterator[pa.Array]:
        if self._file is None or self._file[0] != group.path:
            if self._file is not None:
                self._file[1].close(force=True)
            self._file = (group.path, _opened(group.path))
        batches = self._file[1].iter_batches(
            batch_size=group.batch, row_groups=[group.number], columns=[self._column], use_threads=False
        )
        for batch in batches:
            yield batch.column(0)


def _opened(path: Path) -> pq.ParquetFile:
    """Open a file; neither its name nor its folders' are read as columns or addresses.

    Column chunks are read through a buffer, and not ahead: one may be as large as the file.
    """
    return pq.ParquetFile(pa.OSFile(str(path), "rb"), pre_buffer=False, buffer_size=2**20)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Run a block that reads ``path``.

    Raises:
        StorageError: The system refuses.
        DataError: The file is damaged.
    """
    try:
        yield
    # Arrow says of a damaged file what it says of a damaged disk; but the system's errors are numbered.
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageError(
                f"{path} cannot be read", found=str(error), fix="check that it exists and may be read"
            ) from error
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is no whole Parquet file", found=found[:500], fix="take the published copy again"
    )
