"""Checkpoints: read tensors without running code, load them strictly, digest what was loaded."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError
from robustbench_safety.files import file_digest
from robustbench_safety.models.foreign import describe_failure, foreign_code
from robustbench_safety.models.unwrapping import RESAVE, rename_parts, strip_prefixes, unwrap
from robustbench_safety.records import CheckpointInfo

__all__ = ["load_strictly", "read_checkpoint", "require_checkpoint_file", "weights_digest"]

#: How many names of a kind an error shows.
_LISTED = 4
_EXPECTED = "a safetensors file, or a file of tensors that torch.save wrote"


# ---------------------------------------------------------------------------------------------- reading


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
    path: Path, *, names: Iterable[str] = (), aliases: Sequence[tuple[str, str]] = ()
) -> tuple[dict[str, object], CheckpointInfo]:
    """Read the weights in a checkpoint; no code in the file is run.

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.
        names: The network's own tensor names: a prefix that all of these carry is no wrapper.
        aliases: Parts of names as (other spelling, the network's spelling).

    Returns:
        Values by name (tensors, but for a malformed file: ``load_strictly`` looks), and where they came from.

    Raises:
        CheckpointError: The file is missing, empty, truncated, no checkpoint, or needs code to be run.
    """
    require_checkpoint_file(path)
    layout = _layout(path)
    content = _read_safetensors(path) if layout == "safetensors" else _read_torch(path)
    values, rules = unwrap(path, content)
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


def _read_torch(path: Path) -> object:
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
                content: object = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise _refused(path, error) from error
    return content


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
        fix=RESAVE,
    )


# ---------------------------------------------------------------------------------------------- loading


def load_strictly(network: nn.Module, values: Mapping[str, object], *, source: str, model: str) -> list[str]:
    """Copy a checkpoint's tensors into a network: every name, every shape, or nothing at all.

    Args:
        network: Its state is replaced.
        values: As :func:`read_checkpoint` gives them.
        source: The file, for errors.
        model: The model's name, for errors.

    Returns:
        The rules applied.

    Raises:
        CheckpointError: Names, shapes or kinds do not match, or a weight is not finite. The network is then
            unchanged.
    """
    wanted = {key: value for key, value in network.state_dict().items() if isinstance(value, torch.Tensor)}
    tensors = _tensors_only(values, source)
    counters = {key for key in wanted if key.endswith("num_batches_tracked")} - tensors.keys()
    _match(wanted, tensors, absent=counters, source=source, model=model)
    converted = {key: _converted(key, tensors[key], wanted[key], source) for key in wanted.keys() - counters}
    network.load_state_dict(converted | {key: wanted[key] for key in counters}, strict=True)
    stored = {
        f"dtype:{_dtype_name(tensors[key])}" for key in converted if tensors[key].dtype != wanted[key].dtype
    }
    return (["absent:num_batches_tracked"] if counters else []) + sorted(stored)


def _tensors_only(values: Mapping[str, object], source: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for key, value in values.items():
        if type(value) not in (torch.Tensor, nn.Parameter) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{source}: {key!r} is no tensor",
                expected="tensors alone",
                found=f"a {type(value).__name__}",
                fix=RESAVE,
            )
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(
                f"{source}: {key!r} is no plain tensor",
                expected="a dense tensor with values",
                found=f"layout {value.layout}, type {_dtype_name(value)}, device {value.device}",
                fix=RESAVE,
            )
        tensors[key] = value.detach()
    return tensors


def _match(
    wanted: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    *,
    absent: set[str],
    source: str,
    model: str,
) -> None:
    """Raise one error that lists all that is missing, unexpected or of another shape."""
    missing = [key for key in wanted if key not in found and key not in absent]
    unexpected = [key for key in found if key not in wanted]
    misshapen = [key for key in wanted if key in found and wanted[key].shape != found[key].shape]
    parts: list[str] = []
    if missing:
        near = [_with_near_name(key, unexpected) for key in missing[:_LISTED]]
        parts.append(_listing(f"{len(missing)} missing", near, len(missing)))
    if unexpected:
        parts.append(_listing(f"{len(unexpected)} unexpected", unexpected[:_LISTED], len(unexpected)))
    if misshapen:
        shapes = [
            f"{key} {list(found[key].shape)} instead of {list(wanted[key].shape)}"
            for key in misshapen[:_LISTED]
        ]
        parts.append(_listing(f"{len(misshapen)} of another shape", shapes, len(misshapen)))
    if not parts:
        return
    fix = f"name the architecture that these weights were trained with instead of {model}"
    rows = {(*found[key].shape[:1], *wanted[key].shape[:1]) for key in misshapen}
    if not missing and not unexpected and len(rows) == 1 and all(len(pair) == 2 for pair in rows):
        ((has, needs),) = rows
        fix = f"its head has {has} classes, that of {model} {needs}: name the label space it was trained for"
    raise CheckpointError(
        f"{source} does not fit {model}",
        expected=f"its {len(wanted)} tensors",
        found="; ".join(parts),
        fix=fix,
    )


def _listing(count: str, shown: Sequence[str], total: int) -> str:
    return f"{count} ({', '.join(shown)}{', ...' if total > len(shown) else ''})"


def _with_near_name(key: str, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, candidates, n=1)
    return f"{key}, near {near[0]}" if near else key


def _converted(key: str, tensor: torch.Tensor, wanted: torch.Tensor, source: str) -> torch.Tensor:
    """Return the tensor in the network's type: floating to floating alone, and finite."""
    if tensor.dtype != wanted.dtype and not (tensor.is_floating_point() and wanted.is_floating_point()):
        raise CheckpointError(
            f"{source}: {key} is of another kind", expected=_dtype_name(wanted), found=_dtype_name(tensor)
        )
    tensor = tensor.to(wanted.dtype)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        n_bad = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(
            f"{source}: {key} is not finite",
            expected="finite weights",
            found=f"NaN or infinity in {n_bad} of {tensor.numel()} values",
            fix="the training diverged or the file is damaged: take an earlier checkpoint",
        )
    return tensor


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


# ---------------------------------------------------------------------------------------------- digest


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of a network's tensors: the same for a ``.pth`` and its safetensors copy.

    Of each tensor, by sorted name: the JSON of [name, type, shape], a line feed, and the values, contiguous
    and little-endian. Batch normalisation's ``num_batches_tracked`` is left out: no forward pass reads it,
    and some copies lack it.

    Example:
        >>> import torch
        >>> one, two = {"a": torch.zeros(1), "b": torch.ones(2)}, {"b": torch.ones(2), "a": torch.zeros(1)}
        >>> weights_digest(one) == weights_digest(two)
        True
        >>> weights_digest(one) == weights_digest({"a": torch.zeros(1), "b": torch.ones(2, 1)})
        False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor: object = state[name]
        if name.endswith("num_batches_tracked"):
            continue
        if not isinstance(tensor, torch.Tensor):
            raise ModelError(
                f"{name} in the network's state is no tensor", found=f"a {type(tensor).__name__}"
            )
        digest.update(json.dumps([name, _dtype_name(tensor), list(tensor.shape)]).encode() + b"\n")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
