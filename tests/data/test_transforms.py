"""Resize and crop give torchvision's pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
from torchvision import transforms

from robustbench_safety.data import Transform
from robustbench_safety.errors import DataError
from robustbench_safety.records import Preprocessing


def preprocessing(
    input_size: tuple[int, int] | None,
    resize: int | tuple[int, int] | None,
    crop: Literal["center", "border"] | None = "center",
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear",
) -> Preprocessing:
    return Preprocessing(
        input_size=input_size,
        resize=resize,
        crop=crop,
        interpolation=interpolation,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_torchvision(image: NDArray[np.uint8], wanted: Preprocessing) -> NDArray[np.uint8]:
    mode = transforms.InterpolationMode(wanted.interpolation)
    steps = []
    if wanted.resize is not None:
        steps.append(transforms.Resize(wanted.resize, interpolation=mode))
    if wanted.crop is not None:
        steps.append(transforms.CenterCrop(wanted.input_size))
    return np.asarray(transforms.Compose(steps)(Image.fromarray(image)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize("shape", [(50, 37), (37, 50), (40, 40), (41, 333), (33, 32), (32, 32), (20, 31)])
@pytest.mark.parametrize(
    ("input_size", "resize"), [((28, 28), 32), ((27, 28), 33), ((28, 28), (28, 31)), ((32, 32), 32)]
)
def test_pixels_equal_torchvision_s_resize_and_centre_crop(
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"],
    shape: tuple[int, int],
    input_size: tuple[int, int],
    resize: int | tuple[int, int],
) -> None:
    wanted = preprocessing(input_size, resize, interpolation=interpolation)
    image = picture(*shape)
    found = Transform(wanted, pre_cropped=False)(image)
    assert found.shape == (*input_size, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, by_torchvision(image, wanted))


@settings(max_examples=60, deadline=None, database=None)
@given(
    height=st.integers(8, 70), width=st.integers(8, 70), resize=st.integers(16, 40), crop=st.integers(8, 16)
)
def test_sizes_round_as_in_torchvision(height: int, width: int, resize: int, crop: int) -> None:
    wanted = preprocessing((crop, crop), resize)
    image = picture(height, width)
    assert np.array_equal(Transform(wanted, pre_cropped=False)(image), by_torchvision(image, wanted))


def test_a_crop_without_a_resize_takes_the_middle() -> None:
    image = picture(6, 9)
    found = Transform(preprocessing((4, 4), None), pre_cropped=False)(image)
    # (9 - 4) / 2 = 2.5 rounds to the even 2, as torchvision does
    assert np.array_equal(found, image[1:5, 2:6])


def test_a_resize_to_height_and_width_needs_no_crop() -> None:
    wanted = preprocessing((20, 30), (20, 30), None)
    image = picture(50, 50)
    assert np.array_equal(Transform(wanted, pre_cropped=False)(image), by_torchvision(image, wanted))


def test_final_crops_of_the_input_size_are_shown_as_they_are() -> None:
    image = picture(24, 24)
    assert Transform(preprocessing((24, 24), 27), pre_cropped=True)(image) is image
    assert not np.array_equal(Transform(preprocessing((24, 24), 27), pre_cropped=False)(image), image)


def test_final_crops_of_another_size_are_resized_straight_to_it_and_not_cropped() -> None:
    image = picture(24, 24)
    found = Transform(preprocessing((32, 32), 40, interpolation="bicubic"), pre_cropped=True)(image)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(found, expected)


def test_a_network_that_takes_images_as_they_are_gets_them_so() -> None:
    for pre_cropped in (False, True):
        image = picture(13, 7)
        assert Transform(preprocessing(None, None, None), pre_cropped=pre_cropped)(image) is image


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        (preprocessing((32, 32), None), (31, 40)),
        (preprocessing((32, 32), None), (40, 31)),
        (preprocessing((32, 32), 28), (50, 50)),
        (preprocessing((32, 32), None, None), (33, 32)),
        (preprocessing((32, 32), 40, None), (50, 50)),
    ],
)
def test_an_image_that_cannot_reach_the_input_size_is_an_error_and_never_padded(
    wanted: Preprocessing, shape: tuple[int, int]
) -> None:
    with pytest.raises(DataError, match=f"expected 32x32; found {shape[0]}x{shape[1]}, .* after the resize"):
        Transform(wanted, pre_cropped=False)(picture(*shape))


def test_noise_in_floats_is_shown_as_it_is_where_its_size_is_the_networks() -> None:
    noise = np.zeros((32, 32, 3), dtype=np.float32)
    for wanted in (
        preprocessing((32, 32), None),
        preprocessing((32, 32), 40),
        preprocessing(None, None, None),
    ):
        assert Transform(wanted, pre_cropped=False)(noise) is noise


@pytest.mark.parametrize("size", [(28, 28), (48, 64)])
def test_noise_in_floats_is_resized_straight_to_another_input_size_and_never_cropped(
    size: tuple[int, int],
) -> None:
    noise = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    wanted = preprocessing(size, 40)
    found = Transform(wanted, pre_cropped=False)(noise)
    assert found.dtype == np.float32
    assert found.shape == (*size, 3)
    assert 0 <= found.min() < found.max() <= 1
    # torch's antialiased bilinear filter is Pillow's.
    planes = torch.from_numpy(noise).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size=size, mode="bilinear", antialias=True)
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "shape", [(300, 200), (200, 300), (36, 36), (32, 500), (500, 33), (28, 28), (9, 20), (40, 31), (64, 64)]
)
def test_photographs_reach_a_network_that_states_no_resize_as_outlier_exposure_shows_them(
    interpolation: Literal["bilinear", "bicubic"], shape: tuple[int, int]
) -> None:
    image = picture(*shape)
    for crop in ("center", None):
        stated = preprocessing((32, 32), None, crop, interpolation)
        found = Transform(stated, pre_cropped=False, resize_to_input=True)(image)
        expected = by_torchvision(image, preprocessing((32, 32), 32, interpolation=interpolation))
        assert found.shape == (32, 32, 3)
        assert np.array_equal(found, expected)


@settings(max_examples=60, deadline=None, database=None)
@given(height=st.integers(2, 90), width=st.integers(2, 90), side=st.integers(4, 40))
def test_a_resize_to_the_input_rounds_as_torchvision_does(height: int, width: int, side: int) -> None:
    image = picture(height, width)
    found = Transform(preprocessing((side, side), None), pre_cropped=False, resize_to_input=True)(image)
    assert np.array_equal(found, by_torchvision(image, preprocessing((side, side), side)))


@settings(max_examples=100, deadline=None, database=None)
@given(
    shape=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    target=st.tuples(st.integers(4, 30), st.integers(4, 30)),
)
def test_an_input_that_is_not_square_is_covered_by_the_smallest_image_that_can(
    shape: tuple[int, int], target: tuple[int, int]
) -> None:
    image = picture(*shape)
    found = Transform(preprocessing(target, None), pre_cropped=False, resize_to_input=True)(image)
    scale = max(target[0] / shape[0], target[1] / shape[1])
    large = [max(side, int(edge * scale + 1e-9)) for side, edge in zip(target, shape, strict=True)]
    resized = Image.fromarray(image).resize((large[1], large[0]), Image.Resampling.BILINEAR)
    expected = transforms.CenterCrop(target)(resized)
    assert np.array_equal(found, np.asarray(expected))


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        (preprocessing((28, 28), 32), (50, 37)),
        (preprocessing((28, 28), (28, 31)), (50, 37)),
        (preprocessing((32, 32), 48, interpolation="bicubic"), (100, 64)),
        (preprocessing((20, 30), (20, 30), None), (50, 50)),
        (preprocessing(None, None, None), (13, 7)),
        (preprocessing((32, 32), None), (32, 32)),
    ],
)
def test_a_network_that_states_a_resize_is_not_touched_by_the_dataset_s(
    wanted: Preprocessing, shape: tuple[int, int]
) -> None:
    image = picture(*shape)
    plain = Transform(wanted, pre_cropped=False)
    asked = Transform(wanted, pre_cropped=False, resize_to_input=True)
    assert np.array_equal(asked(image), plain(image))
    assert asked.keeps(*shape) == plain.keeps(*shape)


def test_without_the_dataset_s_word_a_photograph_is_not_resized() -> None:
    wanted = preprocessing((32, 32), None)
    image = picture(40, 50)
    # (40 - 32) / 2 = 4 and (50 - 32) / 2 = 9.
    assert np.array_equal(Transform(wanted, pre_cropped=False)(image), image[4:36, 9:41])
    large = Transform(wanted, pre_cropped=False, resize_to_input=True)(image)
    assert not np.array_equal(large, image[4:36, 9:41])


def test_a_border_is_cut_from_every_side() -> None:
    image = picture(10, 12)
    found = Transform(preprocessing(None, None, None), pre_cropped=False, border=2)(image)
    assert np.array_equal(found, image[2:8, 2:10])


@pytest.mark.parametrize(("input_size", "resize"), [((28, 28), 32), ((20, 24), (24, 30))])
def test_a_border_is_cut_before_resize_and_crop(
    input_size: tuple[int, int], resize: int | tuple[int, int] | None
) -> None:
    wanted = preprocessing(input_size, resize)
    image = picture(44, 61)
    red = image.copy()
    for edge in (red[:2], red[-2:], red[:, :2], red[:, -2:]):
        edge[:] = (255, 0, 0)
    found = Transform(wanted, pre_cropped=False, border=2)(red)
    assert np.array_equal(found, by_torchvision(image[2:-2, 2:-2], wanted))
    assert not np.array_equal(found, Transform(wanted, pre_cropped=False)(red))


def test_a_border_is_cut_before_a_resize_to_the_input() -> None:
    image = picture(50, 70)
    found = Transform(preprocessing((32, 32), None), pre_cropped=False, border=3, resize_to_input=True)(image)
    assert np.array_equal(found, by_torchvision(image[3:-3, 3:-3], preprocessing((32, 32), 32)))


def test_an_image_with_a_border_is_never_said_to_be_kept() -> None:
    # 32x32 is the input size, and comes out as 28x28 brought back to it.
    transform = Transform(preprocessing((32, 32), 32), pre_cropped=False, border=2)
    image = picture(32, 32)
    assert not transform.keeps(32, 32)
    assert np.array_equal(transform(image), by_torchvision(image[2:30, 2:30], preprocessing((32, 32), 32)))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (3, 3), (1, 1)])
def test_an_image_that_is_nothing_but_border_is_an_error(shape: tuple[int, int]) -> None:
    transform = Transform(preprocessing((32, 32), 32), pre_cropped=False, border=2)
    with pytest.raises(
        DataError,
        match=f"nothing but border; expected more than 4 pixels a side; found {shape[0]}x{shape[1]}",
    ):
        transform(picture(*shape))
    assert transform(picture(5, 5)).shape == (32, 32, 3)


def test_an_image_too_small_for_the_crop_after_its_border_is_an_error() -> None:
    wanted = preprocessing((32, 32), None)
    assert Transform(wanted, pre_cropped=False, border=2)(picture(36, 36)).shape == (32, 32, 3)
    with pytest.raises(DataError, match="expected 32x32; found 31x36, 31x36 after the resize"):
        Transform(wanted, pre_cropped=False, border=2)(picture(35, 40))


@settings(max_examples=300, deadline=None, database=None)
@given(
    shape=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    input_size=st.none() | st.tuples(st.integers(4, 8), st.integers(4, 8)),
    resize=st.none() | st.integers(4, 8) | st.tuples(st.integers(4, 8), st.integers(4, 8)),
    crop=st.sampled_from(["center", "border", None]),
    pre_cropped=st.booleans(),
    resize_to_input=st.booleans(),
)
def test_images_are_said_to_be_kept_exactly_when_they_come_out_as_they_went_in(
    shape: tuple[int, int],
    input_size: tuple[int, int] | None,
    resize: int | tuple[int, int] | None,
    crop: Literal["center", "border"] | None,
    pre_cropped: bool,  # noqa: FBT001
    resize_to_input: bool,  # noqa: FBT001
) -> None:
    if input_size is None:
        resize, crop = None, None
    if crop == "border" and not isinstance(resize, tuple):
        crop = None
    transform = Transform(
        preprocessing(input_size, resize, crop), pre_cropped=pre_cropped, resize_to_input=resize_to_input
    )
    image = picture(*shape)
    try:
        same = transform(image) is image
    except DataError:
        same = False
    assert transform.keeps(*shape) == same


@settings(max_examples=150, deadline=None, database=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    input_size=st.tuples(st.integers(8, 24), st.integers(8, 24)),
    resize=st.tuples(st.integers(8, 30), st.integers(8, 30)),
)
def test_a_border_keeps_the_whole_image_as_timm_does(
    shape: tuple[int, int], input_size: tuple[int, int], resize: tuple[int, int]
) -> None:
    assume(all(round(edge / max(shape[0] / resize[0], shape[1] / resize[1])) for edge in shape))
    mean = (0.48145466, 0.4578275, 0.40821073)
    wanted = preprocessing(input_size, resize, "border", "bicubic").model_copy(update={"mean": mean})
    image = picture(*shape)
    found = Transform(wanted, pre_cropped=False)(image)
    steps = [
        ResizeKeepRatio(resize, longest=1.0, interpolation="bicubic"),  # type: ignore[no-untyped-call]
        # round(255 * mean), worked by hand: 122.77, 116.75, 104.09.
        CenterCropOrPad(list(input_size), fill=(123, 117, 104)),
    ]
    assert np.array_equal(found, np.asarray(transforms.Compose(steps)(Image.fromarray(image))))


def test_an_image_so_thin_that_its_resized_side_rounds_to_nothing_keeps_one_pixel() -> None:
    # 1000x1 fitted into 16x16 is 16x0.016; timm fails on it.
    found = Transform(preprocessing((16, 16), (16, 16), "border"), pre_cropped=False)(picture(1000, 1))
    assert found.shape == (16, 16, 3)
    assert found.any(axis=(0, 2)).sum() == 1


def test_a_border_of_an_odd_width_has_its_larger_half_at_the_end() -> None:
    image = np.full((4, 1, 3), 255, dtype=np.uint8)
    found = Transform(preprocessing((4, 4), (4, 4), "border"), pre_cropped=False)(image)
    # 3 columns of border: 1 before, 2 behind.
    assert found[:, :, 0].tolist() == [[0, 255, 0, 0]] * 4


def test_final_crops_and_noise_know_no_border() -> None:
    wanted = preprocessing((32, 32), (28, 28), "border")
    image = picture(32, 32)
    assert Transform(wanted, pre_cropped=True)(image) is image
    noise = np.zeros((32, 32, 3), dtype=np.float32)
    assert Transform(wanted, pre_cropped=False)(noise) is noise


@pytest.mark.parametrize("resize", [None, 32])
def test_a_border_needs_a_height_and_a_width_to_fit_into(resize: int | None) -> None:
    with pytest.raises(ValidationError, match=r"crop border needs a resize of \(height, width\)"):
        preprocessing((32, 32), resize, "border")


def test_torch_is_not_needed_to_be_seeded() -> None:
    state = torch.random.get_rng_state()
    Transform(preprocessing((28, 28), 32), pre_cropped=False)(picture(50, 37))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("stated", "resized", "size"),
    [(preprocessing((224, 224), 235), 256, 224), (preprocessing((224, 224), None), 256, 224),
     (preprocessing(None, None, None), 256, 224), (preprocessing((299, 299), 342), 341, 299)],
)  # fmt: skip
def test_recropped_images_are_resized_and_cropped_by_the_protocol_whatever_the_network_states(
    stated: Preprocessing, resized: int, size: int
) -> None:
    image = picture(224, 224)
    found = Transform(stated, pre_cropped=False, recropped=(256, 224))(image)
    protocol = transforms.Compose([transforms.Resize(resized), transforms.CenterCrop(size)])
    np.testing.assert_array_equal(found, np.asarray(protocol(Image.fromarray(image))))
