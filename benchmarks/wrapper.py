"""What the wrapper costs: ``python -m benchmarks.wrapper``.

Timed is the forward pass of ``Model.network`` on pixels in [0, 1] against that of the bare network on input
that is normalised already, at batch 64 on the CPU, for ResNet-20 at 32 px and ResNet-18 at 224 px. A round
times both, each first in turn; quoted are the medians and the median of the ratios of the rounds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from torch import nn

from robustbench_safety.models import cifar, torchvision
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.model import Asked

BATCH = 64


def seconds(network: nn.Module, images: torch.Tensor) -> float:
    """Return the seconds of one forward pass."""
    started = time.perf_counter()
    with torch.inference_mode():
        network(images)
    return time.perf_counter() - started


def compare(name: str, classifier: Classifier, side: int, rounds: int) -> None:
    """Print the medians of wrapped and bare passes, and of their ratio."""
    classifier.eval().requires_grad_(requires_grad=False)
    pixels = torch.rand(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
    normalised = ((pixels - classifier.mean) / classifier.std).contiguous(memory_format=torch.channels_last)
    pair: tuple[tuple[nn.Module, torch.Tensor], ...] = (
        (classifier, pixels),
        (classifier.network, normalised),
    )
    for network, images in pair:
        seconds(network, images)
    wrapped, bare = [], []
    for number in range(rounds):
        times = {}
        for which in (0, 1) if number % 2 else (1, 0):
            times[which] = seconds(*pair[which])
        wrapped.append(times[0])
        bare.append(times[1])
    ratio = median(one / other for one, other in zip(wrapped, bare, strict=True))
    print(
        f"{name}: wrapped {1e3 * median(wrapped):.2f} ms, bare {1e3 * median(bare):.2f} ms, "
        f"ratio of medians {median(wrapped) / median(bare):.4f}, median ratio {ratio:.4f} ({rounds} rounds)"
    )


def main() -> None:
    """Time both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    small = cifar.build(Asked(architecture="resnet20", checkpoint=Path("none")))
    compare("resnet20, 32 px", Classifier(small.network, small.preprocessing), 32, given.rounds)
    large = torchvision.build(Asked(architecture="resnet18", checkpoint=Path("none")))
    compare(
        "resnet18, 224 px", Classifier(large.network, large.preprocessing), 224, max(given.rounds // 5, 5)
    )


if __name__ == "__main__":
    main()
