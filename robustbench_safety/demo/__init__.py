"""The two small checkpoints of ``rbs demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEMO_MODELS", "DEMO_SUITE", "DemoModel"]

DEMO_SUITE = "digits-safety"


@dataclass(frozen=True, kw_only=True)
class DemoModel:
    """A shipped checkpoint, made by ``python -m robustbench_safety.recipes.digits``."""

    name: str
    model: str | Path
    """``family:architecture``, or a model file where there is more to say."""
    checkpoint: Path


_HERE = Path(__file__).parent

DEMO_MODELS = (
    DemoModel(name="digits CNN, plain", model="digits:cnn", checkpoint=_HERE / "digits_plain.safetensors"),
    DemoModel(
        name="digits CNN, noise and mixing",
        model=_HERE / "digits_augmented.yaml",
        checkpoint=_HERE / "digits_augmented.safetensors",
    ),
)
