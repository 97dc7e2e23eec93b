"""What is no image of the variant's size is refused by every corruption, never made to fit in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustbench_safety.corruptions import CORRUPTIONS, corrupt
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.errors import UnknownNameError, UsageError

every = pytest.mark.parametrize("name", CORRUPTIONS)
variants = pytest.mark.parametrize(("variant", "side"), SIDES.items())


def black(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.zeros(shape, dtype=np.uint8)


@every
@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_severity_outside_1_to_5_is_refused(name: str, severity: int) -> None:
    with pytest.raises(UsageError, match=f"severity of {name}; expected .* from 1 to 5; found {severity}"):
        corrupt(black(1, 32, 32, 3), name, severity)


@pytest.mark.parametrize("severity", [float("nan"), 2.0, "3", None, True])
def test_a_severity_that_is_no_whole_number_is_refused(severity: Any) -> None:
    with pytest.raises(UsageError, match="severity; expected a whole number"):
        corrupt(black(1, 32, 32, 3), "elastic_transform", severity)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("speckle_nois", "speckle_noise"),
        ("elastic", "elastic_transform"),
        ("jpeg", "jpeg_compression"),
        ("saturation", "saturate"),
        ("Contrast", "contrast"),
    ],
)
def test_an_unknown_name_is_refused_and_near_names_are_shown(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"'{wrong}'.*{right}"):
        corrupt(black(1, 32, 32, 3), wrong, 1)


@every
@variants
def test_images_of_another_variants_size_are_refused(name: str, variant: str, side: int) -> None:
    # Parameters of 224 pixels at 32 are another corruption: never used in silence.
    for other in {1, 31, *SIDES.values()} - {side}:
        with pytest.raises(UsageError, match="choose the variant of this size") as caught:
            corrupt(black(1, other, other, 3), name, 1, variant=variant)
        assert caught.value.expected == f"shape [N, {side}, {side}, 3] for variant {variant!r}"


@variants
@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        (("side", "side"), "channels last"),
        (("side", "side", 3), r"images\[None\]"),
        ((1, "side", "side"), "channels last"),
        ((1, "side", "side", 1), "convert grey images"),
        ((1, "side", "side", 4), "images with transparency"),
        ((1, 3, "side", "side"), "move the channels to the end"),
        ((1, "side", 7, 3), "the variant of this size"),
        ((1, 7, "side", 3), "the variant of this size"),
        ((1, 0, 0, 3), "the variant of this size"),
        ((0, "side", "side", 3), "at least one image"),
        ((0,), "channels last"),
        ((), "channels last"),
    ],
)
def test_grey_transparent_empty_and_oblong_images_are_refused(
    variant: str, side: int, shape: tuple[int | str, ...], fix: str
) -> None:
    sizes = [side if size == "side" else int(size) for size in shape]
    given: list[Any] = [black(*sizes), torch.from_numpy(black(*sizes))]
    for images in given:
        with pytest.raises(UsageError, match=fix):
            corrupt(images, "contrast", 1, variant=variant)


@every
@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_floats_are_refused_whatever_they_hold(name: str, value: float) -> None:
    images = np.full((1, 32, 32, 3), value, dtype=np.float32)
    for given in (images, torch.from_numpy(images)):
        with pytest.raises(UsageError, match=r"expected uint8 .* found .*before any scaling"):
            corrupt(given, name, 1)  # type: ignore[type-var,unused-ignore]


@pytest.mark.parametrize("images", [None, "image.png", [[0]], 3])
def test_what_is_no_array_is_refused(images: Any) -> None:
    with pytest.raises(UsageError, match="expected a NumPy array or a torch tensor; found a"):
        corrupt(images, "contrast", 1)


def test_an_unknown_variant_is_refused_and_near_names_are_shown() -> None:
    with pytest.raises(UnknownNameError, match=r"corruption variant 'cifar-10'.*cifar"):
        corrupt(black(1, 32, 32, 3), "contrast", 1, variant="cifar-10")
