"""What the families of exported graphs share: the file, its preprocessing, its batch size, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.models.model import Asked
from robustbench_safety.models.weights.checkpoints import require_checkpoint_file
from robustbench_safety.records import Preprocessing

__all__ = [
    "ends_in_probabilities",
    "graph_path",
    "not_in_evaluation_mode",
    "require_finite",
    "require_preprocessing",
]


def graph_path(asked: Asked, *, family: str) -> Path:
    """Return the path of the file that is asked for: it is looked for beside the model file.

    Raises:
        UsageError: A checkpoint was handed in beside it.
        CheckpointError: There is no such file.
    """
    if asked.checkpoint is not None:
        raise UsageError(
            f"{asked.file.model} takes no checkpoint",
            expected="the exported file alone: it holds its own weights",
            found=str(asked.checkpoint),
            fix="leave the checkpoint out, or export the file again with these weights",
        )
    path = asked.folder / asked.architecture
    if path.is_dir():
        raise CheckpointError(f"{family}:{asked.architecture} is a folder", fix="name the file in it")
    require_checkpoint_file(path)
    return path


def require_preprocessing(
    asked: Asked, *, size: tuple[int, int] | None, carried: Preprocessing | None = None
) -> Preprocessing:
    """Return the preprocessing that is declared; a guessed one would change every score.

    Args:
        asked: Its model file goes before what the graph carries.
        size: Height and width that the graph takes; None where it takes any.
        carried: What the exported file itself declares.

    Raises:
        UsageError: None is declared.
        ModelError: It gives images of another size than the graph takes.
    """
    declared = asked.file.preprocessing or carried
    shown = "null" if size is None else f"[{size[0]}, {size[1]}]"
    if declared is None:
        raise UsageError(
            f"{asked.file.model} declares no preprocessing",
            expected="mean, std and sizes: an exported graph does not say which it was trained with",
            fix=f"give a model file in YAML with the lines `model: {asked.file.model}` and `preprocessing: "
            f"{{input_size: {shown}, resize: null, crop: null, interpolation: bilinear, mean: [0, 0, 0], "
            "std: [1, 1, 1]}`, with the values of its training",
        )
    if size is not None and declared.input_size != size:
        found = declared.input_size
        raise ModelError(
            f"{asked.file.model}: its preprocessing gives images of another size than the graph takes",
            expected=f"input_size: {shown}",
            found="null" if found is None else f"[{found[0]}, {found[1]}]",
            fix="correct input_size in the model file, or export the graph for that size",
        )
    return declared


def require_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights with NaN or infinity; a mask of zeros and -infinity alone is none.

    Raises:
        CheckpointError: A weight is not finite.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
            continue
        if bool(((tensor == 0) | torch.isneginf(tensor)).all()):
            continue  # what is added to attention scores to hide positions
        n_bad = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(
            f"{path}: {name} is not finite",
            expected="finite weights",
            found=f"NaN or infinity in {n_bad} of {tensor.numel()} values",
            fix="the training diverged or the file is damaged: export an earlier checkpoint",
        )


def ends_in_probabilities(asked: Asked) -> ModelError:
    """Return the error for a graph that ends in a softmax while logits are declared."""
    return ModelError(
        f"{asked.file.model} returns probabilities: the last operation of its graph is a softmax",
        expected="logits, since its outputs are not declared to be anything else",
        fix="write `outputs: probabilities` in a model file, or export the network without its softmax",
    )


def not_in_evaluation_mode(asked: Asked, found: str) -> ModelError:
    """Return the error for a graph in which an operation behaves as in training."""
    return ModelError(
        f"{asked.file.model} was exported in training mode",
        expected="a graph whose outputs depend on the image alone",
        found=found,
        fix="call network.eval() before the export",
    )
