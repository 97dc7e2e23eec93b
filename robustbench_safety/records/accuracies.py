"""What robustness to a natural shift is measured against: accuracies of published models, set by set."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from robustbench_safety.records.base import Name, Record, refuse_repeated

__all__ = ["AccuracyShift", "AccuracyTable"]

Label = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100)]


class AccuracyShift(Record):
    """Which two columns make the points of one data set's line."""

    clean: Label
    """Column of the clean accuracy, over the classes of the shifted set."""
    shifted: Label
    """Column of the accuracy on the shifted set."""
    no_line: str = ""
    """Why no line is fitted to the points; empty where one is."""


class AccuracyTable(Record):
    """``data_manifests/accuracies/<name>.yaml``: top-1 accuracies of models that were published."""

    name: Name
    version: int = Field(ge=1)
    title: str
    source: Label
    """Where the numbers were read."""
    licence: Label
    """Under which the source gives them away."""
    selection: Label
    """Which of the source's models are here."""
    notes: str = ""
    shifts: dict[Name, AccuracyShift] = Field(min_length=1)
    """By data set."""
    columns: tuple[Label, ...] = Field(min_length=1)
    """Settings, as the source calls them."""
    models: dict[Label, tuple[Percent | None, ...]] = Field(min_length=1)
    """By model: top-1 accuracy in percent under each setting; null where it was not measured."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse_repeated("column", self.columns)
        for model, row in self.models.items():
            if len(row) != len(self.columns):
                raise ValueError(f"model {model!r} has {len(row)} numbers for {len(self.columns)} columns")
        for name, shift in self.shifts.items():
            for column in (shift.clean, shift.shifted):
                if column not in self.columns:
                    raise ValueError(f"shift {name!r} is over {column!r}, which is no column")
        return self

    def scored_fields(self) -> dict[str, object]:
        """Return the fields that can move a number: what a suite's digest covers."""
        fields = self.model_dump(mode="json", include={"name", "version", "columns", "models"})
        # Not why there is no line, but whether: it makes a number null.
        columns = {
            name: [shift.clean, shift.shifted, not shift.no_line] for name, shift in self.shifts.items()
        }
        return {**fields, "shifts": columns}
