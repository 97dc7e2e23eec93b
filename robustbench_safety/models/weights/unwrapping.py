"""Find the weights inside a checkpoint's containers and wrappers, by explicit rules.

In the order they are tried; those that applied are recorded in ``CheckpointInfo.unwrapped``:

    key:NAME          the weights lie under NAME: ``state_dict_ema``, ``model_ema``, ``ema``, then
                      ``state_dict``, ``model``, ``net``, ``model_state_dict``. Averaged (EMA) weights go
                      before plain ones where a file has both, as in timm's own validation
    list:last         the weights are the last item of a list
    module            a whole network was saved, which only a trusted pickle brings in: its state is taken
    drop:n_averaged   the counter of ``torch.optim.swa_utils.AveragedModel`` beside its ``module.`` names
    prefix:PREFIX     every name begins with ``module.``, ``_orig_mod.`` or ``model.``, the network's do not
    rename:OLD        a part of a name is spelt as in older code bases (the family lists such parts)

``load_strictly`` adds two more:

    absent:num_batches_tracked    the step counter of batch normalisation, which files of before 2018 lack
                                  and no forward pass reads
    dtype:NAME                    floating tensors stored in another precision than the network's, converted
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import torch
from torch import nn

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.foreign import foreign_code

__all__ = ["RESAVE", "rename_parts", "strip_prefixes", "unwrap"]

#: What helps against everything that is not plain tensors by name.
RESAVE = "save the weights alone: torch.save(network.state_dict(), FILE), or as safetensors"

_EMA_KEYS = ("state_dict_ema", "model_ema", "ema")
_PLAIN_KEYS = ("state_dict", "model", "net", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "model.")
#: Containers within containers: no published checkpoint needs more than two.
_DEEPEST = 4
#: Characters; networks with ten levels of modules have names of a hundred.
_LONGEST_NAME = 500


def unwrap(path: Path, content: object) -> tuple[dict[str, object], list[str]]:
    """Return the weights by name that a checkpoint's content holds, and the rules applied.

    Raises:
        CheckpointError: It holds none where the rules look.
    """
    rules: list[str] = []
    for _ in range(_DEEPEST):
        if isinstance(content, nn.Module):
            with foreign_code(f"checkpoint {path}: its network gives no state", raising=CheckpointError):
                content = content.state_dict()
            rules.append("module")
            continue
        if isinstance(content, list | tuple) and content:
            content = content[-1]
            rules.append("list:last")
            continue
        if not _is_named(content):
            break
        wrapper = next((key for key in (*_EMA_KEYS, *_PLAIN_KEYS) if _is_container(content.get(key))), None)
        if wrapper is None:
            if any(isinstance(value, torch.Tensor) for value in content.values()):
                _refuse_odd_names(path, content)
                return dict(content), rules
            break
        content = content[wrapper]
        rules.append(f"key:{wrapper}")
    found = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        keys = ", ".join(repr(key)[:80] for key in list(content)[:8])
        found = f"keys {keys}" if content else "an empty dict"
    raise CheckpointError(
        f"checkpoint {path} holds no weights" + (f" (after {', '.join(rules)})" if rules else ""),
        expected=f"tensors by name, bare or under one of {', '.join((*_EMA_KEYS, *_PLAIN_KEYS))}",
        found=found,
        fix=RESAVE,
    )


def _refuse_odd_names(path: Path, names: Iterable[str]) -> None:
    """Refuse names that no module has and that would flood a terminal, or steer it."""
    odd = next((name for name in names if len(name) > _LONGEST_NAME or not name.isprintable()), None)
    if odd is not None:
        raise CheckpointError(
            f"checkpoint {path} has a tensor name that is no text of at most {_LONGEST_NAME} characters",
            expected="names of modules and their parameters",
            found=f"{odd[:80]!r}, {len(odd)} characters",
            fix=RESAVE,
        )


def _is_named(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_container(value: object) -> bool:
    return isinstance(value, nn.Module) or (isinstance(value, Mapping | list | tuple) and bool(value))


def strip_prefixes(values: dict[str, object], names: set[str]) -> list[str]:
    """Take wrappers' prefixes off all names, in place."""
    rules: list[str] = []
    if "n_averaged" in values and all(key.startswith("module.") or key == "n_averaged" for key in values):
        del values["n_averaged"]
        rules.append("drop:n_averaged")
    while prefix := next((p for p in _PREFIXES if _all_carry(values, p) and not _all_carry(names, p)), None):
        bare = {key.removeprefix(prefix): value for key, value in values.items()}
        values.clear()
        values.update(bare)
        rules.append(f"prefix:{prefix}")
    return rules


def _all_carry(names: Iterable[str], prefix: str) -> bool:
    found = list(names)
    return bool(found) and all(name.startswith(prefix) for name in found)


def rename_parts(values: dict[str, object], aliases: Sequence[tuple[str, str]]) -> list[str]:
    """Write names as the network does, in place."""
    rules: list[str] = []
    for old, new in aliases:
        renamed = {".".join(new if part == old else part for part in key.split(".")): key for key in values}
        if all(key == name for name, key in renamed.items()) or len(renamed) != len(values):
            continue
        current = dict(values)
        values.clear()
        values.update({name: current[key] for name, key in renamed.items()})
        rules.append(f"rename:{old}")
    return rules
