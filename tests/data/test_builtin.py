"""The embedded digits and the noise sets: what they are, and that they stay what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import correlate1d
from sklearn.datasets import load_digits

from robustbench_safety.data import Dataset, load_dataset, stored_digest
from robustbench_safety.data.builtin import DIGITS_SPLIT, DigitsReader, NoiseReader, Split
from robustbench_safety.errors import DataError
from robustbench_safety.records import DatasetManifest
from robustbench_safety.streams import random_stream

MakeManifest = Callable[..., DatasetManifest]
MakeDataset = Callable[..., Dataset]

SPLITS: tuple[Split, ...] = ("train", "tune", "test")
NOISES = ("gaussian-noise", "rademacher-noise", "blobs")

#: sha256 over the pixels of the 850 test images in order, uint8 NHWC. Pillow's bicubic resize makes them:
#: where another version of Pillow makes other pixels, all figures of the digits suites move with them.
PIXELS_OF_TEST = "39d700e0e7a01f88d52ca5d0ea720f09763a9e55ee269e125158b11e5760fcb8"
#: Of ids, label keys and pixels; what the records of the demo carry.
DATA_DIGEST_OF_TEST = "68ddef4cd85ade2a357402ff6acfc33a36e2aef3dce5562630f31db9a3ddca9b"


def everything(reader: DigitsReader | NoiseReader) -> NDArray[np.uint8] | NDArray[np.float32]:
    indices = np.arange(len(reader.sample_ids))
    return reader.block(indices, reader.stored(indices))


# ----------------------------------------------------------------------------------------------- digits


def test_the_splits_are_disjoint_and_together_all_1797_scans() -> None:
    ids = {split: DigitsReader(split).sample_ids for split in SPLITS}
    assert {split: len(names) for split, names in ids.items()} == {"train": 797, "tune": 150, "test": 850}
    assert DIGITS_SPLIT == {"train": 797, "tune": 150, "test": 850}
    together = sorted(name for names in ids.values() for name in names)
    assert together == [f"{i:05d}" for i in range(1797)]


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_is_its_scan_enlarged_and_its_id_the_scan_s_index(split: Split) -> None:
    scans, reader = load_digits(), DigitsReader(split)
    images = everything(reader)
    assert images.shape == (len(reader.sample_ids), 32, 32, 3)
    assert images.dtype == np.uint8
    for position in (0, 17, -1):
        index = int(reader.sample_ids[position])
        assert reader.labels[position] == scans.target[index]
        grey = np.rint(scans.images[index] * (255 / 16)).astype(np.uint8)
        large = np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC))
        for channel in range(3):
            assert np.array_equal(images[position, :, :, channel], large)


def test_the_split_follows_the_sha256_of_the_index_alone() -> None:
    order = sorted(range(1797), key=lambda i: hashlib.sha256(f"digits-{i}".encode()).hexdigest())
    assert DigitsReader("test").sample_ids == [f"{i:05d}" for i in sorted(order[:850])]


def test_every_class_is_in_every_split() -> None:
    for split in SPLITS:
        counts = np.bincount(DigitsReader(split).labels, minlength=10)
        assert counts.min() >= 0.05 * counts.sum()


def test_the_pixels_of_the_test_split_are_the_ones_they_were() -> None:
    assert hashlib.sha256(everything(DigitsReader("test")).tobytes()).hexdigest() == PIXELS_OF_TEST


def test_the_data_digest_of_the_test_split_is_the_one_it_was() -> None:
    dataset = load_dataset("digits")
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    found = stored_digest(reader, np.arange(850), dataset.label_keys(reader))
    assert found == DATA_DIGEST_OF_TEST


def test_stored_bytes_are_the_pixels_of_the_image() -> None:
    reader = DigitsReader("tune")
    indices = np.array([7, 3])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [image.tobytes() for image in reader.block(indices, stored)]


def test_a_block_may_be_written_to_without_harm_to_the_next() -> None:
    reader = DigitsReader("tune")
    indices = np.arange(3)
    before = reader.block(indices, reader.stored(indices)).copy()
    reader.block(indices, reader.stored(indices))[:] = 0
    again = DigitsReader("tune")
    assert np.array_equal(again.block(indices, again.stored(indices)), before)


def test_a_manifest_with_another_count_or_too_few_classes_is_refused(make_dataset: MakeDataset) -> None:
    layout = {"type": "builtin", "generator": "digits", "split": "tune"}
    tenclasses = [str(i) for i in range(10)]
    good = make_dataset(layout=layout, samples=150, classes=tenclasses)
    condition = good.manifest.all_conditions()[0]
    assert len(good.open(condition, seed=0).sample_ids) == 150
    with pytest.raises(
        DataError, match="the tune part of the digits does not hold the images of mine; expected 850"
    ):
        make_dataset(layout=layout, samples=850, classes=tenclasses).open(condition, seed=0)
    with pytest.raises(DataError, match="mine: a label lies outside label space digits"):
        make_dataset(layout=layout, samples=150).open(condition, seed=0)


def test_digits_as_an_out_of_distribution_set_have_no_labels(make_dataset: MakeDataset) -> None:
    layout = {"type": "builtin", "generator": "digits", "split": "tune"}
    dataset = make_dataset(layout=layout, samples=150, role="ood", label_space=None, classes=())
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert set(reader.labels.tolist()) == {-1}
    assert set(DigitsReader("tune").labels.tolist()) == set(range(10))


def test_noise_with_labels_is_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(layout={"type": "builtin", "generator": "blobs"}, samples=3)
    with pytest.raises(DataError, match="a label lies outside"):
        dataset.open(dataset.manifest.all_conditions()[0], seed=0)


# ------------------------------------------------------------------------------------------------ noise


@pytest.fixture(scope="module", params=NOISES)
def noise(request: pytest.FixtureRequest) -> tuple[str, NDArray[np.uint8] | NDArray[np.float32]]:
    name: str = request.param
    return name, everything(NoiseReader(name, 60))


def test_noise_is_float32_between_0_and_1(noise: tuple[str, NDArray[np.float32]]) -> None:
    _, images = noise
    assert images.dtype == np.float32
    assert images.shape == (60, 32, 32, 3)
    assert images.min() >= 0
    assert images.max() <= 1


def test_no_two_pictures_of_noise_are_equal(noise: tuple[str, NDArray[np.float32]]) -> None:
    _, images = noise
    assert len({image.tobytes() for image in images}) == 60


def test_noise_is_the_same_whatever_the_block_and_the_order(noise: tuple[str, NDArray[np.float32]]) -> None:
    name, images = noise
    reader = NoiseReader(name, 60)
    for indices in (np.array([59, 0, 7]), np.array([7]), np.arange(10, 20)):
        assert np.array_equal(reader.block(indices, reader.stored(indices)), images[indices])


def test_a_longer_set_begins_with_the_shorter(noise: tuple[str, NDArray[np.float32]]) -> None:
    name, images = noise
    reader = NoiseReader(name, 10_000)
    indices = np.arange(60)
    assert np.array_equal(reader.block(indices, reader.stored(indices)), images)


def test_gaussian_noise_is_normal_with_sigma_a_quarter_clipped_at_black_and_white() -> None:
    values = everything(NoiseReader("gaussian-noise", 60)).ravel()  # 184,320
    assert values.mean() == pytest.approx(0.5, abs=0.002)
    inside = values[(values > 0) & (values < 1)]
    # N(0, 0.5^2) beyond 1 is beyond 2 sigma: 2.275 % on each side
    for edge in (0.0, 1.0):
        assert (values == edge).mean() == pytest.approx(0.02275, abs=0.0015)
    # standard deviation of a normal cut at 2 sigma: 0.8796 sigma, and sigma is 0.25 here
    assert inside.std() == pytest.approx(0.8796 * 0.25, abs=0.002)
    # unquantised: hardly any value is a whole number of 255ths
    assert (np.abs(inside * 255 - np.rint(inside * 255)) < 1e-3).mean() < 0.01


def test_rademacher_noise_is_black_or_white_with_equal_chance() -> None:
    values = everything(NoiseReader("rademacher-noise", 60))
    assert set(np.unique(values).tolist()) == {0.0, 1.0}
    assert values.mean() == pytest.approx(0.5, abs=0.006)


def test_blobs_are_blurred_points_over_a_threshold_blurred_across_channels_too() -> None:
    reader = NoiseReader("blobs", 3)
    images = everything(reader)
    taps = np.exp(-(np.arange(-6, 7) ** 2) / (2 * 1.5**2))
    for image, name in zip(images, reader.sample_ids, strict=True):
        points = (random_stream(0, "blobs", name).random((32, 32, 3)) < 0.7).astype(np.float64)
        for axis in range(3):
            points = correlate1d(points, taps / taps.sum(), axis=axis, mode="nearest")
        # (x * 2 - 1 + 1) / 2 = x: what stays is at least 0.75, the rest is black
        expected = np.where(points < 0.75, 0, points)
        np.testing.assert_allclose(image, expected, atol=1e-6)
        assert image[image > 0].min() >= 0.75 - 1e-6
    assert 0.02 < (images > 0).mean() < 0.5


def test_noise_has_no_labels_and_ids_that_are_indices() -> None:
    reader = NoiseReader("blobs", 3)
    assert reader.labels.tolist() == [-1, -1, -1]
    assert reader.sample_ids == ["00000", "00001", "00002"]


@pytest.mark.parametrize("side", [64, 224])
@pytest.mark.parametrize("name", NOISES)
def test_the_noise_sets_for_larger_networks_are_drawn_at_their_size_by_the_same_rule(
    name: str, side: int
) -> None:
    dataset = load_dataset(f"{name}-{side}")
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=5)
    assert isinstance(reader, NoiseReader)
    indices = np.arange(3)
    images = reader.block(indices, reader.stored(indices))
    assert images.shape == (3, side, side, 3)
    assert len(reader.sample_ids) == 10_000
    small = everything(NoiseReader(name, 60))
    # Where a blob ends at the border it is no wider than elsewhere: shares hold to a few hundredths.
    assert (images == 0).mean() == pytest.approx((small == 0).mean(), abs=0.03)
    assert images.mean() == pytest.approx(small.mean(), abs=0.03)


@pytest.mark.parametrize("name", NOISES)
def test_the_noise_sets_have_10000_pictures(name: str) -> None:
    dataset = load_dataset(name)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=5)
    assert len(reader.sample_ids) == 10_000
    assert dataset.label_keys(reader)[:2] == ["", ""]
