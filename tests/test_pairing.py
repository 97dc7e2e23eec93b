"""Two records paired by their companions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.errors import IncompatiblePredictionsError, UnknownNameError, UsageError
from robustbench_safety.metrics import auroc, independent_difference, paired_auroc_difference, wilson_interval
from robustbench_safety.pairing import (
    paired_detection_difference,
    paired_error_difference,
    paired_flip_rate_difference,
)

CLEAN, FOG, SNOW = "mine/clean/clean-0", "mine/corruption/fog-1", "mine/corruption/snow-1"
TILT = "mine/sequence/tilt-1"


def of_errors(ids: list[str] | None = None, dataset: str = "mine", **wrong: ArrayLike) -> Companion:
    """Return a companion with these wrong answers: by ``clean``, ``fog`` and ``snow``."""
    paths = {"clean": CLEAN, "fog": FOG, "snow": SNOW}
    correct = {paths[name]: ~np.asarray(bits, dtype=np.bool_) for name, bits in wrong.items()}
    n = len(next(iter(correct.values())))
    rows = CompanionRows(source_ids=ids or [f"{i:03d}" for i in range(n)], correct=correct)
    return Companion({dataset: rows})


def of_flips(*counts: int) -> Companion:
    flips = {TILT: np.array(counts, dtype=np.uint8)}
    return Companion({"mine": CompanionRows(source_ids=[f"{i}" for i in range(len(counts))], flips=flips)})


def two_models(n: int, *, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the wrong answers of two models that find the same images hard."""
    hard = np.random.default_rng(seed).random(n)
    rng = np.random.default_rng(seed + 1)
    return rng.random(n) < hard**2 + 0.02, rng.random(n) < hard**2


def test_the_difference_is_that_of_the_error_rates_first_less_second() -> None:
    # Of eight images the first is wrong on three and the second on one of these: 3/8 - 1/8.
    a, b = of_errors(clean=[1, 1, 1, 0, 0, 0, 0, 0]), of_errors(clean=[0, 0, 1, 0, 0, 0, 0, 0])
    found = paired_error_difference(a, b, CLEAN, seed=0)
    assert found.difference == 0.25
    assert found.interval.low < 0.25 < found.interval.high
    back = paired_error_difference(b, a, CLEAN, seed=0)
    assert back.difference == -0.25


def test_the_interval_is_as_wide_as_the_discordant_images_make_it() -> None:
    # McNemar: with n10 images that the first alone gets wrong and n01 the second alone, the variance of the
    # difference of the rates is (n10 + n01 - (n10 - n01)^2 / n) / n^2. 2,000 draws know a width to 2 %.
    a, b = two_models(5000, seed=0)
    found = paired_error_difference(of_errors(clean=a), of_errors(clean=b), CLEAN, seed=0)
    n10, n01, n = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    width = 2 * 1.959964 * math.sqrt(n10 + n01 - (n10 - n01) ** 2 / n) / n
    assert found.difference == pytest.approx((n10 - n01) / n, abs=1e-12)
    assert found.interval.high - found.interval.low == pytest.approx(width, rel=0.08)


def test_images_that_are_hard_for_both_cancel() -> None:
    # The first is wrong on 30 of 100, the second on 24 of these: apart they could be equal, paired not.
    a, b = np.arange(100) < 30, np.arange(100) < 24
    found = paired_error_difference(of_errors(clean=a), of_errors(clean=b), CLEAN, seed=0)
    apart = independent_difference(0.3, wilson_interval(30, 100), 0.24, wilson_interval(24, 100))
    assert apart.low < 0 < apart.high
    assert 0 < found.interval.low <= 0.06 <= found.interval.high


def test_of_several_conditions_the_unit_is_the_image() -> None:
    # Under fog and snow one image in four goes wrong, the same one: the mean over both is known no better
    # than that of either. Rows as units would make the interval shorter by the root of two.
    wrong, never = np.arange(400) % 4 == 0, np.zeros(400)
    a, b = of_errors(fog=wrong, snow=wrong), of_errors(fog=never, snow=never)
    both = paired_error_difference(a, b, [FOG, SNOW], seed=0)
    assert both == paired_error_difference(a, b, FOG, seed=0)
    # An image wrong under one of the two counts a half: (1/2 + 1 + 0 + 0) / 4 less (0 + 1/2 + 0 + 0) / 4.
    a, b = of_errors(fog=[1, 1, 0, 0], snow=[0, 1, 0, 0]), of_errors(fog=[0, 1, 0, 0], snow=[0, 0, 0, 0])
    assert paired_error_difference(a, b, [FOG, SNOW], seed=0).difference == 0.25


