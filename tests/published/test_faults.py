"""What goes wrong with downloads is told by ``verify_dataset``, and by a score before any forward pass."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.data.verifying.findings import Finding, FindingKind
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, RobustbenchSafetyError
from robustbench_safety.models import Model
from tests.published.manifests import classes_of, fields_of, write_subset
from tests.published.photographs import encoded, picture
from tests.published.writer import WNIDS, Copies, regrouped, validation_name

Untouched = Callable[[int], Model]

#: Sets of a thousand classes, whose images are counted here and decoded in test_reading.
LARGE = {
    "imagenet-1k", "imagenet-c", "imagenet-c-bar", "imagenet-g-v1", "imagenet-sketch",
    "imagenet-v2-matched-frequency",
}  # fmt: skip


@pytest.fixture(scope="session")
def untouched() -> Untouched:
    """Return a function that loads a network which must not be shown anything."""
    models: dict[int, Model] = {}

    def refuse(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        raise AssertionError("a forward pass before the fault was told")

    def load(classes: int) -> Model:
        if classes not in models:
            models[classes] = rbs.load_model(f"python:tests.published.network:build_{classes}")
            models[classes].network.register_forward_pre_hook(refuse)
        return models[classes]

    return load


def copied(copies: Copies, dataset: str, folder: Path) -> Path:
    """Return a copy of a dataset's folder whose files may be replaced, not written into."""
    shutil.copytree(copies.folder(dataset), folder, copy_function=os.link)
    return folder


def replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def findings(dataset: str, data: DataRoot, *, quick: bool = True) -> tuple[Finding, ...]:
    return verify_dataset(load_dataset(dataset, data=data), quick=quick, workers=2).findings


def told(found: tuple[Finding, ...], kind: FindingKind, *words: str) -> bool:
    """Tell whether a finding of the kind has all the words."""
    texts = [f"{one.where}; {one.expected}; {one.found}" for one in found if one.kind == kind]
    return any(all(word in text for word in words) for text in texts)


def refused(suite: str, data: DataRoot, model: Model, folder: Path) -> str:
    """Return what a score says when it refuses, having neither shown nor written anything.

    A dataset whose name is also a shipped suite's is named by the path of its manifest.
    """
    predictions = folder / "predictions"
    with pytest.raises(RobustbenchSafetyError) as caught:
        rbs.score(
            model, suite=suite, data=data, predictions=predictions, device="cpu", batch_size=16, workers=2
        )
    assert isinstance(caught.value, DataError)
    assert caught.value.exit_code == 2
    assert caught.value.fix
    assert not predictions.exists()
    return str(caught.value)


# ------------------------------------------------------------------------------------------ nothing is wrong


def test_no_fault_is_found_in_any_faithful_copy(copies: Copies) -> None:
    names = sorted(path.stem for path in copies.own.glob("*.yaml"))
    assert len(names) > 25
    found = {name: findings(name, copies.data, quick=name in LARGE) for name in names}
    assert {name: those for name, those in found.items() if those} == {}


def test_no_fault_is_found_in_imagenet_c_below_its_groups(copies: Copies, tmp_path: Path) -> None:
    regrouped(copies, tmp_path / "imagenet-c")
    assert findings("imagenet-c", replace(copies.data, root=tmp_path)) == ()


# ----------------------------------------------------------------------------------------- the wrong classes


