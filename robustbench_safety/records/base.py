"""The base of every record: frozen, keyword-only, strict about types, and without unknown fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Digest", "Name", "Record"]

#: Hexadecimal sha256.
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: Name of a dataset, condition, cell, suite or label space; it becomes part of paths, so it is a slug.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]


class Record(BaseModel):
    """Frozen value with declared fields only; a wrong type is an error, never a conversion."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )
