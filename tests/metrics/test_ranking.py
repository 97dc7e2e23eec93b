"""Tests of ranks with ties."""

import numpy as np

from robustbench_safety.metrics import ranking


def test_tied_answers_share_their_mean() -> None:
    # Rising: 0.2 (wrong) | 0.5 (right, wrong, wrong: a third each) | 0.9 (right).
    ordered, right = ranking.by_confidence(np.array([0.5, 0.9, 0.5, 0.2, 0.5]), np.array([1.0, 1, 0, 0, 0]))
    assert ordered.tolist() == [0.2, 0.5, 0.5, 0.5, 0.9]
    assert right.tolist() == [0.0, 1 / 3, 1 / 3, 1 / 3, 1.0]


def test_positive_and_negative_zero_are_one_score() -> None:
    assert ranking.tie_starts(np.array([-0.0, 0.0, 1.0])).tolist() == [0, 2]


def test_counts_are_taken_at_every_distinct_score_from_the_highest_down() -> None:
    # Scores 4 (out) | 3 (in, out) | 1 (in, in).
    counts = ranking.roc_counts(np.array([1.0, 3.0, 1.0]), np.array([4.0, 3.0]))
    assert counts.true_positives.tolist() == [1, 2, 2]
    assert counts.false_positives.tolist() == [0, 1, 3]
    assert (counts.n_out, counts.n_in) == (2, 3)
