"""Noise: every value is disturbed on its own.

All functions take images uint8 [N, H, W, 3], the parameters of a severity and one stream an image, and return
uint8 of the same shape on the same device. The draws are made by NumPy, whatever the device.
"""

from __future__ import annotations

import numpy as np
import torch

from robustbench_safety.corruptions.pixels import Streams, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise"]


def gaussian_noise(images: torch.Tensor, parameters: Parameters, streams: Streams) -> torch.Tensor:
    """Add N(0, sigma) to every value; ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    draws = np.empty(images.shape)
    for row, stream in zip(draws, streams, strict=True):
        stream.standard_normal(out=row)
    noise = torch.from_numpy(draws).to(images.device).mul_(sigma)
    return to_bytes(to_unit(images).add_(noise))


def shot_noise(images: torch.Tensor, parameters: Parameters, streams: Streams) -> torch.Tensor:
    """Replace every value x by Poisson(x * photons) / photons; ``parameters`` is (photons,)."""
    (photons,) = parameters
    # The law of the draw depends on the pixel, so the counts are drawn where NumPy is.
    rates = to_unit(images.cpu()).mul_(photons).numpy()
    counts = np.empty(rates.shape)
    for row, rate, stream in zip(counts, rates, streams, strict=True):
        row[:] = stream.poisson(rate)
    return to_bytes(torch.from_numpy(counts / photons)).to(images.device)


def impulse_noise(images: torch.Tensor, parameters: Parameters, streams: Streams) -> torch.Tensor:
    """Set a share of the values to 0 or 255, half of them each; ``parameters`` is (share,).

    Each channel is hit on its own, hence the coloured specks. Follows the "s&p" mode of scikit-image's
    ``random_noise``: a first draw says which values are hit, a second which of them become salt.
    """
    (share,) = parameters
    flipped = np.empty(images.shape, dtype=np.bool_)
    salted = np.empty(images.shape, dtype=np.bool_)
    for flipped_row, salted_row, stream in zip(flipped, salted, streams, strict=True):
        draws = stream.random((2, *flipped_row.shape))
        np.less_equal(draws[0], share, out=flipped_row)
        np.less_equal(draws[1], 0.5, out=salted_row)
    specks = torch.from_numpy(salted).to(images.device).to(torch.uint8).mul_(255)
    return torch.where(torch.from_numpy(flipped).to(images.device), specks, images)
