"""Tests of flip rates and of distances between rankings."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    flip_rate,
    flips_per_clip,
    mean_flip_rate,
    mean_top5_distance,
    top5_distance,
    top5_distances_per_clip,
    zipf_distance,
)

Rule = Literal["previous", "first"]
RULES: tuple[Rule, ...] = ("previous", "first")
SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


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
        flip_rate(np.zeros((1, 3), dtype=np.int64), compare="next")  # type: ignore[arg-type]  # wrong on purpose
    for distance in (top5_distance, zipf_distance):
        with pytest.raises(UsageError, match="compare cannot be used"):
            distance(rankings(2, 3, 6, seed=0), compare="next")  # type: ignore[arg-type]  # wrong on purpose


def test_a_single_frame_has_no_flip_rate() -> None:
    with pytest.raises(UndefinedMetricError, match="no frame to compare"):
        flip_rate(np.zeros((4, 1), dtype=np.int64), compare="first")


# Distances between rankings. A ranking lists the classes from the best down.


def rankings(clips: int, frames: int, classes: int, *, seed: int, drift: float = 0.3) -> NDArray[np.int64]:
    """Return full rankings [V, F, K] of logits that wander along each clip."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(clips, 1, classes)) + drift * rng.normal(size=(clips, frames, classes)).cumsum(
        axis=1
    )
    return np.argsort(-logits, axis=2, kind="stable")


def by_full_permutations(ranked: NDArray[Any], compare: Rule, kind: Literal["top5", "zipf"]) -> list[float]:
    """Return the mean distance of each clip from whole permutations of ranks, one frame after another."""
    means = []
    for clip in ranked.tolist():
        rank = [{key: place + 1 for place, key in enumerate(frame)} for frame in clip]
        distances: list[float] = []
        for f in range(1, len(clip)):
            reference = f - 1 if compare == "previous" else 0
            sigma = {i: rank[f][key] for key, i in rank[reference].items()}
            if kind == "top5":
                distances.append(sum(abs(min(i - 1, 5) - min(sigma[i] - 1, 5)) for i in range(1, 6)))
            else:
                distances.append(sum(abs(1 / i - 1 / s) / i for i, s in sigma.items()))
        means.append(sum(distances) / len(distances))
    return means


def one_step(sigma: list[int]) -> NDArray[np.int64]:
    """Return a clip of two frames: class i stands at rank i first and at rank sigma(i) then, from 1."""
    return np.array([[list(range(len(sigma))), np.argsort(sigma).tolist()]])


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0),
        ([2, 1, 3, 4, 5, 6, 7, 8, 9, 10], 2),
        ([1, 2, 3, 4, 6, 5, 7, 8, 9, 10], 1),
        ([6, 2, 3, 4, 5, 1, 7, 8, 9, 10], 5),
        ([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 15),
        ([2, 3, 4, 5, 6, 7, 8, 9, 10, 1], 5),
    ],
    ids=["identity", "1-and-2", "5-and-6", "1-and-6", "reversed", "shifted"],
)
@pytest.mark.parametrize("compare", RULES)
def test_top5_distances_match_the_golden_permutations(sigma: list[int], expected: int, compare: Rule) -> None:
    clip = one_step(sigma)
    assert top5_distance(clip, compare=compare) == expected
    assert top5_distance(clip[:, :, :5], compare=compare) == expected


def test_the_five_are_those_of_the_frame_compared_with() -> None:
    # Shifted: the first four go down by 1 and the fifth leaves, 4 + 1. Shifted back: the new first leaves, 5,
    # and the other four go up by 1.
    shifted = one_step([2, 3, 4, 5, 6, 7, 8, 9, 10, 1])
    assert top5_distance(shifted, compare="previous") == 5
    assert top5_distance(shifted[:, ::-1], compare="previous") == 9


