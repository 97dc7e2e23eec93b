"""Digests of values: of the one canonical JSON text that a value has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import BaseModel

__all__ = ["canonical_json", "digest_of"]


def canonical_json(value: BaseModel | Mapping[str, object] | list[object]) -> bytes:
    """Return the one JSON text of ``value``: keys sorted, no spaces, UTF-8, no NaN.

    Example:
        >>> canonical_json({"b": 1, "a": [0.5, None]})
        b'{"a":[0.5,null],"b":1}'
    """
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: BaseModel | Mapping[str, object] | list[object]) -> str:
    """Return the sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
