"""Perturbation sequences: one image becomes a short clip in which only a nuisance moves.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["brightness", "gaussian_noise", "rotate", "translate"]


def gaussian_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then the clean images with fresh N(0, sigma); ``parameters`` is (sigma,).

    In float32, as the authors' torch code is.
    """
    (sigma,) = parameters
    clean = to_unit(images, torch.float32)
    yield images
    for _ in range(1, n_frames):
        yield to_bytes(draws.normal(images.shape[1:], dtype=torch.float32).mul_(sigma).add_(clean))


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


def translate(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images that move right by a pixel a frame, black coming in; ``parameters`` is (middle frame,)."""
    (middle,) = parameters
    width = images.shape[2]
    for frame in range(n_frames):
        shift = frame - int(middle)
        moved = torch.zeros_like(images)
        moved[:, :, max(shift, 0) : width + min(shift, 0)] = images[
            :, :, max(-shift, 0) : width - max(shift, 0)
        ]
        yield moved


def rotate(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images that turn clockwise by a degree a frame; ``parameters`` is (middle frame,).

    Bilinear about the middle of the image and truncated, black coming in, as Pillow does it. (The torchvision
    of 2018, through which the authors called Pillow, is recalled to have set the centre half a pixel right of
    and below the middle; unverified, so not copied: docs/traps.md.)
    """
    (middle,) = parameters
    n, height, width, channels = images.shape
    pixels = images.reshape(n, height * width, channels).double()
    for frame in range(n_frames):
        turned = _turn(pixels, height=height, width=width, degrees=frame - middle)
        yield turned.to(torch.uint8).view(images.shape)


def _turn(pixels: torch.Tensor, *, height: int, width: int, degrees: float) -> torch.Tensor:
    """Rotate ``pixels``, float64 [N, height * width, C] in 0..255, clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre_x, centre_y = width * 0.5, height * 0.5
    # Where each pixel of the result comes from; the middle of a pixel is at its index plus a half.
    index = torch.arange(height * width, device=pixels.device)
    x = (index % width).double() + (0.5 - centre_x)
    y = (index // width).double() + (0.5 - centre_y)
    source_x = x * cosine + y * sine + centre_x
    source_y = y * cosine - x * sine + centre_y
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    source_x, source_y = source_x - 0.5, source_y - 0.5
    left, top = source_x.floor(), source_y.floor()

    def between_columns(row: torch.Tensor) -> torch.Tensor:
        """Interpolate along ``row``; outside the image the value at its edge goes on."""
        first = row.clamp(0, height - 1) * width
        start = pixels.index_select(1, (first + left.clamp(0, width - 1)).long())
        end = pixels.index_select(1, (first + (left + 1).clamp(0, width - 1)).long())
        return end.sub_(start).mul_((source_x - left).unsqueeze(-1)).add_(start)

    upper, lower = between_columns(top), between_columns(top + 1)
    turned = lower.sub_(upper).mul_((source_y - top).unsqueeze(-1)).add_(upper)
    return turned.mul_(inside.unsqueeze(-1))
