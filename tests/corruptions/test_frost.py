"""Frost against OpenCV on the real pictures, and what happens without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions import corrupt, corruption_names
from robustbench_safety.corruptions.draws import TorchDraws
from robustbench_safety.corruptions.frost import DATASET, TEXTURES, frost, load_texture, scaled
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.data import DataRoot, Dataset, load_dataset, load_manifest
from robustbench_safety.data.fetching.fetch import fetch_dataset
from robustbench_safety.errors import DataError
from tests.corruptions import reference_weather as reference
from tests.local_server import Answer, LocalServer

Images = NDArray[np.uint8]


class Given:
    """Draws that are what the test says: [N, 3]."""

    def __init__(self, *uniform: Sequence[float]) -> None:
        self.uniform = torch.tensor(uniform, dtype=torch.float64)

    def random(self, shape: Sequence[int]) -> torch.Tensor:
        assert tuple(shape) == (3,)
        return self.uniform


@pytest.mark.parametrize(("variant", "severity"), reference.CELLS)
def test_it_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Images], textures: Path, variant: str, severity: int
) -> None:
    photos = photos_of(SIDES[variant], 20 if variant == "cifar" else 5)
    made = partial(reference.frost, folder=textures)
    assert not reference.differences(photos, "frost", severity, variant, made, textures=textures).any()


@pytest.mark.parametrize("scale", [0.2, 0.3, 1])
def test_the_pictures_are_read_and_scaled_as_opencv_does_it(textures: Path, scale: float) -> None:
    for name in TEXTURES:
        expected = cv2.imread(str(textures / name))
        assert expected is not None
        np.testing.assert_array_equal(load_texture(textures, name), expected[..., ::-1])
        expected = cv2.resize(expected, (0, 0), fx=scale, fy=scale)
        np.testing.assert_array_equal(scaled(load_texture(textures, name), scale), expected[..., ::-1])


def test_the_crop_is_drawn_by_picture_row_and_column_and_the_sixth_picture_never(textures: Path) -> None:
    black = torch.zeros((6, 32, 32, 3), dtype=torch.uint8)
    first, last = [0.0, 0.0, 0.0], [0.999999, 0.999999, 0.999999]
    draws = Given(first, last, [0.2, 0.5, 0.0], [0.4, 0.0, 0.5], [0.6, 0.0, 0.0], [0.79, 0.0, 0.0])
    found = frost(black, (1, 1, 1), draws, textures=textures).numpy()  # type: ignore[arg-type]
    pictures = [load_texture(textures, name) for name in TEXTURES]
    # The last place of all, 32 pixels before the end, is never drawn.
    bottom, right = pictures[4].shape[0] - 33, pictures[4].shape[1] - 33
    half_down, half_right = (315 - 32) // 2, (560 - 32) // 2
    places = [(0, 0, 0), (4, bottom, right), (1, half_down, 0), (2, 0, half_right), (3, 0, 0), (3, 0, 0)]
    for image, (picture, top, left) in zip(found, places, strict=True):
        np.testing.assert_array_equal(image, pictures[picture][top : top + 32, left : left + 32])


def test_image_and_ice_are_weighed_in_grey_levels_and_truncated(textures: Path) -> None:
    images = torch.full((1, 32, 32, 3), 101, dtype=torch.uint8)
    found = frost(images, (0.75, 0.45, 0.2), Given([0, 0, 0]), textures=textures)  # type: ignore[arg-type]
    # Every fifth pixel of the picture, from its third on.
    ice = load_texture(textures, "frost1.png")[2:160:5, 2:160:5]
    expected = np.minimum(np.floor(0.75 * 101 + 0.45 * ice), 255)
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_the_draws_of_torch_give_nearly_every_image_a_crop_of_its_own(textures: Path) -> None:
    draws = TorchDraws(lambda: [torch.Generator().manual_seed(i) for i in range(200)], torch.device("cpu"))
    images = torch.zeros((200, 32, 32, 3), dtype=torch.uint8)
    parameters = SEVERITIES["frost"]["cifar"][4]
    found = frost(images, parameters, draws, textures=textures)
    assert len(np.unique(found.flatten(1).numpy(), axis=0)) > 190


def test_without_the_pictures_frost_alone_is_refused_with_the_command_that_fetches_them(
    photos_of: Callable[[int, int], Images], tmp_path: Path
) -> None:
    photos = photos_of(32, 1)
    # The data root of these tests is an empty folder.
    with pytest.raises(DataError, match=r"frost1\.png.*rbs data fetch frost-textures"):
        corrupt(photos, "frost", 1)
    with pytest.raises(DataError, match=r"elsewhere.*frost1"):
        corrupt(photos, "frost", 1, textures=tmp_path / "elsewhere")
    for name in corruption_names():
        if name != "frost":
            corrupt(photos, name, 1)


def test_other_pictures_are_refused(photos_of: Callable[[int, int], Images], tmp_path: Path) -> None:
    (tmp_path / "frost1.png").write_bytes(b"another picture")
    with pytest.raises(DataError, match=r"is not the picture.*sha256 ff9f9078.*found.*remove it and get"):
        corrupt(photos_of(32, 1), "frost", 1, textures=tmp_path)


def test_the_manifest_lists_the_pictures_that_are_asked_for() -> None:
    manifest = load_manifest(DATASET)
    assert manifest.folder == DATASET
    assert {archive.file: archive.sha256 for archive in manifest.archives} == TEXTURES
    for archive in manifest.archives:
        assert archive.address is not None
        assert archive.address.endswith(f"/ImageNet-C/imagenet_c/imagenet_c/frost/{archive.file}")


def test_what_is_fetched_is_what_frost_finds(
    textures: Path, photos_of: Callable[[int, int], Images], tmp_path: Path
) -> None:
    answers = [Answer(content=(textures / name).read_bytes(), etag=f'"{name}"') for name in TEXTURES]
    with LocalServer(*answers) as server:
        dataset = load_dataset(DATASET, data=DataRoot(root=tmp_path))
        archives = [
            archive.model_copy(update={"address": server.address}) for archive in dataset.manifest.archives
        ]
        manifest = dataset.manifest.model_copy(update={"archives": tuple(archives)})
        local = Dataset(manifest=manifest, data=dataset.data, classes=())
        fetched = list(fetch_dataset(local, on_bytes=lambda _archive, _n, _total: None))
    assert [one.archive.file for one in fetched] == list(TEXTURES)
    assert all(one.download is not None and one.download.verified for one in fetched)
    # tmp_path is the data root of these tests.
    photos = photos_of(32, 4)
    expected = corrupt(photos, "frost", 3, textures=textures)
    np.testing.assert_array_equal(corrupt(photos, "frost", 3), expected)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert reader.labels.tolist() == [-1] * 6


def test_a_generated_dataset_finds_the_pictures_where_its_data_root_says(
    textures: Path, tmp_path: Path
) -> None:
    manifest = load_manifest("digits-c")
    (group,) = manifest.conditions
    manifest = manifest.model_copy(
        update={"conditions": (group.model_copy(update={"names": ("frost",)}),), "headline": ()}
    )
    (condition, *_) = manifest.all_conditions()
    known = DataRoot(root=tmp_path, folders={DATASET: textures})
    classes = load_dataset("digits-c").classes
    reader = Dataset(manifest=manifest, data=known, classes=classes).open(condition, seed=0)
    assert len(reader.sample_ids) == manifest.samples
    with pytest.raises(DataError, match="rbs data fetch frost-textures"):
        Dataset(manifest=manifest, data=DataRoot(root=tmp_path), classes=classes).open(condition, seed=0)
