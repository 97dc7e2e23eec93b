"""What a check can find, before there is anything to check."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robustbench_safety.records.base import Record

__all__ = ["CheckPlan", "DetectableDrop", "PlannedDrop"]


class PlannedDrop(Record):
    """How often a true drop fails."""

    drop: float = Field(ge=0, le=1)
    """In accuracy, a fraction."""
    power: float = Field(ge=0, le=1)
    """Chance that the column fails, a fraction; at drop 0 that of a false alarm."""


class DetectableDrop(Record):
    """The smallest true drop that fails as often as asked."""

    power: float = Field(gt=0, lt=1)
    drop: float | None = Field(ge=0, le=1)
    """A fraction; None where not even the largest drop that the discordance allows fails as often."""


class CheckPlan(Record):
    """Which drop of one condition's accuracy ``rbs check`` finds, and how often."""

    schema_version: Literal[1] = 1
    n: int = Field(ge=1)
    """Images that both models are measured on."""
    discordance: float = Field(gt=0, le=1)
    """Share of them on which exactly one of both models is right."""
    tolerance: float = Field(ge=0, lt=1)
    """Drop that is allowed, a fraction."""
    alpha: float = Field(gt=0, lt=1)
    """Chance, at most, that any column fails where none is worse."""
    n_columns: int = Field(ge=1)
    """Columns that are tested together."""
    drops: tuple[PlannedDrop, ...]
    detectable: tuple[DetectableDrop, ...]
