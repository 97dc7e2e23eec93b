"""What is measured: a suite of cells, and how cells make columns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from robustbench_safety.records.attack import Attack, PixelFraction
from robustbench_safety.records.base import Name, Record, is_empty, refuse_repeated
from robustbench_safety.records.detection_grid import DetectionGrid

__all__ = [
    "Aggregate",
    "Cell",
    "DetectorPass",
    "Reduction",
    "Suite",
]


class DetectorPass(Record):
    """Settings of a detector that shows the network other pixels than the dataset's: ODIN."""

    name: Literal["odin"]
    temperature: float = Field(default=1000.0, ge=0.001, le=1e6)
    """Logits are divided by it; of the paper."""
    eps: PixelFraction = "0.0014"
    """Length of the step towards a surer answer; a share of the pixel range. Of the paper."""

    @property
    def condition_name(self) -> str:
        """The name that tells this pass from every other: it carries each setting."""
        return f"{self.name}-t{self.temperature:.15g}-eps{self.eps.replace('/', '_')}"


class Cell(Record):
    """One number: a metric on conditions of a dataset, averaged over the conditions."""

    id: Name
    dataset: Name
    conditions: Literal["all", "headline"] | Annotated[tuple[Name, ...], Field(min_length=1)] = "all"
    """Names of conditions, each at all its levels; all that the manifest has; or its headline, over which the
    published mean is taken, at the headline's levels."""
    levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), exclude_if=is_empty)
    """Levels taken of these conditions; empty for all."""
    metric: Name
    subset: Name | None = None
    """Class subset whose columns are selected before argmax and softmax."""
    class_map: Name | None = Field(default=None, exclude_if=is_empty)
    """Classes that count as one: any of a group is right for an image of the group. A dataset that has a map
    of its own is measured by that."""
    attack: Attack | None = None
    """Attack made on the dataset's clean images."""
    detector: Name | None = None
    """OOD score; for metrics of anomaly detection alone."""
    detector_options: dict[str, int | float | str] = Field(default_factory=dict, exclude_if=is_empty)
    """Settings of the detector, where they are not its defaults."""
    in_distribution: Name | None = None
    """Dataset of the in-distribution images; for metrics of anomaly detection alone."""
    fit: Name | None = Field(default=None, exclude_if=is_empty)
    """Dataset of training images that the detector is fitted on; for detectors that need such alone."""
    tune: Literal["cross_fit"] | Name | None = Field(default=None, exclude_if=is_empty)
    """Dataset of held-out in-distribution images that the detector is set by; ``cross_fit`` sets one by each
    half of the in-distribution images, and scores each image, out of distribution too, by that of the half
    it is not in."""
    temperature: Literal["cross_fit"] | Name | None = Field(default=None, exclude_if=is_empty)
    """Dataset on whose clean predictions the temperature is fitted by which logits are divided; ``cross_fit``
    fits one on either half of the clean images, and divides each image by that of the half it is not in."""
    options: dict[str, int | float | str] = Field(default_factory=dict)
    """Keyword arguments of the metric."""

    @model_validator(mode="after")
    def _detection_is_whole(self) -> Self:
        if (self.detector is None) != (self.in_distribution is None):
            raise ValueError("detector and in_distribution go together")
        if self.detector is not None and self.temperature is not None:
            raise ValueError("an OOD score is taken from the logits as they are: it goes without temperature")
        if self.detector is None and (self.fit or self.tune or self.detector_options):
            raise ValueError("fit, tune and detector_options go with a detector")
        try:
            changes_pixels = self.detector_pass is not None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"detector_options: {where}: {first['msg']}") from error
        if changes_pixels and self.attack is not None:
            raise ValueError("a detector that changes the pixels goes without an attack")
        if self.tune is not None and self.tune == self.in_distribution:
            raise ValueError("no detector is set by the images it is measured on: say cross_fit, or others")
        return self

    @model_validator(mode="after")
    def _conditions_are_its_own(self) -> Self:
        if self.conditions != "all":
            if self.conditions != "headline":
                refuse_repeated("condition", self.conditions)
            if self.attack is not None:
                raise ValueError("an attack is made on the clean images: it goes without conditions")
        return self

    @property
    def detector_pass(self) -> DetectorPass | None:
        """How the detector changes the pixels; None for one that reads what the dataset's own give."""
        if self.detector != "odin":
            return None
        return DetectorPass.model_validate({"name": self.detector, **self.detector_options})

    def kind_of_number(self) -> tuple[object, ...]:
        """Return what two cells must share to be averaged."""
        detector = (self.detector, sorted(self.detector_options.items()), self.fit, self.tune)
        measured = (self.metric, sorted(self.options.items()), self.subset, self.temperature)
        return *measured, *detector, self.in_distribution


