"""The base of every record: frozen, keyword-only, strict about types, and without unknown fields."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Digest", "Name", "Record", "RelativePath", "is_empty", "refuse_repeated"]

#: Hexadecimal sha256.
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: Name of a dataset, condition, cell, suite or label space; it becomes part of paths, so it is a slug.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]


def _stays_below(text: str) -> str:
    if text.startswith(("/", "~")) or "\\" in text or ".." in PurePosixPath(text).parts:
        raise ValueError("a path lies below its folder: relative, with '/', without '..'")
    return text


#: Path of a file or folder below another; "" is that folder itself.
RelativePath = Annotated[str, AfterValidator(_stays_below)]


def is_empty(value: object) -> bool:
    """Tell a field at its empty default, for ``exclude_if``: digests taken before it was added still hold."""
    return not value


def refuse_repeated(what: str, values: Iterable[Hashable]) -> None:
    """Raise ValueError, which pydantic takes up, where a value stands twice."""
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is listed twice")
        seen.add(value)


class Record(BaseModel):
    """Frozen value with declared fields only; a wrong type is an error, never a conversion."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )
