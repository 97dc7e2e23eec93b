"""Small seeded networks and their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_safety.models.digits import build_network


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The folder of the shared real data; the test is skipped where there is none."""
    return shared / "data"


@pytest.fixture
def small_network() -> nn.Module:
    """A network of three tensors and a batch normalisation, seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10)
        )


@pytest.fixture
def digits_checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the digits network with the weights of seed 0."""
    path = tmp_path / "digits.pth"
    torch.save(build_network(0).state_dict(), path)
    return path
