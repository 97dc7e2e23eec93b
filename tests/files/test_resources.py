"""Shipped files, and a user's own that go before them."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.errors import UnknownNameError
from robustbench_safety.files import locate_resource, resource_folder, resource_names


def test_the_shipped_names_are_the_files_sorted() -> None:
    names = ["cifar-10", "cifar-100", "digits", "dtd", "imagenet-1k", "robin", "tiny-imagenet"]
    assert resource_names("data_manifests/labels") == names


def test_an_absent_folder_has_no_names() -> None:
    assert resource_names("no-such-folder") == []


def test_a_checkout_reads_its_top_level_folder() -> None:
    assert resource_folder("data_manifests") == Path(__file__).parents[2] / "data_manifests"


def test_suites_lie_in_the_package() -> None:
    assert resource_folder("suites") == Path(__file__).parents[2] / "robustbench_safety" / "suites"


def test_an_unknown_name_shows_near_ones_and_what_to_do() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown dataset 'cifar10'; expected one like cifar-10.*; list"
    ):
        locate_resource("dataset", "cifar10", "data_manifests", fix="list them")


@pytest.mark.parametrize("name", ["../pyproject", "labels/digits", "/etc/passwd", "", "."])
def test_a_name_is_never_taken_for_a_path(name: str) -> None:
    with pytest.raises(UnknownNameError):
        locate_resource("dataset", name, "data_manifests")


def test_a_user_s_own_file_goes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").touch()
    assert locate_resource("dataset", "digits", "data_manifests", beside=tmp_path).parent == tmp_path
    assert locate_resource("dataset", "blobs", "data_manifests", beside=tmp_path).name == "blobs.yaml"


def test_a_user_s_own_names_are_among_the_near_ones(tmp_path: Path) -> None:
    (tmp_path / "my-textures.yaml").touch()
    with pytest.raises(UnknownNameError, match="one like my-textures"):
        locate_resource("dataset", "my-texture", "data_manifests", beside=tmp_path)


def test_a_folder_that_does_not_exist_adds_nothing(tmp_path: Path) -> None:
    found = locate_resource("dataset", "digits", "data_manifests", beside=tmp_path / "absent")
    assert found == resource_folder("data_manifests") / "digits.yaml"
