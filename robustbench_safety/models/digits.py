"""The ``digits`` family: the small network of the demo, for the embedded 32x32 RGB digits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.errors import CheckpointError, UnknownNameError
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import Preprocessing

__all__ = ["DigitsNet", "architectures", "build", "build_network"]

_LABEL_SPACE = "digits"
_N_CLASSES = 10

_PREPROCESSING = Preprocessing(
    input_size=(32, 32),
    resize=None,
    crop=None,
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


class DigitsNet(nn.Module):
    """Four 3x3 convolutions of 16, 32, 64 and 64 channels, three with stride 2, and a linear classifier.

    The digits are 8x8 scans enlarged to 32x32, so nothing is lost by striding at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 16, stride=2),
            *_convolution(16, 32, stride=2),
            *_convolution(32, 64, stride=1),
            *_convolution(64, 64, stride=2),
        )
        self.classifier = nn.Linear(64, _N_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, 10] of normalised images [N, 3, 32, 32]."""
        pooled = functional.adaptive_avg_pool2d(self.features(images), 1).flatten(1)
        logits: torch.Tensor = self.classifier(pooled)
        return logits


def _convolution(n_in: int, n_out: int, *, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    ]


def build_network(seed: int | None) -> DigitsNet:
    """Build the network with random weights: those of ``seed``, or of torch's own generator where it is None.

    With a seed, torch's generator is left as it was.
    """
    if seed is None:
        return DigitsNet()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DigitsNet()


def architectures() -> list[str]:
    """Return the names that :func:`build` knows."""
    return ["cnn"]


def build(asked: Asked) -> Built:
    """Build the network without weights; it speaks the label space ``digits``, whatever the model file says.

    Raises:
        UnknownNameError: No such architecture.
        CheckpointError: There is no checkpoint.
    """
    if asked.architecture not in architectures():
        raise UnknownNameError.among("digits architecture", asked.architecture, architectures())
    if asked.pretrained:
        raise CheckpointError(
            f"digits:{asked.architecture} needs a checkpoint", fix="give it with --checkpoint FILE"
        )
    return Built(network=build_network(None), preprocessing=_PREPROCESSING, label_space=_LABEL_SPACE)
