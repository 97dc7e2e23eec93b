"""Look at a network by showing it one image: how many outputs it has, and what a pass costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustbench_safety.errors import ModelError
from robustbench_safety.models.foreign import foreign_code

__all__ = ["Seen", "examine", "noise_image"]

#: Sides tried for a network that names no input size: CIFAR's and ImageNet's.
_SIDES = (32, 224)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one image has shown."""

    outputs: int
    """Numbers in a row of what it returns."""
    flops: int | None
    """Of this image; None where none was seen: the network is not made of torch's operations."""
    size: tuple[int, int]
    """Height and width that it took."""


def noise_image(size: tuple[int, int]) -> torch.Tensor:
    """Return one image of uniform noise, always the same: float32 [1, 3, H, W] in [0, 1].

    On a grey one a network without training can return zeros, which tell no layer from another.
    """
    return torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))


def examine(network: nn.Module, *, input_size: tuple[int, int] | None, name: str) -> Seen:
    """Return what a network does with one image.

    Args:
        network: In evaluation mode; takes float32 [N, 3, H, W] in [0, 1].
        input_size: Height and width it takes; None where it names none.
        name: The model's name, for errors.

    Raises:
        ModelError: It does not take such an image, or does not return one float row for it.
    """
    sizes = [input_size] if input_size is not None else [(side, side) for side in _SIDES]
    for size in sizes[:-1]:
        try:
            return _examine(network, size, name)
        except ModelError:
            continue
    return _examine(network, sizes[-1], name)


def _examine(network: nn.Module, size: tuple[int, int], name: str) -> Seen:
    what = f"{name} cannot be run on one float32 image of {size[0]}x{size[1]} pixels"
    counter = FlopCounterMode(display=False)
    # Not inference_mode: a buffer that the network makes on its first call must stay usable in attacks.
    fix = "correct input_size in its preprocessing, or the network"
    with foreign_code(what, fix=fix), _attention_in_sight(), torch.no_grad(), counter:
        logits: object = network(noise_image(size))
    if not isinstance(logits, torch.Tensor):
        raise _not_logits(name, found=f"a {type(logits).__name__}")
    if logits.ndim != 2 or logits.shape[0] != 1 or not logits.is_floating_point():
        raise _not_logits(name, found=f"{str(logits.dtype).removeprefix('torch.')} {list(logits.shape)}")
    return Seen(outputs=int(logits.shape[1]), flops=int(counter.get_total_flops()) or None, size=size)


@contextmanager
def _attention_in_sight() -> Iterator[None]:
    """Keep torch's own attention layers from running as one fused operation, which no counter looks into.

    With it, a third of the multiplications of ViT-B/16 are not seen: 11.3 G of 17.6 G.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _not_logits(name: str, *, found: str) -> ModelError:
    return ModelError(
        f"{name} does not return logits",
        expected="one float tensor [1, classes] for one image",
        found=found,
        fix="return the logits alone from the network's forward",
    )
