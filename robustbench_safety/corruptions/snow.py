"""Snow: streaks of flakes in front of an image that grows paler."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.motion import motion_blur_layer
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.corruptions.zoom import clipped_zoom

__all__ = ["flakes", "snow", "whitened", "with_snow"]


def snow(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Draw the image towards white and add flakes that fall, twice: as they are and turned by 180 degrees.

    Args:
        images: uint8 [N, H, W, 3].
        parameters: Mean and deviation of the flakes, their zoom and threshold, radius and sigma in pixels of
            their trail, share of the image's own colours.
        draws: H x W normal draws an image, then one for the angle of the trail.

    Returns:
        Same shape and device.
    """
    *layer, radius, sigma, share = parameters
    levels = flakes(images.shape[1:3], layer, draws)
    angles = draws.random((1,)).squeeze(1).mul_(90.0).sub_(135.0)
    return with_snow(whitened(images, share), motion_blur_layer(levels, radius, sigma, angles))


def flakes(shape: Sequence[int], parameters: Sequence[float], draws: Draws) -> torch.Tensor:
    """Return flakes before they fall: whole grey levels in float32 [N, H, W].

    ``shape`` is (H, W), ``parameters`` mean and deviation of the draws, zoom and threshold.
    """
    mean, deviation, zoom, threshold = parameters
    layer = clipped_zoom(draws.normal(shape).mul_(deviation).add_(mean), zoom)
    layer = layer.masked_fill(layer < threshold, 0.0).clamp_(0.0, 1.0).mul_(255.0)
    # 8 bits, because the authors' trails are made of a PNG.
    return layer.float().trunc_()


def whitened(images: torch.Tensor, share: float) -> torch.Tensor:
    """Mix ``share`` of the image with the lighter of itself and 1.5 grey + 0.5: float32, from 0 to 2."""
    clean = to_unit(images, torch.float32)
    red, green, blue = clean.unbind(-1)
    # OpenCV's weights of the three colours.
    grey = (red * 0.299).add_(green * 0.587).add_(blue * 0.114)
    light = torch.maximum(clean, grey.mul_(1.5).add_(0.5).unsqueeze(-1))
    return clean.mul_(share).add_(light.mul_(1 - share))


def with_snow(pale: torch.Tensor, trails: torch.Tensor) -> torch.Tensor:
    """Add ``trails``, levels [N, H, W], to ``pale`` [N, H, W, 3]: as they are and turned by 180 degrees."""
    # In float64, as the authors' code is from here on.
    added = divide(trails.double(), 255.0)
    snowy = pale.double().add_(added.unsqueeze(-1)).add_(added.flip(1, 2).unsqueeze(-1))
    return to_bytes(snowy)
