"""Wide ResNets for 32x32 images (Zagoruyko and Komodakis 2016) as the AugMix and PixMix code bases use them.

Tensor names as in google-research/augmix and andyzoujm/pixmix. Older code bases write ``convShortcut`` for
``conv_shortcut``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["WideResNet"]


class _Block(nn.Module):
    """Pre-activation block; where the width changes, the 1x1 shortcut sees the activated input."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False) if n_in != n_out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = functional.relu(self.bn1(x), inplace=True)
        out = functional.relu(self.bn2(self.conv1(activated)), inplace=True)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(activated)
        total: torch.Tensor = self.conv2(out) + shortcut
        return total


class _Stage(nn.Module):
    """Holds the blocks under the name ``layer``, as the published checkpoints do."""

    def __init__(self, n_in: int, n_out: int, *, n_blocks: int, stride: int) -> None:
        super().__init__()
        first = _Block(n_in, n_out, stride=stride)
        self.layer = nn.Sequential(first, *(_Block(n_out, n_out, stride=1) for _ in range(n_blocks - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    """WRN-depth-widen: three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times ``widen`` channels.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, table 1.
    """

    def __init__(self, *, depth: int, widen: int, n_classes: int) -> None:
        super().__init__()
        n_blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _Stage(16, 16 * widen, n_blocks=n_blocks, stride=1)
        self.block2 = _Stage(16 * widen, 32 * widen, n_blocks=n_blocks, stride=2)
        self.block3 = _Stage(32 * widen, 64 * widen, n_blocks=n_blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of normalised images [N, 3, 32, 32]."""
        x = self.block3(self.block2(self.block1(self.conv1(images))))
        x = functional.relu(self.bn1(x), inplace=True)
        logits: torch.Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
