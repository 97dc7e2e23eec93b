"""Sequences in which the picture moves: translate, rotate, tilt, scale, shear.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.

The authors moved pictures by torchvision's ``affine`` of 2018, whose slips are kept (``warping``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.corruptions.warping import affine, perspective, torchvision_affine

__all__ = ["rotate", "scale", "shear", "tilt", "translate"]


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
    """Yield images that turn clockwise by a degree a frame; ``parameters`` is (middle frame,)."""
    (middle,) = parameters
    height, width = images.shape[1:3]
    for frame in range(n_frames):
        yield affine(images, torchvision_affine(height, width, angle=frame - middle))


def tilt(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images that turn about both their axes before a camera.

    ``parameters`` is (middle frame, degrees a frame).
    """
    middle, degrees = parameters
    height, width = images.shape[1:3]
    for frame in range(n_frames):
        yield perspective(images, _view(math.radians(degrees * (frame - middle)), height, width))


def _view(angle: float, height: int, width: int) -> NDArray[np.float64]:
    """Return the perspective [3, 3] of a picture turned by ``angle`` about both its axes.

    The camera looks from one diagonal away. A slip of the authors that is kept: the picture lies one pixel
    behind the point that it turns about, so the middle frame is a little smaller than the clean image.
    """
    diagonal = math.hypot(width, height)
    cosine, sine = math.cos(angle), math.sin(angle)
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1], [0, 0, 1]])
    about_x = np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]])
    about_y = np.array([[cosine, 0, -sine, 0], [0, 1, 0, 0], [sine, 0, cosine, 0], [0, 0, 0, 1]])
    away = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, diagonal], [0, 0, 0, 1]])
    camera = np.array([[diagonal, 0, width / 2, 0], [0, diagonal, height / 2, 0], [0, 0, 1, 0]])
    view: NDArray[np.float64] = camera @ away @ about_x @ about_y @ centred
    return view


def scale(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images that grow, black around the small ones.

    ``parameters`` is (percent of frame 0, percent added a frame).
    """
    percent, more = parameters
    height, width = images.shape[1:3]
    for frame in range(n_frames):
        grown = (frame * more + percent) / 100.0
        yield affine(images, torchvision_affine(height, width, scale=grown))


def shear(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images whose upper edge moves right against the lower, by a degree a frame.

    ``parameters`` is (middle frame,).
    """
    (middle,) = parameters
    height, width = images.shape[1:3]
    for frame in range(n_frames):
        yield affine(images, torchvision_affine(height, width, shear=frame - middle))
