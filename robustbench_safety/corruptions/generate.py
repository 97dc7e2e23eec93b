"""``corrupt`` and ``sequence``: the tables of what can be made, and the way from a name to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions import blur, digital, noise, sequences, weather
from robustbench_safety.corruptions.checks import (
    checked_images,
    checked_level,
    checked_name,
    checked_sample_ids,
    checked_seed,
    checked_variant,
)
from robustbench_safety.corruptions.draws import Draws, draws_for
from robustbench_safety.corruptions.sequence_settings import PUBLISHED_SEQUENCES, SEQUENCE_SETTINGS
from robustbench_safety.corruptions.severities import SEVERITIES, Parameters

__all__ = [
    "CORRUPTIONS",
    "GENERATOR",
    "GENERATOR_VERSION",
    "SEQUENCES",
    "CompareRule",
    "compare_rule",
    "corrupt",
    "corruption_names",
    "n_frames",
    "sequence",
    "sequence_names",
]

#: Name of what made the pixels; with the version it goes into the data digest of every generated condition.
GENERATOR = "rbs-corruptions"
#: Raised with every change that can move a pixel.
GENERATOR_VERSION = "1"

CompareRule = Literal["first", "previous"]
Images = TypeVar("Images", NDArray[np.uint8], torch.Tensor)

#: name -> function of (images, parameters, draws), in the order of the paper.
CORRUPTIONS: Mapping[str, Callable[[torch.Tensor, Parameters, Draws], torch.Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}

#: name -> function of (images, parameters, n_frames, draws), in the order of the paper.
SEQUENCES: Mapping[str, Callable[[torch.Tensor, Parameters, int, Draws], Iterator[torch.Tensor]]] = {
    "gaussian_noise": sequences.gaussian_noise,
    "brightness": sequences.brightness,
    "translate": sequences.translate,
    "rotate": sequences.rotate,
}

#: Values that are worked on at a time: 85 images of 32 pixels, 2 MB as float64. A bigger batch is made in
#: parts, so that memory beyond the result does not grow with it; 2**20 is slower, by half for blur of 256.
_PART = 2**18


def corruption_names(variant: str = "cifar") -> tuple[str, ...]:
    """Return the corruptions that ``variant`` has parameters for, in the order of the paper."""
    variant = checked_variant(variant)
    return tuple(name for name in CORRUPTIONS if variant in SEVERITIES[name])


def sequence_names(variant: str = "cifar") -> tuple[str, ...]:
    """Return the sequences that ``variant`` has settings for, in the order of the paper."""
    variant = checked_variant(variant)
    return tuple(name for name in SEQUENCES if variant in SEQUENCE_SETTINGS[name])


def n_frames(name: str, variant: str = "cifar") -> int:
    """Return the number of frames of the sequence ``name``."""
    checked_name("sequence", name, sequence_names(variant))
    return SEQUENCE_SETTINGS[name][variant].n_frames


def compare_rule(name: str) -> CompareRule:
    """Return what the flip rate compares a frame of the sequence ``name`` with.

    Frames of noise are independent and are compared with the first, clean one; in all others a motion goes on
    and each frame is compared with the one before. The authors' rule: by the word "noise" in the name.

    Raises:
        UnknownNameError: There is no such sequence.
    """
    return "first" if "noise" in checked_name("sequence", name, PUBLISHED_SEQUENCES) else "previous"


def corrupt(
    images: Images,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    variant: str = "cifar",
    sample_ids: Sequence[str] | None = None,
) -> Images:
    """Return ``images`` with a common corruption.

    An image's result depends on the image, ``seed``, ``name``, ``severity``, ``variant``, its sample id and
    the kind of device alone: no batch size or order can change it. The published files were made without a
    seed, so noise agrees with them in law and not in every value.

    Args:
        images: uint8 [N, H, W, 3], RGB, at least one image: a NumPy array or a tensor on any device.
        name: One of ``corruption_names(variant)``.
        severity: 1 to 5.
        seed: Seed of the random corruptions.
        variant: Set of parameters: "cifar" covers images of 32 by 32 pixels.
        sample_ids: N ids; by default the index, "00000", "00001" and on. Give them whenever the batch is a
            part of a dataset: equal ids get equal noise.

    Returns:
        Same type, shape and device as ``images``; a new array.

    Raises:
        UnknownNameError: No corruption or variant of that name.
        UsageError: Images of another dtype, shape or size; no such severity; ids that do not fit.

    Source: Hendrycks and Dietterich, ICLR 2019.

    Example:
        >>> grey = np.full((1, 32, 32, 3), 100, dtype=np.uint8)
        >>> corrupt(grey, "brightness", 1)[0, 0, 0].tolist()  # 100 + 0.05 * 255, truncated
        [112, 112, 112]
    """
    checked_name("corruption", name, corruption_names(variant))
    rows = SEVERITIES[name][variant]
    severity = checked_level("severity", severity, len(rows), of=name)
    clean = checked_images(images, variant)
    ids = checked_sample_ids(sample_ids, len(clean))
    seed = checked_seed(seed)
    corrupted = torch.empty(clean.shape, dtype=torch.uint8, device=clean.device)
    for part in _parts(clean):
        keys = [("corruption", name, severity, key) for key in ids[part]]
        draws = draws_for(seed, keys, clean.device)
        corrupted[part] = CORRUPTIONS[name](clean[part], rows[severity - 1], draws)
    return _like(images, corrupted)


def sequence(
    images: Images,
    name: str,
    *,
    difficulty: int = 1,
    seed: int = 0,
    variant: str = "cifar",
    sample_ids: Sequence[str] | None = None,
) -> Images:
    """Return a perturbation sequence of every image.

    As in ``corrupt``, an image's frames depend on nothing else in the batch.

    Args:
        images: uint8 [N, H, W, 3], RGB, at least one image: a NumPy array or a tensor on any device.
        name: One of ``sequence_names(variant)``.
        difficulty: 1, or up to 3 for noise. The harder kinds of the other sequences are the frames of
            difficulty 1 taken in bigger steps: they are a matter of the flip rate.
        seed: Seed of the random sequences.
        variant: Set of parameters: "cifar" covers images of 32 by 32 pixels.
        sample_ids: N ids; by default the index, "00000", "00001" and on.

    Returns:
        uint8 [N, F, H, W, 3] with F = ``n_frames(name, variant)``, same type and device as ``images``.
        Frame 0 of noise is the clean image; in the others it lies in the middle.

    Raises:
        UnknownNameError: No sequence or variant of that name.
        UsageError: Images of another dtype, shape or size; no such difficulty; ids that do not fit.

    Source: Hendrycks and Dietterich, ICLR 2019.

    Example:
        >>> white = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
        >>> frames = sequence(white, "translate")
        >>> frames.shape
        (1, 16, 32, 32, 3)
        >>> frames[0, [6, 7, 8], 0, 0, 0].tolist()  # black comes in from the left after frame 7
        [255, 255, 0]
    """
    checked_name("sequence", name, sequence_names(variant))
    settings = SEQUENCE_SETTINGS[name][variant]
    difficulty = checked_level("difficulty", difficulty, len(settings.difficulties), of=name)
    clean = checked_images(images, variant)
    ids = checked_sample_ids(sample_ids, len(clean))
    seed = checked_seed(seed)
    n, *shape = clean.shape
    clips = torch.empty((n, settings.n_frames, *shape), dtype=torch.uint8, device=clean.device)
    for part in _parts(clean):
        keys = [("sequence", name, difficulty, key) for key in ids[part]]
        draws = draws_for(seed, keys, clean.device)
        frames = SEQUENCES[name](clean[part], settings.difficulties[difficulty - 1], settings.n_frames, draws)
        for index, frame in enumerate(frames):
            clips[part, index] = frame
    return _like(images, clips)


def _parts(images: torch.Tensor) -> Iterator[slice]:
    """Yield slices of the batch that hold about ``_PART`` values each."""
    step = max(1, _PART // images[0].numel())
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def _like(images: Images, result: torch.Tensor) -> Images:
    return result if isinstance(images, torch.Tensor) else result.numpy()