def test_top5_distances_are_taken_against_the_frame_that_the_rule_names() -> None:
    # a, b, b: a step of 2 and one of 0 to the frame before, two of 2 to the first. a, b, a: 2 + 2 and 2 + 0.
    a, b = [0, 1, 2, 3, 4], [1, 0, 2, 3, 4]
    clips = np.array([[a, b, b], [a, b, a]])
    assert top5_distances_per_clip(clips, compare="previous").tolist() == [1.0, 2.0]
    assert top5_distances_per_clip(clips, compare="first").tolist() == [2.0, 1.0]
    assert top5_distance(clips, compare="previous") == 1.5


@pytest.mark.parametrize("compare", RULES)
@given(classes=st.integers(5, 12), drift=st.sampled_from([0.0, 0.05, 0.3, 3.0]), seed=st.integers(0, 999))
@SETTINGS
def test_five_classes_a_frame_give_the_distance_of_the_full_permutations(
    compare: Rule, classes: int, drift: float, seed: int
) -> None:
    full = rankings(4, 6, classes, seed=seed, drift=drift)
    expected = by_full_permutations(full, compare, "top5")
    # Whatever is kept below the first five plays no part.
    for kept in (full, full[:, :, :5], full.astype(np.uint16)[:, :, : classes - 1 if classes > 5 else 5]):
        found = top5_distances_per_clip(kept, compare=compare)
        assert found.tolist() == pytest.approx(expected, abs=1e-14)
        assert top5_distance(kept, compare=compare) == pytest.approx(np.mean(expected), abs=1e-14)


@pytest.mark.parametrize("compare", RULES)
def test_ranks_of_logits_give_the_same_distances(compare: Rule) -> None:
    # One matrix of ranks a clip, as scipy gives them; clipped ranks count where the reference is in its five.
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(8, 7, 50)).cumsum(axis=1)
    expected = []
    for clip in logits:
        ranks = np.stack([rankdata(-frame, method="ordinal") for frame in clip])
        reference = ranks[:-1] if compare == "previous" else np.broadcast_to(ranks[0], ranks[1:].shape)
        five = reference <= 5
        moved = np.abs(np.minimum(reference, 6) - np.minimum(ranks[1:], 6)) * five
        expected.append(moved.sum() / len(moved))
    best = np.argsort(-logits, axis=2)[:, :, :5]
    assert top5_distances_per_clip(best, compare=compare).tolist() == pytest.approx(expected, abs=1e-14)


@given(st.permutations(range(7)), st.permutations(range(7)), st.permutations(range(7)))
@SETTINGS
def test_a_distance_does_not_know_the_names_of_the_classes(
    before: list[int], after: list[int], names: list[int]
) -> None:
    clip = np.array([[before, after]])
    renamed = np.array(names)[clip]
    assert top5_distance(clip, compare="first") == top5_distance(renamed, compare="first")
    assert zipf_distance(clip, compare="first") == pytest.approx(
        zipf_distance(renamed, compare="first"), abs=1e-14
    )


def test_a_distance_of_no_move_is_zero_and_a_move_is_not() -> None:
    still = np.repeat(rankings(3, 1, 9, seed=2), 4, axis=1)
    moved = still.copy()
    moved[0, 2, [3, 4]] = moved[0, 2, [4, 3]]
    for distance in (top5_distance, zipf_distance):
        for compare in RULES:
            assert distance(still, compare=compare) == 0
            assert distance(moved, compare=compare) > 0


