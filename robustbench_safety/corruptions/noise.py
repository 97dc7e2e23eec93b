"""Noise: every value is disturbed on its own.

All functions take images uint8 [N, H, W, 3], the parameters of a severity and draws, and return
uint8 of the same shape on the same device.
"""

from __future__ import annotations

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]


def gaussian_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add N(0, sigma) to every value; ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    noise = draws.normal(images.shape[1:]).mul_(sigma)
    return to_bytes(to_unit(images).add_(noise))


def shot_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Replace every value x by Poisson(x * photons) / photons; ``parameters`` is (photons,)."""
    (photons,) = parameters
    counts = draws.poisson(to_unit(images).mul_(photons))
    return to_bytes(divide(counts, photons))


def impulse_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Set a share of the values to 0 or 255, half of them each; ``parameters`` is (share,).

    Each channel is hit on its own, hence the coloured specks. Follows the "s&p" mode of scikit-image's
    ``random_noise``: a first draw says which values are hit, a second which of them become salt.
    """
    (share,) = parameters
    hit, kind = draws.random((2, *images.shape[1:])).unbind(1)
    # Bytes that are all ones or all zeros choose between two values three times faster than torch.where.
    specks, chosen = (kind <= 0.5).view(torch.uint8).neg(), (hit <= share).view(torch.uint8).neg()
    return specks.bitwise_xor_(images).bitwise_and_(chosen).bitwise_xor_(images)


def speckle_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add N(0, sigma) times the value itself, so that black stays black; ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    clean = to_unit(images)
    noise = draws.normal(images.shape[1:]).mul_(sigma).mul_(clean)
    return to_bytes(noise.add_(clean))
