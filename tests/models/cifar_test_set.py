"""The CIFAR-10 test set as the shared data hold it, and what a model makes of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn


@cache
def cifar_test_set(shared_data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images uint8 [10000, 3, 32, 32], channels last in memory, and the labels [10000]."""
    sheets = []
    for path in sorted((shared_data / "cifar10" / "test_webp").glob("*.webp")):
        with Image.open(path) as sheet:  # 40 rows of 25 images
            pixels = np.asarray(sheet.convert("RGB")).reshape(40, 32, 25, 32, 3)
        sheets.append(pixels.transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3))
    labels = np.load(shared_data / "cifar10" / "test_labels.npz")["labels"]
    return torch.from_numpy(np.concatenate(sheets)).permute(0, 3, 1, 2), torch.from_numpy(labels).long()


def logits_of(network: nn.Module, images: torch.Tensor, *, batch: int = 64) -> torch.Tensor:
    """Return the logits of uint8 images, as a run takes them: channels last, batch by batch."""
    network = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        batches = (images[start : start + batch] for start in range(0, len(images), batch))
        parts = [network(pixels.float().div_(255)) for pixels in batches]
    return torch.cat(parts)


def count_right(network: nn.Module, shared_data: Path) -> int:
    """Return how many of the 10,000 test images a network gets right."""
    images, labels = cifar_test_set(shared_data)
    return int((logits_of(network, images).argmax(dim=1) == labels).sum())
