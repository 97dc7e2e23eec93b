"""PyTorch-OOD gives the same scores, where its convention is the same; where it differs the test says how."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.detectors import DetectorInputs, fit_detector

Floats = NDArray[np.float64]

RNG = np.random.default_rng(0)
N_CLASSES, WIDTH = 5, 20
LABELS = np.arange(300) % N_CLASSES
#: Float64 throughout, but for ViM, which PyTorch-OOD computes in float32.
WEIGHT, BIAS = RNG.normal(size=(N_CLASSES, WIDTH)), RNG.normal(size=N_CLASSES)
TRAIN = np.abs(RNG.normal(size=(300, WIDTH)) + 2 * RNG.random((N_CLASSES, WIDTH))[LABELS])
IMAGES = np.abs(RNG.normal(size=(80, WIDTH))) * 2


def inputs(features: Floats) -> DetectorInputs:
    return DetectorInputs(
        features=features, logits=features @ WEIGHT.T + BIAS, labels=LABELS, weight=WEIGHT, bias=BIAS
    )


def ours(name: str, *, fitted: bool = True, **options: float) -> Floats:
    on = inputs(TRAIN) if fitted else None
    return fit_detector(name, on=on, options=options)(inputs(IMAGES))


def maps(features: Floats) -> torch.Tensor:
    """Return features as feature maps of one pixel."""
    return torch.from_numpy(features)[:, :, None, None]


def head(feature_maps: torch.Tensor) -> torch.Tensor:
    return feature_maps.flatten(1) @ torch.from_numpy(WEIGHT).T + torch.from_numpy(BIAS)


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    import pytorch_ood.detector

    module: ModuleType = pytorch_ood.detector
    return module


LOGITS = torch.from_numpy(IMAGES @ WEIGHT.T + BIAS)
FEATURES, LABELLED = torch.from_numpy(TRAIN), torch.from_numpy(LABELS)

#: Name here, and that of a class there, which scores logits alone.
FROM_LOGITS = {
    "msp": "MaxSoftmax",
    "maxlogit": "MaxLogit",
    "energy": "EnergyBased",
}


@pytest.mark.parametrize("name", FROM_LOGITS)
def test_scores_of_logits_alone_are_the_same(peer: ModuleType, name: str) -> None:
    theirs = getattr(peer, FROM_LOGITS[name])(None).predict_logits(LOGITS).numpy()
    np.testing.assert_allclose(ours(name, fitted=False), theirs, rtol=1e-9)


def test_entropy_is_the_same_but_for_probabilities_clamped_at_1e_7(peer: ModuleType) -> None:
    theirs = peer.Entropy(None).predict_logits(LOGITS).numpy()
    np.testing.assert_allclose(ours("entropy", fitted=False), theirs, atol=N_CLASSES * 1.62e-6)


def test_generalised_entropy_is_the_same_but_for_a_mean_in_place_of_the_sum(peer: ModuleType) -> None:
    # There probabilities are clamped at 1e-7, which moves a score little and these not at all.
    mild = LOGITS / 10
    theirs = peer.GEN(None).predict_logits(mild).numpy() * N_CLASSES
    found = fit_detector("gen")(DetectorInputs(logits=mild.numpy()))
    np.testing.assert_allclose(found, theirs, rtol=1e-9)


def test_concept_matching_is_the_same(peer: ModuleType) -> None:
    text, image = RNG.normal(size=(N_CLASSES, 8)), RNG.normal(size=(30, 8))
    theirs = peer.MCM(None, torch.from_numpy(text)).predict_features(torch.from_numpy(image)).numpy()
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text)]
    given = DetectorInputs(logits=100 * unit[0] @ unit[1].T, logit_scale=100.0)
    np.testing.assert_allclose(fit_detector("mcm")(given), theirs, rtol=1e-5)


def test_odin_of_images_that_are_not_moved_is_the_same(peer: ModuleType) -> None:
    network = torch.nn.Linear(WIDTH, N_CLASSES, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(WEIGHT))
        network.bias.copy_(torch.from_numpy(BIAS))
    theirs = peer.ODIN(network, eps=0.0, temperature=1000.0).predict(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(ours("odin", fitted=False), theirs, rtol=1e-9)


def test_kl_matching_is_the_same(peer: ModuleType) -> None:
    logits = torch.from_numpy(TRAIN @ WEIGHT.T + BIAS)
    theirs = peer.KLMatching(None).fit_logits(logits).predict_logits(LOGITS).numpy()
    np.testing.assert_allclose(ours("kl_matching"), theirs, rtol=1e-6, atol=1e-12)


def test_mahalanobis_is_the_same_but_for_half_of_it_and_a_covariance_that_is_a_sum(peer: ModuleType) -> None:
    # There 1e-6 is added to the diagonal of the sum, and the sums are float32.
    fitted = peer.Mahalanobis(None).fit_features(FEATURES.float(), LABELLED)
    theirs = fitted.predict_features(torch.from_numpy(IMAGES).float()).numpy()
    np.testing.assert_allclose(ours("mahalanobis"), 2 * len(TRAIN) * theirs, rtol=1e-4)


def test_relative_mahalanobis_is_the_same_but_for_covariances_that_are_sums(peer: ModuleType) -> None:
    fitted = peer.RMD(None).fit_features(FEATURES.float(), LABELLED)
    theirs = fitted.predict_features(torch.from_numpy(IMAGES).float()).numpy()
    # A difference of two distances of about 40.
    np.testing.assert_allclose(ours("relative_mahalanobis"), len(TRAIN) * theirs, atol=1e-2)


@pytest.mark.parametrize("k", [1, 50])
def test_nearest_neighbours_are_the_same(peer: ModuleType, k: int) -> None:
    fitted = peer.KNN(None, k=k).fit_features(FEATURES, LABELLED)
    theirs = fitted.predict_features(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(ours("knn", k=k), theirs, rtol=1e-9)


@pytest.mark.parametrize("dimension", [3, 10, 19])
def test_virtual_logits_are_the_same(peer: ModuleType, dimension: int) -> None:
    fitted = peer.ViM(None, d=dimension, w=torch.from_numpy(WEIGHT), b=torch.from_numpy(BIAS))
    theirs = fitted.fit_features(FEATURES, LABELLED).predict_features(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(ours("vim", dimension=dimension), theirs, rtol=1e-4, atol=1e-3)


def test_clipped_energies_are_the_same(peer: ModuleType) -> None:
    # Percentiles are fractions there.
    fitted = peer.ReAct(None, head, percentile=0.9).fit_feature_maps(maps(TRAIN), LABELLED)
    theirs = fitted.predict_feature_maps(maps(IMAGES)).numpy()
    np.testing.assert_allclose(ours("react", percentile=90.0), theirs, rtol=1e-9)


@pytest.mark.parametrize("percentile", [65.0, 90.0])
@pytest.mark.parametrize("variant", ["ash_p", "ash_b", "ash_s", "scale"])
def test_energies_of_shaped_features_are_the_same(peer: ModuleType, variant: str, percentile: float) -> None:
    make: Callable[..., object] = peer.SCALE if variant == "scale" else peer.ASH
    chosen = {} if variant == "scale" else {"variant": variant.replace("_", "-")}
    detector = make(None, head, percentile=percentile / 100, **chosen)
    # Only some of the library's detectors have this method, and their common type does not.
    theirs = detector.predict_feature_maps(maps(IMAGES)).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(ours(variant, fitted=False, percentile=percentile), theirs, rtol=1e-9)
