"""Which images are attacked depends on their ids and the seed, and on nothing else."""

from __future__ import annotations

import numpy as np

from robustbench_safety.attacks import drawn_images

IDS = [f"{i:05d}" for i in range(200)]
ALL = np.arange(200)


def draw(n: int | None, *, seed: int = 0, purpose: str = "attacked") -> list[int]:
    return [int(i) for i in drawn_images(ALL, IDS, n, seed=seed, purpose=purpose)]


def test_as_many_are_drawn_as_are_asked_for_each_once_and_in_order() -> None:
    found = draw(50)
    assert len(found) == 50
    assert found == sorted(set(found))
    assert draw(None) == draw(200) == draw(1000) == ALL.tolist()


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    assert set(draw(10)) < set(draw(50)) < set(draw(120))


def test_seed_and_purpose_draw_others() -> None:
    assert len({tuple(draw(50)), tuple(draw(50, seed=1)), tuple(draw(50, purpose="large-eps"))}) == 3


def test_the_order_of_the_images_does_not_choose_them() -> None:
    backwards = drawn_images(ALL, IDS[::-1], 50, seed=0, purpose="attacked")
    assert {IDS[::-1][i] for i in backwards} == {IDS[i] for i in draw(50)}


def test_a_sample_of_a_class_sorted_set_spreads_over_it() -> None:
    # 50 of 200: of each quarter 12.5 in the mean, with a standard deviation of 2.7.
    counts = np.histogram(draw(50), bins=4, range=(0, 200))[0]
    assert counts.min() >= 5


def test_the_sample_is_pinned() -> None:
    # Another would make other rows under the same name.
    assert draw(6) == [16, 33, 45, 114, 116, 140]
