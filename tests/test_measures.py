"""What metrics read of stored predictions: subsets, sets of right classes, shares, rows that are kept."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from robustbench_safety import metrics
from robustbench_safety.data.label_sets import Cues, Labels
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.errors import IncompatiblePredictionsError, UndefinedMetricError, UsageError
from robustbench_safety.measures import METRICS, Outputs
from robustbench_safety.predictions import Predictions
from robustbench_safety.summary import summarize
from tests.stored_predictions import of_logits, predictions

#: Four images of four classes. Predicted: 0, 2, 3, 1.
LOGITS = [[4.0, 1.0, 2.0, 3.0], [1.0, 2.0, 5.0, 3.0], [0.0, 1.0, 2.0, 4.0], [1.0, 9.0, 3.0, 2.0]]
#: Image 0 may be 0 or 3, image 1 only 1, image 2 has no label, image 3 may be anything.
RIGHT = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)


def some(n: int = 60, k: int = 7) -> tuple[Predictions, NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(n, k)).astype(np.float32)
    labels = rng.integers(-1, k, size=n)
    return of_logits(labels, logits), logits, labels


# ------------------------------------------------------------------------------------------ predictions


def test_the_logits_of_some_rows_and_columns_are_those_of_all_of_them_cut() -> None:
    stored, logits, _ = some()
    rows, columns = np.arange(60) % 3 == 0, np.array([5, 0, 2])
    whole = logits.astype(np.float64)
    np.testing.assert_array_equal(stored.logits(), whole)
    np.testing.assert_array_equal(stored.logits(rows=rows), whole[rows])
    np.testing.assert_array_equal(stored.logits(columns=columns), whole[:, [5, 0, 2]])
    both = stored.logits(rows=rows, columns=columns)
    np.testing.assert_array_equal(both, whole[rows][:, [5, 0, 2]])
    assert both.dtype == np.float64


def test_a_summary_gives_no_rows_and_no_columns_of_logits() -> None:
    values = summarize(torch.tensor(LOGITS), torch.tensor([0, 1, 2, 3]))
    stored = predictions([0, 1, 2, 3], values, k=4)
    for options in ({}, {"rows": np.ones(4, dtype=bool)}, {"columns": np.array([1])}):
        with pytest.raises(IncompatiblePredictionsError, match="expected logits; found summary"):
            stored.logits(**options)


# ------------------------------------------------------------------------------------------ one class each


def test_without_a_subset_every_row_is_measured_with_its_stored_label() -> None:
    outputs = Outputs(of_logits([0, 1, 3, -1], LOGITS))
    assert outputs.kept.all()
    assert outputs.labels.tolist() == [0, 1, 3, -1]
    assert outputs.predicted.tolist() == [0, 2, 3, 1]
    assert outputs.correct.tolist() == [1, 0, 1, 0]
    assert outputs.right is None


def test_a_subset_keeps_its_images_selects_its_columns_and_renumbers_its_labels() -> None:
    # Of the subset (3, 1) image 0, of class 0, is left out; image 3 is out of distribution and stays.
    # Image 1, of class 1, has 3 for 3 and 2 for 1: position 0 is predicted and 1 is right.
    outputs = Outputs(of_logits([0, 1, 3, -1], LOGITS), np.array([3, 1]))
    assert outputs.kept.tolist() == [False, True, True, True]
    assert outputs.labels.tolist() == [1, 0, -1]
    assert outputs.logits.tolist() == [[3.0, 2.0], [4.0, 1.0], [2.0, 9.0]]
    assert outputs.predicted.tolist() == [0, 0, 1]
    assert outputs.correct.tolist() == [0, 1, 0]
    assert outputs.confidence == pytest.approx(
        [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-7))], rel=1e-12
    )


def test_a_subset_agrees_with_a_network_that_has_no_other_classes() -> None:
    stored, logits, labels = some()
    columns = np.array([4, 1, 6])
    outputs = Outputs(stored, columns)
    kept = [i for i in range(60) if labels[i] in (4, 1, 6, -1)]
    np.testing.assert_array_equal(np.flatnonzero(outputs.kept), kept)
    position = {4: 0, 1: 1, 6: 2, -1: -1}
    alone = of_logits([position[int(labels[i])] for i in kept], logits[kept][:, columns])
    few = Outputs(alone)
    for name in ("labels", "logits", "predicted", "correct", "confidence", "probabilities"):
        np.testing.assert_array_equal(getattr(outputs, name), getattr(few, name))
    np.testing.assert_allclose(outputs.probabilities, softmax(logits[kept][:, columns], axis=1), rtol=1e-6)


# ------------------------------------------------------------------------------------------ several classes


def test_an_image_is_right_with_any_of_its_classes_and_left_out_without_one() -> None:
    # Kept are images 0, 1 and 3, predicted 0, 2 and 1: right, wrong, right.
    outputs = Outputs(of_logits([2, 2, 3, 0], LOGITS), truth=Labels(right=RIGHT))
    assert outputs.kept.tolist() == [True, True, False, True]
    assert outputs.predicted.tolist() == [0, 2, 1]
    assert outputs.correct.tolist() == [1, 0, 1]
    assert METRICS["error_rate"].value(outputs) == pytest.approx(1 / 3)
    (units,) = METRICS["error_rate"].units(outputs)
    assert units.tolist() == [0, 1, 0]
    assert outputs.right is not None
    assert outputs.right.tolist() == RIGHT[[0, 1, 3]].tolist()


def test_a_subset_cuts_the_sets_too_and_leaves_out_whom_it_leaves_none() -> None:
    # Of the subset (3, 2) image 1 keeps no right class. Image 0 has 3 over 2, which is right; image 3 has 2
    # over 3, and either is.
    outputs = Outputs(of_logits([2, 2, 3, 0], LOGITS), np.array([3, 2]), truth=Labels(right=RIGHT))
    assert outputs.kept.tolist() == [True, False, False, True]
    assert outputs.right is not None
    assert outputs.right.astype(int).tolist() == [[1, 0], [1, 1]]
    assert outputs.predicted.tolist() == [0, 1]
    assert outputs.correct.tolist() == [1, 1]
    assert METRICS["error_rate"].value(outputs) == 0.0


def test_sets_agree_with_a_plain_loop_over_images() -> None:
    stored, logits, _ = some()
    right = np.random.default_rng(1).random((60, 7)) < 0.25
    columns = [6, 0, 3, 1]
    outputs = Outputs(stored, np.array(columns), truth=Labels(right=right))
    wrong = []
    for row, allowed in zip(logits.tolist(), right.tolist(), strict=True):
        if any(allowed[k] for k in columns):
            best = max(columns, key=lambda k: (row[k], -columns.index(k)))
            wrong.append(not allowed[best])
    assert METRICS["error_rate"].value(outputs) == pytest.approx(sum(wrong) / len(wrong), abs=1e-15)
    assert outputs.correct.tolist() == [float(not one) for one in wrong]


def test_the_stored_label_says_nothing_where_there_are_sets() -> None:
    truth = Labels(right=RIGHT)
    first = Outputs(of_logits([2, 2, 3, 0], LOGITS), truth=truth)
    second = Outputs(of_logits([-1, -1, -1, -1], LOGITS), truth=truth)
    assert first.kept.tolist() == second.kept.tolist()
    assert first.correct.tolist() == second.correct.tolist()


@pytest.mark.parametrize("metric", ["negative_log_likelihood", "brier_score"])
def test_a_metric_of_the_one_right_class_is_undefined_for_sets(metric: str) -> None:
    outputs = Outputs(of_logits([2, 2, 3, 0], LOGITS), truth=Labels(right=RIGHT))
    with pytest.raises(UndefinedMetricError, match="an image may have several right classes here"):
        METRICS[metric].value(outputs)


def test_calibration_goes_by_the_sets() -> None:
    stored, logits, _ = some()
    right = np.random.default_rng(1).random((60, 7)) < 0.5
    right[:, 0] = True
    outputs = Outputs(stored, truth=Labels(right=right))
    confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    correct = right[np.arange(60), logits.argmax(axis=1)]
    expected = metrics.rms_calibration_error(confidence, correct, bin_size=20)
    found = METRICS["rms_calibration_error"].value(outputs, bin_size=20)
    assert found == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------------------------------ shares

SHARES = np.array([[0.5, 0, 0, 0.5], [0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0.9, 0.1, 0]])


def counted() -> Labels:
    return Labels(right=SHARES.max(axis=1, keepdims=True) == SHARES, shares=SHARES)


def test_soft_labels_are_the_cross_entropy_to_the_shares() -> None:
    outputs = Outputs(of_logits([0, 1, 2, 1], LOGITS), truth=counted())
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS, dtype=torch.float64), torch.from_numpy(SHARES), reduction="none"
    )
    metric = METRICS["soft_label_cross_entropy"]
    assert metric.value(outputs) == pytest.approx(expected.mean().item(), rel=1e-12)
    (units,) = metric.units(outputs)
    np.testing.assert_allclose(units, expected.numpy(), rtol=1e-12)
    assert (metric.unit, metric.direction) == ("nats", "lower")


def test_the_interval_of_soft_labels_holds_their_mean() -> None:
    rng = np.random.default_rng(2)
    logits, shares = rng.normal(size=(300, 4)), rng.dirichlet(np.ones(4), size=300)
    truth = Labels(right=shares == shares.max(axis=1, keepdims=True), shares=shares)
    outputs = Outputs(of_logits(np.zeros(300), logits), truth=truth)
    metric = METRICS["soft_label_cross_entropy"]
    (units,) = metric.units(outputs)
    found = metric.interval([(units,)], 0, {})
    reach = 1.96 * units.std() / math.sqrt(300)
    assert found.low == pytest.approx(units.mean() - reach, abs=0.2 * reach)
    assert found.high == pytest.approx(units.mean() + reach, abs=0.2 * reach)


def test_shares_of_some_classes_are_no_distribution() -> None:
    outputs = Outputs(of_logits([0, 1, 2, 1], LOGITS), np.array([0, 1]), truth=counted())
    with pytest.raises(UndefinedMetricError, match="shares holds no distributions"):
        METRICS["soft_label_cross_entropy"].value(outputs)


def test_shares_of_an_image_that_nobody_labelled_are_left_out_with_it() -> None:
    # Image 1 has no right class; 0, 2 and 3 keep their shares.
    right = counted().right.copy()
    right[1] = False
    outputs = Outputs(of_logits([0, 1, 2, 1], LOGITS), truth=Labels(right=right, shares=SHARES))
    assert outputs.shares.tolist() == SHARES[[0, 2, 3]].tolist()
    assert len(outputs.logits) == 3


@pytest.mark.parametrize("truth", [None, Labels(right=RIGHT)])
def test_shares_are_undefined_where_nobody_was_asked(truth: Labels | None) -> None:
    outputs = Outputs(of_logits([0, 1, 2, 1], LOGITS), truth=truth)
    with pytest.raises(UndefinedMetricError, match="nobody was asked; expected labels with counts of people"):
        METRICS["soft_label_cross_entropy"].value(outputs)


# ------------------------------------------------------------------------------------------ shape and texture

#: Categories 0 and 1 of classes 0 and 2, and 1 alone. By mean probability LOGITS decide for 1, 0, 0 and 1.
CATEGORIES = (np.array([0, 2]), np.array([1]))
CUE_LOGITS = [[1.0, 3.0, 1.0, 9.0], [2.0, 1.0, 2.0, 0.0], [4.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]


def cued(shape: list[int], texture: list[int], **more: Any) -> Outputs:
    cues = Cues(categories=CATEGORIES, shape=np.array(shape), texture=np.array(texture))
    return Outputs(of_logits([0, 1, 2, 1], CUE_LOGITS), cues=cues, **more)


def test_decisions_are_for_categories_beside_those_of_shape_and_texture() -> None:
    outputs = cued([1, 0, 1, 1], [0, 1, 0, 1])
    decided, shape, texture = outputs.decisions
    assert (decided.tolist(), shape.tolist(), texture.tolist()) == ([1, 0, 0, 1], [1, 0, 1, 1], [0, 1, 0, 1])
    # Shape, shape, texture; the last is of one category.
    assert METRICS["shape_bias"].value(outputs) == 2 / 3
    assert METRICS["cue_accuracy"].value(outputs, cue="shape") == 2 / 3
    assert METRICS["cue_accuracy"].value(outputs, cue="texture") == 1 / 3
    by_shape, by_texture = METRICS["shape_bias"].units(outputs)
    assert (by_shape.tolist(), by_texture.tolist()) == ([1, 1, 0], [0, 0, 1])


def test_a_subset_leaves_the_decisions_as_they_are_and_sets_leave_out_whom_they_leave_none() -> None:
    whole, few = (
        cued([1, 0, 1, 1], [0, 1, 0, 1]),
        cued([1, 0, 1, 1], [0, 1, 0, 1], columns=np.array([0, 1, 2])),
    )
    assert whole.decisions[0].tolist() == few.decisions[0].tolist()
    right = np.ones((4, 4), dtype=np.bool_)
    right[0] = False
    assert cued([1, 0, 1, 1], [0, 1, 0, 1], truth=Labels(right=right)).decisions[1].tolist() == [0, 1, 1]


def test_the_interval_of_a_bias_is_wilson_s_over_the_decisions_and_of_an_accuracy_over_the_images() -> None:
    units = (np.repeat([1.0, 0.0], [30, 70]), np.repeat([0.0, 1.0, 0.0], [30, 20, 50]))
    assert METRICS["shape_bias"].interval([units], 0, {}) == metrics.wilson_interval(30, 50)
    for cue, events in (("shape", 30), ("texture", 20)):
        found = METRICS["cue_accuracy"].interval([units], 0, {"cue": cue})
        assert found == metrics.wilson_interval(events, 100)
    with pytest.raises(UndefinedMetricError, match="of one condition"):
        METRICS["shape_bias"].interval([units, units], 0, {})


def test_images_without_shape_and_texture_and_an_unnamed_cue_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="the images have no shape and texture"):
        METRICS["shape_bias"].value(Outputs(of_logits([0, 1, 2, 1], CUE_LOGITS)))
    with pytest.raises(UsageError, match="cue cannot be used; expected shape or texture; found ''"):
        METRICS["cue_accuracy"].value(cued([1, 0, 1, 1], [0, 1, 0, 1]))


# ------------------------------------------------------------------------------------------ summaries, clips


def test_a_summary_gives_error_and_calibration_without_logits() -> None:
    labels = [0, 1, 3, 1]
    summary = predictions(labels, summarize(torch.tensor(LOGITS), torch.tensor(labels)), k=4)
    logits = of_logits(labels, LOGITS)
    for name in ("predicted", "labels", "correct"):
        np.testing.assert_array_equal(getattr(Outputs(summary), name), getattr(Outputs(logits), name))
    np.testing.assert_allclose(Outputs(summary).confidence, Outputs(logits).confidence, rtol=1e-6)
    sets = Outputs(summary, truth=Labels(right=RIGHT))
    np.testing.assert_allclose(sets.confidence, Outputs(logits).confidence[[0, 1, 3]], rtol=1e-6)
    assert METRICS["error_rate"].value(sets) == pytest.approx(1 / 3)
    with pytest.raises(IncompatiblePredictionsError, match="found summary"):
        METRICS["error_rate"].value(Outputs(summary, np.array([0, 1])))


def _stored_both_ways(k: int = 100, n: int = 400) -> tuple[Outputs, Outputs]:
    """Return the same predictions as logits and as a summary: some sure, some wrong."""
    rng = np.random.default_rng(4)
    labels = rng.integers(k, size=n)
    logits = rng.normal(scale=2, size=(n, k)).astype(np.float32)
    logits[np.arange(n), labels] += rng.choice([0, 4, 30], size=n)
    summary = predictions(labels, summarize(torch.from_numpy(logits), torch.from_numpy(labels)), k=k)
    return Outputs(of_logits(labels, logits)), Outputs(summary)


@pytest.mark.parametrize("name", ["negative_log_likelihood", "brier_score"])
def test_a_summary_gives_the_proper_scores_that_the_logits_give(name: str) -> None:
    logits, summary = _stored_both_ways()
    metric = METRICS[name]
    assert not logits.summarised
    assert summary.summarised
    assert metric.value(summary) == pytest.approx(metric.value(logits), rel=1e-6)
    (of_summary,), (of_logits_,) = metric.units(summary), metric.units(logits)
    np.testing.assert_allclose(of_summary, of_logits_, rtol=1e-5, atol=1e-6)
    assert metric.value(summary) == pytest.approx(of_summary.mean(), rel=1e-12)
    assert of_summary.min() >= 0


@pytest.mark.parametrize("k", [1, 5, 10])
def test_top_k_errors_agree_with_the_metric_from_logits_and_from_a_summary(k: int) -> None:
    logits, summary = _stored_both_ways()
    ranked = np.argsort(-logits.logits, axis=1, kind="stable")
    expected = metrics.top_k_error(ranked, logits.labels, k=k)
    metric = METRICS["top_k_error"]
    for outputs in (logits, summary):
        assert metric.value(outputs, k=k) == expected
        found = metric.interval([metric.units(outputs)], 0, {"k": k})
        assert found == metrics.wilson_interval(round(expected * 400), 400)
    if k == 1:
        assert expected == METRICS["error_rate"].value(summary)


def test_of_equal_logits_the_lower_class_comes_first() -> None:
    # Class 1 ties with class 2: label 1 is the best and label 2 the second.
    outputs = Outputs(of_logits([1, 2], [[0.0, 3.0, 3.0], [0.0, 3.0, 3.0]]))
    assert outputs.label_rank.tolist() == [0, 1]


@pytest.mark.parametrize("options", [{}, {"coverage": 80}])
def test_an_accuracy_at_coverage_needs_a_coverage(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="coverage cannot be used"):
        METRICS["accuracy_at_coverage"].value(_stored_both_ways()[0], **options)


@pytest.mark.parametrize("name", ["augrc", "prediction_rejection_ratio", "accuracy_at_coverage"])
def test_selective_metrics_of_the_table_are_those_of_confidence_and_correctness(name: str) -> None:
    outputs = _stored_both_ways()[0]
    options = {"coverage": 0.7} if name == "accuracy_at_coverage" else {}
    expected = getattr(metrics, name)(outputs.confidence, outputs.correct, **options)
    assert METRICS[name].value(outputs, **options) == expected


def test_the_interval_of_a_prr_on_one_condition_is_delong_s_on_its_scale() -> None:
    outputs = _stored_both_ways()[0]
    of_area, of_ratio = METRICS["error_detection_auroc"], METRICS["prediction_rejection_ratio"]
    area, ratio = (one.interval([one.units(outputs)], 0, {}) for one in (of_area, of_ratio))
    assert (ratio.low, ratio.high) == pytest.approx((2 * area.low - 1, 2 * area.high - 1), abs=1e-15)
    assert ratio.method == area.method == "delong, logit scale"
    # Percent would show -0.2 as a share of -20 %.
    assert (of_area.unit, of_ratio.unit) == ("fraction", "score")


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "k cannot be used"), ({"k": 0}, "k cannot be used"), ({"k": 11}, "at most the 10 classes kept")],
)
def test_a_top_k_error_needs_a_k_that_was_kept(options: dict[str, int], message: str) -> None:
    _, summary = _stored_both_ways()
    with pytest.raises(UsageError, match=message):
        METRICS["top_k_error"].value(summary, **options)


def test_flips_are_counted_in_a_sequence_and_nowhere_else() -> None:
    # Two clips of two frames: 0 then 2 is a flip, 3 then 3 is none.
    logits = np.array(LOGITS, dtype=np.float32)[[0, 1, 2, 2]]
    clips = predictions([0] * 4, {"logits": logits}, k=4, frames=2, kind="sequence", name="translate")
    assert METRICS["flip_rate"].value(Outputs(clips)) == 0.5
    (units,) = METRICS["flip_rate"].units(Outputs(clips))
    assert units.tolist() == [1.0, 0.0]
    with pytest.raises(IncompatiblePredictionsError, match="mine/clean/clean-1 is no sequence"):
        METRICS["flip_rate"].value(Outputs(of_logits([0] * 4, LOGITS)))


# ------------------------------------------------------------------------------------------ the table

MEANS = ["error_rate", "flip_rate", "negative_log_likelihood", "brier_score", "soft_label_cross_entropy"]


@pytest.mark.parametrize("name", MEANS)
def test_the_value_of_a_mean_is_the_mean_of_its_units(name: str) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(48, 5)).astype(np.float32)
    labels = rng.integers(5, size=48)
    truth = None
    if name == "soft_label_cross_entropy":
        shares = rng.dirichlet(np.ones(5), size=48)
        truth = Labels(right=shares > 0, shares=shares)
    frames = 4 if name == "flip_rate" else 1
    kind, condition = ("sequence", "translate") if name == "flip_rate" else ("clean", "clean")
    stored = predictions(labels, {"logits": logits}, k=5, frames=frames, kind=kind, name=condition)
    outputs = Outputs(stored, truth=truth)
    (units,) = METRICS[name].units(outputs)
    assert len(units) == 48 // frames
    assert METRICS[name].value(outputs) == pytest.approx(units.mean(), rel=1e-12)


def test_every_metric_of_the_table_is_a_public_metric_and_good_in_the_direction_it_says() -> None:
    directions = {name: metric.direction for name, metric in METRICS.items()}
    directions |= {name: metric.direction for name, metric in DETECTION_METRICS.items()}
    for name, direction in directions.items():
        documented = inspect.getdoc(getattr(metrics, name))
        assert documented is not None
        assert f"{direction.capitalize()} is better." in documented.partition("Args:")[0]


CALIBRATION: dict[str, dict[str, int | float | str]] = {
    "rms_calibration_error": {"bin_size": 50},
    "rms_calibration_error_hendrycks": {"bin_size": 50},
    "mean_absolute_calibration_error": {"bin_size": 50},
    "mean_absolute_calibration_error_hendrycks": {"bin_size": 50},
    "expected_calibration_error": {"bins": 10, "binning": "equal_mass"},
    "negative_log_likelihood": {},
    "brier_score": {},
    "soft_f1_score": {},
    "aurra": {},
    "aurc": {},
    "excess_aurc": {},
    "augrc": {},
    "prediction_rejection_ratio": {},
    "accuracy_at_coverage": {"coverage": 0.8},
    "error_detection_auroc": {},
    "top_k_error": {"k": 2},
}


@pytest.mark.parametrize("name", CALIBRATION)
def test_every_calibration_metric_has_an_interval_of_one_condition_and_of_several(name: str) -> None:
    # Four conditions of the same 400 images, twice as sure as they should be.
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(4, 400, 5))
    labels = (softmax(logits, axis=2).cumsum(axis=2) > rng.random((4, 400, 1))).argmax(axis=2)
    outputs = [Outputs(of_logits(y, 2 * z)) for y, z in zip(labels, logits, strict=True)]
    metric, options = METRICS[name], CALIBRATION[name]
    values = [metric.value(o, **options) for o in outputs]
    units = [metric.units(o) for o in outputs]
    one, mean = metric.interval(units[:1], 0, options), metric.interval(units, 0, options)
    assert one.low < values[0] < one.high
    assert mean.low < np.mean(values) < mean.high
    assert mean.high - mean.low < one.high - one.low
    assert (one.level, mean.level) == (0.95, 0.95)
