"""``corrupt``: the table of the corruptions, and the way from a name to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from robustbench_safety.corruptions import (
    bar,
    bar_overlays,
    bar_splines,
    bar_warps,
    blur,
    digital,
    elastic,
    fog,
    frost,
    glass,
    motion,
    noise,
    snow,
    spatter,
    weather,
    zoom,
)
from robustbench_safety.corruptions.checks import (
    checked_folder,
    checked_images,
    checked_level,
    checked_name,
    checked_sample_ids,
    checked_saving,
    checked_seed,
    checked_variant,
)
from robustbench_safety.corruptions.draws import Draws, draws_for
from robustbench_safety.corruptions.jpeg import SAVED_QUALITY, SavedAs, jpeg_round_trip
from robustbench_safety.corruptions.parts import Images, like, parts, undisturbed
from robustbench_safety.corruptions.severities import SEVERITIES, Parameters
from robustbench_safety.corruptions.severities_bar import SEVERITIES_BAR

__all__ = [
    "CORRUPTIONS",
    "CORRUPTIONS_BAR",
    "bar_names",
    "corrupt",
    "corruption_names",
]

#: Made by Pillow image after image: parts of the batch would save no memory, and cost a tenth of the time.
_BY_PICTURE = ("pixelate", "jpeg_compression")

Corruption = Callable[[torch.Tensor, Parameters, Draws], torch.Tensor]

#: name -> function of (images, parameters, draws), in the order of the paper.
CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": glass.glass_blur,
    "motion_blur": motion.motion_blur,
    "zoom_blur": zoom.zoom_blur,
    "snow": snow.snow,
    "frost": frost.frost,
    "fog": fog.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": elastic.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter.spatter,
    "saturate": digital.saturate,
}


#: Those of C-bar, which no mean of the others counts.
CORRUPTIONS_BAR: Mapping[str, Corruption] = {
    "blue_noise_sample": bar.blue_noise_sample,
    "brownish_noise": bar.brownish_noise,
    "caustic_refraction": bar_warps.caustic_refraction,
    "checkerboard_cutout": bar.checkerboard_cutout,
    "circular_motion_blur": bar_splines.circular_motion_blur,
    "cocentric_sine_waves": bar.cocentric_sine_waves,
    "inverse_sparkles": bar.inverse_sparkles,
    "lines": bar_overlays.lines,
    "perlin_noise": bar_overlays.perlin_noise,
    "pinch_and_twirl": bar_warps.pinch_and_twirl,
    "plasma_noise": bar.plasma_noise,
    "ripple": bar_warps.ripple,
    "single_frequency_greyscale": bar.single_frequency_greyscale,
    "sparkles": bar.sparkles,
    "transverse_chromatic_abberation": bar_splines.transverse_chromatic_abberation,
}


def corruption_names(variant: str = "cifar") -> tuple[str, ...]:
    """Return the corruptions that ``variant`` has parameters for, in the order of the paper."""
    variant = checked_variant(variant)
    return tuple(name for name in CORRUPTIONS if variant in SEVERITIES[name])


def bar_names(variant: str = "cifar") -> tuple[str, ...]:
    """Return the corruptions of C-bar that ``variant`` has levels for."""
    variant = checked_variant(variant)
    return tuple(name for name in CORRUPTIONS_BAR if variant in SEVERITIES_BAR[name])


def corrupt(
    images: Images,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    variant: str = "cifar",
    sample_ids: Sequence[str] | None = None,
    saved_as: SavedAs = "array",
    textures: Path | str | None = None,
) -> Images:
    """Return ``images`` with a common corruption.

    An image's result depends on the image, ``seed``, ``name``, ``severity``, ``variant``, its sample id and
    the kind of device alone: no batch size or order can change it. The published files were made without a
    seed, so noise agrees with them in law and not in every value.

    Args:
        images: uint8 [N, H, W, 3], RGB, at least one image: a NumPy array or a tensor on any device.
        name: One of ``corruption_names(variant)`` or of ``bar_names(variant)``.
        severity: 1 to 5.
        seed: Seed of the random corruptions.
        variant: Set of parameters: "cifar" covers images of 32 by 32 pixels.
        sample_ids: N ids; by default the index, "00000", "00001" and on. Give them whenever the batch is a
            part of a dataset: equal ids get equal noise.
        saved_as: "jpeg85" ends with the way through a JPEG file of quality 85, which the published images of
            all sizes but CIFAR's went; "array" leaves it out, as for images that are yet to be saved.
        textures: Folder of the pictures that frost is made with; by default ``frost-textures`` below the
            data root, where `rbs data fetch frost-textures` puts them. The other corruptions need none.

    Returns:
        Same type, shape and device as ``images``; a new array.

    Raises:
        UnknownNameError: No corruption or variant of that name.
        UsageError: Images of another dtype, shape or size; no such severity; ids that do not fit.
        DataError: The pictures of frost are missing, or others.
        MissingDependencyError: Spatter without OpenCV, which the extra ``corruptions`` installs.

    Source: Hendrycks and Dietterich, ICLR 2019.

    Example:
        >>> import numpy as np
        >>> grey = np.full((1, 32, 32, 3), 100, dtype=np.uint8)
        >>> corrupt(grey, "brightness", 1)[0, 0, 0].tolist()  # 100 + 0.05 * 255, truncated
        [112, 112, 112]
    """
    variant = checked_variant(variant)
    name = checked_name("corruption", name, (*corruption_names(variant), *bar_names(variant)))
    rows = (SEVERITIES if name in SEVERITIES else SEVERITIES_BAR)[name][variant]
    severity = checked_level("severity", severity, len(rows), of=name)
    clean = checked_images(images, variant)
    ids = checked_sample_ids(sample_ids, len(clean))
    seed = checked_seed(seed)
    through_jpeg = checked_saving(saved_as) == "jpeg85"
    make = (CORRUPTIONS if name in CORRUPTIONS else CORRUPTIONS_BAR)[name]
    if name == "frost":
        make = partial(frost.frost, textures=checked_folder("textures", textures))

    def made(part: slice) -> torch.Tensor:
        keys = [("corruption", name, severity, key) for key in ids[part]]
        result = make(clean[part], rows[severity - 1], draws_for(seed, keys, clean.device))
        return jpeg_round_trip(result, SAVED_QUALITY) if through_jpeg else result.contiguous()

    first, *others = [slice(None)] if name in _BY_PICTURE else parts(clean)
    with undisturbed(clean.device):
        if not others:
            return like(images, made(first))
        corrupted = torch.empty(clean.shape, dtype=torch.uint8, device=clean.device)
        for part in (first, *others):
            corrupted[part] = made(part)
    return like(images, corrupted)
