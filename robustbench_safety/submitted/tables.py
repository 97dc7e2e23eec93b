"""A table of predictions, read by the condition: never whole, as ImageNet-C has 3.75 million rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.submitted.columns import TEXTS, Plan, Values, check_types, plan_of, texts, values_of
from robustbench_safety.submitted.conversion import csv_to_parquet, npz_to_parquet
from robustbench_safety.submitted.request import ENDINGS

__all__ = ["Rows", "Table", "opened_table"]

#: ImageNet-P has 15.5 million frames.
_MOST_ROWS = 100_000_000
_MOST_CONDITIONS = 10_000
#: Numbers in memory at a time: 32 MB.
_NUMBERS_TOGETHER = 4 * 2**20
_ROWS_TOGETHER = 65_536


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows of one condition, in the file's order."""

    sample_ids: pa.Array
    """Texts [n]."""
    frames: NDArray[np.int64] | None
    """[n], None where the table has no such column."""
    labels: pa.Array | None
    """Class keys [n], "" for none; None where the table has no such column."""
    values: Values | None
    """As ``columns.values_of`` gives them; None where the keys alone were asked for."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One Parquet file."""

    where: str
    """The file that was handed in."""
    file: pq.ParquetFile
    plan: Plan
    condition: str | None
    """Of all its rows, where its path says it."""
    groups: dict[str | None, list[int]] = field(default_factory=dict)
    """By condition, row groups that have rows of it."""


class Table:
    """All that was handed in.

    Attributes:
        content: Of the values, which all files share.
        conditions: Paths of the conditions it holds; None for rows that name none.
    """

    def __init__(self, where: Path, parts: Sequence[_Part]) -> None:
        self._where, self._parts = where, parts
        self.content = parts[0].plan.content
        for part in parts:
            if part.plan.content != self.content:
                raise FileFormatError(
                    f"{part.where} does not hold what {parts[0].where} holds",
                    expected=self.content,
                    found=part.plan.content,
                )
        self.conditions: list[str | None] = list(dict.fromkeys(c for part in parts for c in part.groups))

    def where(self, condition: str | None) -> str:
        """Return the name of the file that a condition is in; for errors."""
        return next((part.where for part in self._parts if condition in part.groups), str(self._where))

    def has_labels(self, condition: str | None) -> bool:
        """Tell whether there is a column of labels for a condition."""
        return all("label" in part.plan.keys for part in self._parts if condition in part.groups)

    def rows(self, condition: str | None, *, keys_alone: bool = False) -> Iterator[Rows]:
        """Yield the rows of one condition.

        Raises:
            DataError: A value is not what it should be.
            FileFormatError: The file is damaged.
        """
        for part in self._parts:
            for group in part.groups.get(condition, ()):
                yield from _rows(part, group, condition, keys_alone=keys_alone)


@contextmanager
def opened_table(path: Path, classes: tuple[str, ...], needed: Sequence[str]) -> Iterator[Table]:
    """Give a table whose columns and conditions are known; CSV and npz are first written as Parquet, aside.

    Args:
        path: A file; or a folder with one file a condition.
        classes: Of the label space.
        needed: Paths of the conditions that will be read: no other file of a folder is opened.

    Raises:
        FileFormatError: It does not hold what it should.
        DataError: A folder holds none of the conditions.
    """
    with ExitStack() as stack, TemporaryDirectory(prefix="rbs-") as folder:
        found: list[tuple[Path, str | None]] = [(path, None)]
        if path.is_dir():
            found = _files(path, needed)
        parts = []
        for number, (file, condition) in enumerate(found):
            plain = _as_parquet(file, classes, Path(folder) / f"{number}.parquet")
            parts.append(_part(stack, file, plain, classes, condition))
        yield Table(path, parts)


def _files(folder: Path, needed: Sequence[str]) -> list[tuple[Path, str | None]]:
    found: list[tuple[Path, str | None]] = []
    for condition in needed:
        there = [file for ending in ENDINGS if (file := folder / f"{condition}{ending}").is_file()]
        if len(there) > 1:
            raise DataError(f"{folder} holds {condition} twice", found=", ".join(f.name for f in there))
        found += [(file, condition) for file in there]
    if not found:
        raise DataError(
            f"{folder} holds no condition of the suite",
            expected=f"{needed[0]}.parquet, .csv or .npz" if needed else "",
        )
    return found


