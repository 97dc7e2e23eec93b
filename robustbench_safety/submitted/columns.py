"""Which columns a table of predictions has, what they mean, and their values, checked.

A name says what a column is; nothing is guessed from the values.

    sample_id                   text, as the data set names its samples
    condition                   text, our path of a condition; may be left out where a suite needs one alone
    frame                       whole number from 0, in clips
    label                       text, class key of the data set ("" or null for none); may be left out
    logits or probabilities     list of K numbers, in the label space's order
    logits_<class key> ...      or one column for each class, in any order; probabilities likewise
    top1                        text, class key; or top1_index, whole number
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from robustbench_safety.errors import DataError, FileFormatError, UnknownNameError

__all__ = [
    "TEXTS",
    "WHOLE_NUMBERS",
    "Content",
    "Plan",
    "Values",
    "check_types",
    "plan_of",
    "texts",
    "values_of",
]

Content = Literal["logits", "probabilities", "top1"]
Values = NDArray[np.float32] | NDArray[np.int32]

TEXTS = ("sample_id", "condition", "label", "top1")
WHOLE_NUMBERS = ("frame", "top1_index")
_KEYS = ("sample_id", "condition", "frame", "label")
#: What pandas writes of its own accord.
_IGNORED = ("__index_level_0__",)
#: Bytes of an id, a path or a class key.
_LONGEST_TEXT = 1024
#: By which the probabilities of a row may miss 1.
_SUM_TOLERANCE = 1e-3
#: Rows, each of which sums to 1.
_TOO_MANY_TO_BE_CHANCE = 8
#: Named in an error.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The columns of one table."""

    content: Content
    columns: tuple[str, ...]
    """Of the values: one, or one for each class in the label space's order."""
    keys: tuple[str, ...]
    """Those of ``sample_id``, ``condition``, ``frame`` and ``label`` that are there."""
    classes: tuple[str, ...]
    """Of the label space."""

    @property
    def wide(self) -> bool:
        """Whether there is one column for each class."""
        return self.content != "top1" and self.columns != (self.content,)


def plan_of(where: str, names: Sequence[str], classes: tuple[str, ...]) -> Plan:
    """Return what the columns of a table are.

    Args:
        where: The file; for errors.
        names: Of its columns.
        classes: Of the label space.

    Raises:
        FileFormatError: A column is missing, repeated or unknown, or there are two kinds of content.
    """
    names = [name for name in names if name not in _IGNORED]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise FileFormatError(f"{where}: column {repeated[0][:80]!r} stands there twice")
    if "sample_id" not in names:
        raise FileFormatError(
            f"{where}: column sample_id is missing", found=f"columns {_some(names)}", fix="add it"
        )
    found = {name: part for name in names if (part := _part(name)) is not None}
    parts = sorted(set(found.values()))
    if len(parts) != 1:
        raise FileFormatError(
            f"{where} must hold one kind of predictions",
            expected="logits, probabilities, top1 or top1_index, as one column or as logits_<class> ...",
            found=" and ".join(parts) or f"columns {_some(names)}",
            fix="name the columns after what they hold",
        )
    if unknown := [name for name in names if name not in _KEYS and name not in found]:
        near = UnknownNameError.among("column", unknown[0][:80], (*_KEYS, *parts)).expected
        raise FileFormatError(
            f"{where}: column {unknown[0][:80]!r} is unknown", expected=near, fix="rename or remove it"
        )
    (part,) = parts
    content: Content = "probabilities" if part == "probabilities" else "logits"
    if part.startswith("top1"):
        content = "top1"
    columns = (part,) if part in found else _wide(where, part, tuple(found), classes)
    if part in found and len(found) > 1:
        raise FileFormatError(f"{where} has column {part} and also {_some([n for n in found if n != part])}")
    keys = tuple(name for name in _KEYS if name in names)
    return Plan(content=content, columns=columns, keys=keys, classes=classes)


def check_types(where: str, schema: pa.Schema, plan: Plan) -> None:
    """Refuse columns of a type that cannot hold what they should; what holds Python objects is bytes.

    Raises:
        FileFormatError: One has another type.
    """
    for name in (*plan.keys, *plan.columns):
        kind = schema.field(name).type
        if name in TEXTS:
            right, expected = _is_text(kind), "text"
        elif name in WHOLE_NUMBERS:
            right, expected = pa.types.is_integer(kind), "whole numbers"
        elif plan.wide:
            right, expected = pa.types.is_floating(kind), "floating-point numbers"
        else:
            right, expected = _is_list(kind), "lists of floating-point numbers"
        if not right:
            raise FileFormatError(
                f"{where}: column {name} has the wrong type", expected=expected, found=str(kind)
            )


def texts(where: str, name: str, column: pa.Array) -> pa.Array:
    """Return a column of texts as strings, "" for null where it holds labels.

    Raises:
        FileFormatError: One is null, endless, or no text.
    """
    dictionary = column.dictionary if pa.types.is_dictionary(column.type) else column
    longest = pc.max(pc.binary_length(dictionary)).as_py() or 0
    if longest > _LONGEST_TEXT:
        raise FileFormatError(
            f"{where}: a {name} is too long", expected=f"at most {_LONGEST_TEXT} bytes", found=str(longest)
        )
    plain = column.cast(pa.string())
    try:
        plain.validate(full=True)  # Parquet readers take what is no UTF-8 for text
    except pa.ArrowInvalid as error:
        raise FileFormatError(
            f"{where}: column {name} holds what is no text", expected="UTF-8", found=str(error)[:200]
        ) from error
    if name == "label":
        return plain.fill_null("")
    if plain.null_count:
        raise FileFormatError(f"{where}: column {name} has {plain.null_count} empty rows")
    return plain


