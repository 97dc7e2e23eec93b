"""``sequence``: the table of the perturbation sequences, and the way from a name to clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch

from robustbench_safety.corruptions import (
    sequences_blur,
    sequences_geometry,
    sequences_noise,
    sequences_weather,
)
from robustbench_safety.corruptions.checks import (
    checked_level,
    checked_name,
    checked_sample_ids,
    checked_seed,
    checked_sized,
    checked_variant,
)
from robustbench_safety.corruptions.draws import Draws, draws_for
from robustbench_safety.corruptions.framing import expected_start, framed, start_problem
from robustbench_safety.corruptions.parts import Images, like, parts, undisturbed
from robustbench_safety.corruptions.sequence_settings import PUBLISHED_SEQUENCES, SEQUENCE_SETTINGS
from robustbench_safety.corruptions.severities import SIDES, Parameters

__all__ = ["SEQUENCES", "CompareRule", "compare_rule", "n_frames", "sequence", "sequence_names"]

CompareRule = Literal["first", "previous"]

#: name -> function of (images, parameters, n_frames, draws), in the order of the paper.
SEQUENCES: Mapping[str, Callable[[torch.Tensor, Parameters, int, Draws], Iterator[torch.Tensor]]] = {
    "gaussian_noise": sequences_noise.gaussian_noise,
    "shot_noise": sequences_noise.shot_noise,
    "motion_blur": sequences_blur.motion_blur,
    "zoom_blur": sequences_blur.zoom_blur,
    "snow": sequences_weather.snow,
    "brightness": sequences_weather.brightness,
    "translate": sequences_geometry.translate,
    "rotate": sequences_geometry.rotate,
    "tilt": sequences_geometry.tilt,
    "scale": sequences_geometry.scale,
    "speckle_noise": sequences_noise.speckle_noise,
    "gaussian_blur": sequences_blur.gaussian_blur,
    "spatter": sequences_weather.spatter,
    "shear": sequences_geometry.shear,
}


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
        images: uint8 [N, H, W, 3], RGB, at least one image: a NumPy array or a tensor on any device. Of the
            variant's size, and beyond it where a frame shows what lies outside (the authors cut those frames
            after moving): "imagenet" takes photographs whose shorter side is 256, cut already to 224 for what
            does not move the picture alone; "inception" takes them in their own size for translate, rotate,
            tilt and shear, of 299 too for all else; "tiny" takes squares of any size from 64 for motion_blur.
        name: One of ``sequence_names(variant)``.
        difficulty: 1, or up to 3 for noise. The harder kinds of the other sequences are the frames of
            difficulty 1 taken in bigger steps: they are a matter of the flip rate.
        seed: Seed of the random sequences.
        variant: Set of parameters: "cifar" makes clips of 32 by 32 pixels, "tiny" of 64, "imagenet" of 224
            and "inception" of 299.
        sample_ids: N ids; by default the index, "00000", "00001" and on.

    Returns:
        uint8 [N, F, side, side, 3] with F = ``n_frames(name, variant)``, same type and device as ``images``.
        Frame 0 of noise and of zoom_blur is the clean image; in translate, rotate, scale and shear it comes
        later; the others hold none.

    Raises:
        MissingDependencyError: A spatter without OpenCV.
        UnknownNameError: No sequence or variant of that name.
        UsageError: Images of another dtype, shape or size; no such difficulty; ids that do not fit.

    Source: Hendrycks and Dietterich, ICLR 2019.

    Example:
        >>> import numpy as np
        >>> white = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
        >>> frames = sequence(white, "translate")
        >>> frames.shape
        (1, 16, 32, 32, 3)
        >>> frames[0, [6, 7, 8], 0, 0, 0].tolist()  # black comes in from the left after frame 7
        [255, 255, 0]
    """
    variant = checked_variant(variant)
    name = checked_name("sequence", name, sequence_names(variant))
    settings = SEQUENCE_SETTINGS[name][variant]
    difficulty = checked_level("difficulty", difficulty, len(settings.difficulties), of=name)
    parameters = settings.difficulties[difficulty - 1]
    start = checked_sized(
        images,
        expected=expected_start(variant, whole=settings.whole),
        problem=lambda height, width: start_problem(height, width, variant, whole=settings.whole),
    )
    ids = checked_sample_ids(sample_ids, len(start))
    seed = checked_seed(seed)
    side = SIDES[variant]
    clips = torch.empty(
        (len(start), settings.n_frames, side, side, 3), dtype=torch.uint8, device=start.device
    )
    with undisturbed(start.device):
        for part in parts(start):
            keys = [("sequence", name, difficulty, key) for key in ids[part]]
            draws = draws_for(seed, keys, start.device)
            given = start[part] if settings.whole else framed(start[part], variant)
            frames = SEQUENCES[name](given, parameters, settings.n_frames, draws)
            for index, frame in enumerate(frames):
                clips[part, index] = framed(frame, variant)
    return like(images, clips)
