"""Tests of selective prediction and of the detection of unknowns."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    accuracy_at_coverage,
    augrc,
    aurc,
    aurra,
    error_detection_auroc,
    prediction_rejection_ratio,
    risk_coverage_curve,
    unknown_aurc,
    unknown_aurc_by_score,
)

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]
SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


def _golden_answers() -> Answers:
    i = np.arange(1050)
    confidence = (389 * i % 1051 + 0.5) / 1051
    return confidence, (577 * i % 1051) / 1051 < confidence


def _random_answers(seed: int, n: int = 300) -> Answers:
    """Answers without ties, the confident ones more often right."""
    rng = np.random.default_rng(seed)
    confidence = rng.permutation(np.arange(n) + 0.5) / n
    return confidence, rng.random(n) < 0.3 + 0.6 * confidence


def _from_the_most_confident(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[bool]:
    return [bool(right) for _, right in sorted(zip(confidence, correct, strict=True), reverse=True)]


def _wrong_among(ranked: list[bool], k: int) -> int:
    return sum(not right for right in ranked[:k])


@st.composite
def tied_answers(draw: st.DrawFn) -> Answers:
    """Draw few answers with a tie, at least one of them right and one wrong."""
    n = draw(st.integers(2, 5))
    confidence = draw(st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=n, max_size=n))
    correct = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    correct[:2] = [False, True]
    return np.array(confidence), np.array(correct)


def _orders(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[list[bool]]:
    """List what is right from the most confident down, in every order that the confidences allow."""
    kept = []
    for order in permutations(range(len(confidence))):
        falling = confidence[list(order)]
        if (falling[1:] <= falling[:-1]).all():
            kept.append([bool(right) for right in correct[list(order)]])
    return kept


def test_augrc_is_the_mean_share_answered_and_wrong() -> None:
    # Falling confidence: right, wrong, right, wrong. Errors kept 0, 1, 1, 2 of 4 images.
    confidence, correct = np.array([0.6, 0.9, 0.7, 0.8]), np.array([0, 1, 1, 0])
    assert augrc(confidence, correct) == (0 + 1 + 1 + 2) / 4 / 4


def test_augrc_of_answers_that_are_all_wrong_is_half_and_half_an_image() -> None:
    # 1/4, 2/4, 3/4 and 4/4 of the images are answered, all wrong: (4 + 1) / (2 * 4).
    assert augrc(np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4)) == 5 / 8


def test_augrc_agrees_with_plain_loops() -> None:
    answers = _random_answers(2)
    ranked = _from_the_most_confident(*answers)
    shares = [_wrong_among(ranked, k) / 300 for k in range(1, 301)]
    assert augrc(*answers) == pytest.approx(sum(shares) / 300, abs=1e-13)


def test_augrc_and_prr_of_the_golden_answers_follow_from_their_golden_auroc() -> None:
    # PRR = 2 A - 1. The mean of the errors kept is that of rejection at random, r (N + 1) / (2 N), less PRR
    # times what the oracle saves, r (1 - r) / 2; here r = 1/2.
    answers, ratio = _golden_answers(), 2 * 0.8330049886 - 1
    assert prediction_rejection_ratio(*answers) == pytest.approx(ratio, abs=2e-10)
    assert augrc(*answers) == pytest.approx(1051 / 1050 / 4 - ratio / 8, abs=5e-11)


def test_prr_compares_the_area_with_those_of_chance_and_the_oracle() -> None:
    # Falling: right, right, wrong, right, wrong. Errors kept 0, 0, 1, 1, 2 (sum 4); at random 2/5 k
    # (sum 6); the oracle keeps 0, 0, 0, 1, 2 (sum 3). (6 - 4) / (6 - 3).
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 1, 0, 1, 0])
    assert prediction_rejection_ratio(confidence, correct) == pytest.approx(2 / 3, abs=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_prr_agrees_with_areas_under_three_curves(seed: int) -> None:
    answers = _random_answers(seed)
    ranked = _from_the_most_confident(*answers)
    n, wrong = 300, _wrong_among(ranked, 300)
    ends = range(n + 1)
    curves = (
        [_wrong_among(ranked, k) / n for k in ends],
        [wrong / n * k / n for k in ends],
        [_wrong_among(sorted(ranked, reverse=True), k) / n for k in ends],
    )
    # Whole trapezoids, from everything rejected to everything kept.
    area, at_random, oracle = (1 - np.trapezoid(curve, dx=1 / n) for curve in curves)
    expected = (area - at_random) / (oracle - at_random)
    assert prediction_rejection_ratio(*answers) == pytest.approx(expected, abs=1e-12)


@given(answers=tied_answers())
@SETTINGS
def test_prr_is_the_error_detection_auroc_on_another_scale(answers: Answers) -> None:
    expected = 2 * error_detection_auroc(*answers) - 1
    assert prediction_rejection_ratio(*answers) == pytest.approx(expected, abs=1e-12)


def test_prr_of_a_constant_confidence_is_nothing() -> None:
    assert prediction_rejection_ratio(np.full(7, 0.4), np.repeat([1, 0], [5, 2])) == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize(("correct", "found"), [([1, 1], "only right"), ([0, 0], "only wrong")])
def test_prr_needs_right_and_wrong_answers(correct: list[int], found: str) -> None:
    with pytest.raises(UndefinedMetricError, match=found):
        prediction_rejection_ratio(np.array([0.5, 0.6]), np.array(correct))


def test_accuracy_at_coverage_answers_the_most_confident_only() -> None:
    # Falling: right, right, wrong, right, wrong. Of 5 images 40 % are 2, 41 % and 60 % are 3, 100 % are 5.
    confidence, correct = np.array([0.5, 0.9, 0.7, 0.8, 0.6]), np.array([0, 1, 0, 1, 1])
    found = [accuracy_at_coverage(confidence, correct, coverage=share) for share in (0.4, 0.41, 0.6, 1.0)]
    assert found == pytest.approx([1, 2 / 3, 2 / 3, 3 / 5], abs=1e-15)


def test_accuracy_at_coverage_of_tied_answers_is_the_mean_over_the_choices() -> None:
    # One is answered of a right and two wrong ones, all tied.
    accuracy = accuracy_at_coverage(np.full(3, 0.5), np.array([1, 0, 0]), coverage=1 / 3)
    assert accuracy == pytest.approx(1 / 3, abs=1e-15)


@pytest.mark.parametrize("n", [3, 10, 100, 1000])
def test_a_coverage_that_is_reached_exactly_answers_no_image_more(n: int) -> None:
    # The one more would be the one wrong answer. 0.07 * 100 is 7.000000000000001 in floating point.
    confidence = np.linspace(1, 0, n)
    for answered in range(1, n):
        correct = np.arange(n) != answered
        assert accuracy_at_coverage(confidence, correct, coverage=answered / n) == 1.0


def test_the_golden_accuracies_over_all_coverages_average_to_aurra() -> None:
    answers = _golden_answers()
    accuracies = [accuracy_at_coverage(*answers, coverage=k / 1050) for k in range(1, 1051)]
    assert sum(accuracies) / 1050 == pytest.approx(0.7512125384, abs=5e-11)
    assert aurra(*answers) == pytest.approx(sum(accuracies) / 1050, abs=1e-13)


@given(answers=tied_answers(), points=st.integers(1, 5))
@SETTINGS
def test_accuracy_at_coverage_is_one_less_the_risk_on_the_curve(answers: Answers, points: int) -> None:
    curve = risk_coverage_curve(*answers, points=points)
    for coverage, risk in zip(curve.coverage, curve.risk, strict=True):
        assert accuracy_at_coverage(*answers, coverage=coverage) == pytest.approx(1 - risk, abs=1e-12)


@pytest.mark.parametrize("coverage", [0.0, -0.5, 1.01, 80.0])
def test_a_coverage_that_is_no_fraction_is_refused(coverage: float) -> None:
    with pytest.raises(UsageError, match="coverage cannot be used"):
        accuracy_at_coverage(*_golden_answers(), coverage=coverage)


@given(answers=tied_answers(), k=st.integers(1, 5))
@SETTINGS
def test_ties_count_as_the_average_over_their_orders(answers: Answers, k: int) -> None:
    n, orders = len(answers[0]), _orders(*answers)
    shares = [np.mean([_wrong_among(ranked, j) / n for j in range(1, n + 1)]) for ranked in orders]
    assert augrc(*answers) == pytest.approx(np.mean(shares), abs=1e-12)
    answered = min(k, n)
    accuracies = [1 - _wrong_among(ranked, answered) / answered for ranked in orders]
    found = accuracy_at_coverage(*answers, coverage=answered / n)
    assert found == pytest.approx(np.mean(accuracies), abs=1e-12)


def test_unknown_aurc_counts_every_unknown_as_an_error() -> None:
    # Falling: right 0.9, OOD 0.8, right 0.7, wrong 0.6, OOD 0.5. Risks 0, 1/2, 1/3, 2/4, 3/5.
    found = unknown_aurc(np.array([0.7, 0.9, 0.6]), np.array([1, 1, 0]), np.array([0.5, 0.8]))
    assert found == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4 + 3 / 5) / 5, abs=1e-15)


def test_unknown_aurc_agrees_with_plain_loops() -> None:
    (inside, right), outside = _random_answers(3, n=200), _random_answers(4, n=97)[0]
    pooled = [(float(c), bool(r)) for c, r in zip(inside, right, strict=True)] + [
        (float(c), False) for c in outside
    ]
    ranked = [good for _, good in sorted(pooled, reverse=True)]
    risks = [_wrong_among(ranked, k) / k for k in range(1, 298)]
    assert unknown_aurc(inside, right, outside) == pytest.approx(sum(risks) / 297, abs=1e-13)


def test_unknown_aurc_does_not_tell_an_unknown_from_a_wrong_answer() -> None:
    # Every second wrong answer of the golden ones is taken for an OOD image; the rest stay what they were.
    confidence, correct = _golden_answers()
    outside = np.zeros(1050, dtype=bool)
    outside[np.flatnonzero(~correct)[::2]] = True
    found = unknown_aurc(confidence[~outside], correct[~outside], confidence[outside])
    assert found == pytest.approx(0.2487874616, abs=5e-11)


@given(answers=tied_answers(), outside=st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=1, max_size=4))
@SETTINGS
def test_unknowns_never_make_the_risk_smaller_than_if_they_were_answered_right(
    answers: Answers, outside: list[float]
) -> None:
    confidence, correct = answers
    pooled = np.concatenate([confidence, outside])
    as_right = aurc(pooled, np.concatenate([correct, np.ones(len(outside))]))
    assert unknown_aurc(confidence, correct, np.array(outside)) > as_right


@pytest.mark.parametrize(
    ("confidence_in", "correct_in", "confidence_out", "message"),
    [
        ([], [], [0.5], "confidence is empty"),
        ([0.5], [1], [], "confidence_out is empty"),
        ([0.5], [1], [np.nan], "confidence_out is not finite"),
        ([0.5], [1], [7.3], r"outside \[0, 1\]"),
        ([0.5, 0.6], [1], [0.5], "differ in shape"),
        ([0.5], [0.5], [0.5], "correct holds other values"),
    ],
)
def test_unknown_aurc_refuses_groups_that_say_nothing(
    confidence_in: list[float], correct_in: list[float], confidence_out: list[float], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        unknown_aurc(np.array(confidence_in), np.array(correct_in), np.array(confidence_out))


def test_unknown_aurc_by_score_answers_the_least_anomalous_first() -> None:
    # Rising: right -7, OOD -2, right 0, wrong 3, OOD 50. Risks 0, 1/2, 1/3, 2/4, 3/5, as above.
    found = unknown_aurc_by_score(np.array([0.0, -7.0, 3.0]), np.array([1, 1, 0]), np.array([50.0, -2.0]))
    assert found == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4 + 3 / 5) / 5, abs=1e-15)


@given(answers=tied_answers(), outside=st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=1, max_size=4))
@SETTINGS
def test_unknown_aurc_by_score_is_that_of_the_confidence_whatever_the_scale_of_the_score(
    answers: Answers, outside: list[float]
) -> None:
    confidence, correct = answers
    expected = unknown_aurc(confidence, correct, np.array(outside))
    for score in (np.negative, lambda x: -(x**3) * 1e6, lambda x: 1e-9 / x):
        assert unknown_aurc_by_score(score(confidence), correct, score(np.array(outside))) == expected


def test_a_score_without_skill_reaches_the_share_of_unknowns_and_errors() -> None:
    # All tied: 3 OOD and 1 wrong of 8.
    found = unknown_aurc_by_score(np.zeros(5), np.array([1, 1, 0, 1, 1]), np.zeros(3))
    assert found == pytest.approx(4 / 8, abs=1e-15)


@pytest.mark.parametrize(
    ("scores_in", "correct_in", "scores_out", "message"),
    [
        ([], [], [0.5], "scores_in is empty"),
        ([0.5], [1], [], "scores_out is empty"),
        ([0.5], [1], [np.inf], "scores_out is not finite"),
        ([0.5, 0.6], [1], [0.5], "differ in shape"),
        ([0.5], [0.5], [0.5], "correct holds other values"),
        ([0.5], [np.nan], [0.5], "correct is not finite"),
    ],
)
def test_unknown_aurc_by_score_refuses_groups_that_say_nothing(
    scores_in: list[float], correct_in: list[float], scores_out: list[float], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        unknown_aurc_by_score(np.array(scores_in), np.array(correct_in), np.array(scores_out))
