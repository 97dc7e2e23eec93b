"""From a suite and stored predictions to a record: on a CPU, in seconds, without the model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from robustbench_safety.aggregating import difference_of, groups_of, metric_of, score_of, worst_of
from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.data.label_sets import CUES
from robustbench_safety.detection_measures import DetectionMetric
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError
from robustbench_safety.files import digest_of
from robustbench_safety.labels import load_class_map, load_subset
from robustbench_safety.masking import warnings_by_condition, with_notes
from robustbench_safety.measuring import Measuring, answered_conditions, why_not_shown
from robustbench_safety.normalising import normalised_of
from robustbench_safety.records import (
    Aggregate,
    Baseline,
    Cell,
    Condition,
    ModelSpec,
    Score,
    ScoreRecord,
    Suite,
    SuiteReference,
    Timings,
    Verification,
)
from robustbench_safety.robustness import robustness_of
from robustbench_safety.runs import Run
from robustbench_safety.suites import (
    cell_conditions,
    check_sides,
    clean_conditions,
    fit_conditions,
    in_conditions,
    refuse_model,
    suite_accuracies,
    suite_baselines,
    suite_digest,
    tune_dataset,
)

__all__ = ["needed_conditions", "score_predictions", "trained_on_tested", "why_not_shown"]

#: Roles of data sets that say nothing once a model was trained on them.
_UNSEEN = ("shift", "corruption", "sequence", "ood")


def needed_conditions(suite: Suite, data: DataRoot) -> dict[Condition, list[Cell]]:
    """Return every condition that a suite needs, in its order, with the cells that read it."""
    needed: dict[Condition, list[Cell]] = {}
    for cell in suite.cells:
        _check_metric(cell, data)
        check_sides(cell, suite, data)
        _check_classes(cell, suite, data)
        for condition in (*fit_conditions(cell, data), *in_conditions(cell, suite, data)):
            needed.setdefault(condition, [])
        if (tuned_on := tune_dataset(cell, data)) is not None:
            for condition in clean_conditions(load_dataset(tuned_on, data=data)):
                needed.setdefault(condition, [])
        for condition in answered_conditions(cell, data):
            needed.setdefault(condition, [])
        shown = cell_conditions(cell, suite, data)
        _check_frames(cell, shown)
        for condition in shown:
            needed.setdefault(condition, []).append(cell)
    return needed


def trained_on_tested(suite: Suite, model: ModelSpec, data: DataRoot) -> tuple[str, ...]:
    """Return the tested data sets that should be new to a model, and that it was trained on."""
    tested = dict.fromkeys(cell.dataset for cell in suite.cells)
    known = [name for name in tested if name in model.trained_on]
    return tuple(name for name in known if load_dataset(name, data=data).manifest.role in _UNSEEN)


def _check_metric(cell: Cell, data: DataRoot) -> None:
    """Check that the metric is one, and that the dataset has what it takes."""
    metric = metric_of(cell)
    if isinstance(metric, DetectionMetric) or not metric.of_cues:
        return
    dataset = load_dataset(cell.dataset, data=data)
    missing = [column for column in CUES if column not in dataset.manifest.columns]
    if dataset.class_map is None and cell.class_map is None:
        missing.append("a class map")
    if missing:
        raise FileFormatError(
            f"cell {cell.id}: metric {cell.metric}",
            expected=f"a dataset with a class map and the group columns {' and '.join(CUES)}",
            found=f"{cell.dataset}, without {' and '.join(missing)}",
        )


def _check_frames(cell: Cell, shown: Sequence[Condition]) -> None:
    """Check that frames of clips are compared and nothing else is, and single images are anything else's.

    A clip is one source image: of its frames taken one by one no interval would be right.
    """
    metric = metric_of(cell)
    of_clips = not isinstance(metric, DetectionMetric) and metric.of_clips
    odd = next((condition for condition in shown if (condition.kind == "sequence") != of_clips), None)
    if odd is not None:
        raise FileFormatError(
            f"cell {cell.id}: metric {cell.metric}",
            expected="sequences" if of_clips else "single images: of sequences there are flips and distances",
            found=f"{odd.path} of dataset {cell.dataset}",
        )


def _check_classes(cell: Cell, suite: Suite, data: DataRoot) -> None:
    """Check that class subset and class map are there, and of the suite's label space."""
    subset = load_subset(cell.subset, beside=data.beside) if cell.subset else None
    class_map = load_class_map(cell.class_map, beside=data.beside) if cell.class_map else None
    for field, found in (("subset", subset), ("class_map", class_map)):
        if found is not None and found.label_space != suite.label_space:
            raise FileFormatError(
                f"suite {suite.name}: cell {cell.id}: {field} {found.name}",
                expected=f"classes of {suite.label_space}",
                found=f"classes of {found.label_space}",
            )


def score_predictions(
    run: Run, suite: Suite, data: DataRoot, *, baselines: Mapping[str, Baseline] | None = None
) -> tuple[ScoreRecord, Companion]:
    """Score a suite from the predictions in a run folder.

    A condition without predictions makes its cells null, with the reason, and the record partial.

    Args:
        run: The run folder.
        suite: The suite.
        data: Data root, for manifests and labels.
        baselines: What the suite's aggregates are divided by, by name; None for the baselines that it names.

    Raises:
        IncompatiblePredictionsError: A file belongs to another run, or cannot give what a metric needs.
        FileFormatError: A file was changed since it was written.
    """
    scoring = _Scoring(run, suite, data, suite_baselines(suite, data) if baselines is None else baselines)
    return scoring.record(), scoring.companion