def test_a_subset_list_with_one_class_exchanged_is_told_though_its_digest_fits(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    classes = classes_of("subsets/imagenet-a")
    lost, stranger = classes[77], next(wnid for wnid in WNIDS if wnid not in classes)
    own = tmp_path / "own"
    shutil.copytree(copies.own, own)
    write_subset(own, "imagenet-a", sorted({*classes, stranger} - {lost}))
    data = replace(copies.data, beside=own)
    found = findings("imagenet-a", data)
    assert told(found, "class", stranger, "has no folder")
    assert told(found, "class", lost, "no class of imagenet-a")
    said = refused("imagenet-a", data, untouched(1000), tmp_path)
    assert lost in said
    assert stranger in said


@pytest.mark.parametrize(
    ("dataset", "other"),
    [("imagenet-a", "imagenet-o"), ("imagenet-o", "imagenet-r"), ("imagenet-r", "imagenet-a")],
)
def test_another_set_of_200_classes_in_a_sets_place_is_told(
    copies: Copies, untouched: Untouched, tmp_path: Path, dataset: str, other: str
) -> None:
    data = replace(copies.data, folders={dataset: copies.folder(other)})
    assert told(findings(dataset, data), "class", dataset, f"these are the classes of {other}")
    said = refused(dataset, data, untouched(1000), tmp_path)
    first = min({*classes_of(f"subsets/{dataset}")} - {*classes_of(f"subsets/{other}")})
    assert f"does not hold the classes of {dataset}" in said
    assert first in said
    assert str(copies.folder(other)) in said


@pytest.mark.parametrize(
    ("dataset", "classes", "below", "key"),
    [
        ("imagenet-a", 1000, "", "n01770393"),
        ("imagenet-o", 1000, "", "n02865351"),
        ("textures", 10, "images", "waffled"),
        ("objectnet", 1000, "images", "banana"),
    ],
)
def test_a_class_without_its_folder_is_named(
    copies: Copies, untouched: Untouched, tmp_path: Path, dataset: str, classes: int, below: str, key: str
) -> None:
    folder = copied(copies, dataset, tmp_path / "copy")
    shutil.rmtree(folder / below / key)
    data = replace(copies.data, folders={dataset: folder})
    assert told(findings(dataset, data), "class", str(folder / below / key), "no such folder")
    said = refused(dataset, data, untouched(classes), tmp_path)
    assert f"1 missing, e.g. '{key}'" in said


# ----------------------------------------------------------------------------------------- the wrong numbers


def test_one_image_short_is_told_with_its_number(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "imagenet-r", tmp_path / "copy")
    next((folder / "n01443537").iterdir()).unlink()
    data = replace(copies.data, folders={"imagenet-r": folder})
    assert told(findings("imagenet-r", data), "count", str(folder), "400 images", "399, 1 too few")
    said = refused("imagenet-r", data, untouched(1000), tmp_path)
    assert f"{folder} does not hold the images of imagenet-r; expected 400 images; found 399" in said


def test_one_image_short_is_told_with_its_class_where_every_class_has_as_many(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "textures", tmp_path / "copy")
    (folder / "images" / "dotted" / "dotted_0002.jpg").unlink()
    data = replace(copies.data, folders={"textures": folder})
    assert told(findings("textures", data), "count", "class dotted", "2 images", "1, 1 too few")
    said = refused("textures", data, untouched(10), tmp_path)
    assert "class dotted; expected 2 images; found 1" in said


def test_one_image_short_in_one_condition_is_told_with_the_condition(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "tiny-imagenet-c", tmp_path / "copy")
    key = classes_of("labels/tiny-imagenet")[10]
    (folder / "brightness" / "5" / key / f"{validation_name(10)}.JPEG").unlink()
    data = replace(copies.data, folders={"tiny-imagenet-c": folder})
    found = findings("tiny-imagenet-c", data)
    assert told(found, "count", str(folder / "brightness" / "5" / key), f"class {key}", "1 too few")
    assert all("brightness" in one.where for one in found)
    said = refused(str(copies.own / "tiny-imagenet-c.yaml"), data, untouched(200), tmp_path)
    assert f"{folder / 'brightness' / '5'}: class {key}; expected 1 images; found 0" in said


def test_a_corruption_by_another_name_is_told_with_what_stands_there(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "tiny-imagenet-c", tmp_path / "copy")
    (folder / "gaussian_noise").rename(folder / "gaussian-noise")
    data = replace(copies.data, folders={"tiny-imagenet-c": folder})
    assert told(findings("tiny-imagenet-c", data), "missing", "gaussian_noise at 1/5", "but gaussian-noise")
    said = refused(str(copies.own / "tiny-imagenet-c.yaml"), data, untouched(200), tmp_path)
    assert "gaussian_noise at level 1" in said
    assert "no gaussian_noise there, but gaussian-noise" in said


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (lambda path: path.read_bytes()[:-100], "not a whole .npy array"),
        (lambda path: path.read_bytes()[:40], "not a whole .npy array"),
    ],
    ids=["in-its-rows", "in-its-head"],
)
def test_labels_of_cifar_10_c_that_are_cut_short_are_told(
    copies: Copies, untouched: Untouched, tmp_path: Path, cut: Callable[[Path], bytes], expected: str
) -> None:
    folder = copied(copies, "cifar-10-c", tmp_path / "copy")
    replaced(folder / "labels.npy", cut(folder / "labels.npy"))
    data = replace(copies.data, folders={"cifar-10-c": folder})
    assert told(findings("cifar-10-c", data), "content", str(folder / "labels.npy"), expected)
    said = refused("cifar-10-c", data, untouched(10), tmp_path)
    assert f"{folder / 'labels.npy'} is {expected}" in said


