"""Networks of known weights: the nearest of one picture a class, on 8x8 averages, which needs no training.

A python: model for every label space that the copies need. The reference beside it is NumPy alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from tests.published.photographs import LANDSCAPE, picture

__all__ = [
    "SIDE",
    "NearestPicture",
    "build_10",
    "build_200",
    "build_1000",
    "build_robin",
    "logits_of",
    "seen",
]

SIDE = 32
RESIZE = 36
_CELLS = 8
#: Makes the softmax neither flat nor certain, by the number of classes.
_SHARPNESS = {10: 0.6, 200: 3.0, 1000: 3.0}


class NearestPicture(nn.Module):
    """Logit of a class: minus half the squared distance to its picture, up to what all classes share."""

    def __init__(
        self, label_space: str, pictures: NDArray[np.float64], preprocessing: dict[str, object] | None
    ) -> None:
        super().__init__()
        self.label_space, self.preprocessing = label_space, preprocessing
        self.pool = nn.AdaptiveAvgPool2d(_CELLS)
        self.linear = nn.Linear(pictures.shape[1], len(pictures))
        sharpness = _SHARPNESS[len(pictures)]
        self.linear.weight.data = torch.from_numpy(sharpness * pictures).float()
        self.linear.bias.data = torch.from_numpy(-sharpness * (pictures**2).sum(axis=1) / 2).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of images [N, 3, H, W] in [0, 1]; H and W are multiples of 8."""
        logits: torch.Tensor = self.linear(self.pool(images).flatten(1))
        return logits


def seen(pixels: NDArray[np.uint8], *, resize: int = RESIZE) -> NDArray[np.uint8]:
    """Return what is shown of a picture: its shorter side resized, and of that the middle 32x32.

    The network for ImageNet takes the middle of 36; clips and sets for CIFAR are resized to 32.
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    size = (resize * width // shorter, resize * height // shorter)
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    top, left = round((small.shape[0] - SIDE) / 2), round((small.shape[1] - SIDE) / 2)
    return small[top : top + SIDE, left : left + SIDE]


def _averages(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the averages of 8x8 cells of images [N, H, W, 3], channel by channel: [N, 192]."""
    n, height, width, _ = images.shape
    cells = images.reshape(n, _CELLS, height // _CELLS, _CELLS, width // _CELLS, 3).astype(np.float64) / 255
    out: NDArray[np.float64] = cells.mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(n, -1)
    return out


@cache
def _pictures(n_classes: int) -> NDArray[np.float64]:
    if n_classes == 1000:
        shown = [seen(picture(index, size=LANDSCAPE)) for index in range(n_classes)]
    else:
        side = SIDE if n_classes == 10 else 64
        shown = [picture(index, size=(side, side)) for index in range(n_classes)]
    return _averages(np.stack(shown))


def logits_of(images: NDArray[np.uint8], n_classes: int) -> NDArray[np.float64]:
    """Return the logits [N, K] of images uint8 [N, H, W, 3] as the network is shown them, by NumPy alone."""
    pictures = _pictures(n_classes)
    products = _averages(images) @ pictures.T
    out: NDArray[np.float64] = _SHARPNESS[n_classes] * (products - (pictures**2).sum(axis=1) / 2)
    return out


def _preprocessing(**change: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "input_size": [SIDE, SIDE],
        "resize": None,
        "crop": None,
        "interpolation": "bilinear",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    return fields | change


def build_1000() -> nn.Module:
    return NearestPicture("imagenet-1k", _pictures(1000), _preprocessing(resize=RESIZE, crop="center"))


def build_200() -> nn.Module:
    return NearestPicture("tiny-imagenet", _pictures(200), None)


def build_10() -> nn.Module:
    return NearestPicture("cifar-10", _pictures(10), _preprocessing())


def build_robin() -> nn.Module:
    """Return a network with a head of its own for the ten classes of ROBIN."""
    shown = [seen(picture(300 + index, size=(44, 56))) for index in range(10)]
    return NearestPicture("robin", _averages(np.stack(shown)), _preprocessing(resize=RESIZE, crop="center"))
