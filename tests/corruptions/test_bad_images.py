"""What is no image of the variant's size is refused by every corruption, never made to fit in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustbench_safety.corruptions import CORRUPTIONS, corrupt, sequence
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.errors import DataError, UnknownNameError, UsageError

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
        advice = "crop or resize" if other in (1, 31) else "choose variant .* which is of this size"
        with pytest.raises(UsageError, match=advice) as caught:
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
        ((1, "side", 7, 3), "no variant is of this size"),
        ((1, 7, "side", 3), "no variant is of this size"),
        ((1, 0, 0, 3), "no variant is of this size"),
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


@pytest.mark.parametrize("wrong", [None, 3, ["fog"], b"fog", float("nan")])
def test_a_name_that_is_no_text_is_refused(wrong: Any) -> None:
    images = black(1, 32, 32, 3)
    with pytest.raises(UsageError, match="name of a corruption; expected text"):
        corrupt(images, wrong, 1)
    with pytest.raises(UsageError, match="name of a sequence; expected text"):
        sequence(images, wrong)
    with pytest.raises(UsageError, match="name of a corruption variant; expected text"):
        corrupt(images, "fog", 1, variant=wrong)
    with pytest.raises(UsageError, match="name of a way of saving; expected text"):
        corrupt(images, "fog", 1, saved_as=wrong)


@pytest.mark.parametrize("wrong", [iter("a"), (text for text in "a"), {"a"}, {"a": 1}, 5, b"a", [1]])
def test_ids_that_have_no_order_or_are_no_texts_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="sample_ids; expected a sequence of text"):
        corrupt(black(1, 32, 32, 3), "gaussian_noise", 1, sample_ids=wrong)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_does_not_hold_every_pixel_is_refused() -> None:
    whole = torch.zeros((1, 32, 32, 3), dtype=torch.uint8)
    without: list[Any] = [
        *(whole.to("meta"), whole.to_sparse(), torch.nested.nested_tensor([whole[0]])),
        np.ma.masked_array(whole.numpy(), mask=True),
    ]
    found = r"holds every pixel; found a (meta|sparse|nested|masked)"
    for images in without:
        with pytest.raises(UsageError, match=found):
            corrupt(images, "contrast", 1)
        with pytest.raises(UsageError, match=found):
            sequence(images, "rotate")


def test_a_flag_is_no_severity_whatever_library_it_is_of() -> None:
    flags: list[Any] = [True, np.True_, np.ones((), dtype=bool), torch.ones((), dtype=torch.bool)]
    for flag in flags:
        with pytest.raises(UsageError, match="severity; expected a whole number"):
            corrupt(black(1, 32, 32, 3), "fog", flag)


def test_textures_are_a_folder() -> None:
    wrong: Any = 3
    with pytest.raises(UsageError, match="textures; expected a folder; found 3"):
        corrupt(black(1, 32, 32, 3), "frost", 1, textures=wrong)
    with pytest.raises(DataError, match=r"needs the picture .*nowhere/frost1.png"):
        corrupt(black(1, 32, 32, 3), "frost", 1, textures="nowhere")
