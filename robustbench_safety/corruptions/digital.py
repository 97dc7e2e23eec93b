"""Digital: what cameras and files do to a picture."""

from __future__ import annotations

import torch
from PIL import Image

from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.jpeg import each_picture, jpeg_round_trip
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["contrast", "jpeg_compression", "pixelate", "saturate"]


def contrast(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Draw every channel towards its mean over the image; ``parameters`` is (factor,)."""
    (factor,) = parameters
    n, height, width, channels = images.shape
    # NumPy's mean, whatever the device: it adds pixel after pixel, and the last bit of the sum decides where
    # the result meets a whole grey level. The exact mean is 0.08 levels off the golden value of the tests.
    # A running sum adds in the same order, six times as fast.
    values = to_unit(images.cpu()).reshape(n, height * width, channels)
    mean = divide(values.cumsum(1)[:, -1, :, None], height * width)
    # A channel of an image has 256 levels, each of which becomes one other.
    levels = to_unit(torch.arange(256, dtype=torch.uint8)).expand(n, channels, -1)
    becomes = to_bytes((levels - mean).mul_(factor).add_(mean)).to(images.device)
    first = torch.arange(0, n * channels * 256, 256, dtype=torch.int32, device=images.device)
    entries = images.to(torch.int32).add_(first.view(n, 1, 1, channels))
    return becomes.view(-1).index_select(0, entries.reshape(-1)).view(images.shape)


def saturate(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Stretch and shift the saturation of HSV and clip it; ``parameters`` is (factor, added).

    Grey, which has no hue, turns red where something is added: hue 0 is red.
    """
    factor, added = parameters
    hue, saturation, value = rgb_to_hsv(to_unit(images))
    saturation = saturation.mul_(factor).add_(added).clamp_(0.0, 1.0)
    return to_bytes(shades(hue, saturation).mul_(value.unsqueeze(-1)))


def pixelate(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Shrink and enlarge with Pillow's box filter; ``parameters`` is (share of the side,)."""
    (share,) = parameters
    side = images.shape[1]
    # int() and no round(): 0.9 of 32 pixels is 28.
    small = int(side * share)

    def shrink_and_enlarge(image: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return image.resize((small, small), box).resize((side, side), box)

    return each_picture(images, shrink_and_enlarge)


def jpeg_compression(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Save as JPEG by Pillow and load again; ``parameters`` is (quality,)."""
    (quality,) = parameters
    return jpeg_round_trip(images, int(quality))
