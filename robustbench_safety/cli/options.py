"""Options that need more than a type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import UsageError

__all__ = ["batch_size_of", "data_root_of"]


def data_root_of(values: Sequence[str] | None, *, must_exist: bool = True) -> DataRoot:
    """Return the data root of ``--data DIR`` and ``--data NAME=DIR``.

    Args:
        values: As given.
        must_exist: Whether the folders must be there already.

    Raises:
        UsageError: Two roots, or a folder that does not exist.
    """
    root = DataRoot.default()
    folders: dict[str, Path] = {}
    plain: list[Path] = []
    for value in values or ():
        name, separator, folder = value.partition("=")
        # A folder may have "=" in its name; a dataset cannot have "/" in its.
        if separator and "/" not in name and not Path(value).exists():
            folders[name] = _folder(folder, must_exist=must_exist)
        else:
            plain.append(_folder(value, must_exist=must_exist))
    if len(plain) > 1:
        raise UsageError("--data", expected="one data root", found=f"{len(plain)}", fix="use NAME=DIR")
    return replace(root, root=plain[0] if plain else root.root, folders=folders)


def _folder(folder: str, *, must_exist: bool) -> Path:
    path = Path(folder)
    if not path.is_dir() and (must_exist or path.exists()):
        raise UsageError(f"--data {folder}", expected="a folder", found="no such folder")
    return path


def batch_size_of(value: str) -> int | None:
    """Return the number, or None for ``auto``.

    Raises:
        UsageError: Neither.
    """
    if value == "auto":
        return None
    if not value.lstrip("-").isdigit():
        raise UsageError("--batch-size", expected="a whole number or auto", found=value)
    return int(value)
