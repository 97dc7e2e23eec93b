"""A network of known weights: the nearest class mean on 8x8 averages, which needs no training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from robustbench_safety.data.builtin import DigitsReader


class NearestMean(nn.Module):
    """Logit of a class: minus half the squared distance to its mean, up to what all classes share."""

    label_space = "digits"

    def __init__(self) -> None:
        super().__init__()
        reader = DigitsReader("train")
        everything = np.arange(len(reader.labels))
        images = reader.block(everything, reader.stored(everything)).astype(np.float64) / 255
        small = (
            images.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(len(images), -1)
        )
        means = np.stack([small[reader.labels == label].mean(axis=0) for label in range(10)])
        self.pool = nn.AvgPool2d(4)
        self.linear = nn.Linear(192, 10)
        self.linear.weight.data = torch.from_numpy(means).float()
        self.linear.bias.data = torch.from_numpy(-(means**2).sum(axis=1) / 2).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, 10] of images [N, 3, 32, 32] in [0, 1]."""
        logits: torch.Tensor = self.linear(self.pool(images).flatten(1))
        return logits


def build() -> nn.Module:
    return NearestMean()