def _as_parquet(file: Path, classes: tuple[str, ...], aside: Path) -> Path:
    if file.suffix == ".csv":
        csv_to_parquet(file, aside, classes)
        return aside
    if file.suffix == ".npz":
        npz_to_parquet(file, aside, classes)
        return aside
    return file


def _part(
    stack: ExitStack, file: Path, plain: Path, classes: tuple[str, ...], condition: str | None
) -> _Part:
    where = str(file)
    with _damage_named(where):
        with pq.ParquetFile(plain) as file_itself:
            schema, metadata = file_itself.schema_arrow, file_itself.metadata
        plan = plan_of(where, schema.names, classes)
        check_types(where, schema, plan)
        if condition is not None and "condition" in plan.keys:
            raise FileFormatError(
                f"{where}: column condition is unknown here", expected="the path of the file to say it"
            )
        if not 0 < metadata.num_rows <= _MOST_ROWS:
            raise FileFormatError(
                f"{where} has no usable number of rows",
                expected=f"1 to {_MOST_ROWS}",
                found=str(metadata.num_rows),
            )
        _check_widths(where, metadata, plan)
        # A text that stands in a million rows is held once.
        held = [name for name in TEXTS if name in (*plan.keys, *plan.columns)]
        opened = stack.enter_context(
            pq.ParquetFile(plain, pre_buffer=False, buffer_size=2**20, read_dictionary=held)
        )
        part = _Part(where=where, file=opened, plan=plan, condition=condition)
        for group in range(metadata.num_row_groups):
            for name in _conditions(part, group):
                part.groups.setdefault(name, []).append(group)
    if len(part.groups) > _MOST_CONDITIONS:
        raise FileFormatError(
            f"{where} has {len(part.groups)} conditions", expected=f"at most {_MOST_CONDITIONS}"
        )
    return part


def _check_widths(where: str, metadata: pq.FileMetaData, plan: Plan) -> None:
    """Refuse lists of another length before they are read: they could be of any."""
    if plan.wide or plan.content == "top1":
        return
    k = len(plan.classes)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for i in range(group.num_columns):
            column = group.column(i)
            inside = column.path_in_schema.startswith(f"{plan.content}.")
            if inside and column.num_values != k * group.num_rows:
                raise FileFormatError(
                    f"{where}: the lists of {plan.content} have another length than there are classes",
                    expected=f"{k} numbers in each of {group.num_rows} rows",
                    found=f"{column.num_values} numbers",
                    fix="hand in every class of the label space, in its order, or declare the right one",
                )


def _conditions(part: _Part, group: int) -> list[str | None]:
    if "condition" not in part.plan.keys:
        return [part.condition]
    found: dict[str | None, None] = {}
    for batch in part.file.iter_batches(_ROWS_TOGETHER, row_groups=[group], columns=["condition"]):
        names = texts(part.where, "condition", batch.column("condition"))
        found |= dict.fromkeys(pc.unique(names).to_pylist())
    return list(found)


def _rows(part: _Part, group: int, condition: str | None, *, keys_alone: bool) -> Iterator[Rows]:
    plan, where = part.plan, part.where
    columns = [*plan.keys, *(() if keys_alone else plan.columns)]
    width = 1 if keys_alone or plan.content == "top1" else len(plan.classes)
    together = max(1, min(_ROWS_TOGETHER, _NUMBERS_TOGETHER // width))
    with _damage_named(where):
        for batch in part.file.iter_batches(together, row_groups=[group], columns=columns):
            if "condition" in plan.keys:
                names = texts(where, "condition", batch.column("condition"))
                batch = batch.filter(pc.equal(names, condition))
            if not batch.num_rows:
                continue
            sample_ids = texts(where, "sample_id", batch.column("sample_id"))
            frames = labels = None
            if "frame" in plan.keys:
                frames = _frames(where, batch.column("frame"))
            if "label" in plan.keys:
                labels = texts(where, "label", batch.column("label"))
            values = None if keys_alone else values_of(where, batch, plan, sample_ids)
            yield Rows(sample_ids=sample_ids, frames=frames, labels=labels, values=values)


def _frames(where: str, column: pa.Array) -> NDArray[np.int64]:
    if column.null_count:
        raise FileFormatError(f"{where}: column frame has {column.null_count} empty rows")
    frames: NDArray[np.int64] = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return frames


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Turn what the library says of a damaged file into our error."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise FileFormatError(
            f"{where} cannot be read as Parquet",
            found=" ".join(str(error).split())[:300],
            fix="write it again",
        ) from error
