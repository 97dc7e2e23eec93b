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
    model: str
    checkpoint: Path


def _demo_model(name: str, file: str) -> DemoModel:
    return DemoModel(name=name, model="digits:cnn", checkpoint=Path(__file__).parent / file)


DEMO_MODELS = (
    _demo_model("digits CNN, plain", "digits_plain.safetensors"),
    _demo_model("digits CNN, noise and mixing", "digits_augmented.safetensors"),
)
