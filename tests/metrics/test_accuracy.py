"""Tests of errors and selective prediction."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    aurc,
    aurra,
    error_detection_auroc,
    error_rate,
    excess_aurc,
    risk_coverage_curve,
    set_error_rate,
    top_k_error,
)


def _golden_answers() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    i = np.arange(1050)
    confidence = (389 * i % 1051 + 0.5) / 1051
    return confidence, (577 * i % 1051) / 1051 < confidence


def test_all_selective_measures_match_the_golden_answers() -> None:
    answers = _golden_answers()
    confidence, correct = answers
    assert error_rate(correct.astype(int), np.ones(1050, dtype=int)) == 0.5
    assert confidence.mean() == pytest.approx(0.4998759, abs=5e-8)
    assert aurra(*answers) == pytest.approx(0.7512125384, abs=5e-11)
    assert aurc(*answers) == pytest.approx(0.2487874616, abs=5e-11)
    assert excess_aurc(*answers) == pytest.approx(0.0953610519, abs=5e-11)
    assert error_detection_auroc(*answers) == pytest.approx(0.8330049886, abs=1e-10)


def test_error_rate_counts_wrong_classes() -> None:
    # Images 2 and 5 of 5 are wrong.
    assert error_rate(np.array([1, 0, 2, 2, 0]), np.array([1, 1, 2, 2, 1])) == 2 / 5


def test_error_rate_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    predicted, labels = rng.integers(4, size=501), rng.integers(4, size=501)
    wrong = sum(p != y for p, y in zip(predicted.tolist(), labels.tolist(), strict=True))
    assert error_rate(predicted, labels) == wrong / 501


def test_error_rate_refuses_lengths_that_differ_and_out_of_distribution_labels() -> None:
    with pytest.raises(UndefinedMetricError, match="differ in length"):
        error_rate(np.array([1]), np.array([1, 2]))
    with pytest.raises(UndefinedMetricError, match="out-of-distribution"):
        error_rate(np.array([1]), np.array([-1]))


def test_set_error_rate_counts_images_given_none_of_their_right_classes() -> None:
    # Image 1 may be 0 or 2 and gets 2; image 2 may be 1 and gets 0; image 3 may be anything; image 4 may be
    # 0 or 1 and gets 2. Two of four are wrong.
    right = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]], dtype=bool)
    assert set_error_rate(np.array([2, 0, 1, 2]), right) == 2 / 4


def test_set_error_rate_agrees_with_plain_sets() -> None:
    rng = np.random.default_rng(5)
    predicted, right = rng.integers(6, size=400), rng.random((400, 6)) < 0.3
    right[np.arange(400), rng.integers(6, size=400)] = True
    sets = [{k for k in range(6) if row[k]} for row in right.tolist()]
    wrong = sum(p not in allowed for p, allowed in zip(predicted.tolist(), sets, strict=True))
    assert set_error_rate(predicted, right) == wrong / 400


def test_set_error_rate_of_one_class_an_image_is_the_error_rate() -> None:
    rng = np.random.default_rng(6)
    predicted, labels = rng.integers(5, size=301), rng.integers(5, size=301)
    assert set_error_rate(predicted, np.eye(5, dtype=bool)[labels]) == error_rate(predicted, labels)


@pytest.mark.parametrize(
    ("predicted", "right", "message"),
    [
        ([0, 1], [[True, False], [False, False]], "an image has no right class.*found none for 1"),
        ([0, 1], [[True, False]], "predicted and right differ in length"),
        ([0, 2], [[True, False], [False, True]], "indices from 0 to 1; found 2"),
        ([0, -1], [[True, False], [False, True]], "found -1"),
        ([0, 1], [[1, 0], [0, 1]], "no table of right classes; expected bool .*; found int64"),
        ([0, 1], [True, False], r"no table of right classes; .* found bool \(2,\)"),
        ([0.0, 1.0], [[True, False], [False, True]], "holds no class indices"),
    ],
)
def test_set_error_rate_refuses_what_says_nothing_of_an_image(
    predicted: list[int], right: list[list[bool]], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        set_error_rate(np.array(predicted), np.array(right))


def test_top_k_error_looks_at_the_k_best_only() -> None:
    # Right class at rank 1, 2, 3 and missing.
    ranked, labels = np.array([[5, 1, 2], [0, 5, 2], [0, 1, 5], [0, 1, 2]]), np.full(4, 5)
    assert [top_k_error(ranked, labels, k=k) for k in (1, 2, 3)] == [3 / 4, 2 / 4, 1 / 4]


def test_top_k_error_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    ranked, labels = rng.random((200, 10)).argsort(axis=1), rng.integers(10, size=200)
    wrong = sum(y not in row[:3] for row, y in zip(ranked.tolist(), labels.tolist(), strict=True))
    assert top_k_error(ranked, labels, k=3) == wrong / 200


@pytest.mark.parametrize("k", [0, 4])
def test_top_k_error_refuses_a_k_that_the_ranks_cannot_answer(k: int) -> None:
    with pytest.raises(UsageError, match=r"^k "):
        top_k_error(np.array([[0, 1, 2]]), np.array([0]), k=k)


def test_aurc_is_the_mean_of_the_running_error_rates() -> None:
    # Falling confidence: right, wrong, right, wrong. Risks 0, 1/2, 1/3, 2/4.
    confidence, correct = np.array([0.6, 0.9, 0.7, 0.8]), np.array([0, 1, 1, 0])
    assert aurc(confidence, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4, abs=1e-15)
    assert aurra(confidence, correct) == pytest.approx(1 - (0 + 1 / 2 + 1 / 3 + 2 / 4) / 4, abs=1e-15)


def test_aurc_of_tied_answers_is_the_average_over_their_orders() -> None:
    # One right and one wrong, tied: risks (0, 1/2) or (1, 1/2), on average (1/2, 1/2).
    assert aurc(np.array([0.5, 0.5]), np.array([1, 0])) == 0.5


def test_aurc_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(2)
    confidence, correct = rng.random(300), rng.random(300) < 0.7
    ranked = [bool(right) for _, right in sorted(zip(confidence, correct, strict=True), reverse=True)]
    risks = [sum(not right for right in ranked[:k]) / k for k in range(1, 301)]
    assert aurc(confidence, correct) == pytest.approx(sum(risks) / 300, abs=1e-13)
    risk = risks[-1]
    optimum = risk + (1 - risk) * np.log(1 - risk)
    assert excess_aurc(confidence, correct) == pytest.approx(sum(risks) / 300 - optimum, abs=1e-13)


def test_excess_aurc_of_a_hopeless_model_is_zero() -> None:
    # All wrong: AURC 1, and the optimum is 1 too, since (1 - r) ln(1 - r) tends to 0.
    assert excess_aurc(np.array([0.3, 0.9]), np.array([0, 0])) == 0.0


def test_error_detection_auroc_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    confidence, correct = rng.random(300).round(1), rng.random(300) < 0.6
    expected = roc_auc_score(~correct, -confidence)
    assert error_detection_auroc(confidence, correct) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("correct", "found"), [([1, 1], "only right"), ([0, 0], "only wrong")])
def test_error_detection_needs_right_and_wrong_answers(correct: list[int], found: str) -> None:
    with pytest.raises(UndefinedMetricError, match=found):
        error_detection_auroc(np.array([0.5, 0.6]), np.array(correct))


def test_the_risk_coverage_curve_reads_the_running_error_rate_at_even_steps() -> None:
    # Falling: right, wrong, right, wrong, wrong; of 5 images 2 points answer ceil(2.5) = 3 and 5.
    curve = risk_coverage_curve(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 0, 1, 0, 0]), points=2)
    assert curve.coverage == (3 / 5, 1.0)
    assert curve.risk == pytest.approx((1 / 3, 3 / 5), abs=1e-15)


def test_a_curve_with_a_point_an_image_averages_to_aurc() -> None:
    answers = _golden_answers()
    curve = risk_coverage_curve(*answers, points=1050)
    assert np.mean(curve.risk) == pytest.approx(aurc(*answers), abs=1e-13)
    assert len(risk_coverage_curve(*answers).risk) == 100


def test_a_curve_without_points_is_refused() -> None:
    with pytest.raises(UsageError, match="points cannot be used"):
        risk_coverage_curve(*_golden_answers(), points=0)
