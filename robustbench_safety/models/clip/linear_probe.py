"""Linear probes: a linear classifier on image features, from a file of its own."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.weights.checkpoints import read_checkpoint
from robustbench_safety.models.weights.strict import load_strictly
from robustbench_safety.models.weights.unwrapping import RESAVE
from robustbench_safety.records import CheckpointInfo

__all__ = ["read_probe"]

_NAMES = ("weight", "bias")


def read_probe(
    path: Path, *, outputs: int, width: int, model: str, trust_pickle: bool = False
) -> tuple[nn.Linear, CheckpointInfo]:
    """Read the weight [K, D] and the bias [K], which may be missing, of a linear classifier.

    They are called ``weight`` and ``bias``, bare or under one common prefix, which is recorded among the
    rules (``prefix:fc.``).

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.
        outputs: K, the classes that it must have.
        width: D, the length of the features.
        model: The model's name, for errors.
        trust_pickle: Whether a pickle that needs code to be run is unpickled.

    Raises:
        CheckpointError: The file cannot be read safely, or is no such classifier.
    """
    values, info = read_checkpoint(path, names=_NAMES, trust_pickle=trust_pickle)
    prefix = _common_prefix(values)
    named = {key.removeprefix(prefix): value for key, value in values.items()}
    if not {"weight"} <= named.keys() <= set(_NAMES):
        raise CheckpointError(
            f"probe {path} is no linear classifier",
            expected="a weight and perhaps a bias, bare or under one common prefix",
            found=f"{len(values)} entries, {', '.join(list(values)[:4])}{', ...' if len(values) > 4 else ''}",
            fix=RESAVE,
        )
    wanted = {"weight": [outputs, width], "bias": [outputs]}
    shapes = {key: list(getattr(value, "shape", ())) for key, value in named.items()}
    if any(shape != wanted[key] for key, shape in shapes.items()):
        raise CheckpointError(
            f"probe {path} does not fit {model}",
            expected=f"weight {wanted['weight']}: classes of the label space, length of the features",
            found=", ".join(f"{key} {shape}" for key, shape in sorted(shapes.items(), reverse=True)),
            fix="declare the label space that it was trained for, or name the tower that it was trained on",
        )
    head = nn.Linear(width, outputs, bias="bias" in named)
    rules = load_strictly(head, named, source=f"probe {path}", model=model)
    found = [f"prefix:{prefix}"] if prefix else []
    return head, info.model_copy(update={"unwrapped": (*info.unwrapped, *found, *rules)})


def _common_prefix(values: dict[str, object]) -> str:
    """Return the prefix, with its dot, of all names; empty where they have none in common."""
    prefixes = {key.rpartition(".")[0] for key in values}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return f"{prefix}." if prefix else ""
