"""A suite's short form for anomaly detection: every detector on every set, and the means over the sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from robustbench_safety.records.base import Name, Record

__all__ = ["DetectionGrid"]

Options = dict[str, int | float | str]
#: Part of the id of a cell.
Part = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class GridDetector(Record):
    """One detector of a grid; see the fields of a cell."""

    name: Part
    fit: Name | None = None
    tune: Literal["cross_fit"] | Name | None = None
    options: Options = Field(default_factory=dict)


class GridMetric(Record):
    """One metric of a grid; see the fields of a cell."""

    name: Name
    options: Options = Field(default_factory=dict)


class DetectionGrid(Record):
    """Stands for one cell a set, detector and metric, and for their means over the sets of each group.

    A cell is called ``<set>_<detector>_<metric>``, a mean ``<group>_<detector>_<metric>``. Groups are never
    averaged together.
    """

    in_distribution: Name
    subset: Name | None = None
    prefix: str = Field(default="", pattern=r"^([a-z0-9_-]+_)?$")
    """Stands before every id: tells two grids of other in-distribution images apart."""
    groups: dict[Part, Annotated[dict[Part, Name], Field(min_length=1)]] = Field(min_length=1)
    """Datasets by group, each with what it is called in ids."""
    detectors: tuple[GridDetector, ...] = Field(min_length=1)
    metrics: dict[Part, GridMetric] = Field(min_length=1)
    """By what they are called in ids."""

    def cells(self) -> list[dict[str, object]]:
        """Return the fields of the cells."""
        return [
            self._cell(short, dataset, detector, called, metric)
            for called, metric in self.metrics.items()
            for detector in self.detectors
            for sets in self.groups.values()
            for short, dataset in sets.items()
        ]

    def aggregates(self) -> list[dict[str, object]]:
        """Return the fields of the means."""
        return [
            {
                "id": f"{self.prefix}{group}_{detector.name}_{called}",
                "of": tuple(f"{self.prefix}{short}_{detector.name}_{called}" for short in sets),
                "reduce": "mean",
            }
            for called in self.metrics
            for detector in self.detectors
            for group, sets in self.groups.items()
        ]

    def _cell(
        self, short: str, dataset: str, detector: GridDetector, called: str, metric: GridMetric
    ) -> dict[str, object]:
        return {
            "id": f"{self.prefix}{short}_{detector.name}_{called}",
            "dataset": dataset,
            "metric": metric.name,
            "options": metric.options,
            "subset": self.subset,
            "detector": detector.name,
            "detector_options": detector.options,
            "in_distribution": self.in_distribution,
            "fit": detector.fit,
            "tune": detector.tune,
        }
