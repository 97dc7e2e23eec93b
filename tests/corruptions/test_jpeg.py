"""The way through a JPEG file that the published images of all sizes but CIFAR's went."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.errors import UnknownNameError
from robustbench_safety.records import GeneratedLayout

Images = NDArray[np.uint8]


def saved_as_the_authors_did(images: Images) -> Images:
    loaded = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=85, optimize=True)
        loaded.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(loaded)


@pytest.mark.parametrize("name", ["gaussian_noise", "contrast", "jpeg_compression"])
@pytest.mark.parametrize(("variant", "side"), SIDES.items())
def test_it_is_what_the_file_of_the_corrupted_image_holds(
    photos_of: Callable[[int, int], Images], name: str, variant: str, side: int
) -> None:
    photos = photos_of(side, 2)
    found = corrupt(photos, name, 3, variant=variant, saved_as="jpeg85")
    corrupted = corrupt(photos, name, 3, variant=variant)
    # The authors' "optimize" changes the code tables of the file, and none of its pixels.
    np.testing.assert_array_equal(found, saved_as_the_authors_did(corrupted))
    assert (found != corrupted).any()


def test_it_is_left_out_unless_asked_for(photos: Images) -> None:
    as_array = corrupt(photos, "contrast", 3, saved_as="array")
    np.testing.assert_array_equal(corrupt(photos, "contrast", 3), as_array)


def test_a_tensor_is_returned_for_a_tensor(photos: Images) -> None:
    found = corrupt(torch.from_numpy(photos), "contrast", 3, saved_as="jpeg85")
    np.testing.assert_array_equal(found.numpy(), corrupt(photos, "contrast", 3, saved_as="jpeg85"))


def test_it_is_nearly_invisible(photos_of: Callable[[int, int], Images]) -> None:
    photos = photos_of(224, 2)
    saved = corrupt(photos, "brightness", 1, variant="imagenet", saved_as="jpeg85")
    difference = saved.astype(float) - corrupt(photos, "brightness", 1, variant="imagenet")
    # Below the noise of severity 1 (20 grey levels), yet not nothing: PSNR of 30 to 45 dB.
    assert 30 < 10 * np.log10(255**2 / np.square(difference).mean()) < 45


def test_another_way_of_saving_is_refused_and_near_names_are_shown(photos: Images) -> None:
    with pytest.raises(UnknownNameError, match=r"way of saving 'jpeg'.*jpeg85"):
        corrupt(photos, "contrast", 3, saved_as="jpeg")  # type: ignore[arg-type,unused-ignore]


def test_the_layout_of_a_manifest_is_written_as_before_unless_it_asks_for_jpeg() -> None:
    plain = {"type": "generated", "source": "imagenet-1k", "variant": "imagenet"}
    assert GeneratedLayout.model_validate(plain).model_dump() == plain
    saved = plain | {"saved_as": "jpeg85"}
    assert GeneratedLayout.model_validate(saved).model_dump() == saved
