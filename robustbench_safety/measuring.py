"""What is measured on the conditions of a run, read one after another: numbers, scores, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import Measured, Scored, is_rate, metric_of
from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.label_sets import Labels, cues_of, labels_of, mapped_labels
from robustbench_safety.detecting import Detecting
from robustbench_safety.detection_measures import DetectionMetric
from robustbench_safety.errors import DataError, IncompatiblePredictionsError, UndefinedMetricError
from robustbench_safety.files import digest_of
from robustbench_safety.labels import load_class_map, load_label_space, load_subset, subset_columns
from robustbench_safety.measures import Metric, Outputs, Units
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.recording import draw_histogram, draw_reliability, recorded_interval, rounded
from robustbench_safety.records import (
    Cell,
    Condition,
    ConditionScore,
    Curves,
    ModelSpec,
    PredictionsHeader,
    Suite,
)
from robustbench_safety.runs import Run
from robustbench_safety.suites import (
    clean_conditions,
    clean_dataset,
    fit_conditions,
    in_conditions,
    tune_dataset,
)
from robustbench_safety.temperatures import Temperatures

__all__ = ["Measuring", "answered_conditions", "detectors_in_columns", "scores_name", "why_not_shown"]

Floats = NDArray[np.float64]

_NEED_GRADIENTS = ("attack", "detector-pass")


def why_not_shown(condition: Condition, model: ModelSpec) -> str | None:
    """Return why a condition cannot be made for a model; None where it can."""
    if condition.kind in _NEED_GRADIENTS and not model.gradients:
        return f"needs the gradient of the model, which {model.family} cannot give"
    return None


def answered_conditions(cell: Cell, data: DataRoot) -> tuple[Condition, ...]:
    """Return the conditions whose answers a cell counts beside the scores of a detector; none for others."""
    metric = metric_of(cell)
    if not isinstance(metric, DetectionMetric) or not metric.of_answers or cell.in_distribution is None:
        return ()
    return clean_conditions(load_dataset(cell.in_distribution, data=data))


@dataclass(frozen=True, kw_only=True)
class _Number:
    """A metric on one condition; cells that ask for the same share it."""

    value: ConditionScore
    units: Units


class Measuring:
    """Collects what a suite's cells say while the conditions of a run are read.

    Args:
        run: The run folder.
        suite: The suite.
        data: Data root, for manifests and labels.
    """

    def __init__(self, run: Run, suite: Suite, data: DataRoot) -> None:
        self._run, self._suite, self._data = run, suite, data
        self._datasets: dict[str, Dataset] = {}
        self._tuned_on = {cell.id: tune_dataset(cell, data) for cell in suite.cells}
        self._in_columns = detectors_in_columns(suite)
        self._inside: dict[Condition, list[Scored]] = {}
        self._fitted_on: dict[Condition, list[Scored]] = {}
        self._answered = {one for cell in suite.cells for one in answered_conditions(cell, data)}
        self._behind: dict[Condition, list[Cell]] = {}
        """Cells that read a condition beside their own: what is in distribution, fitted on, tuned on."""
        for cell in suite.cells:
            self._read_beside(cell)
        self._detecting = Detecting(run, self._fitted_on, self._columns)
        self._temperatures = Temperatures(suite.cells, self._tuned_on)
        self._images: dict[tuple[str, ...], tuple[str, ...]] = {}
        # Of the condition that is being read: what several cells ask for is taken once.
        self._outputs_of: dict[tuple[object, ...], Outputs] = {}
        self._numbers: dict[tuple[object, ...], _Number] = {}
        self.cells = {cell.id: Measured() for cell in suite.cells}
        self.headers: dict[Condition, PredictionsHeader] = {}
        self.scores_in: dict[Scored, Floats] = {}
        self._correct_in: dict[tuple[str, str | None], Floats] = {}
        self.label_digests: dict[str, str] = {}
        self.curves = Curves()
        self.companion = Companion()

    def _read_beside(self, cell: Cell) -> None:
        inside = in_conditions(cell, self._suite, self._data)
        fitted = fit_conditions(cell, self._data)
        tuned: tuple[Condition, ...] = ()
        if (name := self._tuned_on[cell.id]) is not None:
            tuned = clean_conditions(self.dataset(name))
        for condition in dict.fromkeys((*inside, *fitted, *tuned)):
            self._behind.setdefault(condition, []).append(cell)
        if (scored := Scored.of(cell)) is None:
            return
        for conditions, table in ((inside, self._inside), (fitted, self._fitted_on)):
            for condition in conditions:
                # In the suite's order, so that the first reason why a cell has no value is always the same.
                if scored not in table.setdefault(condition, []):
                    table[condition].append(scored)

    def turn(self, condition: Condition) -> int:
        """Return when a condition is to be read: what others are measured against comes before them."""
        tuned = {self._tuned_on[cell.id] for cell in self._suite.cells if cell.temperature != "cross_fit"}
        if condition.dataset in tuned:
            return 0
        against = condition in self._inside or condition in self._answered
        return 1 if against or condition.dataset in self._tuned_on.values() else 2

    def fit_detectors(self) -> None:
        """Fit every detector on the images it is fitted on; to be called before anything is read."""
        for condition in self._fitted_on:
            path = self._run.path(condition)
            if not path.exists():
                self._fail(condition, (), f"no predictions on {condition.path}")
            else:
                predictions = read_predictions(path)
                _check_header(predictions.header, self._run, condition)
                self._detecting.fit(predictions)

    def temperatures(self) -> dict[str, tuple[float, ...]]:
        """Return the temperatures of every cell that has such, by id."""
        return self._temperatures.by_cell(self._suite.cells)

    def dataset(self, name: str) -> Dataset:
        """Return a dataset, loaded once."""
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, data=self._data)
        return self._datasets[name]

    def same_images(self, first: Cell, second: Cell) -> bool:
        """Tell whether two cells show the same images: a corruption shows its companion's."""
        shown = self.dataset(first.dataset)
        corrupted = shown.manifest.role == "corruption" and clean_dataset(shown) == second.dataset
        return first.dataset == second.dataset or corrupted

    def read(self, condition: Condition, cells: Sequence[Cell]) -> None:
        """Measure ``cells`` on one condition.

        Raises:
            IncompatiblePredictionsError: A file belongs to another run, or cannot give what a metric needs.
            FileFormatError: A file was changed since it was written.
        """
        path = self._run.path(condition)
        if not path.exists():
            reason = why_not_shown(condition, self._run.info.model)
            self._fail(condition, cells, reason or f"no predictions on {condition.path}")
            return
        predictions = read_predictions(path)
        _check_header(predictions.header, self._run, condition)
        self.headers[condition] = predictions.header
        stored = self.dataset(condition.dataset)
        truth = labels_of(stored, predictions.sample_ids, predictions.labels)
        # Training images pair nothing, and what a detector shows is its own.
        fitted_alone = condition in self._fitted_on and not cells and condition not in self._inside
        if condition.kind != "detector-pass" and not fitted_alone:
            self.companion.add(predictions, truth, stored.columns(predictions.sample_ids))
        self._outputs_of, self._numbers = {}, {}
        for scored in self._inside.get(condition, ()):
            self._score_in(scored, predictions)
        if condition.kind == "clean":
            self._answer_in(predictions, truth)
            self._temperatures.fit(predictions, self._columns)
        for cell in cells:
            try:
                self._measure(cell, condition, predictions)
            except UndefinedMetricError as error:
                self._say(cell, f"{cell.metric} is undefined on {condition.path}: {error}")
            except DataError as error:
                self._say(cell, f"no labels for {condition.path}: {error}")
        self._outputs_of, self._numbers = {}, {}

    def _score_in(self, scored: Scored, predictions: Predictions) -> None:
        try:
            scores = self._detecting.scores(scored, predictions)
        except UndefinedMetricError as error:
            path = predictions.header.condition.path
            for cell in self._suite.cells:
                if Scored.of(cell) == scored:
                    self._say(cell, f"{cell.metric} is undefined on {path}: {error}")
            return
        self.scores_in[scored] = scores
        self._pair(predictions, scored, scores)

    def _answer_in(self, predictions: Predictions, truth: Labels | None) -> None:
        """Keep which images are answered rightly, by class subset, for cells that count this."""
        condition = predictions.header.condition
        for cell in self._suite.cells:
            metric, key = metric_of(cell), (condition.dataset, cell.subset)
            if cell.in_distribution != condition.dataset or not isinstance(metric, DetectionMetric):
                continue
            if metric.of_answers and key not in self._correct_in:
                try:
                    outputs = Outputs(predictions, self._columns(cell.subset), truth=truth)
                    self._correct_in[key] = outputs.correct
                except UndefinedMetricError as error:
                    self._say(cell, f"{cell.metric} is undefined on {condition.path}: {error}")

    def _pair(self, predictions: Predictions, scored: Scored, scores: Floats) -> None:
        """Keep scores that columns rest on; those of all detectors would take the companion beyond 1 MB."""
        # Those of attacked images would take the place of the clean ones': they have the dataset's name too.
        if scored.detector in self._in_columns and predictions.header.condition.kind != "attack":
            self.companion.add_scores(predictions, scores_name(scored), scores)

    def _fail(self, condition: Condition, cells: Sequence[Cell], reason: str) -> None:
        for cell in (*cells, *self._behind.get(condition, ())):
            self._say(cell, reason)

    def _say(self, cell: Cell, reason: str) -> None:
        """Keep why a cell has no value; the first reason is what the others come of."""
        measured = self.cells[cell.id]
        measured.reason = measured.reason or reason

    def _measure(self, cell: Cell, condition: Condition, predictions: Predictions) -> None:
        metric, measured = metric_of(cell), self.cells[cell.id]
        if isinstance(metric, DetectionMetric):
            self._measure_detection(cell, metric, condition, predictions)
            return
        seen = (cell.dataset, cell.subset, cell.class_map, cell.temperature)
        if seen not in self._outputs_of:
            self._outputs_of[seen] = self._outputs(cell, predictions)
        outputs = self._outputs_of[seen]
        asked = (*seen, cell.metric, *sorted(cell.options.items()))
        if asked not in self._numbers:
            self._numbers[asked] = self._number(cell, metric, condition, outputs)
        number = self._numbers[asked]
        measured.units.append(number.units)
        kept = outputs.kept[:: predictions.header.frames]
        ids = tuple(name for name, keep in zip(predictions.sample_ids, kept, strict=True) if keep)
        # The 75 conditions of a set name the same images: their ids are kept once.
        measured.images.append(self._images.setdefault(ids, ids))
        if predictions.header.frames == 1:
            measured.groups = self.dataset(cell.dataset).columns(ids)
        measured.values.append(number.value)
        if condition.kind == "clean" and cell.metric == "rms_calibration_error":
            draw_reliability(self.curves, cell.id, outputs)

    def _number(self, cell: Cell, metric: Metric, condition: Condition, outputs: Outputs) -> _Number:
        units = metric.units(outputs)
        value = rounded(metric.value(outputs, **cell.options))
        # A condition of many is shown with an interval only where it costs nothing: a rate.
        interval = None
        if is_rate(cell):
            interval = recorded_interval(metric.interval([units], self._suite.seed, cell.options))
        shown = ConditionScore(condition=condition, value=value, n=len(units[0]), interval=interval)
        return _Number(value=shown, units=units)

    def _outputs(self, cell: Cell, predictions: Predictions) -> Outputs:
        dataset = self.dataset(cell.dataset)
        truth = labels_of(dataset, predictions.sample_ids, predictions.labels)
        class_map = dataset.class_map
        if class_map is None and cell.class_map is not None:
            class_map = load_class_map(cell.class_map, beside=self._data.beside)
        if truth is None and class_map is not None:
            truth = mapped_labels(class_map, predictions.labels, beside=self._data.beside)
        if truth is not None and truth.digest is not None:
            self.label_digests[f"{cell.dataset}/labels"] = truth.digest
        if cell.temperature is not None:
            predictions = self._temperatures.scaled(cell, predictions)
        cues = cues_of(dataset, predictions.sample_ids, class_map)
        return Outputs(predictions, self._columns(cell.subset), truth=truth, cues=cues)

    def _measure_detection(
        self, cell: Cell, metric: DetectionMetric, condition: Condition, predictions: Predictions
    ) -> None:
        scored = Scored.of(cell)
        assert scored is not None  # noqa: S101  # metric_of has checked it
        measured, scores_in = self.cells[cell.id], self.scores_in.get(scored)
        if scores_in is None:
            return  # _fail or _score_in has said why
        answers = {}
        if metric.of_answers:
            measured.correct_in = self._correct_in.get((scored.in_distribution, scored.subset))
            if measured.correct_in is None:
                self._say(cell, f"{cell.metric} needs the answers on the images of {cell.in_distribution}")
                return
            answers["correct_in"] = measured.correct_in
        scores_out = self._detecting.scores(scored, predictions)
        measured.scores_out.append(scores_out)
        self._pair(predictions, scored, scores_out)
        measured.values.append(
            ConditionScore(
                condition=condition,
                value=rounded(metric.value(scores_in, scores_out, **answers, **cell.options)),
                n=len(scores_out),
                interval=None,
                chance=metric.chance(len(scores_in), len(scores_out), cell.options, **answers),
            )
        )
        draw_histogram(self.curves, cell.id, scores_in, scores_out)

    def _columns(self, subset: str | None) -> NDArray[np.int64] | None:
        if subset is None:
            return None
        space = load_label_space(self._suite.label_space, beside=self._data.beside)
        return subset_columns(load_subset(subset, beside=self._data.beside), space)


def detectors_in_columns(suite: Suite) -> set[str]:
    """Return the detectors whose scores a companion keeps."""
    ids = set(suite.columns)
    ids |= {name for aggregate in suite.aggregates if aggregate.id in ids for name in aggregate.of}
    return {cell.detector for cell in suite.cells if cell.detector and cell.id in ids}


def scores_name(scored: Scored) -> str:
    """Return the name under which a companion keeps OOD scores."""
    return scored.detector if scored.subset is None else f"{scored.detector}.{scored.subset}"


def _check_header(header: PredictionsHeader, run: Run, condition: Condition) -> None:
    """Refuse a file that was put into this folder from another run."""
    info = run.info
    found = (header.condition, header.seed, header.limit, header.model_digest, header.environment)
    expected = (condition, info.seed, info.limit, digest_of(info.model), info.environment)
    if found != expected:
        raise IncompatiblePredictionsError(
            f"{run.path(condition)} belongs to another run or condition",
            fix="remove it and predict again",
        )
