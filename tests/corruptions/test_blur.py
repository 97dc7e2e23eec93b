"""The five blurs against one-image transcriptions; defocus and Gaussian blur against cases worked by hand."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.blur import defocus_blur, defocus_kernel
from robustbench_safety.corruptions.draws import NumpyDraws, TorchDraws
from robustbench_safety.corruptions.generate import CORRUPTIONS
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from tests.corruptions import reference_blur as reference

Images = NDArray[np.uint8]

SETTINGS = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]
ALL_SETTINGS = sorted({row for rows in SEVERITIES["defocus_blur"].values() for row in rows})
TRANSCRIPTIONS = {
    "gaussian_blur": reference.gaussian_blur,
    "defocus_blur": reference.defocus_blur,
    "glass_blur": reference.glass_blur,
    "motion_blur": reference.motion_blur,
    "zoom_blur": reference.zoom_blur,
}
EVERY_CELL = [
    (name, variant, severity) for name in TRANSCRIPTIONS for variant in SIDES for severity in range(1, 6)
]
#: The transcription of glass blur goes through the pixels one by one: a large image takes a second a pass.
CELLS = [cell for cell in EVERY_CELL if cell[0] != "glass_blur" or SIDES[cell[1]] < 100 or cell[2] == 2]


def share_off(images: Images, name: str, variant: str, severity: int) -> float:
    """Return the share of values that are off, by one level at most, given the same draws."""
    parameters = SEVERITIES[name][variant][severity - 1]
    streams = [np.random.default_rng([index, severity]) for index in range(len(images))]
    expected = np.stack(
        [TRANSCRIPTIONS[name](image, parameters, rng) for image, rng in zip(images, streams, strict=True)]
    )
    again = [np.random.default_rng([index, severity]) for index in range(len(images))]
    draws = NumpyDraws(lambda: again, torch.device("cpu"))
    found = CORRUPTIONS[name](torch.from_numpy(images), parameters, draws).numpy()
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    return float((difference > 0).mean())


@pytest.mark.parametrize(("name", "variant", "severity"), CELLS)
def test_every_blur_equals_its_transcription(
    photos_of: Callable[[int, int], Images], name: str, variant: str, severity: int
) -> None:
    images = photos_of(SIDES[variant], 2).copy()
    # Flat parts, where truncation bites: white, black and a grey.
    images[0, :10], images[0, -10:], images[1, :, :10] = 255, 0, 77
    assert share_off(images, name, variant, severity) < 0.0002


@pytest.mark.realdata
@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_every_blur_equals_its_transcription_on_images_of_cifar(real_data: Path, name: str) -> None:
    with (real_data / "cifar-10-batches-py" / "test_batch").open("rb") as handle:
        rows = pickle.load(handle, encoding="bytes")[b"data"][:10]
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    for severity in range(1, 6):
        assert share_off(images, name, "cifar", severity) < 0.0002


@pytest.mark.realdata
@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_every_blur_equals_its_transcription_on_photographs_of_imagenet(shared: Path, name: str) -> None:
    paths = sorted((shared / "data" / "imagenet_sample" / "val").rglob("*.*"))[::200][:2]
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in paths])
    assert share_off(images, name, "imagenet", 2) < 0.0002


@pytest.mark.parametrize("name", ["glass_blur", "motion_blur"])
def test_draws_by_torch_give_another_blur_of_the_same_kind(photos: Images, name: str) -> None:
    parameters = SEVERITIES[name]["cifar"][2]
    images, cpu = torch.from_numpy(photos), torch.device("cpu")

    def made(first_seed: int) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(first_seed + index) for index in range(len(photos))]
        return CORRUPTIONS[name](images, parameters, TorchDraws(lambda: generators, cpu))

    assert torch.equal(made(0), made(0))
    assert not torch.equal(made(0), made(100))
    # Nearer to NumPy's than to the clean image, of which half the detail is lost.
    numpy_made = corrupt(photos, name, 3).astype(float)
    assert np.abs(made(0).numpy() - numpy_made).mean() < np.abs(photos - numpy_made).mean() * 1.5


@pytest.mark.parametrize("severity", range(1, 6))
def test_defocus_blur_agrees_with_a_convolution_by_scipy(photos: Images, severity: int) -> None:
    kernel = reference.disk(*SETTINGS[severity - 1]).astype(np.float64)[None, :, :, None]
    # mode="mirror" is OpenCV's reflect-101. With a kernel in double precision up to 4 % of the values fall to
    # the other side of a whole level.
    blurred = ndimage.convolve(photos / 255.0, kernel, mode="mirror")
    expected = (np.clip(blurred, 0, 1) * 255).astype(np.uint8)
    difference = np.abs(corrupt(photos, "defocus_blur", severity).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize(("radius", "alias_blur"), ALL_SETTINGS)
def test_the_kernel_is_that_of_opencv(radius: float, alias_blur: float) -> None:
    kernel, expected = defocus_kernel(radius, alias_blur), reference.disk(radius, alias_blur)
    margin = (len(expected) - len(kernel)) // 2
    inner = slice(margin, len(expected) - margin)
    np.testing.assert_allclose(kernel, expected[inner, inner], rtol=3e-7, atol=0)
    assert expected.astype(np.float64).sum() == pytest.approx(expected[inner, inner].astype(np.float64).sum())
    # What decides the level of flat regions: on which side of 1 the sum lies.
    assert (kernel.sum() > 1) == (expected.astype(np.float64).sum() > 1)


@pytest.mark.parametrize(("radius", "alias_blur"), ALL_SETTINGS)
def test_the_kernel_is_symmetric_in_all_eight_ways(radius: float, alias_blur: float) -> None:
    kernel = defocus_kernel(radius, alias_blur)
    for image in (kernel[::-1], kernel[:, ::-1], kernel.T):
        np.testing.assert_allclose(image, kernel, atol=1e-8)


def test_a_disk_that_reaches_the_edge_of_its_grid_brightens_the_image() -> None:
    # The authors' grid of radius 8 ends where the disk does, and the blur of its edge mirrors what is within.
    assert defocus_kernel(8, 0.5).sum() == pytest.approx(1.013, abs=1e-3)
    grey = np.full((1, 224, 224, 3), 100, dtype=np.uint8)
    assert set(np.unique(corrupt(grey, "defocus_blur", 4, variant="imagenet"))) == {101}
    # By radius 6 the grid has room: the sum is below 1 by 6e-9, and truncation takes a level.
    assert set(np.unique(corrupt(grey, "defocus_blur", 3, variant="imagenet"))) == {99}


def test_a_disk_of_less_than_a_pixel_is_a_plain_gaussian_kernel() -> None:
    # By hand, sigma 0.5: exp(-1 / 0.5) = 0.135335; taps 0.135335 / 1.270671 = 0.106507 and 0.786986.
    kernel = defocus_kernel(0.4, 0.5)
    taps = [0.106507, 0.786986, 0.106507]
    np.testing.assert_allclose(kernel, np.outer(taps, taps), atol=1e-6)


def test_a_disk_of_one_pixel_is_a_cross() -> None:
    # By hand: five pixels of 0.2; the edge blur of sigma 0.2 moves exp(-12.5) = 3.7e-6 of each to every side.
    kernel = defocus_kernel(1, 0.2)
    cross = np.zeros((5, 5))
    cross[2, 1:4] = cross[1:4, 2] = 0.2
    np.testing.assert_allclose(kernel, cross, atol=4e-6)


@pytest.mark.parametrize("severity", range(1, 6))
def test_defocus_blur_leaves_flat_images_alone(flats: Images, severity: int) -> None:
    # The float32 kernels of this variant all sum to a little more than 1, so truncation costs no level.
    np.testing.assert_array_equal(corrupt(flats, "defocus_blur", severity), flats)


def test_the_ways_of_small_and_of_large_kernels_meet(photos_of: Callable[[int, int], Images]) -> None:
    # An image of 128 pixels goes by Fourier, its middle as one of 127 by shifted copies.
    draws = NumpyDraws(lambda: [], torch.device("cpu"))
    image = torch.from_numpy(photos_of(128, 1))
    by_fourier = defocus_blur(image, (6, 0.5), draws)[:, 8:-8, 8:-8]
    by_copies = defocus_blur(image[:, :127, :127].contiguous(), (6, 0.5), draws)[:, 8:-7, 8:-7]
    assert torch.equal(by_fourier, by_copies)


def test_gaussian_blur_of_a_line_is_as_worked_by_hand() -> None:
    # Severity 1 of CIFAR: sigma 0.4, reach int(4 * 0.4 + 0.5) = 2. Weights exp(-x^2 / 0.32): 1, 0.043937,
    # 3.7e-6; sum 1.087881. A white line on black: 255 / 1.087881 = 234.4, beside it 234.4 * 0.043937 = 10.3.
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[:, :, 16] = 255
    assert corrupt(image, "gaussian_blur", 1)[0, 5, 13:20, 0].tolist() == [0, 0, 10, 234, 10, 0, 0]
