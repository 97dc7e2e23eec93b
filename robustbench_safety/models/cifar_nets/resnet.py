"""ResNets for 32x32 images with parameter-free shortcuts (He et al. 2016, section 4.2, option A).

Tensor names as in akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CifarResNet"]


class _Block(nn.Module):
    """Two 3x3 convolutions beside an identity, subsampled and zero-padded where the shape changes."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self._stride = stride
        self._padding = (n_out - n_in) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        shortcut = x[:, :, :: self._stride, :: self._stride]
        if self._padding:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self._padding, self._padding))
        return functional.relu(out + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """ResNet of ``depth`` = 6n + 2 layers: three stages of n blocks with 16, 32 and 64 channels.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, *, depth: int, n_classes: int) -> None:
        super().__init__()
        n_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, n_blocks=n_blocks, stride=1)
        self.layer2 = _stage(16, 32, n_blocks=n_blocks, stride=2)
        self.layer3 = _stage(32, 64, n_blocks=n_blocks, stride=2)
        self.linear = nn.Linear(64, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of normalised images [N, 3, H, W]."""
        x = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(n_in: int, n_out: int, *, n_blocks: int, stride: int) -> nn.Sequential:
    first = _Block(n_in, n_out, stride=stride)
    return nn.Sequential(first, *(_Block(n_out, n_out, stride=1) for _ in range(n_blocks - 1)))
