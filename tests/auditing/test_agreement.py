"""What counts as agreement: equal but where the two best logits lie within the tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.auditing.agreement import (
    Compared,
    compare_attack,
    compare_condition,
    compare_scores_kept,
    tolerance_of,
)
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.predictions import Predictions
from tests.stored_predictions import of_logits, predictions

#: Logits of standard deviation 1 whose two best lie 0.0005, 0.002 and 2 apart.
CLOSE, APART, FAR = [1.2245, 1.225, -2.4495], [1.224, 1.226, -2.45], [2.0, 0.0, -2.0]


def compared(found: Predictions, old: CompanionRows, new: CompanionRows) -> dict[str, Compared]:
    order = np.arange(len(new.source_ids))
    return {one.what: one for one in compare_condition(found, old, new, order, tolerance=1e-3)}


def rows(found: Predictions) -> CompanionRows:
    companion = Companion()
    companion.add(found)
    return companion.datasets["mine"]


def test_an_answer_may_differ_where_the_two_best_logits_lie_within_the_tolerance() -> None:
    now = of_logits([0, 0, 0], [CLOSE, APART, FAR])
    assert np.std(CLOSE) > 1  # so that 1e-3 of it lies above 0.0005 and below 0.002
    own = rows(now)
    assert compared(now, own, own)["right or wrong"].disagreements == 0
    flipped = rows(of_logits([0, 0, 0], [CLOSE[1::-1] + CLOSE[2:], APART, FAR]))
    found = compared(now, flipped, own)
    assert (found["right or wrong"].disagreements, found["right or wrong"].close) == (0, 1)
    assert (found["class"].disagreements, found["class"].close) == (0, 1)
    flipped = rows(of_logits([0, 0, 0], [CLOSE, APART[1::-1] + APART[2:], FAR]))
    found = compared(now, flipped, own)
    assert found["right or wrong"].disagreements == 1
    assert not found["right or wrong"].agrees
    assert found["right or wrong"].note == "first id-1"


def test_a_confidence_may_move_as_far_as_a_logit() -> None:
    now = of_logits([0], [FAR])
    own = rows(now)
    assert own.confidence is not None
    for moved, disagreements in ((0.001, 0), (0.01, 1)):
        old = CompanionRows(source_ids=own.source_ids, predicted=own.predicted, correct=own.correct)
        old.confidence = own.confidence - np.float32(moved)
        assert compared(now, old, own)["confidence"].disagreements == disagreements


def clip(*frames: list[float]) -> Predictions:
    logits = np.array(frames, dtype=np.float32)
    return predictions(
        [0] * len(frames), {"logits": logits}, k=3, frames=len(frames), kind="sequence", name="translate"
    )


@pytest.mark.parametrize(("recorded", "agrees"), [(0, True), (2, True), (4, True), (5, False)])
def test_each_frame_that_may_turn_allows_two_flips(*, recorded: int, agrees: bool) -> None:
    now = clip(FAR, CLOSE, FAR, FAR)  # classes 0 1 0 0: two flips, none where the second frame turns
    own, path = rows(now), now.header.condition.path
    assert own.flips[path].tolist() == [2]
    old = CompanionRows(source_ids=own.source_ids, flips={path: np.array([recorded], dtype=np.uint8)})
    assert compared(now, old, own)["flips"].agrees == agrees
    sure = clip(FAR, FAR[1::-1] + FAR[2:], FAR, FAR)
    assert compared(sure, old, rows(sure))["flips"].agrees == (recorded == 2)


def bits(right: int, n: int = 1000) -> NDArray[np.bool_]:
    return np.arange(n) < right


@pytest.mark.parametrize(("recorded", "agrees"), [(400, True), (410, True), (411, False), (389, False)])
def test_an_attack_agrees_to_one_image_in_a_hundred(*, recorded: int, agrees: bool) -> None:
    balance, _ = compare_attack("mine/attack/x-0", bits(400), bits(recorded))
    assert (balance.disagreements, balance.agrees) == (abs(recorded - 400), agrees)


def test_an_attack_that_turns_other_images_to_the_same_number_does_not_agree() -> None:
    balance, one_by_one = compare_attack("mine/attack/x-0", bits(400), np.roll(bits(400), 11))
    assert balance.agrees
    assert (one_by_one.disagreements, one_by_one.allowed, one_by_one.agrees) == (22, 20, False)


def kept(name: str, **sets: list[float]) -> Companion:
    return Companion({
        dataset: CompanionRows(
            source_ids=[str(i) for i in range(len(scores))], scores={name: np.array(scores, dtype=np.float32)}
        )
        for dataset, scores in sets.items()
    })  # fmt: skip


def test_one_score_in_a_hundred_may_lie_further_off() -> None:
    values = np.linspace(0, 1, 200).tolist()
    moved = list(values)
    for count, agrees in ((2, True), (3, False)):
        for place in range(count):
            moved[place] = values[place] + 0.1
        old, new = kept("msp", mine=values), kept("msp", mine=moved)
        (one,) = compare_scores_kept(old, new, tolerance=1e-3, fitted=False)
        assert (one.disagreements, one.allowed, one.agrees) == (count, 2, agrees)


def test_a_detector_that_was_fitted_on_other_images_is_not_compared() -> None:
    old, new = kept("knn", mine=[0.0, 1.0]), kept("knn", mine=[5.0, 6.0])
    assert list(compare_scores_kept(old, new, tolerance=1e-3, fitted=False)) == []
    (one,) = compare_scores_kept(old, new, tolerance=1e-3, fitted=True)
    assert one.disagreements == 2


def test_fewer_bits_allow_more() -> None:
    assert tolerance_of("float32", tf32=False) == 1e-3
    assert tolerance_of("float32", tf32=True) == tolerance_of("float16", tf32=False) == 1e-2
    assert tolerance_of("bfloat16", tf32=True) == 3e-2
