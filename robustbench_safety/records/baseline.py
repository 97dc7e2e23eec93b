"""What a score is divided by: the numbers of one reference network, condition by condition."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from robustbench_safety.records.base import Name, Record

__all__ = ["Baseline", "BaselineGap", "BaselineMetric", "BaselineTable"]

BaselineMetric = Literal["error_rate", "flip_rate", "top5_distance"]

#: The largest value of each metric; where all five leave the top five, 5 + 4 + 3 + 2 + 1 ranks are lost: 15.
_LARGEST: dict[BaselineMetric, float] = {"error_rate": 1.0, "flip_rate": 1.0, "top5_distance": 15.0}

Levels = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]


class BaselineTable(Record):
    """The reference network's numbers of one metric."""

    verified: bool
    """Whether the numbers were read in ``source``; False where they are recalled from the literature."""
    source: str = Field(min_length=1)
    values: dict[Name, Levels] = Field(min_length=1)
    """By corruption or sequence: one number a level, or the mean over them alone; rates as fractions."""

    @model_validator(mode="after")
    def _can_divide(self) -> Self:
        counts = {name: len(numbers) for name, numbers in self.values.items()}
        usual = next(iter(counts.values()))
        for name, count in counts.items():
            if count != usual:
                raise ValueError(
                    f"{name!r} has {count} numbers where {next(iter(counts))!r} has {usual}: "
                    "all have one a level, or all the mean alone"
                )
            if sum(self.values[name]) == 0:
                raise ValueError(f"{name!r} is 0 at every level: nothing can be divided by it")
        return self

    def by_name(self) -> dict[str, float | tuple[float, ...]]:
        """Return the numbers a level, or the mean as a number: what the mean corruption error takes."""
        return {name: numbers if len(numbers) > 1 else numbers[0] for name, numbers in self.values.items()}

    def means(self) -> dict[str, float]:
        """Return the mean over the levels: what the mean flip rate and the mean top-5 distance take."""
        return {name: math.fsum(numbers) / len(numbers) for name, numbers in self.values.items()}


class BaselineGap(Record):
    """Why there are no numbers of a metric."""

    unavailable: str = Field(min_length=1)
    """The reason; it stands in a record in place of the number that would have been divided."""


def _kind(entry: object) -> str:
    """Tell a table from a gap, so that a mistake in one is told as a mistake in that."""
    named = "unavailable" in entry if isinstance(entry, dict) else isinstance(entry, BaselineGap)
    return "gap" if named else "table"


Entry = Annotated[
    Annotated[BaselineTable, Tag("table")] | Annotated[BaselineGap, Tag("gap")], Discriminator(_kind)
]


class Baseline(Record):
    """``data_manifests/baselines/<name>.yaml``: the network that a dataset's scores are divided by."""

    name: Name
    version: int = Field(ge=1)
    title: str
    model: str = Field(min_length=1)
    """Which network, and which of its weights."""
    source: str = Field(min_length=1)
    """Where ``clean_error`` was read, and what else holds for all tables."""
    clean_error: float | None = Field(default=None, ge=0, le=1)
    """Top-1 error on the clean images, a fraction; relative corruption errors need it."""
    metrics: dict[BaselineMetric, Entry] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for metric, table in self.metrics.items():
            if isinstance(table, BaselineGap):
                continue
            largest = _LARGEST[metric]
            for name, numbers in table.values.items():
                if max(numbers) > largest:
                    unit = "a fraction" if largest == 1 else "a distance"
                    raise ValueError(
                        f"{metric} of {name!r} is {max(numbers):g}: {unit} is at most {largest:g}"
                    )
        return self

    def scored_fields(self) -> dict[str, object]:
        """Return the fields that can move a number: what a suite's digest covers."""
        values = {
            metric: table.model_dump(mode="json")["values"]
            for metric, table in self.metrics.items()
            if isinstance(table, BaselineTable)
        }
        return {
            "name": self.name,
            "version": self.version,
            "clean_error": self.clean_error,
            "values": values,
        }
