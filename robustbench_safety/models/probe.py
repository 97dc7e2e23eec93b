"""Ask a network how many classes it has, by showing it one image."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_safety.errors import ModelError
from robustbench_safety.models.foreign import foreign_code

__all__ = ["count_outputs"]

#: Sides tried for a network that names no input size: CIFAR's and ImageNet's.
_SIDES = (32, 224)


def count_outputs(network: nn.Module, *, input_size: tuple[int, int] | None, name: str) -> int:
    """Return the number of classes K that the network gives logits for.

    Args:
        network: In evaluation mode; takes float32 [N, 3, H, W] in [0, 1].
        input_size: Height and width it takes; None where it names none.
        name: The model's name, for errors.

    Raises:
        ModelError: It does not take such an image, or does not return float logits [N, K].
    """
    sizes = [input_size] if input_size is not None else [(side, side) for side in _SIDES]
    for size in sizes[:-1]:
        try:
            return _count(network, size, name)
        except ModelError:
            continue
    return _count(network, sizes[-1], name)


def _count(network: nn.Module, size: tuple[int, int], name: str) -> int:
    image = torch.full((1, 3, *size), 0.5)
    what = f"{name} cannot be run on one float32 image of {size[0]}x{size[1]} pixels"
    # Not inference_mode: a buffer that the network makes on its first call must stay usable in attacks.
    with torch.no_grad(), foreign_code(what, fix="correct input_size in its preprocessing, or the network"):
        logits: object = network(image)
    if not isinstance(logits, torch.Tensor):
        raise _not_logits(name, found=f"a {type(logits).__name__}")
    if logits.ndim != 2 or logits.shape[0] != 1 or not logits.is_floating_point():
        raise _not_logits(name, found=f"{str(logits.dtype).removeprefix('torch.')} {list(logits.shape)}")
    return int(logits.shape[1])


def _not_logits(name: str, *, found: str) -> ModelError:
    return ModelError(
        f"{name} does not return logits",
        expected="one float tensor [1, classes] for one image",
        found=found,
        fix="return the logits alone from the network's forward",
    )
