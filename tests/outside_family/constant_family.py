"""The ``constant`` family: networks that say the same of every image, whatever it shows."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_safety.errors import CheckpointError, UnknownNameError
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import Preprocessing

_CLASSES = {"ten": 10}


class Constant(nn.Module):
    """Returns its bias for every image."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K]."""
        return self.bias.expand(len(images), -1)


def architectures() -> list[str]:
    """Return the names that ``build`` knows."""
    return sorted(_CLASSES)


def build(asked: Asked) -> Built:
    """Build the network without weights."""
    if asked.architecture not in _CLASSES:
        raise UnknownNameError.among("constant architecture", asked.architecture, _CLASSES)
    if asked.pretrained:
        raise CheckpointError("constant has no weights of its own", fix="give --checkpoint FILE")
    preprocessing = Preprocessing(
        input_size=(32, 32), resize=None, crop=None, interpolation="bilinear", mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0))  # fmt: skip
    return Built(
        network=Constant(_CLASSES[asked.architecture]), preprocessing=preprocessing, label_space="digits"
    )
