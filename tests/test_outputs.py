"""What the metrics of consistency read: the ranks of the best classes, from logits or from their summary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import IncompatiblePredictionsError, UndefinedMetricError
from robustbench_safety.measures import METRICS
from robustbench_safety.outputs import Outputs
from robustbench_safety.predictions import Predictions, Values
from robustbench_safety.summary import summarize
from tests.stored_predictions import of_logits, predictions


def clips(
    logits: NDArray[np.float32], frames: int, *, columns: str = "logits", name: str = "tilt"
) -> Predictions:
    labels = np.zeros(len(logits), dtype=np.int64)
    values: Values = {"logits": logits}
    if columns == "summary":
        values = summarize(torch.from_numpy(logits), torch.from_numpy(labels))
    if columns == "top1":
        values = {"top_classes": logits.argmax(axis=1).astype(np.int32)[:, None]}
    stored = predictions(labels, values, k=logits.shape[1], frames=frames, kind="sequence", name=name)
    header = stored.header.model_copy(update={"columns": columns})
    return Predictions(header=header, sample_ids=stored.sample_ids, labels=labels, values=values)


def rounded_logits(rows: int, k: int = 12) -> NDArray[np.float32]:
    """Return logits of which many are equal."""
    return np.random.default_rng(0).integers(0, 6, size=(rows, k)).astype(np.float32)


def test_the_five_best_are_ranked_by_logit_and_equal_ones_by_class() -> None:
    # Classes 1 and 4 share the largest logit, 0 and 5 the third; class 3 comes before class 2.
    found = Outputs(clips(np.array([[3, 9, 1, 2, 9, 3], [0, 1, 2, 3, 4, 5]], np.float32), 2)).ranked
    assert found.tolist() == [[[1, 4, 0, 5, 3], [5, 4, 3, 2, 1]]]


def test_a_summary_ranks_as_its_logits_do() -> None:
    logits = rounded_logits(40)
    expected = Outputs(clips(logits, 4)).ranked
    assert expected.shape == (10, 4, 5)
    np.testing.assert_array_equal(Outputs(clips(logits, 4, columns="summary")).ranked, expected)
    # One row by one, and a sort of Python's.
    for row, best in zip(logits, expected.reshape(-1, 5), strict=True):
        assert best.tolist() == sorted(range(12), key=lambda c, row=row: (-row[c], c))[:5]  # type: ignore[misc]  # a lambda with a default


def test_a_class_subset_is_ranked_among_its_own_classes() -> None:
    logits = rounded_logits(8)
    columns = np.array([7, 2, 9, 11, 0, 5])
    expected = Outputs(clips(logits[:, columns], 4)).ranked
    labels_kept = Outputs(clips(logits, 4), columns)  # label 0 is in the subset
    np.testing.assert_array_equal(labels_kept.ranked, expected)


@pytest.mark.parametrize(("name", "rule"), [("tilt", "previous"), ("gaussian_noise", "first")])
def test_the_top5_distance_of_a_cell_is_that_of_the_metric_under_the_sequence_s_rule(
    name: str, rule: str
) -> None:
    stored = clips(rounded_logits(40), 4, name=name)
    outputs, metric = Outputs(stored), METRICS["top5_distance"]
    expected = metrics.top5_distance(outputs.ranked, compare=rule)  # type: ignore[arg-type]  # a parameter
    assert metric.value(outputs) == expected
    (units,) = metric.units(outputs)
    assert (len(units), units.mean()) == (10, pytest.approx(expected))
    interval = metric.interval([(units,)], 0, {})
    assert interval.low < expected < interval.high


def test_the_published_top5_distances_are_reproduced_from_stored_predictions() -> None:
    # Swapping ranks 5 and 6 moves the fifth class out of the five: 1. Reversing ten classes moves all: 15.
    logits = np.array([range(10, 0, -1), [10, 9, 8, 7, 5, 6, 4, 3, 2, 1], range(1, 11)], np.float32)
    of = {"swap": logits[[0, 1]], "reversal": logits[[0, 2]]}
    found = {key: METRICS["top5_distance"].value(Outputs(clips(rows, 2))) for key, rows in of.items()}
    assert found == {"swap": 1.0, "reversal": 15.0}


def test_a_ranking_that_never_moves_is_bounded_on_the_range_of_the_distance() -> None:
    interval = METRICS["top5_distance"].interval([(np.zeros(20),)], 0, {})
    assert interval.low == 0
    assert interval.high == pytest.approx(15 * metrics.clopper_pearson_interval(0, 20).high)


def test_ranks_are_undefined_of_top_1_classes_alone_and_of_four_classes() -> None:
    with pytest.raises(UndefinedMetricError, match="only top-1 classes were handed in"):
        _ = Outputs(clips(rounded_logits(8), 4, columns="top1")).ranked
    for columns in ("logits", "summary"):
        with pytest.raises(UndefinedMetricError, match="there are 4 classes; expected at least 5"):
            _ = Outputs(clips(rounded_logits(8, 4), 4, columns=columns)).ranked


def test_single_images_have_no_ranks_to_compare() -> None:
    with pytest.raises(IncompatiblePredictionsError, match="is no sequence"):
        _ = Outputs(of_logits([0, 0], rounded_logits(2))).ranked
