"""Noise against one-image transcriptions that are fed the same draws, and against its law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.streams import random_stream
from tests.corruptions import reference

Image = NDArray[np.uint8]

SIGMAS = [0.04, 0.06, 0.08, 0.09, 0.10]
PHOTONS = [500, 250, 100, 75, 50]
SHARES = [0.01, 0.02, 0.03, 0.05, 0.07]
SPECKLES = [0.06, 0.10, 0.12, 0.16, 0.20]


def grey(level: int, n: int = 40) -> Image:
    return np.full((n, 32, 32, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(("variant", "side"), SIDES.items())
@pytest.mark.parametrize(
    ("name", "transcription"),
    [
        ("gaussian_noise", reference.gaussian),
        ("shot_noise", reference.shot),
        ("impulse_noise", reference.impulse_inverted),
        ("speckle_noise", reference.speckle),
    ],
)
def test_noise_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Image],
    name: str,
    transcription: Callable[[Image, tuple[float, ...], reference.Inverted], Image],
    variant: str,
    side: int,
    severity: int,
) -> None:
    photos = photos_of(side, 20 if side == 32 else 2)
    parameters = SEVERITIES[name][variant][severity - 1]
    found = corrupt(photos, name, severity, seed=7, variant=variant)
    for index, image in enumerate(photos):
        stream = reference.Inverted(random_stream(7, "corruption", name, severity, f"{index:05d}"))
        np.testing.assert_array_equal(found[index], transcription(image, parameters, stream))


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
def test_shot_noise_has_the_mean_and_the_variance_of_a_truncated_photon_count(
    severity: int, level: int
) -> None:
    found = corrupt(grey(level), "shot_noise", severity).astype(np.float64)
    photons = PHOTONS[severity - 1]
    counts = np.arange(2 * photons)
    chances = stats.poisson.pmf(counts, level / 255 * photons)
    levels = np.floor(np.minimum(counts / photons, 1) * 255)
    mean = (chances * levels).sum()
    deviation = np.sqrt((chances * (levels - mean) ** 2).sum())
    # Four standard errors; that of a deviation is s / sqrt(2 n) for a law near the normal.
    assert found.mean() == pytest.approx(mean, abs=4 * deviation / np.sqrt(found.size))
    assert found.std() == pytest.approx(deviation, rel=4.5 / np.sqrt(2 * found.size))


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


@pytest.mark.parametrize("severity", range(1, 6))
def test_speckle_noise_grows_with_the_value_and_leaves_black_black(severity: int) -> None:
    sigma = SPECKLES[severity - 1]
    for level in (40, 120):
        found = corrupt(grey(level), "speckle_noise", severity).astype(np.float64)
        error = sigma * level / np.sqrt(found.size)
        # 120 * (1 + 4.5 * 0.2) stays below 255, so clipping is out of sight; truncation costs half a level.
        assert found.mean() == pytest.approx(level - 0.5, abs=4 * error + 0.02)
        assert found.std() == pytest.approx(np.sqrt((sigma * level) ** 2 + 1 / 12), rel=0.02)
    assert not corrupt(grey(0, 2), "speckle_noise", severity).any()
