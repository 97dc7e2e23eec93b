"""The clipped zoom against SciPy's; zoom blur by a case worked by hand, its pixels in test_blur."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.zoom import clipped_zoom
from tests.corruptions import reference_blur as reference

ZOOMS = [1.0, 1.01, 1.02, 1.05, 1.1, 1.13, 1.25, 1.28, 1.75, 2, 2.5, 3, 4, 4.5]


@pytest.mark.parametrize("factor", ZOOMS)
@pytest.mark.parametrize("side", [32, 64, 224, 299])
def test_the_clipped_zoom_equals_scipys(side: int, factor: float) -> None:
    values = np.random.default_rng(0).random((2, side, side, 1))
    found = clipped_zoom(torch.from_numpy(values), factor).numpy()
    for one, before in zip(found, values, strict=True):
        np.testing.assert_allclose(one, reference.clipped_zoom(before, factor), atol=1e-14)


def test_a_layer_without_channels_is_zoomed_alike() -> None:
    values = torch.rand((2, 32, 32, 1), generator=torch.Generator().manual_seed(0))
    assert torch.equal(clipped_zoom(values.squeeze(-1), 2.25), clipped_zoom(values, 2.25).squeeze(-1))


def test_corners_of_the_crop_become_corners_of_the_zoom() -> None:
    # By hand: of 4 pixels the middle 2, at zoom 2 on 4 places: 0, 1/3, 2/3, 1 of the way from 1 to 2.
    row = torch.tensor([0.0, 1.0, 2.0, 9.0], dtype=torch.float64)
    found = clipped_zoom(row.expand(1, 4, 4), 2.0)
    assert found[0, 2].tolist() == pytest.approx([1, 4 / 3, 5 / 3, 2])


def test_the_clean_image_counts_twice() -> None:
    # By hand, severity 1 of CIFAR and the last pixel of 32. The zooms are 1, 1.01, ..., 1.06: NumPy's
    # arange has the stop among them. Zoom 1 is the clean image; 32 * 1.01 rounds to 32; 1.02 and 1.03
    # give 33, of which the first 32 stay: a 32nd of the last pixel both ways, 0.001. The others crop to
    # the first 31.
    # With the clean image itself 3.002 of 8, hence 90; if it counted once, 2.002 of 7, hence 68.
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[:, -1, -1] = 240
    assert corrupt(image, "zoom_blur", 1)[0, -1, -1].tolist() == [90] * 3