def test_images_are_paired_by_their_ids_and_not_by_their_places() -> None:
    a, b = two_models(300, seed=2)
    order = np.random.default_rng(0).permutation(300)
    ids = [f"{i:03d}" for i in range(300)]
    straight = paired_error_difference(of_errors(ids, clean=a), of_errors(ids, clean=b), CLEAN, seed=0)
    moved = of_errors([ids[i] for i in order], clean=b[order])
    assert paired_error_difference(of_errors(ids, clean=a), moved, CLEAN, seed=0) == straight
    # By the places it would be another interval.
    other = paired_error_difference(of_errors(ids, clean=a), of_errors(ids, clean=b[order]), CLEAN, seed=0)
    assert other.difference == straight.difference
    assert other.interval != straight.interval


def test_models_that_never_disagree_are_not_known_to_be_the_same() -> None:
    # Of 100 images none tells them apart; with 97.5 % less than 1 - 0.025^(1/100) of all do.
    a = of_errors(clean=np.arange(100) < 30)
    found = paired_error_difference(a, a, CLEAN, seed=0)
    assert found.difference == 0
    assert found.interval.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert found.interval.low == -found.interval.high


def test_a_difference_of_flip_rates_is_one_of_flips_over_comparisons() -> None:
    # Of two clips with five frames, so four comparisons each: 3 of 8 flip, and 1 of 8.
    found = paired_flip_rate_difference(of_flips(3, 0), of_flips(1, 0), TILT, n_comparisons=4, seed=0)
    assert found.difference == 0.25
    # Four draws of two clips: both the first 0.5, both the second 0, one of each 0.25.
    assert (found.interval.low, found.interval.high) == (0.0, 0.5)
    # Where every clip has as many flips more, the bound is on the share of clips that have not.
    same = paired_flip_rate_difference(of_flips(3, 2), of_flips(2, 1), TILT, n_comparisons=4, seed=0)
    assert same.difference == 0.25
    assert same.interval.method == "clopper-pearson (all 2 values equal)"


@pytest.mark.parametrize("n", [0, 2])
def test_clips_cannot_flip_more_often_than_frames_are_compared(n: int) -> None:
    with pytest.raises(UsageError, match=f"at least 3, the most flips of a clip of {TILT}; found {n}"):
        paired_flip_rate_difference(of_flips(3, 0), of_flips(1, 0), TILT, n_comparisons=n, seed=0)


def test_other_images_are_refused() -> None:
    a = of_errors(["x", "y", "z"], clean=[0, 1, 0])
    expected = (
        "other images of mine; expected the same in both; found 3 and 2, z in the first alone; score both"
    )
    with pytest.raises(IncompatiblePredictionsError, match=expected):
        paired_error_difference(a, of_errors(["x", "y"], clean=[0, 1]), CLEAN, seed=0)
    with pytest.raises(IncompatiblePredictionsError, match="found 3 and 4, w in the second alone"):
        paired_error_difference(a, of_errors(["x", "y", "z", "w"], clean=[0, 1, 0, 1]), CLEAN, seed=0)
    with pytest.raises(IncompatiblePredictionsError, match="z in the first alone"):
        paired_error_difference(a, of_errors(["x", "y", "v"], clean=[0, 1, 0]), CLEAN, seed=0)


def test_another_dataset_is_refused() -> None:
    a, other = of_errors(clean=[0, 1]), of_errors(dataset="yours", clean=[0, 1])
    with pytest.raises(IncompatiblePredictionsError, match=r"first .* expected images of mine; found yours"):
        paired_error_difference(other, a, CLEAN, seed=0)
    with pytest.raises(IncompatiblePredictionsError, match=r"second .* expected images of mine; found yours"):
        paired_error_difference(a, other, CLEAN, seed=0)
    with pytest.raises(UnknownNameError, match="unknown dataset 'mime'; expected one like mine"):
        paired_error_difference(a, a, "mime/clean/clean-0", seed=0)


