"""What holds for every corruption and every sequence, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety import corruptions
from robustbench_safety.corruptions import (
    CORRUPTIONS,
    SEQUENCES,
    clips,
    compare_rule,
    corrupt,
    corruption_names,
    generate,
    n_frames,
    parts,
    sequence,
    sequence_names,
)
from robustbench_safety.corruptions.draws import NumpyDraws
from robustbench_safety.errors import UnknownNameError, UsageError
from robustbench_safety.streams import random_stream

Images = NDArray[np.uint8]

RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"),
    *("elastic_transform", "speckle_noise", "spatter"),
}
RANDOM_SEQUENCES = {"gaussian_noise", "shot_noise", "speckle_noise", "snow", "spatter"}
EVERYTHING = [("corruption", name) for name in CORRUPTIONS] + [("sequence", name) for name in SEQUENCES]
every = pytest.mark.parametrize(("kind", "name"), EVERYTHING)


def make(images: Any, kind: str, name: str, **options: Any) -> Any:
    return corrupt(images, name, 3, **options) if kind == "corruption" else sequence(images, name, **options)


@every
def test_the_result_is_8_bit_of_the_same_shape_and_type(photos: Images, kind: str, name: str) -> None:
    frames = (n_frames(name),) if kind == "sequence" else ()
    expected = (20, *frames, 32, 32, 3)
    array, tensor = make(photos, kind, name), make(torch.from_numpy(photos), kind, name)
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    assert array.dtype == np.uint8
    assert tensor.dtype == torch.uint8
    assert array.shape == tuple(tensor.shape) == expected
    np.testing.assert_array_equal(tensor.numpy(), array)


@every
def test_something_changes_but_never_the_input(photos: Images, kind: str, name: str) -> None:
    before = photos.copy()
    result = make(photos, kind, name)
    np.testing.assert_array_equal(photos, before)
    assert not np.shares_memory(result, photos)
    assert (result.reshape(20, -1, 32, 32, 3) != photos[:, None]).any(axis=(1, 2, 3, 4)).all()


@every
def test_a_name_of_numpy_gets_the_noise_of_the_plain_text(photos: Images, kind: str, name: str) -> None:
    expected = make(photos[:2], kind, name)
    np.testing.assert_array_equal(make(photos[:2], kind, np.str_(name)), expected)


@every
def test_what_is_set_for_a_network_changes_no_pixel(photos: Images, kind: str, name: str) -> None:
    expected = make(photos[:2], kind, name)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
        np.testing.assert_array_equal(make(photos[:2], kind, name), expected)


@every
def test_batch_size_and_order_do_not_matter(
    photos: Images, golden_image: Images, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight images at a time, of 21. The golden image lies on whole levels, where one last bit shows.
    monkeypatch.setattr(parts, "_PART", 8 * photos[0].size)
    images = np.concatenate([photos, golden_image])
    ids = [f"class{index % 3}/{index:02d}" for index in range(len(images))]
    whole = make(images, kind, name, sample_ids=ids)
    backwards = make(images[::-1], kind, name, sample_ids=ids[::-1])[::-1]
    np.testing.assert_array_equal(backwards, whole)
    for index in (0, 1, 7, 8, 20):
        alone = make(images[index : index + 1], kind, name, sample_ids=[ids[index]])
        np.testing.assert_array_equal(alone[0], whole[index])


@every
def test_read_only_and_scattered_memory_is_accepted(photos: Images, kind: str, name: str) -> None:
    expected = make(photos[:4], kind, name)
    read_only = photos[:4].copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(make(read_only, kind, name), expected)
    scattered = torch.from_numpy(photos[:4]).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    np.testing.assert_array_equal(make(scattered, kind, name).numpy(), expected)


@every
def test_seed_and_sample_id_move_the_random_ones_alone(photos: Images, kind: str, name: str) -> None:
    twins = photos[[0, 0]]
    zero, one = make(twins, kind, name, seed=0), make(twins, kind, name, seed=1)
    is_random = name in (RANDOM if kind == "corruption" else RANDOM_SEQUENCES)
    assert (zero != one).any() == is_random
    assert (zero[0] != zero[1]).any() == is_random
    same_id = make(twins, kind, name, sample_ids=["a", "a"])
    np.testing.assert_array_equal(same_id[0], same_id[1])


def test_default_sample_ids_are_the_padded_index(photos: Images) -> None:
    given = corrupt(photos[:2], "gaussian_noise", 1, sample_ids=["00000", "00001"])
    np.testing.assert_array_equal(corrupt(photos[:2], "gaussian_noise", 1), given)


def test_numbers_and_text_of_numpy_give_the_same_stream_as_those_of_python(photos: Images) -> None:
    ids = np.array(["a", "b"])
    found = corrupt(photos[:2], "gaussian_noise", np.int64(2), seed=np.int32(5), sample_ids=list(ids))  # type: ignore[call-overload,type-var,arg-type,unused-ignore]
    expected = corrupt(photos[:2], "gaussian_noise", 2, seed=5, sample_ids=["a", "b"])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every
def test_a_gpu_agrees_to_one_grey_level_when_it_is_given_the_same_draws(
    photos: Images, flats: Images, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numpys(seed: int, keys: Sequence[tuple[str | int, ...]], device: torch.device) -> NumpyDraws:
        return NumpyDraws(lambda: [random_stream(seed, *key) for key in keys], device)

    images = np.concatenate([photos, flats])
    expected = make(images, kind, name)
    for module in (generate, clips):
        monkeypatch.setattr(module, "draws_for", numpys)
    result = make(torch.from_numpy(images).cuda(), kind, name)
    assert result.is_cuda
    apart = np.abs(result.cpu().numpy().astype(int) - expected.astype(int))
    assert np.mean(apart <= 1) >= 0.999


def test_names_are_listed_in_the_order_of_the_paper() -> None:
    assert corruption_names() == (
        *("gaussian_noise", "shot_noise", "impulse_noise"),
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness"),
        *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
        *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
    )


def test_noise_is_compared_with_the_first_frame_and_all_else_with_the_previous() -> None:
    noise = {"gaussian_noise", "shot_noise", "speckle_noise"}
    assert {compare_rule(name) for name in noise} == {"first"}
    assert {compare_rule(name) for name in set(sequence_names()) - noise} == {"previous"}
    # Published sequences that are not made here are compared all the same.
    assert [compare_rule(name) for name in ("speckle_noise", "motion_blur", "snow")] == [
        "first",
        "previous",
        "previous",
    ]


@pytest.mark.parametrize("call", [corrupt, sequence])
def test_an_unknown_name_is_refused_and_near_names_are_shown(photos: Images, call: Any) -> None:
    level = (1,) if call is corrupt else ()
    with pytest.raises(UnknownNameError, match=r"'gausian_noise'.*one like gaussian_noise"):
        call(photos, "gausian_noise", *level)


def test_unknown_variants_and_sequences_are_refused(photos: Images) -> None:
    with pytest.raises(UnknownNameError, match=r"corruption variant 'cifar10'.*one like cifar"):
        corrupt(photos, "contrast", 1, variant="cifar10")
    with pytest.raises(UnknownNameError, match="sequence 'contrast'"):
        n_frames("contrast")
    with pytest.raises(UnknownNameError, match="sequence 'contrast'"):
        compare_rule("contrast")


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_severity_outside_1_to_5_is_refused(photos: Images, severity: int) -> None:
    with pytest.raises(UsageError, match=f"severity of contrast; expected .* from 1 to 5; found {severity}"):
        corrupt(photos, "contrast", severity)


@pytest.mark.parametrize("severity", [True, 1.0, "1", None])
def test_a_severity_that_is_no_whole_number_is_refused(photos: Images, severity: Any) -> None:
    with pytest.raises(UsageError, match="severity; expected a whole number"):
        corrupt(photos, "contrast", severity)


def test_a_difficulty_that_does_not_exist_is_refused_and_the_allowed_ones_are_named(photos: Images) -> None:
    with pytest.raises(UsageError, match=r"difficulty of gaussian_noise; expected .* from 1 to 3; found 4"):
        sequence(photos, "gaussian_noise", difficulty=4)
    with pytest.raises(UsageError, match="difficulty of rotate; expected 1, the only one there is; found 2"):
        sequence(photos, "rotate", difficulty=2)


def test_a_seed_that_is_no_whole_number_is_refused(photos: Images) -> None:
    with pytest.raises(UsageError, match=r"seed; expected a whole number; found 0\.5"):
        corrupt(photos, "gaussian_noise", 1, seed=0.5)  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_images_of_another_type_than_8_bit_are_refused(photos: Images, dtype: Any) -> None:
    images = photos.astype(dtype)
    for given in (images, torch.from_numpy(images)):
        with pytest.raises(
            UsageError, match=r"expected uint8 values from 0 to 255; found .*before any scaling"
        ):
            make(given, "corruption", "contrast")


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((32, 32, 3), r"images\[None\]"),
        ((4, 32, 32), "channels last"),
        ((32, 32), "channels last"),
        ((0, 32, 32, 3), "at least one image"),
        ((4, 32, 32, 1), "convert grey images"),
        ((4, 32, 32, 4), "images with transparency"),
        ((4, 3, 32, 32), "move the channels to the end"),
        ((4, 1, 1, 3), "no variant is of this size"),
        ((4, 32, 33, 3), "no variant is of this size"),
        ((4, 224, 224, 3), "choose variant .imagenet."),
    ],
)
@pytest.mark.parametrize("kind", ["corruption", "sequence"])
def test_images_of_another_shape_are_refused_with_what_to_do(
    shape: tuple[int, ...], fix: str, kind: str
) -> None:
    with pytest.raises(UsageError, match=fix) as caught:
        make(np.zeros(shape, dtype=np.uint8), kind, "brightness")
    assert caught.value.expected == "shape [N, 32, 32, 3] for variant 'cifar'"
    assert caught.value.found == str(shape)


def test_a_list_of_images_is_refused(photos: Images) -> None:
    with pytest.raises(UsageError, match="expected a NumPy array or a torch tensor; found a list"):
        make(list(photos), "corruption", "contrast")


@pytest.mark.parametrize(
    ("sample_ids", "message"),
    [
        (["a", "b", "c"], "expected 2, one an image; found 3"),
        ("ab", "found a single text"),
        ([0, 1], "found ids of another type"),
    ],
)
def test_sample_ids_that_do_not_fit_are_refused(photos: Images, sample_ids: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corrupt(photos[:2], "contrast", 1, sample_ids=sample_ids)


def test_all_public_names_exist() -> None:
    assert all(hasattr(corruptions, name) for name in corruptions.__all__)
