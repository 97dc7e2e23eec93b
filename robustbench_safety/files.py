"""Files: strict YAML and JSON to records and back, digests, atomic writes, and where shipped files lie."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.events import AliasEvent

from robustbench_safety.errors import FileFormatError, StorageError, UnknownNameError

__all__ = [
    "atomic_path",
    "canonical_json",
    "digest_of",
    "file_digest",
    "locate_resource",
    "read_bytes",
    "read_json",
    "read_yaml",
    "resource_folder",
    "resource_names",
    "slugify",
    "write_bytes",
    "write_json",
]

R = TypeVar("R", bound=BaseModel)
Lines = dict[tuple[str | int, ...], int]

_PACKAGE = Path(__file__).parent
#: A manifest, suite or record is a few kilobytes; an imagenet-1k label list 30.
_LARGEST_TEXT = 64 * 2**20


# ---------------------------------------------------------------------------------------------- reading


def read_bytes(path: Path, *, largest: int | None = None) -> bytes:
    """Return the content of ``path``.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It is larger than ``largest`` bytes.
    """
    try:
        if largest is not None and path.stat().st_size > largest:
            raise FileFormatError(
                f"{path} is too large", expected=f"at most {largest} bytes", found=f"{path.stat().st_size}"
            )
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read", found=error.strerror or str(error)) from error


def read_yaml(path: Path, record: type[R]) -> R:
    """Read a YAML file into ``record``: no aliases, no duplicate keys, no unknown fields, no conversions.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It does not hold a ``record``; names file, line, field, expected and found.
    """
    data, lines = _parse_yaml(path)
    return _validate(path, json.dumps(data).encode(), record, lines)


def read_json(path: Path, record: type[R]) -> R:
    """Read a JSON file into ``record``; errors as :func:`read_yaml`, without line numbers."""
    return _validate(path, read_bytes(path, largest=_LARGEST_TEXT), record, {})


def _parse_yaml(path: Path) -> tuple[object, Lines]:
    text = read_bytes(path, largest=_LARGEST_TEXT)
    lines: Lines = {}
    try:
        # An alias can make a few bytes grow without bound, and nothing here needs one.
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, AliasEvent):
                raise FileFormatError(
                    f"{path}, line {event.start_mark.line + 1}: YAML aliases are not allowed",
                    fix="write the value out",
                )
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
            data = _construct(path, loader, node, (), lines) if node is not None else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise FileFormatError(f"{path} is not valid YAML", found=" ".join(str(error).split())) from error
    return data, lines


def _construct(
    path: Path, loader: yaml.CSafeLoader, node: yaml.Node, at: tuple[str | int, ...], lines: Lines
) -> object:
    """Build plain data from a YAML node, noting the line of every field."""
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out: dict[str, object] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str) or key in out:
                raise FileFormatError(
                    f"{path}, line {line}: key {key!r}", expected="text, each key once", found="it twice"
                )
            out[key] = _construct(path, loader, value_node, (*at, key), lines)
            lines[(*at, key)] = line
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_construct(path, loader, item, (*at, i), lines) for i, item in enumerate(node.value)]
    value = loader.construct_object(node)  # type: ignore[no-untyped-call]  # pyyaml's stub has no types here
    if not isinstance(value, str | int | float | bool | None):
        return str(node.value)  # a date stays the text it was written as
    return value


def _validate(path: Path, text: bytes, record: type[R], lines: Lines) -> R:
    try:
        # JSON mode lets a list stand for a tuple and is strict about everything else.
        return record.model_validate_json(text)
    except ValidationError as error:
        raise _explained(path, error, record, lines) from error


def _explained(path: Path, error: ValidationError, record: type[BaseModel], lines: Lines) -> FileFormatError:
    """Turn pydantic's first complaint into an error that names file, line, field, expected and found."""
    first, *others = error.errors(include_url=False)
    location = first["loc"]
    line = next((lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines), None)
    field = ".".join(str(part) for part in location)
    where = f"{path}" + (f", line {line}" if line else "") + (f": {field}" if field else "")
    more = f" ({len(others)} more after this one)" if others else ""
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        parent = _fields_at(record, location[:-1])
        known = UnknownNameError.among("field", str(location[-1]), parent)
        return FileFormatError(
            f"{where} is an unknown field", expected=known.expected, fix="remove or rename it" + more
        )
    if kind == "missing":
        return FileFormatError(f"{where} is missing", fix="add it" + more)
    if kind == "json_invalid":
        return FileFormatError(f"{path} is not valid JSON", found=message)
    found = json.dumps(first["input"], default=str)
    return FileFormatError(f"{where} is wrong", expected=message, found=found[:200] + more)


def _fields_at(record: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the field names of the record at ``location``, as far as the types tell."""
    fields = record.model_fields
    for part in location:
        annotation = fields[part].annotation if isinstance(part, str) and part in fields else None
        nested = [item for item in _record_types(annotation)]
        if nested:
            fields = {name: field for item in nested for name, field in item.model_fields.items()}
    return list(fields)


def _record_types(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _record_types(argument)


# ---------------------------------------------------------------------------------------------- digests


def canonical_json(value: BaseModel | Mapping[str, object] | list[object]) -> bytes:
    """Return the one JSON text of ``value``: keys sorted, no spaces, UTF-8, no NaN."""
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: BaseModel | Mapping[str, object] | list[object]) -> str:
    """Return the sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of the content of ``path``."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, algorithm).hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read", found=error.strerror or str(error)) from error


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


# ---------------------------------------------------------------------------------------------- writing


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, move it there, whole, in one step.

    Raises:
        StorageError: The folder cannot be written, or the disk is full. Nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            fix="free some space or name another folder",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# mkstemp makes files that only their owner can read; results are meant to be shared like any other file.
_UMASK = _read_umask()


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, record: BaseModel) -> None:
    """Write ``record`` to ``path`` atomically, one field a line with sorted keys, so that it diffs well."""
    data = record.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


# ---------------------------------------------------------------------------------- files that we ship


def resource_folder(name: str) -> Path:
    """Return the folder of shipped files ``name``: the checkout's, else the one inside the installed package."""
    beside = _PACKAGE.parent / name
    # Beside the package in a checkout; site-packages could hold a stranger's folder of the same name.
    if (_PACKAGE.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    return _PACKAGE / name


def resource_names(folder: str) -> list[str]:
    """Return the sorted names of the YAML files in a folder of shipped files."""
    return sorted(path.stem for path in resource_folder(folder).glob("*.yaml"))


def locate_resource(kind: str, name: str, folder: str, *, beside: Path | None = None, fix: str = "") -> Path:
    """Return the YAML file of ``name``: from ``beside`` where it has one, else a shipped one.

    Args:
        kind: What is looked for, for the error: "suite", "dataset" ...
        name: Its name.
        folder: Folder of shipped files.
        beside: A user's own folder that goes first.
        fix: What to do when there is none.

    Raises:
        UnknownNameError: There is none; near names are shown.
    """
    known = {path.stem: path for path in resource_folder(folder).glob("*.yaml")}
    if beside is not None:
        known |= {path.stem: path for path in beside.glob("*.yaml")}
    if name not in known:
        raise UnknownNameError.among(kind, name, known, fix=fix)
    return known[name]
