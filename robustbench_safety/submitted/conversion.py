"""CSV and npz files as Parquet, so that one reader serves all: read in parts, written in row groups.

Limits: a row of a CSV has at most 16 MiB; the arrays of an npz, which are in memory at once, have 2 GiB in
all. What is larger is handed in as Parquet.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustbench_safety.errors import FileFormatError
from robustbench_safety.files import reads
from robustbench_safety.submitted.columns import TEXTS, WHOLE_NUMBERS, Plan, plan_of

__all__ = ["csv_to_parquet", "npz_to_parquet"]

_LARGEST_ROW = 16 * 2**20
_LARGEST_ARRAYS = 2 * 2**30
#: A header of an array; published ones have 128 bytes.
_LARGEST_HEADER = 10_000
_ROWS_TOGETHER = 16_384


def csv_to_parquet(path: Path, out: Path, classes: tuple[str, ...]) -> None:
    """Write a CSV file as Parquet. Texts stay as they are written: ``00012`` is no number.

    Raises:
        FileFormatError: It is no such table: ragged, a row too long, a number that is none.
    """
    where = str(path)
    with reads(path), path.open("rb") as handle:
        head = handle.read(_LARGEST_ROW)
    first = head.splitlines()[0] if head else b""
    with _refused(where, "CSV"):
        names = pacsv.read_csv(pa.BufferReader(first + b"\n")).column_names if first else []
    plan = plan_of(where, names, classes)
    types: dict[str, pa.DataType] = dict.fromkeys(plan.columns, pa.float64())
    types |= {name: pa.string() for name in TEXTS} | {name: pa.int64() for name in WHOLE_NUMBERS}
    convert = pacsv.ConvertOptions(
        column_types={name: kind for name, kind in types.items() if name in names},
        include_columns=[*plan.keys, *plan.columns],
        null_values=[],
        strings_can_be_null=False,
    )
    if plan.content != "top1" and not plan.wide:
        raise FileFormatError(
            f"{where}: a CSV has no lists",
            expected=f"{plan.content}_{classes[0]} and so on, a column for each class",
            found=f"column {plan.content}",
        )
    with _refused(where, "CSV"):
        reader = pacsv.open_csv(
            path, read_options=pacsv.ReadOptions(block_size=_LARGEST_ROW), convert_options=convert
        )
        with reader, pq.ParquetWriter(out, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)


def npz_to_parquet(path: Path, out: Path, classes: tuple[str, ...]) -> None:
    """Write an npz file as Parquet; nothing is unpickled, and what it says of its sizes is checked first.

    Raises:
        FileFormatError: It holds Python objects, arrays of other shapes, or more than the limits.
    """
    where = str(path)
    with _refused(where, "npz"), zipfile.ZipFile(path) as archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        plan = plan_of(where, [info.filename.removesuffix(".npy") for info in archive.infolist()], classes)
        wanted = (*plan.keys, *plan.columns)
        _check_sizes(where, archive, [entries[name] for name in wanted])
        columns: dict[str, pa.Array] = {}
        for name in wanted:
            with archive.open(entries[name]) as handle:
                array = np.lib.format.read_array(handle, allow_pickle=False)
            columns[name] = _column(where, name, array, plan)
        rows = {len(column) for column in columns.values()}
        if len(rows) > 1:
            raise FileFormatError(
                f"{where}: the arrays have different lengths",
                found=", ".join(f"{name} {len(column)}" for name, column in columns.items()),
            )
        pq.write_table(pa.table(columns), out, compression="zstd", row_group_size=_ROWS_TOGETHER)


def _check_sizes(where: str, archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse arrays that are too large or lie about it: numpy makes room for whatever a header claims."""
    total = 0
    for info in entries:
        with archive.open(info) as handle:
            version = np.lib.format.read_magic(handle)
            older = version == (1, 0)
            read = np.lib.format.read_array_header_1_0 if older else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(handle, max_header_size=_LARGEST_HEADER)
        # Of a type without width a header of 100 bytes can claim any number of values.
        if dtype.hasobject or dtype.kind not in "Ufiu" or not dtype.itemsize:
            raise FileFormatError(
                f"{where}: array {info.filename} is of type {dtype}", expected="texts (U) or numbers"
            )
        if not all(type(side) is int and 0 <= side <= _LARGEST_ARRAYS for side in shape):
            raise FileFormatError(f"{where}: array {info.filename} has no shape", found=f"{shape}"[:100])
        claimed = math.prod(shape) * dtype.itemsize
        if not claimed <= info.file_size <= claimed + 2 * _LARGEST_HEADER:
            raise FileFormatError(
                f"{where}: array {info.filename} is not as large as it says",
                expected=f"{claimed} bytes and a header",
                found=str(info.file_size),
                fix="write it again",
            )
        total += claimed
    if total > _LARGEST_ARRAYS:
        raise FileFormatError(
            f"{where} is too large",
            expected=f"at most {_LARGEST_ARRAYS} bytes of arrays",
            found=str(total),
            fix="hand in a Parquet file",
        )


def _column(where: str, name: str, array: NDArray[np.generic], plan: Plan) -> pa.Array:
    whole = name in plan.columns and plan.content != "top1" and not plan.wide
    if array.ndim != (2 if whole else 1):
        raise FileFormatError(
            f"{where}: array {name} has the wrong shape",
            expected=f"[N, {len(plan.classes)}]" if whole else "[N]",
            found=str(list(array.shape)),
        )
    if not whole:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


@contextmanager
def _refused(where: str, kind: str) -> Iterator[None]:
    try:
        yield
    # zipfile raises RuntimeError for what is encrypted, NotImplementedError for a method it does not know;
    # numpy evaluates a header, which raises MemoryError where it nests too deep.
    except (
        OSError, ValueError, EOFError, RuntimeError, MemoryError, TypeError, zipfile.BadZipFile, zlib.error,
        lzma.LZMAError, struct.error,
    ) as error:  # fmt: skip
        raise FileFormatError(
            f"{where} cannot be read as {kind}",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            fix="write it again",
        ) from error
