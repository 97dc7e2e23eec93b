"""Decisions for a shape or a texture: worked by hand, and against the published rule written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import category_decisions, cue_accuracy, cue_hits, shape_bias

#: Eight images of categories 0, 1 and 2; the last two are of one category.
SHAPE = np.array([0, 0, 1, 1, 2, 2, 0, 1])
TEXTURE = np.array([1, 2, 0, 2, 0, 1, 0, 1])
#: Shape, shape, texture, a third, shape, texture; then two that do not count.
DECIDED = np.array([0, 0, 0, 0, 2, 1, 0, 2])


def test_the_bias_is_that_of_the_decisions_for_either() -> None:
    # Three for the shape and two for the texture, of the six images that are of two categories.
    assert shape_bias(DECIDED, SHAPE, TEXTURE) == 3 / 5
    assert cue_accuracy(DECIDED, SHAPE, TEXTURE, cue="shape") == 3 / 6
    assert cue_accuracy(DECIDED, SHAPE, TEXTURE, cue="texture") == 2 / 6
    assert cue_hits(DECIDED, SHAPE, TEXTURE).astype(int).tolist() == [
        [1, 0], [1, 0], [0, 1], [0, 0], [1, 0], [0, 1],
    ]  # fmt: skip


def test_what_is_decided_of_images_of_one_category_does_not_matter() -> None:
    for answers in ([1, 0], [2, 2], [0, 1]):
        assert shape_bias(np.array([*DECIDED[:6], *answers]), SHAPE, TEXTURE) == 3 / 5


def test_shape_and_texture_exchanged_mirror_the_bias() -> None:
    rng = np.random.default_rng(3)
    decided, shape, texture = rng.integers(16, size=(3, 2000))
    bias = shape_bias(decided, shape, texture)
    assert bias == pytest.approx(1 - shape_bias(decided, texture, shape), abs=1e-15)
    by_shape, by_texture = (cue_accuracy(decided, shape, texture, cue=c) for c in ("shape", "texture"))
    assert bias == pytest.approx(by_shape / (by_shape + by_texture), abs=1e-15)


def test_the_category_with_the_highest_mean_probability_is_decided_for() -> None:
    # Four dogs of 0.15 each and one cat of 0.4: the sum is the dogs', mean and best class are the cat's.
    logits = np.log([[0.15, 0.15, 0.15, 0.15, 0.4]])
    assert category_decisions(logits, categories=[np.arange(4), np.array([4])]).tolist() == [1]
    # Two dogs of 0.3 and 0.2, two cats of 0.4 and 0.05: the mean is the dogs', the best class a cat.
    logits = np.log([[0.3, 0.2, 0.4, 0.05, 0.05]])
    assert category_decisions(logits, categories=[np.array([0, 1]), np.array([2, 3])]).tolist() == [0]


def test_decisions_are_those_of_the_published_rule() -> None:
    # The largest mean so far is kept, category by category, over the softmax of all classes.
    rng = np.random.default_rng(4)
    logits = rng.normal(scale=3, size=(300, 40))
    cuts = np.split(rng.permutation(40)[:33], [1, 3, 10, 20])
    expected = []
    for row in softmax(logits, axis=1):
        best, choice = -np.inf, -1
        for number, group in enumerate(cuts):
            if row[group].mean() > best:
                best, choice = row[group].mean(), number
        expected.append(choice)
    assert category_decisions(logits, categories=cuts).tolist() == expected


def test_other_classes_do_not_matter_however_sure_they_are() -> None:
    categories = [np.array([0]), np.array([1, 2])]
    logits = np.array([[0.0, 1.0, 2.0, 0.0], [2.0, 1.0, 1.0, 0.0]])
    sure = logits.copy()
    sure[:, 3] = 5000  # every other probability is 0 in float64
    assert category_decisions(logits, categories=categories).tolist() == [1, 0]
    assert category_decisions(sure, categories=categories).tolist() == [1, 0]
    assert category_decisions(logits[:, :3], categories=categories).tolist() == [1, 0]


def test_of_equal_categories_the_first_is_decided_for() -> None:
    categories = [np.array([2]), np.array([0]), np.array([1])]
    assert category_decisions(np.zeros((1, 3)), categories=categories).tolist() == [0]


@pytest.mark.parametrize(
    ("decided", "shape", "texture", "message"),
    [
        ([0, 1], [0, 1], [0, 1], "no image is of two categories.*found none of 2"),
        ([2, 2], [0, 1], [1, 0], "decided for its shape or its texture.*found none of 2"),
        ([0], [0, 1], [1, 0], "decided and shape differ in length"),
        ([0, 1], [0, 1], [1], "decided and texture differ in length"),
        ([-1, 0], [0, 1], [1, 0], "decided is outside the classes"),
        ([], [], [], "is empty|no class"),
    ],
)
def test_a_bias_that_does_not_exist_is_refused(
    decided: list[int], shape: list[int], texture: list[int], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        shape_bias(*(np.array(given, dtype=np.int64) for given in (decided, shape, texture)))


def test_a_share_of_nothing_is_0_where_its_images_are_there() -> None:
    assert cue_accuracy(np.array([2, 2]), np.array([0, 1]), np.array([1, 0]), cue="shape") == 0.0


def test_an_unknown_cue_and_categories_without_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="cue cannot be used; expected shape or texture; found 'colour'"):
        cue_accuracy(DECIDED, SHAPE, TEXTURE, cue="colour")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UndefinedMetricError, match="there are no categories"):
        category_decisions(np.zeros((2, 3)), categories=[])
    with pytest.raises(UndefinedMetricError, match="a category is outside the classes"):
        category_decisions(np.zeros((2, 3)), categories=[np.array([3])])
    with pytest.raises(UndefinedMetricError, match="a category is empty"):
        category_decisions(np.zeros((2, 3)), categories=[np.array([], dtype=np.int64)])
