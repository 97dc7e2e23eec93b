"""The table of metrics of anomaly detection: what each is fed, what chance reaches, and scored end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from robustbench_safety import metrics
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.evaluation import rescore, score
from robustbench_safety.measures import Options
from robustbench_safety.predictions import read_predictions
from robustbench_safety.records import Suite

RIGHT = np.repeat([1.0, 0.0], [240, 60])


def _scores() -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return rng.normal(size=300), [rng.normal(loc=1, size=200), rng.normal(loc=0.5, size=100)]


OPTIONS: dict[str, Options] = {
    "auroc": {},
    "aupr_out": {"base_rate": 1 / 6},
    "aupr_in": {"base_rate": 5 / 6},
    "fpr_at_tpr": {"tpr": 0.8},
    "fpr_at_tpr_hendrycks": {"tpr": 0.8},
    "unknown_aurc": {},
}


@pytest.mark.parametrize("name", DETECTION_METRICS)
@pytest.mark.parametrize("given", [False, True])
def test_the_interval_of_a_mean_over_sets_holds_the_mean(name: str, given: bool) -> None:  # noqa: FBT001
    metric, options = DETECTION_METRICS[name], OPTIONS[name] if given else {}
    inside, sets = _scores()
    answers = {"correct_in": RIGHT} if metric.of_answers else {}
    values = [metric.value(inside, one, **answers, **options) for one in sets]
    one = metric.interval(inside, sets[:1], 0, options, **answers)
    both = metric.interval(inside, sets, 0, options, **answers)
    assert one.low < values[0] < one.high
    assert both.low < np.mean(values) < both.high


@pytest.mark.parametrize("name", DETECTION_METRICS)
@pytest.mark.parametrize("given", [False, True])
def test_a_score_that_is_drawn_at_random_reaches_the_chance_level(name: str, given: bool) -> None:  # noqa: FBT001
    # Measured on 80,000 images, where none of these differs from its expectation by more than a point.
    metric, options = DETECTION_METRICS[name], OPTIONS[name] if given else {}
    rng = np.random.default_rng(0)
    inside, outside, right = rng.random(60_000), rng.random(20_000), rng.random(60_000) < 0.7
    answers = {"correct_in": right.astype(np.float64)} if metric.of_answers else {}
    chance = metric.chance(60_000, 20_000, options, **answers)
    assert metric.value(inside, outside, **answers, **options) == pytest.approx(chance, abs=0.01)


def test_chance_levels_by_hand() -> None:
    # 30 ID images of which 6 are answered wrongly, 10 OOD images.
    right = np.repeat([1.0, 0.0], [24, 6])
    expected = {
        "auroc": 0.5, "aupr_out": 10 / 40, "aupr_in": 30 / 40, "fpr_at_tpr": 0.95,
        "fpr_at_tpr_hendrycks": 0.95, "unknown_aurc": 16 / 40,
    }  # fmt: skip
    assert expected.keys() == DETECTION_METRICS.keys()
    for name, chance in expected.items():
        answers = {"correct_in": right} if DETECTION_METRICS[name].of_answers else {}
        assert DETECTION_METRICS[name].chance(30, 10, {}, **answers) == chance


def test_one_share_fixed_for_either_group_is_the_chance_of_its_aupr() -> None:
    assert DETECTION_METRICS["aupr_out"].chance(30, 10, {"base_rate": 1 / 6}) == 1 / 6
    assert DETECTION_METRICS["aupr_in"].chance(30, 10, {"base_rate": 5 / 6}) == 5 / 6


# ------------------------------------------------------------------------------------------ end to end

TINY = "python:tests.golden.tiny:build"
SETS = ("gaussian-noise", "blobs")


def _suite() -> Suite:
    cells: list[dict[str, object]] = [
        {"id": f"{name}_{metric}", "dataset": name, "metric": metric, "detector": "energy",
         "in_distribution": "digits"}
        for name in SETS for metric in DETECTION_METRICS
    ]  # fmt: skip
    return Suite.model_validate(
        {"name": "unknowns", "version": 1, "title": "T", "label_space": "digits", "seed": 0,
         "cells": tuple(cells),
         "aggregates": (
             {"id": "unknown", "of": tuple(f"{name}_unknown_aurc" for name in SETS), "reduce": "pooled"},
             {"id": "apart", "of": tuple(f"{name}_unknown_aurc" for name in SETS), "reduce": "mean"}),
         "columns": ("unknown", "apart")})  # fmt: skip


def test_every_detection_metric_and_the_pooled_one_is_scored_from_predictions_alone(tmp_path: Path) -> None:
    found = score(TINY, suite=_suite(), predictions=tmp_path, limit=60, batch_size=60, device="cpu")
    scores = found.record.scores
    folder = found.run_folder
    stored = {name: read_predictions(folder / f"{name}/clean/clean-0.parquet") for name in ("digits", *SETS)}
    logits = {name: one.values["logits"].astype(np.float64) for name, one in stored.items()}
    energy = {name: -np.log(np.exp(one).sum(axis=1)) for name, one in logits.items()}
    right = (logits["digits"].argmax(axis=1) == stored["digits"].labels).astype(float)
    assert 0 < right.sum() < 60  # or answers would say nothing
    for name in SETS:
        for metric, made in DETECTION_METRICS.items():
            answers = {"correct_in": right} if made.of_answers else {}
            expected = made.value(energy["digits"], energy[name], **answers)
            assert scores[f"{name}_{metric}"].value == pytest.approx(expected, abs=1e-9), (name, metric)
            (condition,) = found.record.conditions[f"{name}_{metric}"]
            assert condition.chance == made.chance(60, 60, {}, **answers)
    # Energy orders the answers; whether they are right is the network's own affair.
    together = np.concatenate([energy[name] for name in SETS])
    expected = metrics.unknown_aurc_by_score(energy["digits"], right, together)
    unknown = scores["unknown"]
    assert unknown.value == pytest.approx(expected, abs=1e-9)
    assert (unknown.n, unknown.n_out) == (60, 120)
    assert unknown.chance == pytest.approx((120 + 60 - right.sum()) / 180)
    assert unknown.interval is not None
    assert unknown.interval.low < expected < unknown.interval.high
    confidence = softmax(logits["digits"], axis=1).max(axis=1)
    by_msp = metrics.unknown_aurc(confidence, right, softmax(logits["blobs"], axis=1).max(axis=1))
    assert by_msp != scores["blobs_unknown_aurc"].value
    assert rescore(folder, suite=_suite()).record.scores == scores


def test_without_the_in_distribution_images_there_is_no_unknown_aurc_and_it_says_so(tmp_path: Path) -> None:
    settings = {"suite": _suite(), "predictions": tmp_path, "limit": 20, "batch_size": 60, "device": "cpu"}
    found = score(TINY, **settings)  # type: ignore[arg-type]  # a dict of mixed values
    (found.run_folder / "digits/clean/clean-0.parquet").unlink()
    again = rescore(found.run_folder, suite=_suite()).record
    assert again.scores["blobs_unknown_aurc"].reason == "no predictions on digits/clean/clean-0"
    assert again.scores["unknown"].value is None
