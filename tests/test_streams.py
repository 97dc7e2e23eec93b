"""Random streams that depend on names alone."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_safety.streams import random_stream


def test_a_stream_is_fixed_for_ever() -> None:
    # Pinned: every generated image and every attack's start hangs on these draws.
    bits = random_stream(0, "gaussian_noise", 3, "00017").bit_generator
    assert [int(bits.random_raw()) for _ in range(3)] == [
        13020239079279867758,
        5670794404110791673,
        9414408431275457591,
    ]


def test_equal_arguments_give_equal_draws() -> None:
    first, second = (random_stream(3, "a", 1, "x").standard_normal(50) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "a"), (1, "a")),
        ((0, "a"), (0, "b")),
        ((0, 1), (0, "1")),
        ((0, "a", "b"), (0, "ab")),
        ((0, "a", "b"), (0, "a', 'b")),
        ((0,), (0, "")),
        ((0,), (0, 0)),
        ((-1,), (1,)),
    ],
)
def test_any_other_argument_gives_another_stream(one: tuple[int], other: tuple[int]) -> None:
    first, second = random_stream(*one).random(8), random_stream(*other).random(8)
    assert not np.isclose(first, second).any()


def test_streams_of_neighbouring_ids_are_uncorrelated() -> None:
    draws = np.stack([random_stream(0, "noise", f"{i:05d}").standard_normal(500) for i in range(100)])
    correlations = np.asarray(np.corrcoef(draws))[np.triu_indices(100, 1)]
    # 4,950 correlations of 500 independent pairs each: standard deviation 1/sqrt(500) = 0.0447
    assert abs(correlations.mean()) < 0.003
    assert correlations.std() == pytest.approx(0.0447, rel=0.05)
    assert abs(correlations).max() < 0.0447 * 5