def test_labels_of_one_severity_for_all_five_are_told(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "cifar-10-c", tmp_path / "copy")
    labels = np.load(folder / "labels.npy")
    (folder / "labels.npy").unlink()
    np.save(folder / "labels.npy", labels[: len(labels) // 5])
    data = replace(copies.data, folders={"cifar-10-c": folder})
    assert told(
        findings("cifar-10-c", data), "content", str(folder / "labels.npy"), "500 whole numbers", "[100]"
    )
    said = refused("cifar-10-c", data, untouched(10), tmp_path)
    assert f"{folder / 'labels.npy'} holds the wrong array; expected 500 whole numbers" in said


# ------------------------------------------------------------------------------------ labels of other images


@pytest.mark.parametrize("fault", ["missing", "short"])
@pytest.mark.parametrize(("dataset", "classes"), [("imagenet-real", 1000), ("cifar-10h", 10)])
def test_labels_for_other_images_that_are_not_whole_are_told(
    copies: Copies, untouched: Untouched, tmp_path: Path, dataset: str, classes: int, fault: str
) -> None:
    folder = copied(copies, dataset, tmp_path / "copy")
    path = folder / str(fields_of(dataset)["layout"]["file"])
    if fault == "short":
        replaced(path, path.read_bytes()[:-50])
    else:
        path.rename(folder / "labels")
    data = replace(copies.data, folders={dataset: folder})
    assert told(findings(dataset, data), "missing" if fault == "missing" else "labels", path.name)
    assert path.name in refused(dataset, data, untouched(classes), tmp_path)


# -------------------------------------------------------------------------------- what only decoding can tell


def test_an_image_that_cannot_be_decoded_is_named_by_verify(copies: Copies, tmp_path: Path) -> None:
    folder = copied(copies, "imagenet-a", tmp_path / "copy")
    (path,) = (folder / "n01770393").iterdir()
    replaced(path, path.read_bytes()[:400])
    data = replace(copies.data, folders={"imagenet-a": folder})
    assert findings("imagenet-a", data, quick=True) == ()
    (found,) = findings("imagenet-a", data, quick=False)
    assert found.kind == "undecodable"
    assert str(path) in found.where


def test_an_image_of_the_wrong_size_is_named_by_verify(copies: Copies, tmp_path: Path) -> None:
    folder = copied(copies, "tiny-imagenet-c", tmp_path / "copy")
    (path,) = (folder / "brightness" / "1" / "n01443537").iterdir()
    replaced(path, encoded(picture(0, size=(63, 64))))
    data = replace(copies.data, folders={"tiny-imagenet-c": folder})
    (found,) = findings("tiny-imagenet-c", data, quick=False)
    assert found.kind == "size"
    assert str(path) in found.where
    assert (found.expected, found.found) == ("64x64", "63x64")


def test_a_misfiled_validation_image_is_told_though_the_total_is_right(
    copies: Copies, untouched: Untouched, tmp_path: Path
) -> None:
    folder = copied(copies, "imagenet-1k", tmp_path / "imagenet")
    (picture_path,) = (folder / "val" / WNIDS[0]).iterdir()
    picture_path.rename(folder / "val" / WNIDS[1] / picture_path.name)
    data = replace(copies.data, folders={"imagenet-1k": folder})
    assert told(findings("imagenet-1k", data), "count", WNIDS[0], "1 image")
    assert WNIDS[0] in refused("imagenet-1k", data, untouched(1000), tmp_path)
