"""Detectors of a suite at work: each fitted once on what its cells name, then asked for scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import Scored
from robustbench_safety.detectors import DETECTORS, DetectorInputs, Scorer, fit_detector
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.temperature import in_odd_half
from robustbench_safety.outputs import Outputs
from robustbench_safety.predictions import Predictions
from robustbench_safety.records import Condition
from robustbench_safety.runs import Run

__all__ = ["Detecting"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Features are scored in float64: 800 MB for the 50,000 x 2,048 of a ResNet-50 on ImageNet, which ASH sorts.
_ROWS_TOGETHER = 4096


class Detecting:
    """Fits detectors on stored predictions, and scores images by them.

    Args:
        run: Whose predictions are read.
        fitted_on: By condition: what is fitted on it.
        columns_of: Gives the columns of a class subset.
    """

    def __init__(
        self,
        run: Run,
        fitted_on: Mapping[Condition, Sequence[Scored]],
        columns_of: Callable[[str | None], NDArray[np.int64] | None],
    ) -> None:
        self._run, self._fitted_on, self._columns_of = run, fitted_on, columns_of
        self._scorers: dict[Scored, tuple[Scorer, ...]] = {}
        """One; with cross-fitting two, set by the images of the even half and by those of the odd one."""
        self._reasons: dict[Scored, UndefinedMetricError] = {}
        self._layers: dict[str, tuple[Floats, Floats]] = {}
        # Of the predictions that are being read: several cells ask for the same.
        self._read: Predictions | None = None
        self._outputs_of: dict[str | None, Outputs] = {}
        self._scores_of: dict[Scored, Floats] = {}

    def fit(self, predictions: Predictions) -> None:
        """Fit every detector that is fitted on the condition of these predictions."""
        for scored in self._fitted_on.get(predictions.header.condition, ()):
            try:
                outputs = self._outputs(predictions, scored.subset)
                inputs = self._inputs(scored, outputs, predictions, fitting=True)
                halves: list[slice | Bools] = [slice(None)]
                if scored.tune == "cross_fit":
                    odd = _odd(predictions, outputs)
                    halves = [~odd, odd]
                self._scorers[scored] = tuple(
                    fit_detector(scored.detector, on=_rows(inputs, half), options=scored.settings)
                    for half in halves
                )
            except (UndefinedMetricError, UsageError) as error:
                # A setting that does not suit these images must not cost the other detectors.
                self._reasons[scored] = UndefinedMetricError(f"{scored.detector}: {error}")

    def scores(self, scored: Scored, predictions: Predictions) -> Floats:
        """Return the OOD scores of the images that are measured: [rows], higher for anomalies.

        Raises:
            UndefinedMetricError: The detector could not be fitted, or the predictions lack what it needs.
        """
        known = DETECTORS[scored.detector]
        if known.sees_shift and self._run.info.model.outputs == "probabilities":
            raise UndefinedMetricError(f"{scored.detector} needs logits, and there are probabilities alone")
        if scored in self._reasons:
            raise self._reasons[scored]
        outputs = self._outputs(predictions, scored.subset)
        if scored not in self._scores_of:
            try:
                self._scores_of[scored] = self._scored(scored, outputs, predictions)
            except UsageError as error:
                raise UndefinedMetricError(f"{scored.detector}: {error}") from error
        return self._scores_of[scored]

    def _outputs(self, predictions: Predictions, subset: str | None) -> Outputs:
        if self._read is not predictions:
            self._read, self._outputs_of, self._scores_of = predictions, {}, {}
        if subset not in self._outputs_of:
            self._outputs_of[subset] = Outputs(predictions, self._columns_of(subset))
        return self._outputs_of[subset]

    def _scored(self, scored: Scored, outputs: Outputs, predictions: Predictions) -> Floats:
        inputs = self._inputs(scored, outputs, predictions)
        if DETECTORS[scored.detector].fit is None:
            return _in_blocks(fit_detector(scored.detector, options=scored.settings), inputs)
        if scored not in self._scorers:
            raise UndefinedMetricError(f"no predictions on the images that {scored.detector} is fitted on")
        scorers = self._scorers[scored]
        if len(scorers) == 1:
            return _in_blocks(scorers[0], inputs)
        # Each image by what the other half has set.
        odd = _odd(predictions, outputs)
        found = np.empty(len(odd))
        for scorer, half in zip(scorers, (odd, ~odd), strict=True):
            if half.any():
                found[half] = _in_blocks(scorer, _rows(inputs, half))
        return found

    def _inputs(
        self, scored: Scored, outputs: Outputs, predictions: Predictions, *, fitting: bool = False
    ) -> DetectorInputs:
        """Return what the detector asks for, and nothing else: features of many images are large."""
        known = DETECTORS[scored.detector]
        asked = set(known.fitted_on if fitting else known.takes)
        weight, bias = None, None
        if asked & {"weight", "bias"}:
            weight, bias = self._last_layer(predictions, self._columns_of(scored.subset))
        zero_shot = self._run.info.model.zero_shot
        return DetectorInputs(
            logits=outputs.logits if "logits" in asked else None,
            features=outputs.features if "features" in asked else None,
            mutual_information=outputs.mutual_information if "mutual_information" in asked else None,
            labels=outputs.labels if "labels" in asked else None,
            weight=weight,
            bias=bias,
            logit_scale=None if zero_shot is None else zero_shot.logit_scale,
        )

    def _last_layer(
        self, predictions: Predictions, columns: NDArray[np.int64] | None
    ) -> tuple[Floats | None, Floats | None]:
        digest = predictions.header.last_layer_digest
        if digest is None:
            return None, None
        if digest not in self._layers:
            self._layers[digest] = self._run.last_layer(digest)
        weight, bias = self._layers[digest]
        return (weight, bias) if columns is None else (weight[columns], bias[columns])


def _odd(predictions: Predictions, outputs: Outputs) -> Bools:
    ids = [name for name, keep in zip(predictions.sample_ids, outputs.kept, strict=True) if keep]
    return in_odd_half(ids)


def _in_blocks(scorer: Scorer, inputs: DetectorInputs) -> Floats:
    """Score images, those with features in blocks."""
    if inputs.features is None:
        return scorer(inputs)
    starts = range(0, len(inputs.features), _ROWS_TOGETHER)
    return np.concatenate([scorer(_rows(inputs, slice(at, at + _ROWS_TOGETHER))) for at in starts])


def _rows(inputs: DetectorInputs, rows: slice | Bools) -> DetectorInputs:
    cut = {
        name: None if (array := getattr(inputs, name)) is None else array[rows]
        for name in ("logits", "features", "mutual_information", "labels")
    }
    return replace(inputs, **cut)
