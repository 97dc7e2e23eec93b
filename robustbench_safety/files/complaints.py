"""From pydantic's list of complaints to one error that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.files.yaml_text import Lines, Place

__all__ = ["complaint"]

_LONGEST_VALUE = 200


@dataclass(frozen=True, kw_only=True)
class _Complaint:
    """One complaint of pydantic's."""

    kind: str
    message: str
    location: Place
    """Keys and indices, and among them the names of union members."""
    field: Place
    """Keys and indices as they stand in the file."""
    value: object
    context: Mapping[str, object]


def complaint(
    path: Path, error: ValidationError, record: type[BaseModel], data: object, lines: Lines
) -> FileFormatError:
    """Return the error that names file, line, field, expected, found and fix.

    Args:
        path: The file.
        error: What pydantic says.
        record: What the file should hold.
        data: The plain data in the file.
        lines: Line of every field, as far as they are known.
    """
    everything = _complaints(error, data)
    # A misspelt field is both missing and unknown; the second tells which name was meant.
    first = next((one for one in everything if one.kind == "extra_forbidden"), everything[0])
    # A value that fits no member of a union has complaints from each; who came deepest is who was meant.
    below = [one for one in everything if one.field[: len(first.field)] == first.field]
    first = max(below, key=lambda one: len(one.field))
    field = first.field
    same = [one for one in everything if one.field == field]
    others = len({one.field for one in everything if one.field != field[: len(one.field)]})
    line = next((lines[field[:n]] for n in range(len(field), 0, -1) if field[:n] in lines), None)
    where = f"{path}, line {line}" if line else str(path)
    where += f": {'.'.join(map(str, field))}" if field else ""
    more = f" ({others} more wrong after this one)" if others else ""
    return _told(where, first, same, record, data, more)


def _told(
    where: str,
    first: _Complaint,
    same: Sequence[_Complaint],
    record: type[BaseModel],
    data: object,
    more: str,
) -> FileFormatError:
    value = first.value
    if first.kind == "extra_forbidden":
        name, known = str(first.location[-1]), _known_fields(record, first.location[:-1])
        return FileFormatError(
            f"{where} is an unknown field",
            expected=UnknownNameError.among("field", name, known).expected,
            fix=f"rename or remove it{more}",
        )
    if first.kind in ("missing", "union_tag_not_found"):
        present = ", ".join(map(str, value)) if isinstance(value, dict) else ""
        return FileFormatError(
            f"{where} is missing", found=f"only {present or 'nothing'}", fix=f"add it{more}"
        )
    fix = f"correct it{more}"
    if first.kind == "union_tag_invalid":
        tags, tag = first.context["expected_tags"], first.context["tag"]
        return FileFormatError(f"{where} is wrong", expected=f"one of {tags}", found=_shown(tag), fix=fix)
    if first.kind == "value_error":  # our own validators: a sentence that says what is wrong
        shown = "" if isinstance(value, dict | list) else _shown(value)
        return FileFormatError(f"{where}: {first.message}", found=shown, fix=fix)
    expected = " or ".join(dict.fromkeys(one.message for one in same))
    found = "an empty file" if data is None else _shown(value)
    return FileFormatError(f"{where} is wrong", expected=expected, found=found, fix=fix)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _complaints(error: ValidationError, data: object) -> list[_Complaint]:
    out = []
    for item in error.errors(include_url=False):
        kind, location, context = item["type"], item["loc"], item.get("ctx", {})
        field = _place_in(data, location)
        if kind == "missing":
            field = (*field, location[-1])
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            field = (*field, str(context["discriminator"]).strip("'"))
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        out.append(
            _Complaint(
                kind=kind,
                message=message,
                location=location,
                field=field,
                value=item["input"],
                context=context,
            )
        )
    return out


def _place_in(data: object, location: Place) -> Place:
    """Return the parts of ``location`` that lead through ``data``: names of union members do not."""
    field: list[str | int] = []
    for part in location:
        inner: Mapping[object, object] = {}
        if isinstance(data, dict):
            inner = data
        elif isinstance(data, list):
            inner = dict(enumerate(data))
        if part in inner:
            field.append(part)
            data = inner[part]
    return tuple(field)


def _known_fields(record: type[BaseModel], location: Place) -> list[str]:
    """Return the field names of the record at ``location``, as far as the types tell."""
    records = [record]
    for part in location:
        inner = [
            nested
            for outer in records
            if part in outer.model_fields
            for nested in _record_types(outer.model_fields[str(part)].annotation)
        ]
        # The name of a union's member is in the location and in no file.
        tagged = [candidate for candidate in records if _is_tagged(candidate, part)]
        records = inner or tagged or records
    return [name for candidate in records for name in candidate.model_fields]


def _record_types(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _record_types(argument)


def _is_tagged(record: type[BaseModel], tag: str | int) -> bool:
    return any(
        get_origin(field.annotation) is Literal and get_args(field.annotation) == (tag,)
        for field in record.model_fields.values()
    )
