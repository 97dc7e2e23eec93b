"""Temperatures that suites ask for: fitted once on clean predictions; logits of cells are divided by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.measures import Outputs
from robustbench_safety.metrics.temperature import in_odd_half
from robustbench_safety.predictions import Predictions
from robustbench_safety.records import Cell

__all__ = ["Temperatures"]

_Key = tuple[str, str | None, bool]
"""Dataset fitted on, class subset, whether its halves are fitted apart."""


class Temperatures:
    """What was fitted so far, and what could not be.

    Args:
        cells: Of the suite.
        tuned_on: By cell id: dataset on whose clean predictions its temperature is fitted; None without one.
    """

    def __init__(self, cells: Sequence[Cell], tuned_on: Mapping[str, str | None]) -> None:
        self._keys: dict[str, _Key] = {}
        for cell in cells:
            if (dataset := tuned_on[cell.id]) is not None:
                self._keys[cell.id] = (dataset, cell.subset, cell.temperature == "cross_fit")
        self._fitted: dict[_Key, tuple[float, ...]] = {}
        self._reasons: dict[_Key, UndefinedMetricError] = {}

    def fit(
        self, predictions: Predictions, columns_of: Callable[[str | None], NDArray[np.int64] | None]
    ) -> None:
        """Fit every temperature that the clean predictions on a dataset give.

        Args:
            predictions: On clean images.
            columns_of: Gives the columns of a class subset.
        """
        for key in dict.fromkeys(self._keys.values()):
            dataset, subset, crossed = key
            if dataset != predictions.header.condition.dataset or key in self._fitted:
                continue
            try:
                outputs = Outputs(predictions, columns_of(subset))
                logits = _logits(predictions, outputs)
                if not crossed:
                    self._fitted[key] = (metrics.fit_temperature(logits, outputs.labels),)
                    continue
                ids = [name for name, keep in zip(predictions.sample_ids, outputs.kept, strict=True) if keep]
                halved = metrics.cross_fit_temperatures(logits, outputs.labels, ids)
                # Even images are divided by what the odd ones gave.
                self._fitted[key] = (halved.odd, halved.even)
            except UndefinedMetricError as error:
                self._reasons[key] = error

    def scaled(self, cell: Cell, predictions: Predictions) -> Predictions:
        """Return predictions whose logits are divided by the cell's temperature.

        Raises:
            UndefinedMetricError: Only a summary of the logits was stored, or nothing could be fitted.
        """
        key = self._keys[cell.id]
        if key in self._reasons:
            raise self._reasons[key]
        if key not in self._fitted:
            raise UndefinedMetricError(f"no temperature: no predictions on the clean images of {key[0]}")
        _refuse_summary(predictions)
        fitted = np.array(self._fitted[key])
        ids = predictions.sample_ids
        half = in_odd_half(ids).astype(np.int64) if len(fitted) > 1 else np.zeros(len(ids), np.int64)
        by_row = np.repeat(fitted[half], predictions.header.frames)
        scaled = (predictions.logits() / by_row[:, None]).astype(np.float32)
        return replace(predictions, values={"logits": scaled})

    def by_cell(self, cells: Sequence[Cell]) -> dict[str, tuple[float, ...]]:
        """Return what each cell's logits were divided by: once, or for even halves and for odd ones."""
        found = {cell.id: self._fitted.get(self._keys[cell.id]) for cell in cells if cell.id in self._keys}
        return {name: tuple(round(one, 10) for one in fitted) for name, fitted in found.items() if fitted}


def _logits(predictions: Predictions, outputs: Outputs) -> NDArray[np.float64]:
    _refuse_summary(predictions)
    return outputs.logits


def _refuse_summary(predictions: Predictions) -> None:
    columns = predictions.header.columns
    if columns != "logits":
        raise UndefinedMetricError(
            "temperature scaling needs every logit",
            expected="logits",
            found=f"{columns} of {predictions.header.condition.path}",
        )
