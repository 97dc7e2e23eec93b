"""Checkpoints: read the tensors in a file without running code."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch

from robustbench_safety.errors import CheckpointError
from robustbench_safety.files import file_digest
from robustbench_safety.models.foreign import describe_failure, foreign_code
from robustbench_safety.models.unwrapping import RESAVE, rename_parts, strip_prefixes, unwrap
from robustbench_safety.records import CheckpointInfo

__all__ = ["TRUSTED_PICKLE", "read_checkpoint", "require_checkpoint_file"]

#: The rule of a checkpoint that could only be read by running what is in it.
TRUSTED_PICKLE = "trusted:pickle"

_EXPECTED = "a safetensors file, or a file of tensors that torch.save wrote"


def require_checkpoint_file(path: Path) -> None:
    """Raise ``CheckpointError`` unless ``path`` is a file with something in it."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise CheckpointError(
                f"checkpoint {path} is a folder", expected="a file", fix="name a file in it"
            )
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist", fix="correct the path") from error
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read", found=error.strerror or str(error)
        ) from error
    if size == 0:
        raise CheckpointError(f"checkpoint {path} is empty", expected=_EXPECTED, fix="fetch or save it again")


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
    require_checkpoint_file(path)
    layout = _layout(path)
    trusted: list[str] = []
    if layout == "safetensors":
        content: object = _read_safetensors(path)
    else:
        content, needed_trust = _read_torch(path, trust_pickle=trust_pickle)
        trusted = [TRUSTED_PICKLE] if needed_trust else []
    values, rules = unwrap(path, content)
    rules = trusted + rules
    rules += strip_prefixes(values, set(names))
    rules += rename_parts(values, aliases)
    info = CheckpointInfo(file=path.name, sha256=file_digest(path), format=layout, unwrapped=tuple(rules))
    return values, info


def _layout(path: Path) -> Literal["safetensors", "torch"]:
    """Tell the two formats apart: a safetensors file is the length of a JSON header, then the header."""
    with path.open("rb") as handle:
        start = handle.read(9)
    return "safetensors" if start[8:] == b"{" or path.suffix == ".safetensors" else "torch"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with foreign_code(
        f"checkpoint {path} is damaged or not a safetensors file",
        raising=CheckpointError,
        expected="a complete safetensors file",
        fix="fetch or save it again",
    ):
        return dict(safetensors.torch.load_file(path, device="cpu"))


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
            # timm's training script keeps its options, an argparse.Namespace, beside the weights. Building
            # one sets attributes on an inert object and runs nothing.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                return torch.load(path, map_location="cpu", weights_only=True), False
        except pickle.UnpicklingError as error:
            refused = _refused(path, error)
            if not trust_pickle:
                raise refused from error
        with warnings.catch_warnings():
            # Whatever a stranger's classes warn of when they are built again is not the user's to mend.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False), True  # as asked


def _refuse_odd_archive(path: Path) -> None:
    """Refuse what ``torch.save`` never writes, before any of it is unpacked."""
    with path.open("rb") as handle:
        start = handle.read(64)
    if not start.startswith(b"PK"):
        if start.isascii() and start[:1] != b"\x80" and start.decode().isprintable():
            raise CheckpointError(
                f"checkpoint {path} holds text", expected=_EXPECTED, found=repr(start.decode())
            )
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"checkpoint {path} is truncated or damaged",
            expected=_EXPECTED,
            found=describe_failure(error),
            fix="fetch or save it again",
        ) from error
    inside = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in inside:
        raise CheckpointError(f"checkpoint {path} is a TorchScript archive, which holds code", fix=RESAVE)
    if "data.pkl" not in inside:
        raise CheckpointError(
            f"checkpoint {path} is a zip file without weights",
            expected=_EXPECTED,
            found=f"entries {', '.join(sorted(inside)[:5])}",
        )
    # torch.save stores its entries side by side and uncompressed: only a bomb unpacks to more than itself.
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(
            f"checkpoint {path} would unpack to more than its own size", expected=_EXPECTED, fix=RESAVE
        )


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """Say what a pickle wanted to run, as far as torch can name it without running anything."""
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, IndexError):
        wanted = []
    # Of files older than torch 1.6, a sequence of pickles, torch cannot list the globals: it names the first.
    first = re.search(r"GLOBAL ([\w.]+)", str(error))
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
