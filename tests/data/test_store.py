"""Data roots, and datasets opened from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import DataRoot, Dataset, load_dataset, load_manifest
from robustbench_safety.errors import DataError, FileFormatError, StorageError, UnknownNameError
from robustbench_safety.labels import class_digest
from robustbench_safety.records import DatasetManifest

MakeDataset = Callable[..., Dataset]
MakeManifest = Callable[..., DatasetManifest]


def present(dataset: Dataset) -> list[Path]:
    return dataset.check_presence(dataset.manifest.all_conditions()[0])


def test_the_data_root_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RBS_DATA", str(tmp_path))
    assert DataRoot.default().root == tmp_path
    monkeypatch.delenv("RBS_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert DataRoot.default().root == tmp_path / "cache" / "robustbench-safety" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert DataRoot.default().root == tmp_path / "home" / ".cache" / "robustbench-safety" / "data"


def test_a_dataset_lies_in_its_manifest_s_folder_or_where_it_is_told(
    make_manifest: MakeManifest, tmp_path: Path
) -> None:
    manifest = make_manifest(folder="cifar-10-batches-py")
    assert DataRoot(root=tmp_path).folder(manifest) == tmp_path / "cifar-10-batches-py"
    elsewhere = DataRoot(root=tmp_path, folders={"mine": Path("/elsewhere")})
    assert elsewhere.folder(manifest) == Path("/elsewhere")


def test_an_unknown_dataset_shows_near_names_and_what_to_do() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown dataset 'cifar10'; expected one like cifar-10"
    ) as raised:
        load_dataset("cifar10")
    assert raised.value.fix == "`rbs data list` shows them all"


def test_a_manifest_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(
        (Path(__file__).parents[2] / "data_manifests" / "digits.yaml").read_bytes()
    )
    with pytest.raises(FileFormatError, match=r"mine\.yaml: name is wrong; expected mine; found digits"):
        load_manifest("mine", beside=tmp_path)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ({"type": "npy", "images": "images.npy", "labels": "labels.npy"}, "images.npy, labels.npy"),
        ({"type": "image_folder", "path": "val"}, "val"),
        ({"type": "image_folder"}, "one folder a class"),
        ({"type": "cifar_pickle", "files": {"a": None, "b": None}, "label_field": "labels"}, "a, b"),
    ],
)
def test_data_that_are_missing_are_told_with_what_to_fetch(
    make_dataset: MakeDataset, tmp_path: Path, layout: dict[str, object], expected: str
) -> None:
    archive = {"file": "mine.tar", "md5": "0" * 32, "address": "https://example.org/mine.tar"}
    dataset = make_dataset(layout=layout, archives=[archive, {"file": "labels.txt"}])
    condition = dataset.manifest.all_conditions()[0]

    def refusal() -> str:
        with pytest.raises(DataError) as raised:
            dataset.open(condition, seed=0)
        assert raised.value.what == f"dataset mine is not in {tmp_path / 'mine'}"
        assert raised.value.expected == expected
        assert raised.value.fix == (
            f"get mine.tar (md5 {'0' * 32}) and labels.txt with `rbs data fetch mine`, or name the folder"
            " above with --data DIR, or its own with --data mine=DIR"
        )
        return raised.value.found

    assert refusal() == "no such folder"
    (tmp_path / "mine").mkdir()
    assert refusal() == "an empty folder"


def test_a_condition_that_is_missing_is_told_with_what_stands_there_instead(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    groups = [{"kind": "corruption", "names": ["gaussian_noise", "fog"], "levels": [1, 2]}]
    layout = {"type": "image_folder", "path": "{name}/{level}", "groups": {"weather": ["fog"]}}
    dataset = make_dataset(layout=layout, conditions=groups, role="corruption", by_hand="Ask the authors.")
    (tmp_path / "mine" / "gausian_noise" / "1").mkdir(parents=True)
    noise, *_, fog = dataset.manifest.all_conditions()
    with pytest.raises(DataError) as raised:
        dataset.open(noise, seed=0)
    assert raised.value.what == f"gaussian_noise at level 1 of dataset mine is not in {tmp_path / 'mine'}"
    assert raised.value.expected == "gaussian_noise/1"
    assert raised.value.found == "no gaussian_noise there, but gausian_noise"
    assert "give the folder its published name" in raised.value.fix
    assert "Ask the authors. Then, or if you have it, name the folder above" in raised.value.fix
    with pytest.raises(DataError, match="expected fog/2 or weather/fog/2; found no fog there, but"):
        dataset.open(fog, seed=0)
    (tmp_path / "mine" / "weather" / "fog" / "2").mkdir(parents=True)
    assert dataset.check_presence(fog) == [tmp_path / "mine" / "weather" / "fog" / "2"]


def test_a_file_in_the_place_of_the_folder_is_no_folder(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(DataError, match="found no such folder"):
        present(make_dataset())


def test_a_file_in_the_place_of_the_class_folders_is_told(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "val").touch()
    dataset = make_dataset(layout={"type": "image_folder", "path": "val"})
    with pytest.raises(StorageError, match="val cannot be read; found Not a directory"):
        dataset.open(dataset.manifest.all_conditions()[0], seed=0)


def test_data_that_are_there_are_present_without_being_read(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("images.npy", "labels.npy"):
        (tmp_path / "mine" / name).write_bytes(b"no array at all")
    assert present(make_dataset()) == [tmp_path / "mine" / name for name in ("images.npy", "labels.npy")]


def test_label_keys_are_the_classes_of_the_labels(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "images.npy", np.zeros((3, 2, 2, 3), np.uint8))
    np.save(tmp_path / "mine" / "labels.npy", np.array([2, 0, 1]))
    dataset = make_dataset(samples=3)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert dataset.label_keys(reader) == ["c", "a", "b"]


# -------------------------------------------------------------------------------------- one's own files

MANIFEST = """\
name: pets
version: 1
title: Pets
role: clean
layout: {{type: npy, images: images.npy, labels: labels.npy}}
folder: pets
conditions:
  - {{kind: clean, names: [clean], levels: [0]}}
