"""Small networks are attacked by one thread: two would wait for each other at every small step."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_same_threads_everywhere: None) -> None:
    """After what every test sets."""
    torch.set_num_threads(1)
