"""Noise and elastic transform against freely drawn output of the transcriptions, on many real pictures.

Both sides draw on their own, so no pixel agrees; what each does to a picture must agree on average. Every
statistic is taken a picture and compared within pairs, so that the pictures' own spread does not hide a
difference. Severity 3 is tested always; all five with RBS_LONG=1 (``make golden``).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.severities import SEVERITIES
from tests.corruptions import reference
from tests.long_checks import LONG

Images = NDArray[np.uint8]

TRANSCRIPTIONS: dict[str, Callable[[Images, tuple[float, ...], np.random.Generator], Images]] = {
    "gaussian_noise": reference.gaussian,
    "shot_noise": reference.shot,
    "impulse_noise": reference.impulse,
    "speckle_noise": reference.speckle,
    "elastic_transform": reference.elastic,
}
#: Edges of the bands of spatial frequency, in cycles a pixel.
BANDS = [0.0, 0.05, 0.15, 0.3, 0.5]
STATISTICS = ["mean", "variance", *(f"power from {low} cycles a pixel on" for low in BANDS[:-1]), "PSNR"]


@pytest.fixture(scope="module")
def cifar(real_data: Path) -> Images:
    """The first 1,000 test images of CIFAR-10: uint8 [1000, 32, 32, 3]."""
    with (real_data / "cifar-10-batches-py" / "test_batch").open("rb") as handle:
        rows = pickle.load(handle, encoding="bytes")[b"data"][:1000]
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Images:
    """Fifty photographs of ImageNet, their shorter side 256, cropped to 224: uint8 [50, 224, 224, 3]."""
    paths = sorted((shared / "data" / "imagenet_sample" / "val").rglob("*.*"))[::8][:50]
    pictures = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        scale = 256 / min(picture.size)
        width, height = (max(256, round(side * scale)) for side in picture.size)
        left, top = (width - 224) // 2, (height - 224) // 2
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        pictures.append(np.asarray(resized.crop((left, top, left + 224, top + 224))))
    return np.stack(pictures)


def statistics(corrupted: Images, clean: Images) -> NDArray[np.float64]:
    """Return [N, statistics]."""
    values = corrupted.astype(np.float32)
    side = clean.shape[1]
    power = np.abs(fft.rfft2(values.mean(axis=-1), axes=(1, 2))) ** 2
    frequency = np.hypot(fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None])
    # The mean is a statistic of its own and would drown the lowest band.
    power[:, 0, 0] = 0
    bands = [
        np.log(power[:, (frequency >= low) & (frequency < high)].mean(axis=1))
        for low, high in pairwise(BANDS)
    ]
    error = np.square(values - clean).mean(axis=(1, 2, 3))
    columns = [values.mean(axis=(1, 2, 3)), values.var(axis=(1, 2, 3)), *bands, -10 * np.log10(error)]
    return np.stack(columns, axis=1).astype(np.float64)


def largest_difference(clean: Images, name: str, severity: int, variant: str) -> tuple[float, str]:
    """Return how many standard errors the worst statistic is off, and which it is."""
    rng = np.random.default_rng(severity)
    parameters = SEVERITIES[name][variant][severity - 1]
    expected = np.stack([TRANSCRIPTIONS[name](image, parameters, rng) for image in clean])
    found = corrupt(clean, name, severity, seed=11, variant=variant)
    pairs = statistics(found, clean) - statistics(expected, clean)
    error = pairs.std(axis=0, ddof=1) / np.sqrt(len(clean))
    off = np.abs(pairs.mean(axis=0)) / error
    return float(off.max()), STATISTICS[int(off.argmax())]


# 7 statistics of 48 cells: 4.5 standard errors are passed by chance once in 400 runs; the seeds are fixed.


@pytest.mark.realdata
@pytest.mark.parametrize("severity", range(1, 6) if LONG else (3,))
@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_freely_drawn_output_agrees_on_a_thousand_images_of_cifar(
    cifar: Images, name: str, severity: int
) -> None:
    off, statistic = largest_difference(cifar, name, severity, "cifar")
    assert off < 4.5, statistic


@pytest.mark.realdata
@pytest.mark.parametrize("severity", range(1, 6) if LONG else (3,))
@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_freely_drawn_output_agrees_on_fifty_photographs_of_imagenet(
    photographs: Images, name: str, severity: int
) -> None:
    off, statistic = largest_difference(photographs, name, severity, "imagenet")
    assert off < 4.5, statistic


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_the_comparison_tells_a_parameter_that_is_a_tenth_off(
    cifar: Images, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = TRANSCRIPTIONS[name]

    def wrong(image: Images, parameters: tuple[float, ...], rng: np.random.Generator) -> Images:
        return right(image, (parameters[0] * 1.1,), rng)

    monkeypatch.setitem(TRANSCRIPTIONS, name, wrong)
    off, _ = largest_difference(cifar, name, 3, "cifar")
    assert off > 8