Reduction = Literal[
    "mean",
    "pooled",
    "difference",
    "worst",
    "normalised",
    "relative",
    "effective_robustness",
    "relative_robustness",
]

#: How many cells a reduction takes, where that is not free.
_N_CELLS = {
    "difference": 2,
    "worst": 1,
    "normalised": 1,
    "relative": 2,
    "effective_robustness": 2,
    "relative_robustness": 1,
}

#: What goes with which reductions, and they with it.
_GOES_WITH = {
    "baseline": ("normalised", "relative"),
    "accuracies": ("effective_robustness", "relative_robustness"),
    "axis": ("effective_robustness",),
    "reference": ("relative_robustness",),
}

#: Metrics that a baseline has a table of.
_NORMALISED = ("error_rate", "flip_rate", "top5_distance")

#: Metrics of several OOD sets as one list: those that count every unknown as an error, whatever set it is of.
_POOLED = ("unknown_aurc",)


class Aggregate(Record):
    """One number made of cells that measure the same in different places."""

    id: Name
    of: tuple[Name, ...] = Field(min_length=1)
    reduce: Reduction
    """``mean`` weighs the cells alike; ``difference`` is the first less the second; ``worst`` is that of the
    condition name of a cell whose mean over the levels is worst; ``pooled`` takes the OOD sets of the cells
    for one list of unknown images.

    ``normalised``, with a baseline's numbers of the same conditions: for each condition name of a cell the
    sum over its levels, divided by the baseline's; the mean over the names. Of error rates that is the mCE,
    of flip rates the mFR, of top-5 distances the mT5D.

    ``relative``, of a cell on corrupted images and one on clean ones: the same, of what each level's error is
    above the clean error, for the model and for the baseline (relative mCE).

    ``effective_robustness``, of an error on shifted images and one on the clean images of the same classes:
    the accuracy on the first less that on the line of published models at the second.

    ``relative_robustness``, of an error on shifted images: the accuracy less that of one published model."""
    baseline: Name | None = Field(default=None, exclude_if=is_empty)
    """Whose numbers divide, a file of ``data_manifests/baselines``; for ``normalised`` and ``relative``."""
    accuracies: Name | None = Field(default=None, exclude_if=is_empty)
    """Published models, a file of ``data_manifests/accuracies``; for the two robustnesses."""
    axis: Literal["logit", "probit"] | None = Field(default=None, exclude_if=is_empty)
    """How the accuracies are stretched so that they lie on a line; for ``effective_robustness``."""
    reference: Annotated[str, Field(min_length=1)] | None = Field(default=None, exclude_if=is_empty)
    """Model of ``accuracies`` that the model is held against; for ``relative_robustness``."""

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        wanted = _N_CELLS.get(self.reduce, len(self.of))
        if len(self.of) != wanted:
            number = {1: "one cell", 2: "two cells"}[wanted]
            raise ValueError(f"reduce {self.reduce!r} is of {number}, {len(self.of)} are listed")
        for field, reductions in _GOES_WITH.items():
            if (self.reduce in reductions) != (getattr(self, field) is not None):
                named = " and ".join(f"{one!r}" for one in reductions)
                it = "they" if len(reductions) > 1 else "it"
                raise ValueError(f"{field} goes with reduce {named}, and {it} with {_article(field)}")
        return self