def test_the_distances_of_a_whole_sequence_of_imagenet_p_take_under_two_seconds() -> None:
    # 10,000 clips of 31 frames, a fifth of the 50,000.
    rng = np.random.default_rng(0)
    first = rng.integers(900, size=(10_000, 31, 1))
    ranked = (first + np.array([0, 7, 2, 90, 4])).astype(np.int32)
    start = time.process_time()
    top5_distance(ranked, compare="previous")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("ranked", "message"),
    [
        (np.zeros((0, 3, 5), dtype=np.int64), "ranked is empty"),
        (rankings(3, 1, 5, seed=0), "ranked has no frame to compare; expected at least 2 frames a clip"),
        (rankings(3, 4, 4, seed=0), "too few classes for a top-5 distance; expected the 5 best .* found 4"),
        (rankings(3, 4, 5, seed=0)[0], r"ranked has the wrong shape; expected 3 dimension\(s\)"),
        (rankings(3, 4, 5, seed=0) - 1, "ranked is outside the classes"),
        (rankings(3, 4, 5, seed=0) * 1.0, "ranked holds no class indices"),
        (np.array([[[0, 1, 2, 3, 4], [0, 1, 2, 3, 0]]]), "names a class twice in a frame; .* found 1 frames"),
    ],
)
def test_a_top5_distance_that_has_no_value_says_why(ranked: NDArray[Any], message: str) -> None:
    for distance in (top5_distance, top5_distances_per_clip):
        with pytest.raises(UndefinedMetricError, match=message):
            distance(ranked, compare="first")


def test_a_class_that_stands_twice_below_the_five_is_no_matter() -> None:
    clip = np.array([[[0, 1, 2, 3, 4, 5, 5], [0, 1, 2, 3, 4, 4, 6]]])
    assert top5_distance(clip, compare="first") == 0


def test_a_zipf_distance_weighs_the_best_ranks_most() -> None:
    # 1 and 2 change places: |1 - 1/2|/1 + |1/2 - 1|/2 = 3/4. 2 and 3: (1/2 - 1/3)/2 + (1/2 - 1/3)/3 = 5/36.
    # Three in a circle, sigma (2, 3, 1): (1/2)/1 + (1/6)/2 + (2/3)/3 = 29/36.
    assert zipf_distance(one_step([2, 1, 3]), compare="first") == pytest.approx(3 / 4, abs=1e-15)
    assert zipf_distance(one_step([1, 3, 2]), compare="first") == pytest.approx(5 / 36, abs=1e-15)
    assert zipf_distance(one_step([2, 3, 1]), compare="first") == pytest.approx(29 / 36, abs=1e-15)


@pytest.mark.parametrize("compare", RULES)
@given(classes=st.integers(1, 12), drift=st.sampled_from([0.05, 0.3, 3.0]), seed=st.integers(0, 999))
@SETTINGS
def test_a_zipf_distance_agrees_with_full_permutations(
    compare: Rule, classes: int, drift: float, seed: int
) -> None:
    full = rankings(4, 6, classes, seed=seed, drift=drift)
    expected = np.mean(by_full_permutations(full, compare, "zipf"))
    assert zipf_distance(full, compare=compare) == pytest.approx(expected, abs=1e-14)


def test_a_zipf_distance_does_not_depend_on_how_many_clips_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = rankings(7, 5, 9, seed=1)
    at_once = zipf_distance(full, compare="previous")
    for held in (1, 45, 100):
        monkeypatch.setattr("robustbench_safety.metrics.consistency._AT_A_TIME", held)
        assert zipf_distance(full, compare="previous") == at_once


@pytest.mark.parametrize(("classes", "most"), [(2, 0.75), (1000, 1.843)])
def test_no_permutation_is_farther_than_the_docstring_says(classes: int, most: float) -> None:
    inverse = 1 / np.arange(1, classes + 1)
    cost = np.abs(inverse[:, None] - inverse) * inverse[:, None]
    _, sigma = linear_sum_assignment(cost, maximize=True)
    assert zipf_distance(one_step((sigma + 1).tolist()), compare="first") == pytest.approx(most, abs=5e-4)


def test_a_zipf_distance_needs_the_whole_ranking() -> None:
    summary = rankings(3, 4, 12, seed=0)[:, :, :10]
    with pytest.raises(
        UndefinedMetricError, match=r"ranked does not rank every class; .*; rank the full log"
    ):
        zipf_distance(summary, compare="first")
    with pytest.raises(UndefinedMetricError, match="no frame to compare"):
        zipf_distance(rankings(3, 1, 5, seed=0), compare="first")


# Means over sequences.


