"""Summaries of logits against a slow float64 reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.summary import TOP, summarize


def random_logits(n: int, k: int, scale: float) -> NDArray[np.float32]:
    draws = np.random.default_rng(0)
    return (draws.standard_normal((n, k)) * scale).astype(np.float32)


def summary(
    logits: NDArray[np.float32], labels: list[int]
) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
    return summarize(torch.from_numpy(logits), torch.tensor(labels))


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("k", [1, 2, 10, 37])
def test_every_column_equals_the_slow_reference(k: int, scale: float) -> None:
    logits = random_logits(50, k, scale)
    labels = [i % k for i in range(50)]
    found = summary(logits, labels)
    for row in range(50):
        z = [float(value) for value in logits[row]]
        order = sorted(range(k), key=lambda i: (-z[i], i))
        best = z[order[0]]
        others = math.fsum(math.exp(z[i] - best) for i in order[1:])
        log_p = [value - best - math.log1p(others) for value in z]
        expected = {
            "max_logit": best,
            "neg_log_confidence": math.log1p(others),
            "entropy": -math.fsum(math.exp(value) * value for value in log_p),
            "sum_squared_probabilities": math.fsum(math.exp(2 * value) for value in log_p),
            "label_logit": z[labels[row]],
            "label_nll": -log_p[labels[row]],
        }
        assert found["top_classes"][row].tolist() == order[:TOP]
        assert found["top_logits"][row].tolist() == [z[i] for i in order[:TOP]]
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, rel=2e-5, abs=2e-6), name


def test_of_equal_logits_the_lower_class_comes_first() -> None:
    logits = np.zeros((1, 300), dtype=np.float32)
    logits[0, [250, 17]] = 1
    assert summary(logits, [0])["top_classes"][0].tolist() == [17, 250, 0, 1, 2, 3, 4, 5, 6, 7]


def test_confidences_that_float32_would_round_to_1_stay_apart() -> None:
    logits = np.array([[18.0, 0.0], [20.0, 0.0], [40.0, 0.0]], dtype=np.float32)
    assert (np.float32(1) / (np.float32(1) + np.exp(-logits[:, 0])) == 1).all()
    found = summary(logits, [0, 0, 0])["neg_log_confidence"]
    np.testing.assert_allclose(found, np.exp([-18.0, -20.0, -40.0]), rtol=1e-6)


def test_values_are_float32_and_classes_int32() -> None:
    found = summary(random_logits(4, 20, 1.0), [0, 1, 2, 3])
    assert found.pop("top_classes").dtype == np.int32
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_images_without_a_label_have_no_label_columns() -> None:
    found = summary(random_logits(4, 20, 1.0), [-1] * 4)
    assert set(found) == {
        "top_classes",
        "top_logits",
        "max_logit",
        "neg_log_confidence",
        "entropy",
        "sum_squared_probabilities",
    }


def test_few_classes_are_all_kept_and_of_many_ten() -> None:
    assert summary(random_logits(3, 4, 1.0), [0, 1, 2])["top_logits"].shape == (3, 4)
    assert summary(random_logits(3, 40, 1.0), [0, 1, 2])["top_logits"].shape == (3, TOP)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = random_logits(30, 20, 3.0)
    whole = summary(logits, [0] * 30)
    for row in (0, 13, 29):
        alone = summary(logits[row : row + 1], [0])
        for name, array in whole.items():
            np.testing.assert_allclose(alone[name][0], array[row], rtol=1e-6, atol=1e-7)