def test_a_condition_that_one_of_them_lacks_is_refused() -> None:
    a, b = of_errors(clean=[0, 1], fog=[1, 1]), of_errors(clean=[0, 1])
    for first, second, which in ((a, b, "second"), (b, a, "first")):
        with pytest.raises(IncompatiblePredictionsError, match=rf"{which} .* {FOG}; found {CLEAN}; compare"):
            paired_error_difference(first, second, FOG, seed=0)
    with pytest.raises(UnknownNameError, match=f"expected one like {FOG}"):
        paired_error_difference(a, b, "mine/corruption/frog-1", seed=0)
    with pytest.raises(IncompatiblePredictionsError, match=rf"second .* {TILT}; found none"):
        paired_flip_rate_difference(of_flips(1, 0), of_errors(clean=[0, 1]), TILT, n_comparisons=3, seed=0)


@pytest.mark.parametrize("paths", [[], [CLEAN, CLEAN], [CLEAN, "yours/clean/clean-0"]])
def test_conditions_that_have_no_common_mean_are_refused(paths: list[str]) -> None:
    a = of_errors(clean=[0, 1])
    with pytest.raises(UsageError, match="expected one condition or more of one dataset, each once"):
        paired_error_difference(a, a, paths, seed=0)


def of_scores(ids: list[str], **scores: ArrayLike) -> Companion:
    """Return a companion with these scores of detector ``msp``, by dataset."""
    arrays = {name: np.asarray(own, dtype=np.float32) for name, own in scores.items()}
    return Companion({
        name: CompanionRows(source_ids=ids[: len(own)], scores={"msp": own}) for name, own in arrays.items()
    })  # fmt: skip


def test_a_difference_of_aurocs_is_paired_over_images_inside_and_outside() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{i:03d}" for i in range(120)]
    drawn = {
        name: rng.normal(shift, 1, (2, 120)) for name, shift in (("inside", 0), ("blobs", 1), ("noise", 2))
    }
    a, b = (of_scores(ids, **{name: one[i] for name, one in drawn.items()}) for i in (0, 1))
    sets = ("blobs", "noise")
    found = paired_detection_difference(
        a, b, detector="msp", in_distribution="inside", out_of_distribution=sets
    )
    areas = [np.mean([auroc(drawn["inside"][i], drawn[name][i]) for name in sets]) for i in (0, 1)]
    assert found.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    kept = {name: one.astype(np.float32).astype(np.float64) for name, one in drawn.items()}
    assert found == paired_auroc_difference(
        kept["inside"][0], [kept[n][0] for n in sets], kept["inside"][1], [kept[n][1] for n in sets]
    )
    # The second with its images in another order.
    order = rng.permutation(120)
    moved = of_scores([ids[i] for i in order], **{name: one[1][order] for name, one in drawn.items()})
    again = paired_detection_difference(
        a, moved, detector="msp", in_distribution="inside", out_of_distribution=sets
    )
    assert again == found


def test_scores_that_one_of_them_lacks_are_refused() -> None:
    ids = ["x", "y"]
    a, b = of_scores(ids, inside=[0, 1], blobs=[1, 2]), of_scores(ids, inside=[0, 1])

    def of_blobs(first: Companion, second: Companion, detector: str = "msp") -> None:
        paired_detection_difference(
            first, second, detector=detector, in_distribution="inside", out_of_distribution="blobs"
        )

    with pytest.raises(
        IncompatiblePredictionsError, match=r"second .* expected images of blobs; found inside"
    ):
        of_blobs(a, b)
    with pytest.raises(UnknownNameError, match="unknown detector 'mps'; expected one like msp"):
        of_blobs(a, a, "mps")
    none = Companion({name: CompanionRows(source_ids=ids) for name in ("inside", "blobs")})
    with pytest.raises(IncompatiblePredictionsError, match=r"second .* expected detector msp; found none"):
        of_blobs(a, none)
