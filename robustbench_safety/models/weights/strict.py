"""Weights: load a checkpoint's tensors strictly into a network, digest what was loaded."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError
from robustbench_safety.models.model import Asked
from robustbench_safety.models.weights.checkpoints import read_checkpoint
from robustbench_safety.models.weights.unwrapping import RESAVE
from robustbench_safety.records import CheckpointInfo

__all__ = ["load_checkpoint", "load_strictly", "weights_digest"]

#: How many names of a kind an error shows.
_LISTED = 4


def load_checkpoint(
    network: nn.Module, asked: Asked, *, aliases: Sequence[tuple[str, str]] = ()
) -> CheckpointInfo:
    """Read the checkpoint that was handed in and load it strictly: what a family never leaves to a library.

    Args:
        network: Its state is replaced.
        asked: Names the checkpoint, and what the user trusts.
        aliases: Parts of tensor names as (other spelling, the network's spelling).

    Raises:
        CheckpointError: It cannot be read safely, or does not fit; the network is then unchanged.
    """
    path = asked.checkpoint
    if path is None:
        raise CheckpointError(f"{asked.file.model} needs a checkpoint", fix="give it with --checkpoint FILE")
    values, info = read_checkpoint(
        path, names=network.state_dict().keys(), aliases=aliases, trust_pickle=asked.trust.pickle
    )
    rules = load_strictly(network, values, source=f"checkpoint {path}", model=asked.file.model)
    return info.model_copy(update={"unwrapped": (*info.unwrapped, *rules)})


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
    prefix = _one_prefix(wanted, missing, unexpected) if missing and not misshapen else ""
    if prefix:
        fix = f"its names are those of {model} behind {prefix!r}: take that off and save it again"
    raise CheckpointError(
        f"{source} does not fit {model}",
        expected=f"its {len(wanted)} tensors",
        found="; ".join(parts),
        fix=fix,
    )


def _one_prefix(wanted: Iterable[str], missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """Return what stands before every name, where the names are else those that are wanted; else nothing."""
    behind = next((name for name in unexpected if name.endswith(missing[0])), "")
    prefix = behind.removesuffix(missing[0])
    lacking = {prefix + name for name in missing} - set(unexpected)
    odd = set(unexpected) - {prefix + name for name in wanted}
    return "" if lacking or odd else prefix


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
