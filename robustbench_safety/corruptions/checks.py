"""What ``corrupt`` and ``sequence`` accept; everything else is refused, never converted in silence."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set, Sized
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.jpeg import SavedAs
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.corruptions.severities_bar import SEVERITIES_BAR
from robustbench_safety.errors import UnknownNameError, UsageError

__all__ = [
    "checked_folder",
    "checked_images",
    "checked_level",
    "checked_name",
    "checked_sample_ids",
    "checked_saving",
    "checked_seed",
    "checked_sized",
    "checked_variant",
    "size_advice",
]


def checked_variant(variant: str) -> str:
    """Return ``variant`` if there are parameters of that name."""
    return checked_name("corruption variant", variant, SIDES)


def checked_name(kind: str, name: str, known: Collection[str]) -> str:
    """Return ``name`` as plain text if it is one of the ``known`` names of this ``kind``."""
    if not isinstance(name, str):
        raise UsageError(f"name of a {kind}", expected="text", found=repr(name))
    if name not in known:
        if kind == "corruption" and (variants := {**SEVERITIES, **SEVERITIES_BAR}.get(str(name))):
            raise UnknownNameError(
                f"corruption {str(name)!r} is not made at this size",
                expected=f"variant {' or '.join(variants)}, which has it",
            )
        raise UnknownNameError.among(kind, name, known)
    # NumPy's text type prints otherwise than Python's and would give another stream.
    return str(name)


def checked_level(argument: str, level: int, highest: int, *, of: str) -> int:
    """Return ``level`` as a plain int if it is a whole number from 1 to ``highest``."""
    number = _whole(argument, level)
    if not 1 <= number <= highest:
        allowed = f"a whole number from 1 to {highest}" if highest > 1 else "1, the only one there is"
        raise UsageError(f"{argument} of {of}", expected=allowed, found=str(number))
    return number


def checked_seed(seed: int) -> int:
    """Return ``seed`` as a plain int."""
    return _whole("seed", seed)


def checked_saving(saved_as: str) -> str:
    """Return ``saved_as`` if it is a way to keep corrupted images."""
    return checked_name("way of saving", saved_as, get_args(SavedAs))


def checked_images(images: NDArray[np.uint8] | torch.Tensor, variant: str) -> torch.Tensor:
    """Return ``images`` as a tensor uint8 [N, H, W, 3] of the variant's size, on their device."""
    side = SIDES[variant]
    return checked_sized(
        images,
        expected=f"shape [N, {side}, {side}, 3] for variant {variant!r}",
        problem=lambda height, width: (
            "" if (height, width) == (side, side) else size_advice(height, width, "corruption")
        ),
    )


def size_advice(height: int, width: int, makes: str) -> str:
    """Say what to do about images of a size that is not the variant's; ``makes`` is what parameters make."""
    of_this_size = [variant for variant, side in SIDES.items() if (height, width) == (side, side)]
    others = f"parameters of another size make another {makes}"
    if of_this_size:
        return f"choose variant {of_this_size[0]!r}, which is of this size: {others}"
    return f"no variant is of this size, and {others}: crop or resize the images first"


def checked_sized(
    images: NDArray[np.uint8] | torch.Tensor, *, expected: str, problem: Callable[[int, int], str]
) -> torch.Tensor:
    """Return ``images`` as a tensor uint8 [N, H, W, 3] on the device where they are.

    Args:
        images: What was given.
        expected: Shape that is asked for.
        problem: From height and width to what to do about them, or to nothing if they are right.
    """
    if not isinstance(images, np.ndarray | torch.Tensor):
        raise UsageError(
            "images", expected="a NumPy array or a torch tensor", found=f"a {type(images).__name__}"
        )
    if found := _without_plain_pixels(images):
        raise UsageError("images", expected="an array or tensor that holds every pixel", found=found)
    if images.dtype != (torch.uint8 if isinstance(images, torch.Tensor) else np.uint8):
        raise UsageError(
            "images",
            expected="uint8 values from 0 to 255",
            found=str(images.dtype),
            fix="corrupt the stored 8-bit images, before any scaling or normalisation",
        )
    shape = tuple(images.shape)
    if advice := _shape_problem(shape) or problem(*shape[1:3]):
        raise UsageError("images", expected=expected, found=str(shape), fix=advice)
    if isinstance(images, torch.Tensor):
        return images
    # torch shares memory with contiguous writable arrays only; a read-only memory map is copied.
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def checked_sample_ids(sample_ids: Sequence[str] | None, n_samples: int) -> list[str]:
    """Return one id an image as plain text; by default the index, "00000" and on."""
    if sample_ids is None:
        return [f"{index:05d}" for index in range(n_samples)]
    found = ""
    # A single text is a sequence of texts too. A set has an order that changes from process to process.
    if isinstance(sample_ids, str):
        found = "a single text"
    elif isinstance(sample_ids, Set | Mapping) or not (
        isinstance(sample_ids, Sized) and isinstance(sample_ids, Iterable)
    ):
        found = f"a {type(sample_ids).__name__}"
    elif not all(isinstance(sample_id, str) for sample_id in sample_ids):
        found = "ids of another type"
    if found:
        raise UsageError("sample_ids", expected="a sequence of text, one an image", found=found)
    if len(sample_ids) != n_samples:
        raise UsageError("sample_ids", expected=f"{n_samples}, one an image", found=str(len(sample_ids)))
    # NumPy's text type prints otherwise than Python's and would give another stream.
    return [str(sample_id) for sample_id in sample_ids]


def checked_folder(argument: str, folder: Path | str | None) -> Path | None:
    """Return ``folder`` as a path, or None if none is named."""
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike):
        raise UsageError(argument, expected="a folder", found=repr(folder))
    return Path(folder)


def _whole(argument: str, value: int) -> int:
    # NumPy's integers print otherwise than Python's and would give another stream.
    if isinstance(value, bool) or getattr(value, "dtype", None) in (np.dtype(bool), torch.bool):
        raise UsageError(argument, expected="a whole number", found=str(value))
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(argument, expected="a whole number", found=repr(value)) from None


def _without_plain_pixels(images: NDArray[np.uint8] | torch.Tensor) -> str:
    """Say what ``images`` is if some of its pixels are nowhere in memory, or nothing if all are."""
    if isinstance(images, np.ma.MaskedArray):
        return "a masked array"
    if isinstance(images, np.ndarray):
        return ""
    if images.is_meta:
        return "a meta tensor, which holds none"
    if images.is_nested or images.layout != torch.strided:
        return f"a {'nested' if images.is_nested else 'sparse'} tensor"
    return ""


def _shape_problem(shape: tuple[int, ...]) -> str:
    """Say what to do about ``shape`` if it is not [N, H, W, 3], whatever the size."""
    if len(shape) != 4:
        if len(shape) == 3 and shape[-1] == 3:
            return "add the batch axis: images[None]"
        return "give a batch of RGB images with the channels last"
    if shape[0] == 0:
        return "give at least one image"
    if shape[-1] != 3:
        if shape[1] == 3:
            return "move the channels to the end: images.transpose(0, 2, 3, 1), or permute for a tensor"
        return "convert grey images and images with transparency to RGB"
    return ""
