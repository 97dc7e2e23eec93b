"""What a family is asked for, in one line."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.models.model import Asked
from robustbench_safety.records import ModelFile


def asked(
    architecture: str,
    *,
    family: str = "family",
    pretrained: bool = False,
    label_space: str | None = None,
    folder: Path | None = None,
    **fields: object,
) -> Asked:
    """Ask for an architecture; without ``pretrained`` as if a checkpoint had been handed in."""
    file = ModelFile.model_validate(
        {"model": f"{family}:{architecture}", "label_space": label_space, **fields}
    )
    return Asked(
        architecture=architecture,
        file=file,
        folder=folder or Path(),
        checkpoint=None if pretrained else Path("weights"),
    )
