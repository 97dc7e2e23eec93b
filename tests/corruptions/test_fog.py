"""Fog against the authors' arithmetic, point by point, and its clouds against cases worked by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.draws import NumpyDraws, TorchDraws
from robustbench_safety.corruptions.fog import fog, plasma
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from tests.corruptions import reference_weather as reference

Images = NDArray[np.uint8]
CPU = torch.device("cpu")


class Given:
    """Draws that are what the test says, one tensor a call."""

    def __init__(self, *uniform: Sequence[object]) -> None:
        self.uniform = [torch.tensor(one, dtype=torch.float64) for one in uniform]

    def random(self, shape: Sequence[int]) -> torch.Tensor:
        return self.uniform.pop(0).view(1, *shape)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(("variant", "n"), [("cifar", 20), ("tiny", 4)])
def test_it_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Images], variant: str, n: int, severity: int
) -> None:
    photos = photos_of(SIDES[variant], n)
    assert not reference.differences(photos, "fog", severity, variant, reference.fog).any()


@pytest.mark.parametrize(("variant", "severity"), [("imagenet", 1), ("imagenet", 4), ("inception", 3)])
def test_it_equals_the_transcription_where_the_clouds_are_larger_than_the_image(
    photos_of: Callable[[int, int], Images], variant: str, severity: int
) -> None:
    photos = photos_of(SIDES[variant], 1)
    assert not reference.differences(photos, "fog", severity, variant, reference.fog).any()


def test_clouds_of_side_two_are_as_worked_by_hand() -> None:
    # One step: amplitude 100, noise 100 * (200 u - 100). The corner is 0.
    # middle = 0 + 100 * (200 * 0.75 - 100) = 5000. Right of the corner: the middle above and below, the
    # corner left and right, (5000 + 5000 + 0 + 0) / 4 + 0 = 2500. Below it: 2500 + 100 * (200 * 0.25 - 100).
    # From -2500..5000 to 0..1.
    clouds = plasma(2, 3.0, Given([0.75, 0.5, 0.25]))  # type: ignore[arg-type]
    np.testing.assert_allclose(clouds[0].numpy(), np.array([[2500 / 7500, 5000 / 7500], [0, 1]]), rtol=1e-15)


def test_the_noise_of_the_second_step_falls_with_the_square_of_the_decay() -> None:
    # The first step leaves 0 at the corner, middle and right of the corner, and 5000 below it, at (2, 0).
    # The second has noise at the middle of its last square alone, which lies between (2, 2), (2, 0) and,
    # round the border, (0, 2) and (0, 0): 5000 / 4 + the square of 100 / decay.
    second = [0.5] * 12
    second[3] = 1.0
    for decay in (2.0, 4.0):
        clouds = plasma(4, decay, Given([0.5, 0.5, 0.75], second))  # type: ignore[arg-type]
        assert clouds[0, 2, 0] == 1
        assert clouds[0, 3, 3] == pytest.approx((5000 / 4 + (100 / decay) ** 2) / 5000)


def test_clouds_span_zero_to_one_in_every_image_and_go_on_round_the_border() -> None:
    draws = NumpyDraws(lambda: [np.random.default_rng(i) for i in range(8)], CPU)
    clouds = plasma(64, 3.0, draws)
    assert clouds.shape == (8, 64, 64)
    assert (clouds.amin((1, 2)) == 0).all()
    assert (clouds.amax((1, 2)) == 1).all()
    inside = (clouds[:, :, 1:] - clouds[:, :, :-1]).abs().mean()
    round_the_border = (clouds[:, :, 0] - clouds[:, :, -1]).abs().mean()
    assert round_the_border < 2 * inside


def test_a_black_image_stays_black_and_no_value_exceeds_the_brightest_of_the_image() -> None:
    levels = np.array([0, 50, 200], dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (3, 32, 32, 3)).copy()
    found = corrupt(images, "fog", 5)
    assert not found[0].any()
    assert (found.max(axis=(1, 2, 3)) <= levels).all()
    # (x + strength * cloud) * x / (x + strength) is at least x * x / (x + strength): 50 / 255 with 1.5.
    assert found[1].min() >= int(50 * (50 / 255) / (50 / 255 + 1.5))


def test_the_draws_of_torch_give_fog_of_the_same_law(photos_of: Callable[[int, int], Images]) -> None:
    images = torch.from_numpy(photos_of(32, 1)).expand(200, -1, -1, -1)
    parameters = SEVERITIES["fog"]["cifar"][4]
    generators = [torch.Generator().manual_seed(i) for i in range(200)]
    with_torch = fog(images, parameters, TorchDraws(lambda: generators, CPU)).double().mean((1, 2, 3))
    draws = NumpyDraws(lambda: [np.random.default_rng(i) for i in range(200)], CPU)
    with_numpy = fog(images, parameters, draws).double().mean((1, 2, 3))
    error = torch.sqrt((with_torch.var() + with_numpy.var()) / 200)
    assert abs(with_torch.mean() - with_numpy.mean()) < 4 * error


def test_clouds_need_a_side_of_two() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        plasma(1, 3.0, Given())  # type: ignore[arg-type]
