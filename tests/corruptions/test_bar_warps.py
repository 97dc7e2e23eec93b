"""What transcriptions of C-bar's warps, lines and blurs do not reach: edges, flat pictures, other draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.draw import line_aa

from robustbench_safety.corruptions import CORRUPTIONS_BAR, corrupt
from robustbench_safety.corruptions.bar_overlays import _smooth_lines, perlin_noise
from robustbench_safety.corruptions.bar_planes import bilinear
from robustbench_safety.corruptions.draws import NumpyDraws, TorchDraws
from robustbench_safety.corruptions.severities_bar import SEVERITIES_BAR
from tests.corruptions.reference_bar import WARPS

Images = NDArray[np.uint8]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["circular_motion_blur", "transverse_chromatic_abberation"])
@pytest.mark.parametrize("n", [1, 3, 64, 256])
def test_a_flat_picture_keeps_its_level_whatever_the_size_of_the_batch(
    flats: Images, name: str, n: int
) -> None:
    found = corrupt(flats[-n:], name, 5)
    # Turned, the corners are black; enlarged, nothing is.
    inside = slice(8, 24) if name == "circular_motion_blur" else slice(None)
    np.testing.assert_array_equal(found[:, inside, inside], flats[-n:, inside, inside])


def test_lines_are_those_of_scikit_image_in_every_direction() -> None:
    side = 12
    rng = np.random.default_rng(0)
    starts, ends = rng.integers(-8, 20, (2, 2, 1, 300)).astype(np.int64).clip(-8, 17)
    # Level, upright, slanting by whole pixels, a point, and lines that miss the picture.
    for index, (start, end) in enumerate(
        [((3, 0), (3, 9)), ((9, 5), (1, 5)), ((0, 0), (9, 9)), ((4, 4), (4, 4))]
    ):
        starts[:, 0, index], ends[:, 0, index] = start, end
    found = _smooth_lines(torch.from_numpy(starts), torch.from_numpy(ends), side)[0].numpy()
    for line, start, end in zip(found, starts[:, 0].T, ends[:, 0].T, strict=True):
        expected = np.zeros((side, side))
        for row, col, value in zip(*line_aa(*start, *end), strict=True):  # type: ignore[no-untyped-call]
            if 0 <= row < side and 0 <= col < side:
                expected[row, col] = value
        np.testing.assert_allclose(line, expected, atol=1e-15)


def test_between_pixels_is_their_mean_and_outside_is_black() -> None:
    image = torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8).view(1, 2, 2, 1)
    down = torch.tensor([[[0.0, 0.5, 1.0, -0.25, -1.0, 1.75, 9.0]]], dtype=torch.float64)
    across = torch.tensor([[[0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0]]], dtype=torch.float64)
    # A quarter of a pixel above the first row leaves three quarters of it; 0.75 below the last, a quarter.
    assert bilinear(image, down, across).flatten().tolist() == [10, 25, 40, 7.5, 0, 10, 0]


@pytest.mark.parametrize("name", WARPS)
def test_the_draws_of_another_device_corrupt_as_well_and_each_image_alone(photos: Images, name: str) -> None:
    (variant,) = SEVERITIES_BAR[name]
    images = torch.from_numpy(photos[:3] if variant == "cifar" else np.tile(photos[:2], (1, 7, 7, 1)))

    def made(part: slice) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(images))[part]]
        return CORRUPTIONS_BAR[name](
            images[part], SEVERITIES_BAR[name][variant][2], TorchDraws(lambda: generators, CPU)
        )

    whole = made(slice(None))
    assert whole.dtype == torch.uint8
    assert whole.shape == images.shape
    assert torch.equal(made(slice(1, 2))[0], whole[1])
    assert (whole != images).flatten(1).any(1).all()


def test_a_gradient_of_no_length_leaves_the_marble_whole() -> None:
    class Middle(NumpyDraws):
        """Draws of which each is the middle of its range: all gradients are 0."""

        def integers(self, low: int, high: int, shape: object) -> torch.Tensor:
            return super().integers((low + high) // 2, (low + high) // 2 + 1, shape)  # type: ignore[arg-type]

    image = torch.full((1, 56, 56, 3), 200, dtype=torch.uint8)
    found = perlin_noise(image, (10,), Middle(lambda: [np.random.default_rng(0)], CPU))
    # Without gradients the noise is 0, which is mid-grey; of it and of the picture half each: 163.75.
    assert (found == 163).all()
