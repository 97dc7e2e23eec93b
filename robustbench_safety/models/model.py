"""What a loaded model is, and what a family hands over to make one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from robustbench_safety.records import ModelSpec, Preprocessing

__all__ = ["Built", "Model", "Normalised"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bare network as its family builds it, before a checkpoint goes in."""

    network: nn.Module
    """Takes normalised images and returns logits."""
    preprocessing: Preprocessing
    label_space: str | None
    """Name of the label space it speaks; None where only the user can know."""
    training_data: str | None = None
    code_digest: str | None = None
    """sha256 of the source file, for a network that a user's own code builds."""
    key_aliases: tuple[tuple[str, str], ...] = ()
    """Parts of tensor names as (other spelling in published checkpoints, spelling in this network)."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network that is ready to be scored, with the snapshot of what it is."""

    spec: ModelSpec
    network: nn.Module
    """In evaluation mode, parameters frozen. Float [N, 3, H, W] in [0, 1] -> logits [N, K]."""
    n_classes: int
    """K, the classes of the label space."""
    name: str
    """Shown on the leaderboard unless the caller gives another."""


class Normalised(nn.Module):
    """A network behind its normalisation: takes pixels in [0, 1], so that an attack perturbs pixels.

    The arithmetic is (x - mean) / std, bit for bit, in either memory format, and the format is kept. Where
    mean is 0 and std is 1 there is none. Cost at batch 64 and 32x32 on two cores: 0.05 ms in channels_last,
    0.4 % of ResNet-20.

    Args:
        network: Takes normalised images.
        preprocessing: Gives mean and std of the three channels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))
        self._identity = set(preprocessing.mean) == {0.0} and set(preprocessing.std) == {1.0}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K] of images [N, 3, H, W] in [0, 1]."""
        logits: torch.Tensor = self.network(images if self._identity else self._normalise(images))
        return logits

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        if not channels_last or images.is_contiguous():
            return (images - self.mean) / self.std
        # Broadcast over channels_last, the innermost loop is 3 long (0.24 ms). As rows of W x 3 values
        # against one row of constants it is 96 long: 0.05 ms, the same two roundings for each value.
        n, channels, height, width = images.shape
        rows = images.permute(0, 2, 3, 1).reshape(n * height, width * channels)
        rows = (rows - self.mean.view(-1).repeat(width)).div_(self.std.view(-1).repeat(width))
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2)
