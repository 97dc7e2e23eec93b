"""Sequences of noise: the clean image, then frames that are disturbed each on its own.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device. The authors add Gaussian noise in float32
here; the level that comes out has the same law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from robustbench_safety.corruptions import noise
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["gaussian_noise", "shot_noise", "speckle_noise"]

Noise = Callable[[torch.Tensor, Parameters, Draws], torch.Tensor]


def gaussian_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then the clean images with fresh N(0, sigma); ``parameters`` is (sigma,)."""
    return _disturbed(noise.gaussian_noise, images, parameters, n_frames, draws)


def shot_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then fresh Poisson(x * photons) / photons; ``parameters`` is (photons,)."""
    return _disturbed(noise.shot_noise, images, parameters, n_frames, draws)


def speckle_noise(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield the clean images, then fresh x + x * N(0, sigma); ``parameters`` is (sigma,)."""
    return _disturbed(noise.speckle_noise, images, parameters, n_frames, draws)


def _disturbed(
    make: Noise, images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    yield images
    for _ in range(1, n_frames):
        yield make(images, parameters, draws)
