"""The all-convolutional network (Springenberg et al. 2015) as the AugMix code base uses it.

Tensor names as in models/cifar/allconv.py of google-research/augmix. Two of its habits look like mistakes,
and its weights need both: the 1x1 convolutions pad by 1, so that the last feature map is 10x10, and the 8x8
average pool then sees its upper left part alone.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["AllConvNet"]


class _SigmoidGelu(nn.Module):
    """x * sigmoid(1.702 x), the approximation of GELU (Hendrycks and Gimpel 2016, section 2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(1.702 * x) * x


def _convolution(n_in: int, n_out: int, kernel: int, *, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, kernel, padding=padding), nn.BatchNorm2d(n_out), _SigmoidGelu()]


def _downsample() -> list[nn.Module]:
    return [nn.MaxPool2d(2), nn.Dropout(0.5)]


class AllConvNet(nn.Module):
    """Nine convolutions of 96 and 192 channels, and a linear classifier.

    Source: Springenberg et al., Striving for Simplicity, ICLR workshop 2015, "All-CNN-C"; Hendrycks et al.,
    AugMix, ICLR 2020.
    """

    def __init__(self, *, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 96, 3, padding=1),
            *_convolution(96, 96, 3, padding=1),
            *_convolution(96, 96, 3, padding=1),
            *_downsample(),
            *_convolution(96, 192, 3, padding=1),
            *_convolution(192, 192, 3, padding=1),
            *_convolution(192, 192, 3, padding=1),
            *_downsample(),
            *_convolution(192, 192, 3, padding=0),
            *_convolution(192, 192, 1, padding=1),
            *_convolution(192, 192, 1, padding=1),
            nn.AvgPool2d(8),
        )
        self.classifier = nn.Linear(192, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of normalised images [N, 3, 32, 32]."""
        logits: torch.Tensor = self.classifier(self.features(images).flatten(1))
        return logits
