"""What every detector promises, over the whole table: a new line of it is tested by being there."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy

from robustbench_safety.detectors import DETECTORS, DetectorInputs, Scorer, fit_detector
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import auroc

Floats = NDArray[np.float64]

#: Of a network with non-negative features: each class has 3 of them, and 12 belong to none.
N_CLASSES, WIDTH, N = 4, 24, 240
LABELS = np.arange(N) % N_CLASSES
_CENTRES = np.hstack([np.kron(np.eye(N_CLASSES), np.full(3, 6.0)), np.zeros((N_CLASSES, 12))])
_WEIGHT = np.hstack([np.kron(np.eye(N_CLASSES) - 0.3, np.ones(3)), np.zeros((N_CLASSES, 12))])
_BIAS = np.linspace(0, 0.3, N_CLASSES)
#: Of an ensemble: what each of five heads does with each feature on its own account.
_HEADS = np.random.default_rng(9).normal(scale=0.3, size=(5, N_CLASSES, WIDTH))
_COLUMNS = ("logits", "features", "mutual_information")


@dataclass(frozen=True)
class Images:
    """Training, held-out, other in-distribution and out-of-distribution images."""

    fit: DetectorInputs
    tune: DetectorInputs
    inside: DetectorInputs
    outside: DetectorInputs


def seen(features: Floats) -> DetectorInputs:
    """Return what a network makes of features."""
    shares = softmax(np.einsum("nd,mkd->mnk", features, _WEIGHT + _HEADS) + _BIAS, axis=2)
    information = entropy(shares.mean(axis=0), axis=1) - entropy(shares, axis=2).mean(axis=0)
    return DetectorInputs(
        features=features, logits=features @ _WEIGHT.T + _BIAS, mutual_information=np.maximum(information, 0),
        labels=LABELS, weight=_WEIGHT, bias=_BIAS, logit_scale=10.0)  # fmt: skip


@cache
def images() -> Images:
    """Draw Gaussian clusters, and images that lie far away along features that no class uses."""
    rng = np.random.default_rng(0)

    def clusters() -> DetectorInputs:
        return seen(np.abs(_CENTRES[LABELS] + rng.normal(scale=0.7, size=(N, WIDTH))))

    far = np.abs(rng.normal(scale=0.7, size=(N, WIDTH)))
    far[:, 12:] += 6.0 * (rng.random((N, 12)) < 0.5)
    return Images(fit=clusters(), tune=clusters(), inside=clusters(), outside=seen(far))


def source(name: str) -> DetectorInputs | None:
    """Return the images that a detector is fitted on."""
    kind = DETECTORS[name].fit
    return None if kind is None else getattr(images(), kind)


@cache
def scorer(name: str) -> Scorer:
    return fit_detector(name, on=source(name))


def rows(inputs: DetectorInputs, chosen: NDArray[np.int64]) -> DetectorInputs:
    """Return some of the images."""
    changed = {key: getattr(inputs, key)[chosen] for key in (*_COLUMNS, "labels")}
    return replace(inputs, **changed)


def cast(inputs: DetectorInputs | None, dtype: type[np.floating]) -> DetectorInputs | None:
    """Return the arrays in another precision."""
    if inputs is None:
        return None
    arrays = {entry.name: getattr(inputs, entry.name) for entry in fields(inputs)}
    cast_to: dict[str, Any] = {
        key: x.astype(dtype) for key, x in arrays.items() if isinstance(x, np.ndarray) and key != "labels"
    }
    return replace(inputs, **cast_to)


@pytest.mark.parametrize("name", DETECTORS)
def test_images_far_from_all_clusters_score_higher(name: str) -> None:
    assert auroc(scorer(name)(images().inside), scorer(name)(images().outside)) > 0.9


@pytest.mark.parametrize("name", DETECTORS)
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    order = np.random.default_rng(1).permutation(N)
    expected = scorer(name)(images().outside)[order]
    np.testing.assert_allclose(scorer(name)(rows(images().outside, order)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_order_of_the_images_it_is_fitted_on_does_not_matter(name: str) -> None:
    on = source(name)
    if on is None:
        return  # there are none
    again = fit_detector(name, on=rows(on, np.random.default_rng(2).permutation(N)))
    expected = scorer(name)(images().inside)
    np.testing.assert_allclose(again(images().inside), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", DETECTORS)
def test_an_image_scores_the_same_alone(name: str) -> None:
    alone = [scorer(name)(rows(images().inside, np.array([i])))[0] for i in range(3)]
    np.testing.assert_allclose(alone, scorer(name)(images().inside)[:3], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", DETECTORS)
def test_images_that_are_all_the_same_cannot_be_told_apart(name: str) -> None:
    same = rows(images().inside, np.zeros(N, dtype=np.int64))
    scores = scorer(name)(same)
    np.testing.assert_allclose(scores, scores[0], rtol=1e-12)
    assert auroc(scores.round(9), scorer(name)(same).round(9)) == 0.5


@pytest.mark.parametrize("name", DETECTORS)
def test_images_shuffled_between_the_two_sets_are_told_apart_by_chance(name: str) -> None:
    both = np.concatenate([scorer(name)(images().inside), scorer(name)(images().outside)])
    mixed = np.random.default_rng(3).permutation(both)
    # Of 240 and 240 scores the standard deviation is 0.026.
    assert auroc(mixed[:N], mixed[N:]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_numbers_in_float32_score_the_same(name: str) -> None:
    on, inside, outside = (cast(x, np.float32) for x in (source(name), images().inside, images().outside))
    assert inside is not None
    assert outside is not None
    as_float32 = fit_detector(name, on=on)
    again = fit_detector(name, on=cast(on, np.float64))
    np.testing.assert_array_equal(as_float32(inside), again(cast(inside, np.float64) or inside))
    expected = auroc(scorer(name)(images().inside), scorer(name)(images().outside))
    assert auroc(as_float32(inside), as_float32(outside)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_number_that_is_not_finite_is_refused(name: str, value: float) -> None:
    column = DETECTORS[name].needs
    spoilt = {column: getattr(images().inside, column).copy()}
    spoilt[column].flat[7] = value
    with pytest.raises(UndefinedMetricError, match="not finite"):
        scorer(name)(replace(images().inside, **spoilt))
    on = source(name)
    if on is not None:
        with pytest.raises(UndefinedMetricError, match="not finite"):
            fit_detector(name, on=replace(on, **spoilt))


@pytest.mark.parametrize("name", DETECTORS)
def test_no_images_and_another_shape_are_refused(name: str) -> None:
    nothing = rows(images().inside, np.arange(0))
    with pytest.raises(UndefinedMetricError, match="empty"):
        scorer(name)(nothing)
    column = DETECTORS[name].needs
    flat = {column: getattr(images().inside, column)[:, None][..., None]}
    with pytest.raises(UndefinedMetricError, match="wrong shape"):
        scorer(name)(replace(images().inside, **flat))
    if source(name) is not None:
        with pytest.raises(UndefinedMetricError, match="empty"):
            fit_detector(name, on=nothing)