def values_of(where: str, batch: pa.RecordBatch, plan: Plan, sample_ids: pa.Array) -> Values:
    """Return the predictions of a batch of rows, checked.

    Returns:
        float32 logits [n, K]: those of probabilities are their logarithms, of one rounded to 0 that of the
        smallest normal float32; or int32 classes [n, 1].

    Raises:
        DataError: A value is missing or not finite, a row of probabilities is none, a class is unknown.
        FileFormatError: A row has another number of values than there are classes.
    """
    if plan.content == "top1":
        return _classes(where, batch.column(plan.columns[0]), plan)
    rows = _numbers(where, batch, plan)
    with np.errstate(over="ignore"):
        small = rows.astype(np.float32)
    broken = np.asarray(~np.isfinite(small).all(axis=1))
    _refuse(where, broken, sample_ids, "finite numbers", "NaN, infinity or nothing")
    wide = rows.astype(np.float64)
    if plan.content == "logits":
        # As of a network: what is declared to be logits, and is a distribution in every row, is not.
        one = np.abs(wide.sum(axis=1) - 1) < _SUM_TOLERANCE
        if len(wide) >= _TOO_MANY_TO_BE_CHANCE and bool(one.all()) and float(wide.min()) >= 0:
            raise DataError(
                f"{where}: the logits are probabilities",
                expected="logits, as the column says",
                found="rows of values from 0 to 1 that sum to 1",
                fix="call the column probabilities",
            )
        return small
    negative = np.asarray((wide < 0).any(axis=1))
    _refuse(where, negative, sample_ids, "probabilities of at least 0", "a negative one")
    sums = wide.sum(axis=1)
    wrong = np.asarray(np.abs(sums - 1) > _SUM_TOLERANCE)
    found = f"{sums[wrong][0]:.6g}" if wrong.any() else ""
    _refuse(where, wrong, sample_ids, f"probabilities that sum to 1 within {_SUM_TOLERANCE}", found)
    logits: NDArray[np.float32] = np.log(np.maximum(wide, np.finfo(np.float32).tiny)).astype(np.float32)
    return logits


def _part(name: str) -> str | None:
    """Return which content a column is of, None for one of another use."""
    if name in ("logits", "probabilities", "top1", "top1_index"):
        return name
    prefix, found, _ = name.partition("_")
    return prefix if found and prefix in ("logits", "probabilities") else None


def _wide(where: str, part: str, names: tuple[str, ...], classes: tuple[str, ...]) -> tuple[str, ...]:
    columns = tuple(f"{part}_{key}" for key in classes)
    known, there = set(columns), set(names)
    missing = [name for name in columns if name not in there]
    unknown = [name for name in names if name not in known]
    if missing or unknown:
        raise FileFormatError(
            f"{where}: the columns are not one for each class of the label space",
            expected=f"{len(columns)} columns, {columns[0]} and so on",
            found=f"{len(names)}"
            + (f", without {_some(missing)}" if missing else "")
            + (f", with {_some(unknown)}" if unknown else ""),
            fix="name them after the class keys, or declare the right label_space",
        )
    return columns


def _numbers(where: str, batch: pa.RecordBatch, plan: Plan) -> NDArray[np.floating]:
    if plan.wide:
        columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in plan.columns]
        return np.stack(columns, axis=1)
    column, k = batch.column(plan.columns[0]), len(plan.classes)
    lengths = pc.list_value_length(column)
    if column.null_count or not pc.all(pc.equal(lengths, k)).as_py():
        odd = next((length for length in lengths.to_pylist() if length != k), None)
        raise FileFormatError(
            f"{where}: a row of {plan.content} has another number of values than there are classes",
            expected=str(k),
            found=str(odd) if odd is not None else "nothing",
            fix="hand in every class of the label space, in its order",
        )
    found: NDArray[np.floating] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, k)
    return found


def _classes(where: str, column: pa.Array, plan: Plan) -> NDArray[np.int32]:
    k = len(plan.classes)
    if plan.columns == ("top1",):
        keys = texts(where, "top1", column)
        index = pc.index_in(keys, value_set=pa.array(plan.classes, pa.string()))
        if index.null_count:
            unknown = sorted(set(keys.filter(index.is_null()).to_pylist()))
            near = UnknownNameError.among("class", unknown[0], plan.classes).expected
            raise DataError(
                f"{where}: top1 {unknown[0]!r} is no class of the label space",
                expected=near,
                found=f"{len(unknown)} unknown: {_some(unknown)}" if len(unknown) > 1 else "",
            )
        numbers = index.to_numpy(zero_copy_only=False)
    else:
        if column.null_count:
            raise DataError(f"{where}: column top1_index has {column.null_count} empty rows")
        numbers = column.to_numpy(zero_copy_only=False)
        if len(numbers) and not (int(numbers.min()) >= 0 and int(numbers.max()) < k):
            raise DataError(
                f"{where}: a top1_index is no class of the label space",
                expected=f"0 to {k - 1}",
                found=f"{numbers.min()} to {numbers.max()}",
            )
    return np.asarray(numbers, dtype=np.int32)[:, None]


def _refuse(where: str, wrong: NDArray[np.bool_], sample_ids: pa.Array, expected: str, found: str) -> None:
    if wrong.any():
        names = sample_ids.filter(pa.array(wrong)).to_pylist()
        raise DataError(f"{where}: sample {_some(names)}", expected=expected, found=found)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and pa.types.is_floating(kind.value_type))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] for name in names[:_SHOWN]) + more
