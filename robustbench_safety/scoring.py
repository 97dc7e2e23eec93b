"""From a suite and stored predictions to a record: on a CPU, in seconds, without the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import (
    Measured,
    Scored,
    difference_of,
    groups_of,
    is_rate,
    metric_of,
    score_of,
)
from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.label_sets import labels_of, mapped_labels
from robustbench_safety.detectors import NEED_LOGITS, ood_score
from robustbench_safety.errors import (
    DataError,
    IncompatiblePredictionsError,
    UndefinedMetricError,
)
from robustbench_safety.files import digest_of
from robustbench_safety.labels import load_class_map, load_label_space, load_subset, subset_columns
from robustbench_safety.measures import DetectionMetric, Outputs
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.recording import (
    draw_histogram,
    draw_reliability,
    recorded_interval,
    rounded,
)
from robustbench_safety.records import (
    Cell,
    Condition,
    ConditionScore,
    Curves,
    ModelSpec,
    PredictionsHeader,
    Score,
    ScoreRecord,
    Suite,
    SuiteReference,
    Timings,
    Verification,
)
from robustbench_safety.runs import Run
from robustbench_safety.suites import cell_conditions, suite_digest

__all__ = ["needed_conditions", "score_predictions", "why_not_shown"]

Floats = NDArray[np.float64]

#: Roles of data sets that say nothing once a model was trained on them.
_UNSEEN = ("shift", "corruption", "sequence", "ood")


def needed_conditions(suite: Suite, data: DataRoot) -> dict[Condition, list[Cell]]:
    """Return every condition that a suite needs, in its order, with the cells that read it."""
    needed: dict[Condition, list[Cell]] = {}
    for cell in suite.cells:
        metric_of(cell)
        if cell.in_distribution is not None:
            clean = cell.model_copy(update={"dataset": cell.in_distribution})
            for condition in cell_conditions(clean, suite, data):
                needed.setdefault(condition, [])
        for condition in cell_conditions(cell, suite, data):
            needed.setdefault(condition, []).append(cell)
    return needed


def why_not_shown(condition: Condition, model: ModelSpec) -> str | None:
    """Return why a condition cannot be made for a model; None where it can."""
    if condition.kind == "attack" and not model.gradients:
        return f"needs the gradient of the model, which {model.family} cannot give"
    return None


def score_predictions(run: Run, suite: Suite, data: DataRoot) -> tuple[ScoreRecord, Companion]:
    """Score a suite from the predictions in a run folder.

    A condition without predictions makes its cells null, with the reason, and the record partial.

    Raises:
        IncompatiblePredictionsError: A file belongs to another run, or cannot give what a metric needs.
        FileFormatError: A file was changed since it was written.
    """
    scoring = _Scoring(run, suite, data)
    return scoring.record(), scoring.companion


class _Scoring:
    def __init__(self, run: Run, suite: Suite, data: DataRoot) -> None:
        self._run, self._suite, self._data = run, suite, data
        self._cells = {cell.id: Measured() for cell in suite.cells}
        self._headers: dict[Condition, PredictionsHeader] = {}
        self._scores_in: dict[Scored, Floats] = {}
        self._label_digests: dict[str, str] = {}
        self._datasets: dict[str, Dataset] = {}
        self._curves = Curves()
        self.companion = Companion()

    def record(self) -> ScoreRecord:
        suite, run = self._suite, self._run
        if run.info.model.label_space != suite.label_space:
            raise IncompatiblePredictionsError(
                f"suite {suite.name} cannot score {run.info.model.name}",
                expected=f"label space {suite.label_space}",
                found=run.info.model.label_space,
            )
        # Another seed than the suite's makes other attacks, and an attack's name carries its seed.
        seeded = suite.model_copy(update={"seed": run.info.seed})
        needed = needed_conditions(seeded, self._data)
        wanted = {
            (cell.in_distribution, cell.detector, cell.subset)
            for cell in suite.cells
            if cell.in_distribution and cell.detector
        }
        # In-distribution scores are read first: every detection cell is measured against them.
        order = sorted(needed, key=lambda condition: condition.dataset not in {name for name, _, _ in wanted})
        for condition in order:
            self._read(condition, needed[condition], wanted)
        scores: dict[str, Score] = {}
        for cell in suite.cells:
            scores[cell.id] = score_of([cell], self._cells, self._scores_in, seed=suite.seed)
        by_id = {cell.id: cell for cell in suite.cells}
        for aggregate in suite.aggregates:
            cells = [by_id[name] for name in aggregate.of]
            scores[aggregate.id] = (
                difference_of(
                    cells, self._cells, scores, seed=suite.seed, same_images=self._same_images(*cells)
                )
                if aggregate.reduce == "difference"
                else score_of(cells, self._cells, self._scores_in, seed=suite.seed)
            )
        because = self._partial_because()
        headers = {c.path: header for c, header in self._headers.items()}
        seconds = sum(header.seconds for header in headers.values())
        passes = sum(header.forward_passes for header in headers.values())
        finished = max((header.finished for header in headers.values()), default="")
        return ScoreRecord(
            schema_version=1,
            slug=run.info.slug,
            display_name=run.info.display_name,
            suite=SuiteReference(
                name=suite.name, version=suite.version, digest=suite_digest(suite, self._data)
            ),
            model=run.info.model,
            seed=run.info.seed,
            limit=run.info.limit,
            status="partial" if because else "complete",
            partial_because=tuple(because),
            columns=suite.columns,
            beside=suite.beside,
            scores=scores,
            conditions={cell.id: tuple(self._cells[cell.id].values) for cell in suite.cells},
            groups=groups_of(suite.cells, self._cells),
            without_images=tuple(
                path for path, header in headers.items() if header.data_digest_covers != "samples"
            ),
            data_digests={path: header.data_digest for path, header in headers.items()} | self._label_digests,
            prediction_digests={path: header.predictions_digest for path, header in headers.items()},
            reduced_batches={
                path: header.reduced_batch for path, header in headers.items() if header.reduced_batch
            },
            trained_on_tested=self._trained_on_tested(),
            companion_digest=self.companion.digest(),
            curves=self._curves,
            environment=run.info.environment,
            forward_passes=passes,
            # Predictions that somebody handed in can be forged.
            verification=Verification(
                kind="verified" if run.info.environment.known else "recomputed",
                by=f"rbs score {run.info.environment.package}",
                at=finished,
            ),
            timings=Timings(
                finished=finished,
                seconds=round(seconds, 3),
                images_per_second=round(passes / seconds, 1) if seconds > 0 else 0.0,
            ),
        )

    def _trained_on_tested(self) -> tuple[str, ...]:
        """Return the tested data sets that should be new to the model, and that it was trained on."""
        tested = dict.fromkeys(cell.dataset for cell in self._suite.cells)
        known = [name for name in tested if name in self._run.info.model.trained_on]
        return tuple(name for name in known if self._dataset(name).manifest.role in _UNSEEN)

    def _partial_because(self) -> list[str]:
        info = self._run.info
        because = [f"{name}: {cell.reason}" for name, cell in self._cells.items() if cell.reason]
        if info.limit is not None:
            because.append(f"limit: {info.limit} source images of each dataset")
        if info.seed != self._suite.seed:
            because.append(f"seed: {info.seed}, the suite's is {self._suite.seed}")
        return because

    # ------------------------------------------------------------------------------------- conditions

    def _read(self, condition: Condition, cells: Sequence[Cell], wanted: set[Scored]) -> None:
        path = self._run.path(condition)
        if not path.exists():
            reason = why_not_shown(condition, self._run.info.model)
            self._fail(condition, cells, reason or f"no predictions on {condition.path}")
            return
        predictions = read_predictions(path)
        _check_header(predictions.header, self._run, condition)
        self._headers[condition] = predictions.header
        stored = self._dataset(condition.dataset)
        truth = labels_of(stored, predictions.sample_ids, predictions.labels)
        self.companion.add(predictions, truth, stored.columns(predictions.sample_ids))
        for dataset, detector, subset in wanted:
            if dataset == condition.dataset and condition.kind == "clean":
                self._score_in(dataset, detector, subset, predictions)
        for cell in cells:
            try:
                self._measure(cell, condition, predictions)
            except UndefinedMetricError as error:
                self._cells[cell.id].reason = f"{cell.metric} is undefined on {condition.path}: {error}"
            except DataError as error:
                self._cells[cell.id].reason = f"no labels for {condition.path}: {error}"

    def _score_in(self, dataset: str, detector: str, subset: str | None, predictions: Predictions) -> None:
        try:
            scores = self._ood_scores(detector, subset, predictions)
        except UndefinedMetricError as error:
            path = predictions.header.condition.path
            for cell in self._suite.cells:
                if (cell.in_distribution, cell.detector, cell.subset) == (dataset, detector, subset):
                    self._cells[cell.id].reason = f"{cell.metric} is undefined on {path}: {error}"
            return
        self._scores_in[dataset, detector, subset] = scores
        self.companion.add_scores(predictions, _scores_name(detector, subset), scores)

    def _ood_scores(self, detector: str, subset: str | None, predictions: Predictions) -> Floats:
        if detector in NEED_LOGITS and self._run.info.model.outputs == "probabilities":
            raise UndefinedMetricError(f"{detector} needs logits, and there are probabilities alone")
        return ood_score(detector, Outputs(predictions, self._columns(subset)).logits)

    def _fail(self, condition: Condition, cells: Sequence[Cell], reason: str) -> None:
        for cell in self._suite.cells:
            if cell in cells or (cell.in_distribution == condition.dataset and condition.kind == "clean"):
                self._cells[cell.id].reason = reason

    def _measure(self, cell: Cell, condition: Condition, predictions: Predictions) -> None:
        metric, measured = metric_of(cell), self._cells[cell.id]
        if isinstance(metric, DetectionMetric):
            self._measure_detection(cell, metric, condition, predictions)
            return
        outputs = self._outputs(cell, predictions)
        units = metric.units(outputs)
        value = float(metric.value(outputs, **cell.options))
        # A condition of many is shown with an interval only where it costs nothing: a rate.
        interval = None
        if is_rate(cell):
            interval = recorded_interval(metric.interval([units], self._suite.seed, cell.options))
        measured.units.append(units)
        if predictions.header.frames == 1:
            kept = np.flatnonzero(outputs.kept)
            ids = [predictions.sample_ids[i] for i in kept]
            measured.images.append(tuple(ids))
            measured.groups = self._dataset(cell.dataset).columns(ids)
        measured.values.append(
            ConditionScore(condition=condition, value=rounded(value), n=len(units[0]), interval=interval)
        )
        if condition.kind == "clean" and cell.metric == "rms_calibration_error":
            draw_reliability(self._curves, cell.id, outputs)

    def _same_images(self, first: Cell, second: Cell) -> bool:
        """Tell whether two cells show the same images: a corruption shows its companion's."""
        manifest = self._dataset(first.dataset).manifest
        corrupted = manifest.role == "corruption" and manifest.companion == second.dataset
        return first.dataset == second.dataset or corrupted

    def _dataset(self, name: str) -> Dataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, data=self._data)
        return self._datasets[name]

    def _outputs(self, cell: Cell, predictions: Predictions) -> Outputs:
        dataset = self._dataset(cell.dataset)
        truth = labels_of(dataset, predictions.sample_ids, predictions.labels)
        if truth is None and cell.class_map is not None:
            class_map = load_class_map(cell.class_map, beside=self._data.beside)
            truth = mapped_labels(class_map, predictions.labels, beside=self._data.beside)
        if truth is not None and truth.digest is not None:
            self._label_digests[f"{cell.dataset}/labels"] = truth.digest
        return Outputs(predictions, self._columns(cell.subset), truth=truth)

    def _measure_detection(
        self, cell: Cell, metric: DetectionMetric, condition: Condition, predictions: Predictions
    ) -> None:
        assert cell.detector is not None  # noqa: S101  # Cell and _metric_of have checked it
        assert cell.in_distribution is not None  # noqa: S101
        measured = self._cells[cell.id]
        scores_in = self._scores_in.get((cell.in_distribution, cell.detector, cell.subset))
        if scores_in is None:
            return  # _fail or _score_in has said why
        scores_out = self._ood_scores(cell.detector, cell.subset, predictions)
        measured.scores_out.append(scores_out)
        self.companion.add_scores(predictions, _scores_name(cell.detector, cell.subset), scores_out)
        measured.values.append(
            ConditionScore(
                condition=condition,
                value=rounded(metric.value(scores_in, scores_out, **cell.options)),
                n=len(scores_out),
                interval=None,
                chance=metric.chance(len(scores_in), len(scores_out), cell.options),
            )
        )
        draw_histogram(self._curves, cell.id, scores_in, scores_out)

    def _columns(self, subset: str | None) -> NDArray[np.int64] | None:
        if subset is None:
            return None
        space = load_label_space(self._suite.label_space, beside=self._data.beside)
        return subset_columns(load_subset(subset, beside=self._data.beside), space)


def _scores_name(detector: str, subset: str | None) -> str:
    return detector if subset is None else f"{detector}.{subset}"


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
