"""Networks to be attacked: small, seeded, some honest and some with masked gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from robustbench_safety.attacks.auto import autoattack_library


def honest(*, n_classes: int = 10, size: int = 16) -> nn.Module:
    """A smooth network whose decisions depend on all of the image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Linear(3 * (size // 4) ** 2, 32),
            nn.Tanh(),
            nn.Linear(32, n_classes),
        )
    return network.eval()


class Quantised(nn.Module):
    """The same behind a step function of the pixels: the gradient is 0 wherever it exists."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of images whose values are rounded to sixteenths."""
        logits: torch.Tensor = self.network((images * 16).round() / 16)
        return logits


def pictures(network: nn.Module, n: int, *, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images and the classes that the network sees in them."""
    images = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, network(images).argmax(dim=1)


@contextmanager
def short_autoattack(*, apgd: int = 10) -> Iterator[None]:
    """Shorten AutoAttack's attacks, for our calls and the library's own alike: minutes become seconds.

    Args:
        apgd: Iterations of both APGD attacks.
    """
    library = autoattack_library().AutoAttack
    whole = library._set_version

    def short(self: Any, version: str) -> None:
        whole(self, version)
        self.apgd.n_iter = self.apgd_targeted.n_iter = apgd
        self.fab.n_iter = 10
        self.square.n_queries = 150

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_set_version", short)
        yield
