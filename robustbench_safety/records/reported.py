"""Numbers that papers report: reference rows of a leaderboard, never ranked, and attacks that others made."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from robustbench_safety.records.attack import Norm, PixelLength
from robustbench_safety.records.base import Digest, Name, Record, refuse_repeated

__all__ = ["Certainty", "KnownAttack", "ReportedModel", "ReportedNumber", "ReportedTable"]

Certainty = Literal["verified", "recalled"]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class ReportedNumber(Record):
    """One number, as it is printed."""

    value: float
    """In the units of the tables: percent, nats, or a Brier score."""
    certainty: Certainty
    """``verified`` was read in the source that is named; ``recalled`` nobody here has seen there."""
    source: Text | None = None
    """Where it stands, where that is not the table's source."""


class ReportedModel(Record):
    """One row."""

    name: Text
    """Shown as the row's name: the method, or the weights."""
    model: Text
    """Architecture."""
    scores: dict[Name, ReportedNumber] = Field(min_length=1)
    """By column of the suite."""


class KnownAttack(Record):
    """An attack that somebody else made on a network, and that reached further than ours."""

    weights_digest: Digest
    """Of the network, as in its record."""
    dataset: Name
    norm: Norm
    eps: PixelLength
    error: Annotated[float, Field(ge=0, le=1)]
    """Share of all the dataset's images that the network gets wrong under it."""
    n: Annotated[int, Field(gt=0)]
    """Images attacked."""
    source: Text
    certainty: Certainty


class ReportedTable(Record):
    """``leaderboard/reported/<name>.yaml``."""

    name: Name
    title: Text
    suite: Name
    """Whose columns the numbers stand in."""
    source: Text
    """Paper or page, with its year."""
    note: Text | None = None
    """In what the protocol differs from the suite's, or may."""
    rows: tuple[ReportedModel, ...] = ()
    attacks: tuple[KnownAttack, ...] = ()

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.rows and not self.attacks:
            raise ValueError("a table has rows, or attacks")
        refuse_repeated("row", [(row.name, row.model) for row in self.rows])
        return self
