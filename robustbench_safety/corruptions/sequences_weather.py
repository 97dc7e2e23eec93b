"""Sequences of weather: light that grows, snow that turns, rain that runs down the lens.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["brightness"]


def brightness(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield brighter and brighter images; ``parameters`` is (middle frame, percent of value a frame).

    The middle frame is not quite the clean image: the way through HSV and back costs some values a level.
    """
    middle, percent = parameters
    hue, saturation, value = rgb_to_hsv(to_unit(images))
    share, value = shades(hue, saturation), value.unsqueeze(-1)
    for frame in range(n_frames):
        # The authors' order of operations: (frame - middle) * 0.015 differs in the last bit.
        added = (frame - middle) * percent / 100.0
        yield to_bytes(share * value.add(added).clamp_(0.0, 1.0))
