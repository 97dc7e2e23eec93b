"""From the picture that the authors started a sequence with to the size of the variant."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from robustbench_safety.corruptions.checks import size_advice
from robustbench_safety.corruptions.severities import SIDES

__all__ = ["expected_start", "framed", "start_problem"]

#: Shorter side of the pictures that ImageNet-P was cut from, in pixels.
_SHORTER = 256
#: Share of each side that is kept for images of 299 pixels.
_CENTRAL = 0.875


def expected_start(variant: str, *, whole: bool) -> str:
    """Say which images a sequence of ``variant`` starts from; ``whole`` where the whole picture is moved."""
    side = SIDES[variant]
    if variant == "imagenet":
        cut = "" if whole else f", or [N, {side}, {side}, 3]"
        return f"shape [N, H, W, 3] with the shorter side {_SHORTER}{cut} for variant {variant!r}"
    if variant == "inception" and whole:
        return f"the photographs in their own size, not cut to {side} pixels, for variant {variant!r}"
    if variant == "inception":
        return f"shape [N, {side}, {side}, 3], or the photographs in their own size, for variant {variant!r}"
    if variant == "tiny" and whole:
        return f"shape [N, H, H, 3] with H at least {side} for variant {variant!r}"
    return f"shape [N, {side}, {side}, 3] for variant {variant!r}"


def start_problem(height: int, width: int, variant: str, *, whole: bool) -> str:
    """Say what to do about images of this size, or nothing if a sequence can start from them."""
    side = SIDES[variant]
    is_framed = (height, width) == (side, side)
    if variant == "imagenet":
        fits = min(height, width) == _SHORTER or (is_framed and not whole)
        advice = f"resize the shorter side to {_SHORTER}: what lies beyond the {side} pixels moves in"
    elif variant == "inception":
        fits = min(height, width) > 1 and not (is_framed and whole)
        advice = "give the photograph as it is: what lies beyond the cut moves in"
    elif variant == "tiny" and whole:
        fits = height == width >= side
        advice = f"cut the image to a square of at least {side} pixels"
    else:
        fits = is_framed
        advice = size_advice(height, width, "sequence")
    return "" if fits else advice


def framed(images: torch.Tensor, variant: str) -> torch.Tensor:
    """Return ``images``, uint8 [N, H, W, 3], cut and resized as the variant's are: [N, side, side, 3]."""
    side, (height, width) = SIDES[variant], images.shape[1:3]
    if (height, width) == (side, side):
        return images
    if variant == "imagenet":
        return _central(images, side, side)
    if variant == "inception":
        images = _central(images, int(height * _CENTRAL), int(width * _CENTRAL))
    resized = [
        np.array(Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BILINEAR))
        for image in images.cpu()
    ]
    return torch.from_numpy(np.stack(resized)).to(images.device)


def _central(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut out the middle; where it falls between two pixels, Python's rounding to even decides."""
    top, left = round((images.shape[1] - height) / 2), round((images.shape[2] - width) / 2)
    return images[:, top : top + height, left : left + width]
