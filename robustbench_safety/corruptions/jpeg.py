"""Through a JPEG file and back, as the published images went."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from PIL import Image

__all__ = ["SAVED_QUALITY", "SavedAs", "each_picture", "jpeg_round_trip"]

#: How corrupted images are kept: as they are (CIFAR-C), or in JPEG files of quality 85 (all the others).
SavedAs = Literal["array", "jpeg85"]
#: Quality of the files of ImageNet-C and Tiny-ImageNet-C.
SAVED_QUALITY = 85


def jpeg_round_trip(images: torch.Tensor, quality: int) -> torch.Tensor:
    """Save ``images``, uint8 [N, H, W, 3], as JPEG by Pillow and load them again, on the CPU.

    Chroma is halved both ways, which is Pillow's default below quality 95. The authors also optimise the code
    tables when they save the corrupted images; that changes the size of a file and none of its pixels. The
    pixels depend on the JPEG library that Pillow was built with, by a few tenths of a grey level on average.
    """

    def save_and_load(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file, formats=("JPEG",))

    return each_picture(images, save_and_load)


def each_picture(images: torch.Tensor, change: Callable[[Image.Image], Image.Image]) -> torch.Tensor:
    """Apply ``change`` to the images one by one, on the CPU."""
    changed = np.empty(images.shape, dtype=np.uint8)
    for row, image in zip(changed, images.cpu().numpy(), strict=True):
        row[:] = change(Image.fromarray(image))
    return torch.from_numpy(changed).to(images.device)
