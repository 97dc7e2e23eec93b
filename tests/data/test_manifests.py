"""The shipped manifests: all readable, and what they promise is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustbench_safety import corruptions
from robustbench_safety.data import load_dataset, load_manifest
from robustbench_safety.files import digest_of, resource_names
from robustbench_safety.records import CifarPickleLayout, GeneratedLayout, ImageFolderLayout

NAMES = resource_names("data_manifests")


def test_the_shipped_manifests_are_these() -> None:
    assert NAMES == [
        "blobs",
        "cifar-10",
        "cifar-100",
        "digits",
        "digits-c",
        "digits-p",
        "gaussian-noise",
        "imagenet-1k",
        "rademacher-noise",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_states_licence_and_citation_and_reads_with_its_classes(name: str) -> None:
    dataset = load_dataset(name)
    manifest = dataset.manifest
    assert manifest.licence
    assert manifest.citation
    assert (manifest.role == "ood") == (dataset.classes == ())
    assert manifest.all_conditions()


#: A digest that changes here under an old version moves every score on that dataset: raise the version with
#: it, and say so in the changelog under Scores.
VERSIONS = {
    "blobs": (1, "aa24917fa3534e144d4317e1541cd7aee9e1cb615f1f5bfe2c03fdfe5132cf60"),
    "cifar-10": (1, "7f42625c1b47eb4f599b1d8c251ec6b83ffc460db5259dc87c10581f90622797"),
    "cifar-100": (1, "52a83ee4349486083f3c0adc7c17d50bc21db9083e4b9e100e3b5c7f3a982849"),
    "digits": (1, "adcb545a7f07d718b6bcc01d2394b000bb529043f3ca7a29b9d57b82ac31bb3e"),
    "digits-c": (1, "189030e853e8770cda6c54f4ab64d55fceac7a6e08bf8f6fd63ea3b3be1b41eb"),
    "digits-p": (1, "30ece88a8a1025d1e5b0c546d98f0ae6d2e04a3091e10ca8248daecfdee87a06"),
    "gaussian-noise": (1, "ce5222693ead92c29e4a7580d11ca81e72a4b0d0777faf2075ef54541c7ba87c"),
    "imagenet-1k": (1, "eaf82c23b94b58240f9cdfb62d00760fcc9f38ae20cebbf78987633b9f1a4de4"),
    "rademacher-noise": (1, "688774c0e372c6c86993a347d961a684abcfcec5e614ab25499b7b2f6b57444a"),
}


def test_what_can_move_a_number_does_not_change_under_an_old_version() -> None:
    found = {
        name: (load_manifest(name).version, digest_of(load_dataset(name).scored_fields())) for name in NAMES
    }
    assert found == VERSIONS


def test_the_official_archives_are_those_of_the_facts() -> None:
    # protocols.md 1.1 and 1.12
    assert load_manifest("cifar-10").archives[0].md5 == "c58f30108f718f92721af3b95e74349a"
    assert load_manifest("cifar-10").archives[0].bytes == 170_498_071
    assert load_manifest("cifar-100").archives[0].md5 == "eb9058c3a382ffc7106e4002c42a8d85"
    assert load_manifest("imagenet-1k").archives[0].md5 == "29b22e2961454d5413ddabcf34fc5622"


def test_cifar_10_is_checked_by_the_md5_of_its_test_batch() -> None:
    layout = load_manifest("cifar-10").layout
    assert isinstance(layout, CifarPickleLayout)
    assert layout.files == {"test_batch": "40351d587109b95175f43aff81a1287e"}


def test_imagenet_is_50000_images_of_1000_classes_below_val() -> None:
    dataset = load_dataset("imagenet-1k")
    assert (dataset.manifest.samples, len(dataset.classes)) == (50_000, 1000)
    assert isinstance(dataset.manifest.layout, ImageFolderLayout)
    assert dataset.manifest.layout.path == "val"


@pytest.mark.parametrize("name", ["digits-c", "digits-p"])
def test_every_generated_condition_can_be_made(name: str) -> None:
    dataset = load_dataset(name)
    layout = dataset.manifest.layout
    assert isinstance(layout, GeneratedLayout)
    known = {
        "corruption": corruptions.corruption_names(layout.variant),
        "sequence": corruptions.sequence_names(layout.variant),
    }
    for condition in dataset.manifest.all_conditions():
        assert condition.name in known[condition.kind]
        assert len(dataset.open(condition, seed=0).sample_ids) == 850


def test_no_manifest_speaks_of_a_file_outside_its_folder() -> None:
    folder = Path(__file__).parents[2] / "data_manifests"
    for path in folder.rglob("*.yaml"):
        assert not re.search(r"(^|[\s/])\.\./", path.read_text()), path
