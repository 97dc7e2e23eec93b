"""Brightness and saturate against scikit-image's HSV, and colours worked by hand."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import hsv2rgb, rgb2hsv

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES

Images = NDArray[np.uint8]


def brightened(image: Images, parameters: tuple[float, ...]) -> Images:
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + parameters[0], 0, 1)
    return np.asarray(np.clip(hsv2rgb(hsv), 0, 1) * 255).astype(np.uint8)


def saturated(image: Images, parameters: tuple[float, ...]) -> Images:
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * parameters[0] + parameters[1], 0, 1)
    return np.asarray(np.clip(hsv2rgb(hsv), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(("variant", "side"), SIDES.items())
@pytest.mark.parametrize(("name", "transcription"), [("brightness", brightened), ("saturate", saturated)])
def test_colour_equals_the_one_image_transcription(
    photos_of: Callable[[int, int], Images],
    name: str,
    transcription: Callable[[Images, tuple[float, ...]], Images],
    variant: str,
    side: int,
    severity: int,
) -> None:
    photos = photos_of(side, 20 if side == 32 else 1)
    found = corrupt(photos, name, severity, variant=variant)
    for index, image in enumerate(photos):
        expected = transcription(image, SEVERITIES[name][variant][severity - 1])
        difference = np.abs(found[index].astype(int) - expected)
        # A level here and there: hsv2rgb multiplies in another order, and truncation shows the last bit.
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.003


def test_hsv_agrees_with_the_standard_library() -> None:
    rng = np.random.default_rng(0)
    colours = np.concatenate([rng.random((300, 3)), rng.integers(0, 3, (100, 3)) / 2])
    hue, saturation, value = rgb_to_hsv(torch.from_numpy(colours))
    expected = [colorsys.rgb_to_hsv(*colour) for colour in colours.tolist()]
    np.testing.assert_allclose(torch.stack((hue, saturation, value), dim=-1), expected, atol=1e-12)
    back = shades(hue, saturation) * value.unsqueeze(-1)
    np.testing.assert_allclose(back, colours, atol=1e-12)


def flat(*colour: int) -> Images:
    return np.full((1, 32, 32, 3), colour, dtype=np.uint8)


def test_saturate_at_its_first_severity_pales_a_colour_as_worked_by_hand() -> None:
    # (200, 100, 100): V = 200, S = 0.5, hue 0. S * 0.3 = 0.15; the low channels are 200 * 0.85 = 170, which
    # in float64 is 169.99... or 170.
    found = corrupt(flat(200, 100, 100), "saturate", 1)[0, 0, 0].tolist()
    assert found[0] in (199, 200)
    assert set(found[1:]) <= {169, 170}


def test_saturate_turns_grey_red_where_something_is_added() -> None:
    # Grey has hue 0; S becomes 0.2, so 100 * 0.8 = 80 remain of green and blue.
    found = corrupt(flat(100, 100, 100), "saturate", 5)[0, 0, 0]
    assert found.tolist() == [100, 80, 80]
    assert corrupt(flat(100, 100, 100), "saturate", 3)[0, 0, 0].tolist() == [100, 100, 100]
