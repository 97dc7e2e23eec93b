"""Zoom blur: the mean of an image and of enlargements of its middle."""

from __future__ import annotations

import math

import numpy as np
import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["clipped_zoom", "zoom_blur"]


def zoom_blur(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Average the image and its zooms, in float32 as the authors do; ``parameters`` is (stop, step).

    The first zoom is 1, so that the clean image counts twice: a slip of the authors that the files hold.
    """
    stop, step = parameters
    # NumPy's arange and no other: rounding decides whether the stop itself is among the zooms.
    factors = np.arange(1, stop, step).tolist()
    # The batch goes last, as channels of one image: then whole runs of memory are moved, which for 85 images
    # of 32 pixels is two to three times faster.
    n, side, _, channels = images.shape
    clean = to_unit(images.permute(1, 2, 0, 3).reshape(1, side, side, -1), torch.float32)
    total = torch.zeros_like(clean)
    for factor in factors:
        total.add_(clipped_zoom(clean, factor))
    blurred = to_bytes(divide(total.add_(clean), len(factors) + 1.0))
    return blurred.view(side, side, n, channels).permute(2, 0, 1, 3).contiguous()


def clipped_zoom(values: torch.Tensor, factor: float) -> torch.Tensor:
    """Enlarge the middle of ``values`` until it fills the image again, with linear interpolation.

    As ``scipy.ndimage.zoom(order=1)`` does it: the corners of the crop become the corners of the enlargement,
    of which the middle is kept.

    Args:
        values: Floats [N, S, S] or [N, S, S, C].
        factor: At least 1.

    Returns:
        A tensor of the same shape, dtype and device.
    """
    if factor == 1:
        return values
    side = values.shape[1]
    crop = math.ceil(side / factor)
    start = (side - crop) // 2
    enlarged = round(crop * factor)
    trim = (enlarged - side) // 2
    place = np.arange(trim, trim + side) * ((crop - 1) / (enlarged - 1))
    # Rounding can put the last place beyond the last pixel, and what lies there is black for SciPy.
    inside = torch.from_numpy(place <= crop - 1)
    low = np.minimum(place.astype(np.int64), crop - 1)
    before = torch.from_numpy(start + low).to(values.device)
    after = (before + 1).clamp_(max=start + crop - 1)
    share = torch.from_numpy(place - low).to(values)
    shape = values.shape
    for axis in (1, 2):
        first, second = values.index_select(axis, before), values.index_select(axis, after)
        # A share for every value of a row: one that holds for the three of a pixel takes ten times longer.
        each = share.view(side, 1) if axis == 1 else share.repeat_interleave(shape[3:].numel())
        values = torch.lerp(first.flatten(2), second.flatten(2), each).view(shape)
    if not inside.all():
        values[:, ~inside] = 0.0
        values[:, :, ~inside] = 0.0
    return values
