"""Sequences of blur: along a line that turns, towards the middle, and by a Gaussian.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.motion import motion_blur_layer
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.corruptions.warping import affine, torchvision_affine

__all__ = ["gaussian_blur", "motion_blur", "zoom_blur"]


def motion_blur(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images blurred along a line that turns; there is no clean frame.

    ``parameters`` is (radius, sigma, frame of angle 0, degrees a frame), the first two in pixels.
    """
    radius, sigma, level_frame, degrees = parameters
    levels = images.float()
    for frame in range(n_frames):
        angles = torch.full((len(images),), (frame - level_frame) * degrees, dtype=torch.float64)
        yield motion_blur_layer(levels, radius, sigma, angles).to(torch.uint8)


def zoom_blur(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then the mean of all zooms so far.

    In float32, as the authors' torch code is: its last bit decides which flat regions lose a level.
    ``parameters`` is (growth a frame,).
    """
    (growth,) = parameters
    height, width = images.shape[1:3]
    total = to_unit(images, torch.float32)
    yield images
    for frame in range(1, n_frames):
        zoomed = affine(images, torchvision_affine(height, width, scale=1 + growth * frame))
        total += to_unit(zoomed, torch.float32)
        yield to_bytes(divide(total, frame + 1))


def gaussian_blur(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield more and more blurred images; there is no clean frame.

    ``parameters`` is (sigma of frame 0, sigma added a frame, sigmas after which the kernel is cut).
    """
    first, more, truncate = parameters
    clean = to_unit(images)
    for frame in range(n_frames):
        yield to_bytes(gaussian_filter(clean, first + more * frame, truncate=truncate))