class _Scoring:
    def __init__(self, run: Run, suite: Suite, data: DataRoot, baselines: Mapping[str, Baseline]) -> None:
        self._run, self._suite, self._data, self._baselines = run, suite, data, baselines
        self._accuracies = suite_accuracies(suite, data)
        self._measuring = Measuring(run, suite, data)
        self._cells = self._measuring.cells

    @property
    def companion(self) -> Companion:
        return self._measuring.companion

    def record(self) -> ScoreRecord:
        suite, run = self._suite, self._run
        if run.info.model.label_space != suite.label_space:
            raise IncompatiblePredictionsError(
                f"suite {suite.name} cannot score {run.info.model.name}",
                expected=f"label space {suite.label_space}",
                found=run.info.model.label_space,
            )
        refuse_model(suite, run.info.model)
        # Another seed than the suite's makes other attacks, and an attack's name carries its seed.
        seeded = suite.model_copy(update={"seed": run.info.seed})
        needed = needed_conditions(seeded, self._data)
        self._measuring.fit_detectors()
        for condition in sorted(needed, key=self._measuring.turn):
            self._measuring.read(condition, needed[condition])
        warnings = warnings_by_condition(self._measuring.headers)
        scores = self._scores()
        if warnings:
            conditions = {name: [one.condition for one in cell.values] for name, cell in self._cells.items()}
            scores = with_notes(scores, suite, conditions, set(warnings))
        because = self._partial_because()
        headers = {c.path: header for c, header in self._measuring.headers.items()}
        seconds = sum(header.seconds for header in headers.values())
        passes = sum(header.forward_passes for header in headers.values())
        finished = max((header.finished for header in headers.values()), default="")
        return ScoreRecord(
            schema_version=1,
            slug=run.info.slug,
            display_name=run.info.display_name,
            suite=SuiteReference(
                name=suite.name,
                version=suite.version,
                digest=suite_digest(suite, self._data, baselines=self._baselines),
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
            data_digests={path: header.data_digest for path, header in headers.items()}
            | self._measuring.label_digests,
            prediction_digests={path: header.predictions_digest for path, header in headers.items()},
            reduced_batches={
                path: header.reduced_batch for path, header in headers.items() if header.reduced_batch
            },
            baselines={name: digest_of(baseline) for name, baseline in self._baselines.items()},
            accuracies={name: digest_of(table) for name, table in self._accuracies.items()},
            temperatures=self._measuring.temperatures(),
            attack_warnings=warnings,
            trained_on_tested=trained_on_tested(suite, run.info.model, self._data),
            companion_digest=self.companion.digest(),
            curves=self._measuring.curves,
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

    def _scores(self) -> dict[str, Score]:
        suite, scores_in = self._suite, self._measuring.scores_in

        def score(cell: Cell) -> Score:
            return score_of([cell], self._cells, scores_in, seed=suite.seed)

        # Bootstraps take nearly all of the time of a record; each has a seed, and NumPy lets threads run.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scores = dict(zip((cell.id for cell in suite.cells), pool.map(score, suite.cells), strict=True))
        by_id = {cell.id: cell for cell in suite.cells}
        for aggregate in suite.aggregates:
            cells = [by_id[name] for name in aggregate.of]
            scores[aggregate.id] = self._aggregated(aggregate, cells, scores)
        return scores

    def _aggregated(self, aggregate: Aggregate, cells: list[Cell], scores: Mapping[str, Score]) -> Score:
        seed = self._suite.seed
        if aggregate.reduce == "mean" and len(cells) == 1:
            return scores[cells[0].id]
        if aggregate.reduce == "mean":
            return score_of(cells, self._cells, self._measuring.scores_in, seed=seed)
        if aggregate.reduce == "pooled":
            return score_of(cells, self._cells, self._measuring.scores_in, seed=seed, pooled=True)
        if aggregate.reduce == "worst":
            return worst_of(cells[0], self._cells[cells[0].id], seed=seed)
        if aggregate.accuracies is not None:
            table = self._accuracies[aggregate.accuracies]
            return robustness_of(aggregate, cells, self._cells, table, seed=seed)
        same = len(cells) == 1 or self._measuring.same_images(*cells)
        if aggregate.baseline is None:
            return difference_of(cells, self._cells, scores, seed=seed, same_images=same)
        baseline = self._baselines[aggregate.baseline]
        return normalised_of(aggregate, cells, self._cells, baseline, seed=seed, same_images=same)

    def _partial_because(self) -> list[str]:
        info = self._run.info
        because = [f"{name}: {cell.reason}" for name, cell in self._cells.items() if cell.reason]
        if info.limit is not None:
            because.append(f"limit: {info.limit} source images of each dataset")
        if info.seed != self._suite.seed:
            because.append(f"seed: {info.seed}, the suite's is {self._suite.seed}")
        return because
