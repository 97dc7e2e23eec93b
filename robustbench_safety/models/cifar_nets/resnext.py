"""ResNeXt-29 for 32x32 images (Xie et al. 2017) as the AugMix and PixMix code bases use it.

Tensor names as in third_party/ResNeXt_DenseNet of google-research/augmix.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CifarResNeXt"]

_EXPANSION = 4


class _Bottleneck(nn.Module):
    """1x1 reduction, grouped 3x3, 1x1 expansion (Xie et al. 2017, figure 3c)."""

    def __init__(self, n_in: int, n_base: int, *, cardinality: int, base_width: int, stride: int) -> None:
        super().__init__()
        n_inner = n_base * base_width // 64 * cardinality
        n_out = n_base * _EXPANSION
        self.conv_reduce = nn.Conv2d(n_in, n_inner, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(n_inner)
        self.conv_conv = nn.Conv2d(
            n_inner, n_inner, 3, stride=stride, padding=1, groups=cardinality, bias=False
        )
        self.bn = nn.BatchNorm2d(n_inner)
        self.conv_expand = nn.Conv2d(n_inner, n_out, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(n_out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))
            if stride != 1 or n_in != n_out
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn_reduce(self.conv_reduce(x)), inplace=True)
        out = functional.relu(self.bn(self.conv_conv(out)), inplace=True)
        out = self.bn_expand(self.conv_expand(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(out + shortcut, inplace=True)


class CifarResNeXt(nn.Module):
    """ResNeXt of ``depth`` = 9n + 2 layers: three stages of n bottlenecks with 64, 128 and 256 base channels.

    ``base_width`` is the width of each of the ``cardinality`` paths in the first stage; it doubles twice.

    Source: Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, section 5.3.
    """

    def __init__(self, *, depth: int, cardinality: int, base_width: int, n_classes: int) -> None:
        super().__init__()
        n_blocks = (depth - 2) // 9

        def stage(n_in: int, n_base: int, *, stride: int) -> nn.Sequential:
            def block(n_from: int, stride: int) -> _Bottleneck:
                return _Bottleneck(
                    n_from, n_base, cardinality=cardinality, base_width=base_width, stride=stride
                )

            return nn.Sequential(
                block(n_in, stride), *(block(n_base * _EXPANSION, 1) for _ in range(n_blocks - 1))
            )

        self.conv_1_3x3 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(64)
        self.stage_1 = stage(64, 64, stride=1)
        self.stage_2 = stage(64 * _EXPANSION, 128, stride=2)
        self.stage_3 = stage(128 * _EXPANSION, 256, stride=2)
        self.classifier = nn.Linear(256 * _EXPANSION, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of normalised images [N, 3, 32, 32]."""
        x = functional.relu(self.bn_1(self.conv_1_3x3(images)), inplace=True)
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        logits: torch.Tensor = self.classifier(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
