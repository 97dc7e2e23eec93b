"""From a suite and stored predictions to a record: on a CPU, in seconds, without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot
from robustbench_safety.detectors import ood_score
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError, UndefinedMetricError
from robustbench_safety.files import digest_of
from robustbench_safety.labels import load_label_space, load_subset, subset_columns
from robustbench_safety.measures import DETECTION_METRICS, METRICS, DetectionMetric, Metric, Outputs, Units
from robustbench_safety.metrics import Interval
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.records import (
    Cell,
    Condition,
    ConditionScore,
    Curves,
    PredictionsHeader,
    Score,
    ScoreInterval,
    ScoreRecord,
    Suite,
    SuiteReference,
    Timings,
    Verification,
)
from robustbench_safety.runs import Run
from robustbench_safety.suites import cell_conditions, suite_digest

__all__ = ["needed_conditions", "score_predictions"]

Floats = NDArray[np.float64]

_Scored = tuple[str, str, str | None]
"""In-distribution dataset, detector, class subset: what scores belong to."""

_RELIABILITY_BINS = 15
_HISTOGRAM_BINS = 50


@dataclass
class _Measured:
    """What is kept of a cell while the conditions are read one after another."""

    values: list[ConditionScore] = field(default_factory=list)
    units: list[Units] = field(default_factory=list)
    scores_out: list[Floats] = field(default_factory=list)
    reason: str | None = None


def needed_conditions(suite: Suite, data: DataRoot) -> dict[Condition, list[Cell]]:
    """Return every condition that a suite needs, in its order, with the cells that read it."""
    needed: dict[Condition, list[Cell]] = {}
    for cell in suite.cells:
        _metric_of(cell)
        if cell.in_distribution is not None:
            clean = cell.model_copy(update={"dataset": cell.in_distribution})
            for condition in cell_conditions(clean, suite, data):
                needed.setdefault(condition, [])
        for condition in cell_conditions(cell, suite, data):
            needed.setdefault(condition, []).append(cell)
    return needed


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
        self._cells = {cell.id: _Measured() for cell in suite.cells}
        self._headers: dict[Condition, PredictionsHeader] = {}
        self._scores_in: dict[_Scored, Floats] = {}
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
            scores[cell.id] = self._score([cell])
        by_id = {cell.id: cell for cell in suite.cells}
        for aggregate in suite.aggregates:
            scores[aggregate.id] = self._score([by_id[name] for name in aggregate.of])
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
            data_digests={path: header.data_digest for path, header in headers.items()},
            prediction_digests={path: header.predictions_digest for path, header in headers.items()},
            companion_digest=self.companion.digest(),
            curves=self._curves,
            environment=run.info.environment,
            forward_passes=passes,
            verification=Verification(
                kind="verified", by=f"rbs score {run.info.environment.package}", at=finished
            ),
            timings=Timings(
                finished=finished,
                seconds=round(seconds, 3),
                images_per_second=round(passes / seconds, 1) if seconds > 0 else 0.0,
            ),
        )

    def _partial_because(self) -> list[str]:
        info = self._run.info
        because = [f"{name}: {cell.reason}" for name, cell in self._cells.items() if cell.reason]
        if info.limit is not None:
            because.append(f"limit: {info.limit} source images of each dataset")
        if info.seed != self._suite.seed:
            because.append(f"seed: {info.seed}, the suite's is {self._suite.seed}")
        return because

    # ------------------------------------------------------------------------------------- conditions

    def _read(self, condition: Condition, cells: Sequence[Cell], wanted: set[_Scored]) -> None:
        path = self._run.path(condition)
        if not path.exists():
            self._fail(condition, cells, f"no predictions on {condition.path}")
            return
        predictions = read_predictions(path)
        _check_header(predictions.header, self._run, condition)
        self._headers[condition] = predictions.header
        self.companion.add(predictions)
        for dataset, detector, subset in wanted:
            if dataset == condition.dataset and condition.kind == "clean":
                outputs = Outputs(predictions, self._columns(subset))
                scores = ood_score(detector, outputs.logits)
                self._scores_in[dataset, detector, subset] = scores
                self.companion.add_scores(predictions, detector, scores)
        for cell in cells:
            try:
                self._measure(cell, condition, predictions)
            except UndefinedMetricError as error:
                self._cells[cell.id].reason = f"{cell.metric} is undefined on {condition.path}: {error}"

    def _fail(self, condition: Condition, cells: Sequence[Cell], reason: str) -> None:
        for cell in self._suite.cells:
            if cell in cells or (cell.in_distribution == condition.dataset and condition.kind == "clean"):
                self._cells[cell.id].reason = reason

    def _measure(self, cell: Cell, condition: Condition, predictions: Predictions) -> None:
        metric, measured = _metric_of(cell), self._cells[cell.id]
        if isinstance(metric, DetectionMetric):
            self._measure_detection(cell, metric, condition, predictions)
            return
        outputs = Outputs(predictions, self._columns(cell.subset))
        units = metric.units(outputs)
        value = float(metric.value(outputs, **cell.options))
        # A condition of many is shown with an interval only where it costs nothing: a rate.
        interval = metric.interval([units], self._suite.seed, cell.options) if _is_rate(cell) else None
        measured.units.append(units)
        measured.values.append(
            ConditionScore(
                condition=condition, value=_rounded(value), n=len(units[0]), interval=_recorded(interval)
            )
        )
        if condition.kind == "clean" and cell.metric == "rms_calibration_error":
            self._draw_reliability(cell.id, outputs)

    def _measure_detection(
        self, cell: Cell, metric: DetectionMetric, condition: Condition, predictions: Predictions
    ) -> None:
        assert cell.detector is not None  # noqa: S101  # Cell and _metric_of have checked it
        assert cell.in_distribution is not None  # noqa: S101
        measured = self._cells[cell.id]
        scores_in = self._scores_in.get((cell.in_distribution, cell.detector, cell.subset))
        if scores_in is None:
            return  # _fail has said why
        scores_out = ood_score(cell.detector, Outputs(predictions, self._columns(cell.subset)).logits)
        measured.scores_out.append(scores_out)
        self.companion.add_scores(predictions, cell.detector, scores_out)
        measured.values.append(
            ConditionScore(
                condition=condition,
                value=_rounded(metric.value(scores_in, scores_out, **cell.options)),
                n=len(scores_out),
                interval=None,
                chance=metric.chance(len(scores_in), len(scores_out), cell.options),
            )
        )
        self._draw_histogram(cell.id, scores_in, scores_out)

    def _columns(self, subset: str | None) -> NDArray[np.int64] | None:
        if subset is None:
            return None
        space = load_label_space(self._suite.label_space, beside=self._data.beside)
        return subset_columns(load_subset(subset, beside=self._data.beside), space)

    # ----------------------------------------------------------------------------------------- scores

    def _score(self, cells: Sequence[Cell]) -> Score:
        """Return the score of one cell, or of the mean over several."""
        first, metric = cells[0], _metric_of(cells[0])
        unit = "fraction" if isinstance(metric, DetectionMetric) else metric.unit
        measured = [self._cells[cell.id] for cell in cells]
        reasons = [
            f"{cell.id}: {part.reason}" if len(cells) > 1 else part.reason
            for cell, part in zip(cells, measured, strict=True)
            if part.reason is not None
        ]
        if reasons:
            return Score(
                value=None, n=0, interval=None, unit=unit, direction=metric.direction, reason=reasons[0]
            )
        value = float(np.mean([np.mean([c.value for c in part.values]) for part in measured]))
        n, n_out = measured[0].values[0].n, None
        if isinstance(metric, DetectionMetric):
            assert first.in_distribution is not None  # noqa: S101  # as above
            assert first.detector is not None  # noqa: S101
            scores_in = self._scores_in[first.in_distribution, first.detector, first.subset]
            sets = [scores for part in measured for scores in part.scores_out]
            n, n_out = len(scores_in), sum(len(scores) for scores in sets)
            interval = metric.interval(scores_in, sets, self._suite.seed, first.options)
        else:
            units = [unit for part in measured for unit in part.units]
            interval = metric.interval(units, self._suite.seed, first.options)
        return Score(
            value=_rounded(value),
            n=n,
            n_out=n_out,
            interval=_recorded(interval),
            unit=unit,
            direction=metric.direction,
        )

    # ----------------------------------------------------------------------------------------- curves

    def _draw_reliability(self, name: str, outputs: Outputs) -> None:
        bins = metrics.reliability_bins(outputs.confidence, outputs.correct, bins=_RELIABILITY_BINS)
        curve = metrics.risk_coverage_curve(outputs.confidence, outputs.correct, points=100)
        rows = zip(bins.n, _all_rounded(bins.mean_confidence), _all_rounded(bins.accuracy), strict=True)
        self._curves.reliability[name] = tuple(rows)
        self._curves.risk_coverage[name] = tuple(_rounded(risk) for risk in curve.risk)

    def _draw_histogram(self, name: str, scores_in: Floats, scores_out: Floats) -> None:
        both = np.concatenate([scores_in, scores_out])
        low, high = float(both.min()), float(both.max())
        edges = np.linspace(low, high if high > low else low + 1, _HISTOGRAM_BINS + 1)
        counts = [np.histogram(scores, bins=edges)[0] for scores in (scores_in, scores_out)]
        inside, outside = (tuple(int(count) for count in part) for part in counts)
        ends = (_rounded(low), _rounded(edges[-1]))
        self._curves.ood_histogram[name] = (ends, inside, outside)


def _metric_of(cell: Cell) -> Metric | DetectionMetric:
    """Return the metric of a cell, checking that the cell has what it takes."""
    table: Mapping[str, Metric | DetectionMetric] = DETECTION_METRICS if cell.detector else METRICS
    if cell.metric in table:
        return table[cell.metric]
    known = {**METRICS, **DETECTION_METRICS}
    if cell.metric in known:
        needs = "a detector and in_distribution" if cell.metric in DETECTION_METRICS else "no detector"
        raise FileFormatError(f"cell {cell.id}: metric {cell.metric}", expected=needs)
    raise FileFormatError(
        f"cell {cell.id}: metric", expected=f"one of {', '.join(sorted(known))}", found=cell.metric
    )


def _is_rate(cell: Cell) -> bool:
    return cell.metric == "error_rate"


def _recorded(interval: Interval | None) -> ScoreInterval | None:
    if interval is None:
        return None
    low, high = _rounded(interval.low), _rounded(interval.high)
    return ScoreInterval(low=low, high=high, level=interval.level, method=interval.method)


def _all_rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else _rounded(value) for value in values]


def _rounded(value: float) -> float:
    # Further digits differ between versions of the libraries, and a record should not.
    return round(float(value), 10)


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
