"""Clean accuracies that the authors of published weights state, to be held against what is measured.

``data_manifests/published/<family>-imagenet-1k.csv`` holds what a library publishes as a table; torchvision
carries its figures with its weights. A figure holds for one preprocessing alone, size and crop included.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass

from robustbench_safety.files import resource_folder
from robustbench_safety.records import Preprocessing

__all__ = ["published_accuracy"]

_IMAGENET = "imagenet-1k"
#: Half of the last digit that the tables state of a crop fraction.
_ROUNDING = 0.0005


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One line: a model at one size."""

    img_size: int
    crop_pct: float
    interpolation: str
    top1: float

    def is_measured_with(self, preprocessing: Preprocessing) -> bool:
        size = self.img_size
        resize = preprocessing.resize
        side = resize[0] if isinstance(resize, tuple) and resize[0] == resize[1] else resize
        shortest, longest = (math.floor(size / (self.crop_pct + by)) for by in (_ROUNDING, -_ROUNDING))
        return (
            preprocessing.input_size == (size, size)
            and isinstance(side, int)
            and shortest <= side <= longest
            and preprocessing.interpolation == self.interpolation
        )


def published_accuracy(family: str, architecture: str, preprocessing: Preprocessing) -> dict[str, float]:
    """Return the published top-1 accuracy by data set, as a fraction; empty where none is known.

    Args:
        family: Name of the family.
        architecture: Name of the weights within it, their tag included.
        preprocessing: In use. Its size, resize and interpolation must be those of the publication; the tables
            do not state mean, std and the way of cropping, which the caller compares.
    """
    rows = _table(family).get(architecture, ())
    row = next((row for row in rows if row.is_measured_with(preprocessing)), None)
    return {} if row is None else {_IMAGENET: row.top1}


@functools.cache
def _table(family: str) -> dict[str, tuple[_Row, ...]]:
    path = resource_folder("data_manifests") / "published" / f"{family}-{_IMAGENET}.csv"
    if not path.is_file():
        return {}
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    table: dict[str, tuple[_Row, ...]] = {}
    for line in csv.DictReader(lines):
        row = _Row(
            img_size=int(line["img_size"]),
            crop_pct=float(line["crop_pct"]),
            interpolation=line["interpolation"],
            top1=float(line["top1"]),
        )
        table[line["model"]] = (*table.get(line["model"], ()), row)
    return table
