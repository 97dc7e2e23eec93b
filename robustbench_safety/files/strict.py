"""From a YAML or JSON file to a record, or to an error that says where the file is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from robustbench_safety.errors import FileFormatError
from robustbench_safety.files.complaints import complaint
from robustbench_safety.files.raw import read_bytes
from robustbench_safety.files.yaml_text import parse_yaml

__all__ = ["read_json", "read_yaml", "yaml_fields"]

R = TypeVar("R", bound=BaseModel)

#: What people write: the label list of imagenet-1k has 30 kilobytes, one of imagenet-21k would have 700.
_LARGEST_YAML = 8 * 2**20
#: What we write: a record has some 100 kilobytes.
_LARGEST_JSON = 64 * 2**20


def read_yaml(path: Path, record: type[R]) -> R:
    """Read a YAML file into ``record``: no aliases, no repeated keys, no unknown fields, no conversions.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It does not hold a ``record``; names file, line, field, expected, found and fix.
    """
    data, lines = parse_yaml(path, read_bytes(path, largest=_LARGEST_YAML))
    try:
        # JSON mode lets a list stand for a tuple and is strict about everything else.
        return record.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise complaint(path, error, record, data, lines) from error


def yaml_fields(path: Path) -> frozenset[str]:
    """Return the names of the outermost fields of a YAML file: they tell a suite from a manifest.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It is no YAML.
    """
    data, _ = parse_yaml(path, read_bytes(path, largest=_LARGEST_YAML))
    return frozenset(data) if isinstance(data, dict) else frozenset()


def read_json(path: Path, record: type[R]) -> R:
    """Read a JSON file into ``record``; errors as :func:`read_yaml`, without line numbers.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It does not hold a ``record``; names file, field, expected, found and fix.
    """
    text = read_bytes(path, largest=_LARGEST_JSON)
    try:
        value = record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise _not_json(path, first["msg"]) from error
        raise complaint(path, error, record, _plain_json(path, text), {}) from error
    # The parser above takes the last of two equal keys; what a file says twice it does not say.
    _plain_json(path, text)
    return value


def _plain_json(path: Path, text: bytes) -> object:
    """Return the plain data in ``text``, refusing repeated keys."""

    def whole(pairs: list[tuple[str, object]]) -> dict[str, object]:
        out: dict[str, object] = {}
        for key, value in pairs:
            if key in out:
                raise FileFormatError(f"{path}: key {key!r} is written twice", fix="keep one of them")
            out[key] = value
        return out

    try:
        data: object = json.loads(text, object_pairs_hook=whole)
    except (ValueError, RecursionError) as error:
        raise _not_json(path, str(error)) from error
    return data


def _not_json(path: Path, found: str) -> FileFormatError:
    return FileFormatError(f"{path} is not valid JSON", found=found, fix="restore or remove the file")
