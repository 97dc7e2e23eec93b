"""Sequences of noise: the clean image, then frames that are disturbed each on its own.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustbench_safety.corruptions import noise
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["gaussian_noise", "shot_noise", "speckle_noise"]


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


def shot_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then fresh Poisson(x * photons) / photons; ``parameters`` is (photons,)."""
    yield images
    for _ in range(1, n_frames):
        yield noise.shot_noise(images, parameters, draws)


def speckle_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then fresh x + x * N(0, sigma); ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    clean = to_unit(images)
    yield images
    for _ in range(1, n_frames):
        yield to_bytes(draws.normal(images.shape[1:]).mul_(sigma).mul_(clean).add_(clean))
