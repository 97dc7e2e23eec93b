"""Noise against one-image transcriptions that are fed the same draws, and against its law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.corruptions import corrupt
from robustbench_safety.streams import random_stream

Image = NDArray[np.uint8]

SIGMAS = [0.04, 0.06, 0.08, 0.09, 0.10]
PHOTONS = [500, 250, 100, 75, 50]
SHARES = [0.01, 0.02, 0.03, 0.05, 0.07]


def gaussian(image: Image, severity: int, rng: np.random.Generator) -> Image:
    noise = rng.normal(size=image.shape, scale=SIGMAS[severity - 1])
    return (np.clip(image / 255.0 + noise, 0, 1) * 255).astype(np.uint8)


def shot(image: Image, severity: int, rng: np.random.Generator) -> Image:
    photons = PHOTONS[severity - 1]
    return (np.clip(rng.poisson(image / 255.0 * photons) / photons, 0, 1) * 255).astype(np.uint8)


def impulse(image: Image, severity: int, rng: np.random.Generator) -> Image:
    out = image / 255.0
    hit = rng.random(image.shape) <= SHARES[severity - 1]
    salt = rng.random(image.shape) <= 0.5
    out[hit & salt] = 1
    out[hit & ~salt] = 0
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)


def grey(level: int, n: int = 40) -> Image:
    return np.full((n, 32, 32, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(
    ("name", "reference"), [("gaussian_noise", gaussian), ("shot_noise", shot), ("impulse_noise", impulse)]
)
def test_noise_equals_the_one_image_transcription_on_the_same_draws(
    photos: Image, name: str, reference: Callable[[Image, int, np.random.Generator], Image], severity: int
) -> None:
    found = corrupt(photos, name, severity, seed=7)
    for index, image in enumerate(photos):
        expected = reference(image, severity, random_stream(7, "corruption", name, severity, f"{index:05d}"))
        np.testing.assert_array_equal(found[index], expected)


@pytest.mark.parametrize("severity", range(1, 6))
def test_gaussian_noise_has_the_standard_deviation_of_its_severity(severity: int) -> None:
    # Level 128 lies 5 sigma from both ends, so clipping is out of sight; truncation costs half a level.
    found = corrupt(grey(128), "gaussian_noise", severity).astype(np.float64)
    sigma = SIGMAS[severity - 1] * 255
    error = sigma / np.sqrt(found.size)
    assert found.mean() == pytest.approx(127.5, abs=4 * error)
    # The 1/12 is the variance of truncation.
    assert found.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), abs=4 * error)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [32, 128])
def test_shot_noise_has_the_variance_of_a_photon_count(severity: int, level: int) -> None:
    found = corrupt(grey(level), "shot_noise", severity).astype(np.float64)
    # Var(k / c) = x / c for x = level / 255; in grey levels times 255 squared.
    sigma = np.sqrt(level * 255 / PHOTONS[severity - 1])
    error = sigma / np.sqrt(found.size)
    # The counts are whole, so truncation costs between 0 and 1 level, not half a level.
    assert level - 1 - 4 * error < found.mean() < level + 4 * error
    assert found.std() == pytest.approx(sigma, rel=0.02)


def test_shot_noise_leaves_black_black() -> None:
    assert not corrupt(grey(0, 2), "shot_noise", 5).any()


@pytest.mark.parametrize("severity", range(1, 6))
def test_impulse_noise_hits_its_share_of_the_values_and_makes_half_of_them_white(severity: int) -> None:
    found = corrupt(grey(100), "impulse_noise", severity)
    assert set(np.unique(found)) == {0, 100, 255}
    hit, share = found != 100, SHARES[severity - 1]
    assert hit.mean() == pytest.approx(share, abs=4 * np.sqrt(share / found.size))
    assert (found[hit] == 255).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(hit.sum()))


def test_impulse_noise_hits_each_channel_on_its_own() -> None:
    hit = corrupt(grey(100), "impulse_noise", 5) != 100
    # Independent channels: all three of a pixel at 0.07 ** 3, one in 2,900.
    assert hit.all(axis=-1).mean() == pytest.approx(0.07**3, abs=4e-4)


def test_noise_of_two_images_two_severities_and_two_seeds_is_independent() -> None:
    draws = [
        corrupt(grey(128, 2), "gaussian_noise", severity, seed=seed)[index].ravel().astype(np.float64)
        for severity in (1, 2)
        for seed in (0, 1)
        for index in (0, 1)
    ]
    correlation = np.corrcoef(draws)[np.triu_indices(8, 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(3072)
