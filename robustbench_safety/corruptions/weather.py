"""Weather: what the light and the air do to a picture."""

from __future__ import annotations

import torch

from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["brightness"]


def brightness(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Add to the value of HSV and clip it; ``parameters`` is (added,)."""
    (added,) = parameters
    hue, saturation, value = rgb_to_hsv(to_unit(images))
    value = value.add_(added).clamp_(0.0, 1.0)
    return to_bytes(shades(hue, saturation).mul_(value.unsqueeze(-1)))
