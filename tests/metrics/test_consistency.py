"""Tests of flip rates."""

from typing import Literal

import numpy as np
import pytest

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import flip_rate, flips_per_clip

Rule = Literal["previous", "first"]


@pytest.mark.parametrize(("compare", "expected"), [("first", 0.6777778), ("previous", 0.7444444)])
def test_flip_rate_matches_the_golden_clips(compare: Rule, expected: float) -> None:
    v, f = np.arange(3)[:, None], np.arange(31)[None, :]
    predicted = (7 * v + (f**2 + 3 * f * v) // 11) % 4
    assert flip_rate(predicted, compare=compare) == pytest.approx(expected, abs=5e-8)


def test_flips_are_counted_against_the_frame_that_the_rule_names() -> None:
    # Clip a a b b a: previous sees a|b and b|a, first sees b, b and not the return to a.
    clips = np.array([[0, 0, 1, 1, 0], [2, 2, 2, 2, 2]])
    assert flips_per_clip(clips, compare="previous").tolist() == [2, 0]
    assert flips_per_clip(clips, compare="first").tolist() == [2, 0]
    assert flips_per_clip(np.array([[0, 1, 1, 1, 1]]), compare="previous").tolist() == [1]
    assert flips_per_clip(np.array([[0, 1, 1, 1, 1]]), compare="first").tolist() == [4]
    assert flip_rate(clips, compare="previous") == 2 / 8


@pytest.mark.parametrize("compare", ["previous", "first"])
def test_flip_rate_agrees_with_plain_loops(compare: Rule) -> None:
    predicted = np.random.default_rng(0).integers(3, size=(20, 7))
    rates = []
    for clip in predicted.tolist():
        flips = [clip[f] != clip[f - 1 if compare == "previous" else 0] for f in range(1, len(clip))]
        rates.append(sum(flips) / len(flips))
    assert flip_rate(predicted, compare=compare) == pytest.approx(sum(rates) / len(rates), abs=1e-15)


def test_the_rule_must_be_one_of_the_two() -> None:
    with pytest.raises(UsageError, match="compare cannot be used"):
        flip_rate(np.zeros((1, 3), dtype=np.int64), compare="next")  # type: ignore[arg-type]


def test_a_single_frame_has_no_flip_rate() -> None:
    with pytest.raises(UndefinedMetricError, match="no frame to compare"):
        flip_rate(np.zeros((4, 1), dtype=np.int64), compare="first")