def test_the_mean_flip_rate_averages_the_ratios_of_the_sequences() -> None:
    # 0.1 / 0.2 and 0.3 / 0.2 : (0.5 + 1.5) / 2. Plain: 0.2.
    rates, baseline = {"snow": 0.1, "tilt": 0.3}, {"tilt": 0.2, "snow": 0.2}
    assert mean_flip_rate(rates, baseline=baseline) == pytest.approx(1.0, abs=1e-15)
    assert mean_flip_rate(rates, baseline=None) == pytest.approx(0.2, abs=1e-15)


def test_the_mean_top5_distance_averages_the_ratios_of_the_sequences() -> None:
    # 3 / 6 and 8 / 4 : (0.5 + 2) / 2. Plain: 5.5.
    distances, baseline = {"snow": 3.0, "tilt": 8.0}, {"tilt": 4.0, "snow": 6.0}
    assert mean_top5_distance(distances, baseline=baseline) == 1.25
    assert mean_top5_distance(distances, baseline=None) == 5.5


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1)
)
@SETTINGS
def test_means_over_sequences_agree_with_arrays_whatever_the_order(
    pairs: dict[str, tuple[float, float]],
) -> None:
    values, baseline = {k: v for k, (v, _) in pairs.items()}, {k: b for k, (_, b) in pairs.items()}
    above, below = np.array([pairs[name] for name in pairs]).T
    for mean, scale in ((mean_flip_rate, 1.0), (mean_top5_distance, 15.0)):
        scaled, divisor = ({k: scale * v for k, v in table.items()} for table in (values, baseline))
        expected = float((above / below).mean())
        assert mean(scaled, baseline=divisor) == pytest.approx(expected, rel=1e-12, abs=1e-300)
        assert mean(scaled, baseline=None) == pytest.approx(scale * above.mean(), rel=1e-12, abs=1e-300)
        turned = dict(reversed(scaled.items()))
        assert mean(turned, baseline=divisor) == mean(scaled, baseline=divisor)
        assert mean(turned, baseline=None) == mean(scaled, baseline=None)
        assert mean(divisor, baseline=divisor) == 1.0


@pytest.mark.parametrize(
    ("rates", "baseline", "message"),
    [
        ({}, None, "flip rates are empty"),
        ({}, {}, "flip rates are empty"),
        ({"snow": math.nan}, None, "flip rates of snow is not finite"),
        ({"snow": 23.65}, None, r"flip rates of snow is outside \[0, 1\]; .*; divide a percentage by 100"),
        ({"snow": 0.1}, {"snow": 11.93}, r"baseline's flip rates of snow is outside \[0, 1\]"),
        ({"snow": 0.1}, {"snow": 0.0}, "baseline's flip rates of snow cannot be divided by; .* found 0"),
        ({"snow": 0.1}, {"snow": math.inf}, "baseline's flip rates of snow is not finite"),
        ({"snow": 0.1}, {"snow": 0.1, "tilt": 0.1}, "found without tilt"),
        ({"spatter": 0.1}, {"snow": 0.1}, "found without snow and with spatter, unknown to the baseline"),
    ],
)
def test_a_mean_flip_rate_that_has_no_value_says_of_which_sequence(
    rates: Mapping[str, float], baseline: Mapping[str, float] | None, message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        mean_flip_rate(rates, baseline=baseline)


@pytest.mark.parametrize(
    ("distances", "baseline", "message"),
    [
        ({"snow": 15.5}, None, r"top-5 distances of snow is outside \[0, 15\]; .* from 15.5 to 15.5"),
        ({"snow": -1.0}, None, r"top-5 distances of snow is outside \[0, 15\]"),
        ({"snow": 3.0}, {"snow": 0.0}, "baseline's top-5 distances of snow cannot be divided by"),
        ({"snow": 3.0}, {"tilt": 1.0}, "top-5 distances and their baseline are not of the same names"),
    ],
)
def test_a_mean_top5_distance_that_has_no_value_says_of_which_sequence(
    distances: Mapping[str, float], baseline: Mapping[str, float] | None, message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        mean_top5_distance(distances, baseline=baseline)
