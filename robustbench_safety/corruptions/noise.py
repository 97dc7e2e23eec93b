"""Noise: every value is disturbed on its own.

All functions take images uint8 [N, H, W, 3], the parameters of a severity and draws, and return
uint8 of the same shape on the same device. One uniform draw a value, mapped by the inverse of the law of the
level that comes out, clipped and truncated: see ``laws``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, pdtr

from robustbench_safety.corruptions.draws import WORD_BITS, Draws
from robustbench_safety.corruptions.laws import LEVELS, Law, disturbed, law_of
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]

#: Tables kept, 0.8 MB each: a clip asks for the same one 30 times.
_KEPT = 8
_X = np.arange(LEVELS, dtype=np.float64)[:, None]
#: A value of b levels or less is truncated from less than b + 1.
_BELOW = np.arange(LEVELS, dtype=np.float64)[None, :] + 1


def gaussian_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add N(0, sigma) to every value; ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    return disturbed(images, draws.words(images.shape[1:]), _gaussian_law(sigma, images.device))


def shot_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Replace every value x by Poisson(x * photons) / photons; ``parameters`` is (photons,)."""
    (photons,) = parameters
    return disturbed(images, draws.words(images.shape[1:]), _shot_law(photons, images.device))


def impulse_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Set a share of the values to 0 or 255, half of them each; ``parameters`` is (share,).

    Each channel is hit on its own, hence the coloured specks: the "s&p" mode of scikit-image's
    ``random_noise`` with as much salt as pepper.
    """
    (share,) = parameters
    words = draws.words(images.shape[1:])
    half = round(share / 2 * 2**WORD_BITS)
    # Bytes that are all ones or all zeros set bits without a branch, three times as fast as torch.where.
    salt, dark = (words < half).view(torch.uint8).neg(), (words < 2 * half).view(torch.uint8).neg()
    specked: torch.Tensor = dark.bitwise_not_().bitwise_and_(images).bitwise_or_(salt)
    return specked


def speckle_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add N(0, sigma) times the value itself, so that black stays black; ``parameters`` is (sigma,)."""
    (sigma,) = parameters
    return disturbed(images, draws.words(images.shape[1:]), _speckle_law(sigma, images.device))


@lru_cache(maxsize=_KEPT)
def _gaussian_law(sigma: float, device: torch.device) -> Law:
    return law_of(ndtr((_BELOW - _X) / (255 * sigma)), device)


@lru_cache(maxsize=_KEPT)
def _speckle_law(sigma: float, device: torch.device) -> Law:
    cumulative: NDArray[np.float64] = ndtr((_BELOW - _X) / (np.maximum(_X, 1) * sigma))
    cumulative[0] = 1.0
    return law_of(cumulative, device)


@lru_cache(maxsize=_KEPT)
def _shot_law(photons: float, device: torch.device) -> Law:
    counts = np.arange(int(photons) + 1)
    levels = (np.minimum(counts / photons, 1.0) * 255).astype(np.int64)
    # The largest count that gives b levels or less.
    most = np.searchsorted(levels, np.arange(LEVELS), side="right") - 1
    cumulative: NDArray[np.float64] = pdtr(most[None, :].astype(np.float64), _X / 255 * photons)
    return law_of(cumulative, device)
