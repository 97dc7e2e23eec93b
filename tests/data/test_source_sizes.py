"""Photographs at the size of a variant, and corruptions made from a folder of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision import transforms

from robustbench_safety import corruptions
from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.base import ArrayReader
from robustbench_safety.data.source_sizes import sized
from robustbench_safety.errors import DataError
from robustbench_safety.labels import class_digest


@pytest.fixture(scope="module")
def photographs() -> list[NDArray[np.uint8]]:
    """One wide and one tall: uint8 [427, 640, 3] and [640, 300, 3]."""
    wide, other = (np.asarray(image, dtype=np.uint8) for image in load_sample_images().images)
    return [wide, np.ascontiguousarray(other.transpose(1, 0, 2)[:, :300])]


def test_a_photograph_is_brought_to_224_as_torchvision_s_resize_and_crop_do(
    photographs: list[NDArray[np.uint8]],
) -> None:
    pipeline = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    for photograph in photographs:
        expected = np.asarray(pipeline(Image.fromarray(photograph)))
        assert np.array_equal(sized(photograph, "imagenet"), expected)


def test_a_photograph_is_squeezed_to_64_whatever_its_shape(photographs: list[NDArray[np.uint8]]) -> None:
    for photograph in photographs:
        expected = np.asarray(transforms.Resize((64, 64))(Image.fromarray(photograph)))
        assert np.array_equal(sized(photograph, "tiny"), expected)


def test_299_px_images_keep_the_central_seven_eighths_of_each_side() -> None:
    picture = np.zeros((400, 800, 3), dtype=np.uint8)
    picture[25:375, 50:750] = 200  # a sixteenth of each side is black
    assert (sized(picture, "inception") == 200).all()
    assert sized(picture, "inception").shape == (299, 299, 3)


def dataset(folder: Path, photographs: list[NDArray[np.uint8]], variant: str) -> Dataset:
    """Return corruptions of a folder of two classes of one photograph each."""
    keys = ["cat", "dog"]
    (folder / "labels").mkdir()
    (folder / "labels" / "pets.yaml").write_text(
        f"name: pets\ndigest: {class_digest(keys)}\nsource: here\nclasses: {keys}\n"
    )
    for key, photograph in zip(keys, photographs, strict=True):
        (folder / "files" / key).mkdir(parents=True)
        Image.fromarray(photograph).save(folder / "files" / key / "one.png")
    common = "version: 1\ntitle: T\nlabel_space: pets\nsamples: 2\nlicence: own\ncitation: own\n"
    (folder / "pictures.yaml").write_text(
        f"name: pictures\nrole: clean\nlayout: {{type: image_folder}}\nfolder: files\n{common}"
        "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
    )
    (folder / "mine.yaml").write_text(
        f"name: mine\nrole: corruption\n{common}pre_cropped: true\n"
        f"layout: {{type: generated, source: pictures, variant: {variant}}}\n"
        "conditions: [{kind: corruption, names: [contrast, gaussian_noise], levels: [3]}]\n"
    )
    return load_dataset("mine", data=DataRoot(root=folder, beside=folder))


@pytest.mark.parametrize("variant", ["imagenet", "inception", "tiny"])
@pytest.mark.parametrize("number", [0, 1])
def test_corruptions_of_a_folder_are_those_of_its_pictures_at_the_variant_s_size(
    tmp_path: Path, photographs: list[NDArray[np.uint8]], variant: str, number: int
) -> None:
    made = dataset(tmp_path, photographs, variant)
    condition = made.manifest.all_conditions()[number]
    reader = made.open(condition, seed=5)
    assert isinstance(reader, ArrayReader)
    assert reader.sample_ids == ["cat/one", "dog/one"]
    assert reader.labels.tolist() == [0, 1]
    assert reader.decoder.startswith("pillow")
    clean = np.stack([sized(photograph, variant) for photograph in photographs])
    expected = corruptions.corrupt(
        clean, condition.name, 3, seed=5, variant=variant, sample_ids=reader.sample_ids
    )
    indices = np.array([1, 0])
    assert np.array_equal(reader.block(indices, reader.stored(indices)), expected[::-1])


@pytest.mark.parametrize("name", ["translate", "brightness"])
def test_a_sequence_of_imagenet_starts_from_photographs_of_256_that_nothing_was_cut_from(
    tmp_path: Path, photographs: list[NDArray[np.uint8]], name: str
) -> None:
    dataset(tmp_path, photographs, "imagenet")
    text = (tmp_path / "mine.yaml").read_text().replace("role: corruption", "role: sequence")
    head = text.partition("conditions:")[0]
    (tmp_path / "mine.yaml").write_text(
        f"{head}conditions: [{{kind: sequence, names: [{name}], levels: [1]}}]\n"
    )
    made = load_dataset("mine", data=DataRoot(root=tmp_path, beside=tmp_path))
    reader = made.open(made.manifest.all_conditions()[0], seed=5)
    assert isinstance(reader, ArrayReader)
    indices = np.array([1, 0])
    found = reader.block(indices, reader.stored(indices))
    for clip, i in zip(np.split(found, 2), indices, strict=True):
        whole = np.asarray(transforms.Resize(256)(Image.fromarray(photographs[i])))
        expected = corruptions.sequence(
            whole[None], name, seed=5, variant="imagenet", sample_ids=[reader.sample_ids[i]]
        )
        assert np.array_equal(clip, expected[0])


def test_a_damaged_picture_is_named(tmp_path: Path, photographs: list[NDArray[np.uint8]]) -> None:
    made = dataset(tmp_path, photographs, "imagenet")
    path = tmp_path / "files" / "dog" / "one.png"
    path.write_bytes(path.read_bytes()[:5000])
    reader = made.open(made.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, ArrayReader)
    indices = np.arange(2)
    with pytest.raises(DataError, match=r"dog/one\.png cannot be decoded"):
        reader.block(indices, reader.stored(indices))
