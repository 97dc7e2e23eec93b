"""A file of predictions, and no model at all: scored by `rbs score predictions:FILE`."""

from __future__ import annotations

from robustbench_safety.errors import ModelError
from robustbench_safety.models.model import Asked, Built

__all__ = ["architectures", "build"]


def build(asked: Asked) -> Built:
    """Refuse: there is no network to be built.

    Raises:
        ModelError: Always.
    """
    raise ModelError(
        f"predictions:{asked.architecture} is a file of predictions, not a network",
        expected="a network that can be shown images",
        fix="score it with `rbs score`, which reads the file",
    )


def architectures() -> list[str]:
    """Return nothing: every file is its own."""
    return []