def _article(noun: str) -> str:
    return noun if noun == "accuracies" else f"{'an' if noun == 'axis' else 'a'} {noun}"


class Suite(Record):
    """``robustbench_safety/suites/<name>.yaml``: a benchmark."""

    name: Name
    version: int = Field(ge=1)
    title: str
    label_space: Name
    seed: int = Field(ge=0, lt=2**63)
    """Of everything that is drawn: corruptions, attacks, bootstrap."""
    models: Literal["all", "zero-shot"] = Field(default="all", exclude_if=lambda value: value == "all")
    """Which models it takes: ``zero-shot`` for those alone whose classifier is made of text."""
    cells: tuple[Cell, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    detection: tuple[DetectionGrid, ...] = Field(default=(), exclude_if=is_empty)
    """Short forms in a file of the suite. Once it is read, their cells and means stand among ``cells`` and
    ``aggregates``, and this is empty."""
    columns: tuple[Name, ...] = Field(min_length=1)
    """Ids of the cells and aggregates that tables, gate and tolerances speak of."""
    beside: tuple[Name, ...] = ()
    """Ids shown beside the columns, never ranked by: a flip rate says little without the error."""

    @model_validator(mode="after")
    def _grids_are_written_out(self) -> Self:
        cells = [Cell.model_validate(fields) for grid in self.detection for fields in grid.cells()]
        means = [Aggregate.model_validate(fields) for grid in self.detection for fields in grid.aggregates()]
        # The record is frozen for everybody else: from here on a grid is its cells.
        object.__setattr__(self, "cells", (*self.cells, *cells))
        object.__setattr__(self, "aggregates", (*self.aggregates, *means))
        object.__setattr__(self, "detection", ())
        if not self.cells:
            raise ValueError("a suite has at least 1 cell, in cells or detection")
        return self

    @model_validator(mode="after")
    def _ids_are_known(self) -> Self:
        cells = [cell.id for cell in self.cells]
        ids = cells + [aggregate.id for aggregate in self.aggregates]
        refuse_repeated("id", ids)
        for aggregate in self.aggregates:
            refuse_repeated(f"aggregate {aggregate.id!r}: cell", aggregate.of)
            for name in aggregate.of:
                if name not in cells:
                    raise ValueError(f"aggregate {aggregate.id!r} is made of unknown cell {name!r}")
            kinds = [cell.kind_of_number() for cell in self.cells if cell.id in aggregate.of]
            if any(kind != kinds[0] for kind in kinds):
                raise ValueError(f"aggregate {aggregate.id!r} would average different metrics")
            self._check_reduction(aggregate)
        refuse_repeated("column", (*self.columns, *self.beside))
        for name in (*self.columns, *self.beside):
            if name not in ids:
                raise ValueError(f"column {name!r} is no cell and no aggregate")
        return self

    def _check_reduction(self, aggregate: Aggregate) -> None:
        first = next(cell for cell in self.cells if cell.id == aggregate.of[0])
        what = f"aggregate {aggregate.id!r}: {aggregate.reduce!r}"
        if aggregate.reduce == "worst" and first.detector is not None:
            raise ValueError(f"{what} is of a metric of single conditions, not of anomaly detection")
        if aggregate.reduce == "pooled" and first.metric not in _POOLED:
            raise ValueError(f"{what} is of {', '.join(_POOLED)}; of {first.metric} take the mean")
        allowed = _NORMALISED if aggregate.reduce == "normalised" else ("error_rate",)
        divided = aggregate.baseline is not None or aggregate.accuracies is not None
        if divided and first.metric not in allowed:
            raise ValueError(f"{what} is of {', '.join(allowed)}, not of {first.metric}")
