"""RGB to HSV and back, in the order of operations of scikit-image, so that truncation meets the same bits."""

from __future__ import annotations

from typing import NamedTuple

import torch

from robustbench_safety.corruptions.pixels import divide

__all__ = ["HSV", "rgb_to_hsv", "shades"]


class HSV(NamedTuple):
    """Hue, saturation and value, each float64 [..., H, W] in [0, 1]."""

    hue: torch.Tensor
    saturation: torch.Tensor
    value: torch.Tensor


def rgb_to_hsv(rgb: torch.Tensor) -> HSV:
    """Convert ``rgb``, float64 [..., H, W, 3] in [0, 1]; grey has hue and saturation 0."""
    red, green, blue = rgb.unbind(-1)
    value = rgb.amax(-1)
    spread = value - rgb.amin(-1)
    grey = spread == 0
    divisor = torch.where(grey, 1.0, spread)
    # Of two equal maxima the later channel decides.
    hue = torch.where(
        blue == value,
        4.0 + (red - green) / divisor,
        torch.where(green == value, 2.0 + (blue - red) / divisor, (green - blue) / divisor),
    )
    hue = torch.remainder(divide(hue, 6.0), 1.0).masked_fill_(grey, 0.0)
    saturation = spread / torch.where(value == 0, 1.0, value)
    return HSV(hue, saturation, value)


def shades(hue: torch.Tensor, saturation: torch.Tensor) -> torch.Tensor:
    """Return each channel's share of the value, [..., H, W, 3] in [0, 1]: rgb = value * share."""
    sector = torch.floor(hue * 6)
    fraction = hue * 6 - sector
    full = torch.ones_like(hue)
    low = 1 - saturation
    falling = 1 - fraction * saturation
    rising = 1 - (1 - fraction) * saturation
    choices = torch.stack((full, low, falling, rising), dim=-1)
    # Rows: sectors of the colour circle from red on; columns: which of the choices red, green and blue take.
    order = torch.tensor(
        [[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]], device=hue.device
    )
    return choices.gather(-1, order[sector.long() % 6])
