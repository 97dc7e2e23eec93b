"""Checkpoints: read the tensors in a file without running code."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch

from robustbench_safety.errors import CheckpointError
from robustbench_safety.files import file_digest
from robustbench_safety.models.foreign import describe_failure, foreign_code
from robustbench_safety.models.weights.pickle_guard import OddPickleError, look_through
from robustbench_safety.models.weights.unwrapping import RESAVE, rename_parts, strip_prefixes, unwrap
from robustbench_safety.records import CheckpointInfo

__all__ = ["TRUSTED_PICKLE", "read_checkpoint", "read_content", "require_checkpoint_file"]

#: The rule of a checkpoint that could only be read by running what is in it.
TRUSTED_PICKLE = "trusted:pickle"

_EXPECTED = "a safetensors file, or a file of tensors that torch.save wrote"
_AGAIN = "fetch or save it again"
#: Bytes of a zip file's directory, a hundred an entry: forty thousand tensors. Each takes ten times as much
#: once it is read.
_LARGEST_DIRECTORY = 4 * 2**20
#: Bytes of a safetensors header, as the format's own reader has it.
_LARGEST_HEADER = 100_000_000


def require_checkpoint_file(path: Path) -> None:
    """Raise ``CheckpointError`` unless ``path`` is a file with something in it."""
    try:
        found = path.stat()
        if path.is_dir():
            raise CheckpointError(
                f"checkpoint {path} is a folder", expected="a file", fix="name a file in it"
            )
        # A pipe would be waited for, a device read without end.
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(
                f"checkpoint {path} is a pipe, a socket or a device", expected="a file", fix="save it to one"
            )
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist", fix="correct the path") from error
    except (OSError, ValueError) as error:  # a path with a zero byte in it is a ValueError
        raise CheckpointError(
            f"checkpoint {path} cannot be read",
            found=getattr(error, "strerror", None) or str(error),
            fix="check its path and that it may be read",
        ) from error
    if found.st_size == 0:
        raise CheckpointError(f"checkpoint {path} is empty", expected=_EXPECTED, fix=_AGAIN)


def read_checkpoint(
    path: Path,
    *,
    names: Iterable[str] = (),
    aliases: Sequence[tuple[str, str]] = (),
    trust_pickle: bool = False,
) -> tuple[dict[str, object], CheckpointInfo]:
    """Read the weights in a checkpoint; no code in the file is run, unless the user trusts it.

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.
        names: The network's own tensor names: a prefix that all of these carry is no wrapper.
        aliases: Parts of names as (other spelling, the network's spelling).
        trust_pickle: Whether a pickle that needs code to be run is unpickled after all. That it was needed is
            kept among the rules, as ``trusted:pickle``.

    Returns:
        Values by name (tensors, but for a malformed file: ``load_strictly`` looks), and where they came from.

    Raises:
        CheckpointError: The file is missing, empty, truncated, no checkpoint, or needs code to be run.
    """
    content, layout, needed_trust = read_content(path, trust_pickle=trust_pickle)
    trusted = [TRUSTED_PICKLE] if needed_trust else []
    values, rules = unwrap(path, content)
    rules = trusted + rules
    rules += strip_prefixes(values, set(names))
    rules += rename_parts(values, aliases)
    info = CheckpointInfo(file=path.name, sha256=file_digest(path), format=layout, unwrapped=tuple(rules))
    return values, info


def read_content(
    path: Path, *, trust_pickle: bool = False
) -> tuple[object, Literal["safetensors", "torch"], bool]:
    """Return all that a checkpoint holds, its format, and whether it had to be trusted.

    Raises:
        CheckpointError: As :func:`read_checkpoint`.
    """
    require_checkpoint_file(path)
    _refuse_text(path)
    layout = _layout(path)
    if layout == "safetensors":
        return _read_safetensors(path), layout, False
    content, needed_trust = _read_torch(path, trust_pickle=trust_pickle)
    return content, layout, needed_trust


def _layout(path: Path) -> Literal["safetensors", "torch"]:
    """Tell the two formats apart: a safetensors file is the length of a JSON header, then the header."""
    with path.open("rb") as handle:
        start = handle.read(9)
    return "safetensors" if start[8:] == b"{" or path.suffix == ".safetensors" else "torch"


def _refuse_text(path: Path) -> None:
    """Refuse a web page, or the note that git-lfs leaves in place of a file."""
    with path.open("rb") as handle:
        start = handle.read(64)
    # No format has such bytes at its start alone: the first eight are a header's length or a magic number.
    if (
        start.isascii()
        and not start.startswith(b"PK")
        and all(32 <= c < 127 or c in b"\t\r\n" for c in start)
    ):
        raise CheckpointError(
            f"checkpoint {path} holds text", expected=_EXPECTED, found=repr(start.decode()), fix=_AGAIN
        )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    _require_sound_header(path)
    with foreign_code(
        f"checkpoint {path} is damaged or not a safetensors file",
        raising=CheckpointError,
        expected="a complete safetensors file",
        fix=_AGAIN,
    ):
        return dict(safetensors.torch.load_file(path, device="cpu"))


def _require_sound_header(path: Path) -> None:
    """Refuse a header that is longer than the file, is no JSON, or names a tensor twice.

    The format's own reader says nothing of the third and takes one of the two.
    """
    damaged = f"checkpoint {path} is damaged or not a safetensors file"
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        size = path.stat().st_size
        if size < 8 or length > size - 8:
            raise CheckpointError(
                f"{damaged}: it is truncated, or its header's length is wrong",
                expected=f"a header of at most {max(size - 8, 0)} bytes",
                found=f"{length}" if size >= 8 else f"{size} bytes in all",
                fix=_AGAIN,
            )
        if length > _LARGEST_HEADER:
            raise CheckpointError(
                f"{damaged}: its header is too long",
                expected=f"at most {_LARGEST_HEADER} bytes", found=f"{length}", fix=_AGAIN)  # fmt: skip
        header = handle.read(length)

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        out = dict(pairs)
        if len(out) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{damaged}: its header has {twice[:100]!r} twice", fix=_AGAIN)
        return out

    try:
        json.loads(header, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{damaged}: its header is no JSON", found=describe_failure(error), fix=_AGAIN
        ) from error


def _read_torch(path: Path, *, trust_pickle: bool) -> tuple[object, bool]:
    """Return the content, and whether it had to be trusted."""
    _refuse_odd_archive(path)
    with foreign_code(
        f"checkpoint {path} is damaged or not a checkpoint",
        raising=CheckpointError,
        expected=_EXPECTED,
        fix="fetch or save it again",
    ):
        try:
            look_through(path)
            # timm's training script keeps its options, an argparse.Namespace, beside the weights. Building
            # one sets attributes on an inert object and runs nothing.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                # Sparse tensors are refused by load_strictly, by name.
                warnings.filterwarnings("ignore", message="Validating sparse tensor")
                return torch.load(path, map_location="cpu", weights_only=True), False
        except pickle.UnpicklingError as error:
            refused = _refused(path, error)
            if not trust_pickle:
                raise refused from error
        with warnings.catch_warnings():
            # Whatever a stranger's classes warn of when they are built again is not the user's to mend.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False), True  # as asked


class _ShortReads(BufferedReader):
    """A zip file whose directory is not read where it is longer than any real one."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = size if size is not None and size >= 0 else _LARGEST_DIRECTORY + 1
        if wanted > _LARGEST_DIRECTORY and self.tell() + _LARGEST_DIRECTORY < self._size:
            raise ValueError(f"a directory of more than {_LARGEST_DIRECTORY} bytes")
        return super().read(min(wanted, self._size))


def _refuse_odd_archive(path: Path) -> None:
    """Refuse what ``torch.save`` never writes, before any of it is unpacked."""
    with path.open("rb") as handle:
        if handle.read(2) != b"PK":
            return
    try:
        with _ShortReads(path) as handle, zipfile.ZipFile(handle) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"checkpoint {path} is truncated or damaged",
            expected=_EXPECTED,
            found=describe_failure(error),
            fix=_AGAIN,
        ) from error
    inside = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in inside:
        raise CheckpointError(
            f"checkpoint {path} is a TorchScript archive, which holds code",
            expected=_EXPECTED,
            fix=f"{RESAVE}; or score it as it is: export:{path}, with --trust-code",
        )
    if "archive_format" in inside or "serialized_exported_program.json" in inside:
        raise CheckpointError(
            f"checkpoint {path} is an exported program (.pt2), which holds code",
            expected=_EXPECTED,
            fix=f"{RESAVE}; or score it as it is: export:{path}, with --trust-code",
        )
    if "data.pkl" not in inside:
        raise CheckpointError(
            f"checkpoint {path} is a zip file without weights",
            expected=_EXPECTED,
            found=f"entries {', '.join(map(repr, sorted(inside)[:5]))}"[:300],
            fix=RESAVE,
        )
    # torch.save stores its entries side by side and uncompressed: only a bomb unpacks to more than itself.
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(
            f"checkpoint {path} would unpack to more than its own size", expected=_EXPECTED, fix=RESAVE
        )


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """Say what a pickle wanted to run, as far as torch can name it without running anything."""
    if isinstance(error, OddPickleError) and not error.called:
        return CheckpointError(
            f"checkpoint {path} is damaged, or holds what torch.save does not write for weights",
            expected=_EXPECTED,
            found=error.found,
            fix=f"fetch it again, or {RESAVE}",
        )
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, IndexError):
        wanted = []
    # Of files older than torch 1.6, a sequence of pickles, torch cannot list the globals: it names the first.
    first = re.search(r"(?:GLOBAL|a call of) ([\w.]+)", str(error))
    if not wanted and first is None:
        # torch wraps what it found in advice to load without care, which is not passed on.
        found = re.search(r"WeightsUnpickler error:(.*?)(?:Check the documentation|$)", str(error), re.DOTALL)
        return CheckpointError(
            f"checkpoint {path} is damaged, or not a checkpoint in torch.save's own pickle protocol",
            expected=_EXPECTED,
            found=" ".join((found[1] if found else str(error)).split())[:200],
            fix=f"fetch it again, or {RESAVE}",
        )
    return CheckpointError(
        f"checkpoint {path} needs code to be run and is refused; none of it was run",
        expected="tensors and plain containers",
        found=f"calls to {', '.join(sorted(wanted)[:5]) or (first and first[1])}",
        fix=f"{RESAVE}; or, where you trust whoever made the file, give --trust-pickle",
    )
