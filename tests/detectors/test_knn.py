"""kNN: the distance of directions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustbench_safety.detectors import fit_knn
from robustbench_safety.errors import UndefinedMetricError, UsageError

RNG = np.random.default_rng(0)
TRAIN, OTHERS = RNG.normal(size=(40, 5)), RNG.normal(size=(15, 5))


def test_a_case_worked_by_hand() -> None:
    # Directions at 0, 90 and 180 degrees; one at 60 is 2 sin(30), 2 sin(15) and 2 sin(60) away.
    train = np.array([[7.0, 0.0], [0.0, 0.1], [-3.0, 0.0]])
    image = np.array([[1.0, math.sqrt(3)]])
    expected = [2 * math.sin(math.radians(angle)) for angle in (15, 30, 60)]
    assert [fit_knn(train, k=k).score(image)[0] for k in (1, 2, 3)] == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_distances_are_those_of_all_pairs(k: int) -> None:
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (TRAIN, OTHERS))
    pairs = np.sort(np.linalg.norm(other[:, None] - unit[None], axis=2), axis=1)
    np.testing.assert_allclose(fit_knn(TRAIN, k=k).score(OTHERS), pairs[:, k - 1], rtol=1e-9)


def test_the_length_of_features_does_not_matter() -> None:
    scores = fit_knn(TRAIN * 7, k=3).score(OTHERS * np.arange(1, 16)[:, None])
    np.testing.assert_allclose(scores, fit_knn(TRAIN, k=3).score(OTHERS), rtol=1e-9)


def test_features_that_are_all_zero_are_at_1_from_everything() -> None:
    assert fit_knn(TRAIN, k=40).score(np.zeros((1, 5))) == pytest.approx([1.0])


def test_more_neighbours_than_samples_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="expected k = 41 or more; found 40"):
        fit_knn(TRAIN, k=41)


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_a_number_of_neighbours_that_is_no_whole_number_is_refused(k: int) -> None:
    with pytest.raises(UsageError, match="k cannot be used"):
        fit_knn(TRAIN, k=k)


def test_features_of_another_length_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="expected D = 5; found D = 4"):
        fit_knn(TRAIN, k=1).score(OTHERS[:, :4])