label_space: {label_space}
{more}samples: 4
licence: none
citation: none
"""


def write_list(folder: Path, name: str, classes: list[str], more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    listed = "".join(f"  - {key}\n" for key in classes)
    (folder / f"{name}.yaml").write_text(
        f"name: {name}\ndigest: {class_digest(classes)}\nsource: here\n{more}classes:\n{listed}"
    )


@pytest.fixture
def own(tmp_path: Path) -> DataRoot:
    """A folder with a manifest, a label space and a subset of one's own."""
    (tmp_path / "pets.yaml").write_text(MANIFEST.format(label_space="pets", more=""))
    write_list(tmp_path / "labels", "pets", ["bird", "cat", "dog"])
    write_list(tmp_path / "subsets", "furry", ["dog", "cat"], "label_space: pets\ncount: 2\n")
    return DataRoot(root=tmp_path, beside=tmp_path)


def test_a_manifest_and_a_label_space_of_one_s_own_are_found_beside_the_suite(own: DataRoot) -> None:
    dataset = load_dataset("pets", data=own)
    assert dataset.classes == ("bird", "cat", "dog")
    assert dataset.data == own


def test_a_subset_of_one_s_own_gives_the_classes_in_its_order(own: DataRoot, tmp_path: Path) -> None:
    (tmp_path / "pets.yaml").write_text(MANIFEST.format(label_space="pets", more="subset: furry\n"))
    assert load_dataset("pets", data=own).classes == ("dog", "cat")


def test_a_subset_of_another_label_space_is_refused(own: DataRoot, tmp_path: Path) -> None:
    (tmp_path / "pets.yaml").write_text(MANIFEST.format(label_space="digits", more="subset: furry\n"))
    with pytest.raises(
        FileFormatError, match="subset furry lies in another label space; expected digits; found pets"
    ):
        load_dataset("pets", data=own)


@pytest.mark.parametrize(
    ("label_space", "more", "message"),
    [
        ("pet", "", "unknown label space 'pet'; expected one like pets"),
        ("pets", "subset: fury\n", "unknown class subset 'fury'; expected one like furry"),
    ],
)
def test_an_unknown_list_in_a_manifest_shows_near_names_and_the_manifest(
    own: DataRoot, tmp_path: Path, label_space: str, more: str, message: str
) -> None:
    (tmp_path / "pets.yaml").write_text(MANIFEST.format(label_space=label_space, more=more))
    with pytest.raises(UnknownNameError, match=f"{message}; correct the manifest of pets"):
        load_dataset("pets", data=own)


def test_a_manifest_of_one_s_own_goes_before_the_shipped_one(own: DataRoot, tmp_path: Path) -> None:
    text = MANIFEST.format(label_space="pets", more="").replace("name: pets", "name: digits")
    (tmp_path / "digits.yaml").write_text(text)
    dataset = load_dataset("digits", data=own)
    assert dataset.classes == ("bird", "cat", "dog")
    # The shipped digits-c is then made from it, and does not fit.
    made = load_dataset("digits-c", data=own)
    assert made.scored_fields()["source"] == dataset.manifest.scored_fields()
    with pytest.raises(FileFormatError, match="digits-c cannot be made from digits: classes"):
        made.open(made.manifest.all_conditions()[0], seed=0)


def test_the_scored_fields_of_generated_data_hold_those_of_their_source() -> None:
    fields = load_dataset("digits-c").scored_fields()
    assert fields["source"] == load_dataset("digits").scored_fields()
    assert "source" not in load_dataset("digits").scored_fields()


def test_an_unknown_source_names_the_manifest(own: DataRoot, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "data_manifests" / "digits-c.yaml").read_text()
    text = text.replace("name: digits-c", "name: mine").replace("source: digits", "source: digit")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UnknownNameError, match=r"'digit'; .*; correct the source in the manifest of mine"):
        load_dataset("mine", data=own).scored_fields()


@pytest.mark.realdata
def test_the_official_test_set_opens_with_10000_images(real_data: Path) -> None:
    dataset = load_dataset("cifar-10", data=real_data)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert np.bincount(reader.labels).tolist() == [1000] * 10
    assert dataset.label_keys(reader)[:3] == ["cat", "ship", "ship"]


@pytest.mark.realdata
def test_cifar_100_is_read_as_a_class_sorted_stack(real_data: Path, tmp_path: Path) -> None:
    with np.load(real_data / "cifar-100-test.npz") as content:
        np.save(tmp_path / "images.npy", content["images"])
        np.save(tmp_path / "labels.npy", content["labels"])
    text = MANIFEST.format(label_space="cifar-100", more="image_size: [32, 32]\n").replace(
        "samples: 4", "samples: 10000"
    )
    (tmp_path / "pets.yaml").write_text(text)
    data = DataRoot(root=tmp_path, folders={"pets": tmp_path}, beside=tmp_path)
    dataset = load_dataset("pets", data=data)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert np.bincount(reader.labels).tolist() == [100] * 100
