"""Writes that are whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from robustbench_safety.files.raw import writes
from robustbench_safety.files.yaml_text import dump_yaml

__all__ = ["atomic_path", "slugify", "write_bytes", "write_json", "write_yaml"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, move it there, whole, in one step.

    Raises:
        StorageError: The folder cannot be written, or the disk is full. The temporary file is removed.
    """
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.part")
    try:
        with writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not by tempfile, whose files only their owner may read: the umask holds here as for any file.
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # it never came to be (its folder is a file), or the error under way says why it stays


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically.

    Raises:
        StorageError: It cannot be written; what was there before still is.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, record: BaseModel) -> None:
    """Write ``record`` to ``path`` atomically, one field a line with sorted keys, so that it diffs well.

    Raises:
        StorageError: It cannot be written; what was there before still is.
    """
    data = record.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def write_yaml(path: Path, record: BaseModel) -> None:
    """Write ``record`` to ``path`` atomically, without fields that have their default.

    Raises:
        StorageError: It cannot be written; what was there before still is.
    """
    write_bytes(path, dump_yaml(record.model_dump(mode="json", exclude_defaults=True)).encode())


def slugify(text: str) -> str:
    """Return ``text`` as part of a path: lower case, other characters to '-', at most 80.

    Example:
        >>> slugify("cifar:ResNet20 (mine)")
        'cifar-resnet20-mine'
        >>> slugify("../..")
        'unnamed'
    """
    slug = re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")
    return slug[:80].strip("-._") or "unnamed"
