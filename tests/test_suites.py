"""Suites: what exactly they measure is pinned; the YAML of one's own is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import FileFormatError, StorageError, UnknownNameError, UsageError
from robustbench_safety.files import digest_of, resource_names
from robustbench_safety.labels import class_digest, class_map_digest
from robustbench_safety.records import Cell, Suite
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import cell_conditions, load_suite, suite_digest

NOWHERE = DataRoot(root=Path("nowhere"))

#: A suite or manifest whose numbers may move gets a new version, and a new line here.
DIGESTS = {
    ("adversarial-cifar10-l2", 1): "892534b227cb0d9b4a75543e195aea763c50bd8666607a7dc5dd4aafff7d461a",
    ("adversarial-cifar10-linf", 1): "9f93aa14c6f46d33db316df2220efb3f1c21895a2c6f3e9697bdb79db2291f44",
    ("adversarial-imagenet-linf", 1): "b1c65c67275db37a32647e2ec7dd492f40a03a40f66a9a084c33b2a6b561a042",
    ("cifar10-clean", 1): "4b93d491181409d2a70125281d82d7386952db43f9afdc495dbfe82c8bbc43bc",
    ("cifar10-natural", 1): "3329ef0da0e5c2bd49ee83fb9bd3b0a598924ea879ec3b1487f7dd8be2c19579",
    ("cifar10-safety", 1): "0a4bef3ca19b1e568f03f110d1bc51bff1ca03b80d7efab03df6a7c8a51e3ead",
    ("cifar10-safety-generated", 1): "57d75465b554479e3b15d56cc1ffce0435b1b333b52c9242620edb356332577f",
    ("cifar100-safety", 1): "d2a991c67c29e88afc5ffafda2aad41b619f7ecfaa98b9e843d0b061a226d870",
    ("cifar100-safety-generated", 1): "b9fb2489a457069449c1f0fcaae916ac7bae8cd6c0da234846080a1dbc744f3d",
    ("digits-safety", 2): "28b76aa9215d28da644ba8118a31848c724b25cf7321bd3f5a5d8fc693d73a1a",
    ("imagenet-natural", 1): "abd54681ee3247d59784b6a432fd5e28942208e23171a5873c5aadcb53043d49",
    ("imagenet-safety", 1): "aa521949d6774ddc672be2c1225ef354a8d2565c5f1e0704d8818dae65e0035b",
    ("imagenet-safety-generated", 1): "fd10824822c0156ed2809ee6328d5f0013567588c79125125a8ddf76903b5c0a",
    ("imagenet-safety-resize256", 1): "31dc15f2a10bd951cc91c1caafed05bb30804dd089585b5477e20a4b4f9f2cfd",
    ("reliability", 1): "b2efca34527eb48ed216b2245798b0dd57b8b4b433fd953b0cd596fb3953580c",
    ("reliability-cifar10", 1): "1d7698d784ef5026048f8bb1c8e9bf51614a527426b59783732cb424c52e9bc7",
    ("reliability-cifar10-generated", 1): "08f7a76aef2e0b6c8e654931bcff55a5024df2ba393a18f00d5f4b81324ac701",
    ("ood-cifar10", 1): "6018dd3ed5f77684e9cefeb89d354e1aac89f5efe074ac2720e645e3b9e2b95a",
    ("ood-imagenet", 1): "787887e70dba8e9754573bdc71f09d74dc529813a8a8aa094bd502ed837b9522",
    ("ood-imagenet-zero-shot", 1): "9a08541a9e8ab4fdf2c04a6b8deadd021865d3ac50ad0531bdfb41107fe31714",
    ("robin", 1): "12c9f07e34ff033aa1269ab0b49436b91790dd5a76054a2d31ac27c21eb52948",
    ("shape-bias", 1): "1ad0b8df6a0758595d4db6451719db388f9e5f574103a85f3175beda4e97a70c",
    ("tiny-imagenet-c", 2): "94fbf266f36a9b3f4dab646900226cd83e9c056be9234b70fa630f5084df17cb",
    ("tiny-imagenet-c-generated", 3): "28be2b14be8097d310244221af12a8a2a1ef4fc9093d4d43c406186eb1332423",
    ("unknown-detection", 1): "fac084e28d6fa9f3a0452ddee66160262a027b05288f88856787549f10f5b52c",
    ("unknown-detection-cifar10", 1): "1f870a0cc496d947d3e31ade2304b0c1106dd9b418f8c4bea0c5b1dfeb1688d1",
    ("zero-shot-clip", 1): "b81c3204d9aa73d176b1475ef1dabb8336289cfbb5fe6f33695c08b2c442ee1f",
}


@pytest.mark.parametrize("name", resource_names("suites"))
def test_what_a_suite_measures_does_not_change_under_its_version(name: str) -> None:
    suite = load_suite(name)
    assert suite_digest(suite, NOWHERE) == DIGESTS[suite.name, suite.version]


@pytest.mark.parametrize("name", resource_names("suites"))
def test_every_shipped_suite_names_metrics_and_conditions_that_exist(name: str) -> None:
    assert needed_conditions(load_suite(name), NOWHERE)


def test_the_safety_suite_has_the_five_columns() -> None:
    suite = load_suite("digits-safety")
    assert suite.columns == ("corruptions", "consistency", "adversaries", "calibration", "anomaly")
    needed = needed_conditions(suite, NOWHERE)
    kinds = [condition.kind for condition in needed]
    # 1 clean, 8 corruptions at 5 severities, 4 sequences, 1 attack, 3 noise sets.
    assert (kinds.count("clean"), kinds.count("corruption"), kinds.count("sequence")) == (4, 40, 4)
    assert kinds.count("attack") == 1


def test_prose_does_not_move_a_digest_and_a_seed_does() -> None:
    suite = load_suite("cifar10-clean")
    digest = suite_digest(suite, NOWHERE)
    assert suite_digest(suite.model_copy(update={"title": "another"}), NOWHERE) == digest
    assert suite_digest(suite.model_copy(update={"seed": 1}), NOWHERE) != digest


def test_an_unknown_suite_shows_near_names() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown suite 'cifar10-claen'; expected one like cifar10-clean"
    ):
        load_suite("cifar10-claen")


def test_a_suite_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\n"
        "cells: [{id: e, dataset: digits, metric: error_rate}]\ncolumns: [e]\n"
    )
    assert load_suite(path).name == "mine"


# ------------------------------------------------------------------------------------- names and paths

PETS = ["cat", "dog", "fox", "owl"]
FIELDS = (
    "version: 3\ntitle: Mine\nlabel_space: pets\nsamples: 6\nlicence: own\ncitation: own\n"
    "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
)


def put_list(folder: Path, kind: str, name: str, classes: list[str]) -> None:
    (folder / kind).mkdir(exist_ok=True)
    more = f"label_space: pets\ncount: {len(classes)}\n" if kind == "subsets" else ""
    (folder / kind / f"{name}.yaml").write_text(
        f"name: {name}\ndigest: {class_digest(classes)}\nsource: here\n{more}classes: {classes}\n"
    )


def put_map(folder: Path, name: str, classes: dict[str, list[str]]) -> None:
    (folder / "maps").mkdir(exist_ok=True)
    (folder / "maps" / f"{name}.yaml").write_text(
        f"name: {name}\nlabel_space: pets\nsource: here\ncount: {len(classes)}\n"
        f"digest: {class_map_digest(classes)}\nclasses: {classes}\n"
    )


def put_manifest(folder: Path, name: str, more: str = "", role: str = "clean") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\nrole: {role}\nlayout: {{type: image_folder}}\n{FIELDS}{more}")
    return path


@pytest.fixture
def own(tmp_path: Path) -> DataRoot:
    """A folder of one's own: a label space of four, a subset, a map and a dataset."""
    put_list(tmp_path, "labels", "pets", PETS)
    put_list(tmp_path, "subsets", "few", ["owl", "dog"])
    put_map(tmp_path, "kinds", {"bird": ["owl"], "canine": ["fox", "dog"]})
    put_manifest(tmp_path, "mine")
    return DataRoot(root=tmp_path, beside=tmp_path)


def test_the_name_of_a_dataset_does_for_a_suite_s() -> None:
    suite = load_suite("cifar-10.1-v6")
    assert (suite.name, suite.label_space, suite.cells[0].dataset) == (
        "cifar-10.1-v6",
        "cifar-10",
        "cifar-10.1-v6",
    )


def test_the_name_of_a_dataset_of_one_s_own_does_too(own: DataRoot) -> None:
    assert load_suite("mine", data=own).version == 3
    with pytest.raises(UnknownNameError, match="unknown suite 'mine'"):
        load_suite("mine")


def test_the_path_of_a_manifest_does_too_with_the_lists_beside_it(own: DataRoot) -> None:
    assert own.beside is not None
    found = load_suite(own.beside / "mine.yaml")
    assert found == load_suite("mine", data=own)
    assert (found.name, found.version, found.label_space) == ("mine", 3, "pets")


def test_a_manifest_of_one_s_own_goes_before_a_shipped_one_of_its_name(own: DataRoot) -> None:
    assert own.beside is not None
    path = put_manifest(own.beside, "cifar-10")
    assert load_suite("cifar-10").label_space == "cifar-10"
    assert load_suite("cifar-10", data=own).label_space == "pets"
    assert load_suite(path).label_space == "pets"


def test_a_shipped_suite_goes_before_a_dataset_of_one_s_own(own: DataRoot) -> None:
    assert own.beside is not None
    put_manifest(own.beside, "digits-safety")
    assert load_suite("digits-safety", data=own).label_space == "digits"


def test_the_path_of_a_manifest_outside_the_folder_of_own_manifests_is_refused(
    own: DataRoot, tmp_path: Path
) -> None:
    # The suite would be made from one file, and scored on another of the same name.
    (tmp_path / "elsewhere").mkdir()
    path = put_manifest(tmp_path / "elsewhere", "cifar-10")
    with pytest.raises(UsageError, match="the folder of manifests named for the data"):
        load_suite(path, data=own)


def test_a_file_that_is_neither_suite_nor_manifest_is_read_as_a_suite_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nversion: 1\ntitle: T\n")
    with pytest.raises(FileFormatError, match=r"mine\.yaml: label_space is missing"):
        load_suite(path)
    path.write_text("layout: {type: npy}\n")
    with pytest.raises(FileFormatError, match=r"mine\.yaml: "):
        load_suite(path)
    with pytest.raises(StorageError, match=r"absent\.yaml cannot be read"):
        load_suite(tmp_path / "absent.yaml")


def test_a_manifest_under_another_name_is_refused(own: DataRoot) -> None:
    assert own.beside is not None
    put_manifest(own.beside, "mine").rename(own.beside / "yours.yaml")
    with pytest.raises(FileFormatError, match="name is wrong; expected yours; found mine"):
        load_suite(own.beside / "yours.yaml")


def test_an_unknown_name_shows_near_datasets_too() -> None:
    with pytest.raises(
        UnknownNameError, match=r"expected one like imagenet-a.*; `rbs suites list` and `rbs d"
    ):
        load_suite("imagenet_a")


# ------------------------------------------------------------------------------------- digests


def suite_with(**change: object) -> Suite:
    cell = Cell.model_validate({"id": "e", "dataset": "mine", "metric": "error_rate", **change})
    return Suite(name="s", version=1, title="T", label_space="pets", seed=0, cells=(cell,), columns=("e",))


def test_the_list_of_a_cell_s_subset_is_in_the_digest(own: DataRoot) -> None:
    assert own.beside is not None
    suite = suite_with(subset="few")
    before = suite_digest(suite, own)
    put_list(own.beside, "subsets", "few", ["dog", "owl"])
    reordered = suite_digest(suite, own)
    put_list(own.beside, "subsets", "few", ["dog", "cat"])
    assert len({before, reordered, suite_digest(suite, own), suite_digest(suite_with(), own)}) == 4


def test_the_classes_of_a_cell_s_map_are_in_the_digest(own: DataRoot) -> None:
    assert own.beside is not None
    suite = suite_with(class_map="kinds")
    before = suite_digest(suite, own)
    put_map(own.beside, "kinds", {"bird": ["owl"], "canine": ["fox"]})
    assert len({before, suite_digest(suite, own), suite_digest(suite_with(), own)}) == 3


@pytest.mark.parametrize("what", ["subset: few\n", "class_map: kinds\n"])
def test_the_lists_of_a_cell_s_dataset_are_in_the_digest(own: DataRoot, what: str) -> None:
    assert own.beside is not None
    digests = {suite_digest(suite_with(), own)}
    put_manifest(own.beside, "mine", what, role="shift")
    digests.add(suite_digest(suite_with(), own))
    put_list(own.beside, "subsets", "few", ["cat", "dog"])
    put_map(own.beside, "kinds", {"bird": ["owl"], "canine": ["dog", "fox"]})
    digests.add(suite_digest(suite_with(), own))
    assert len(digests) == 3


def test_lists_that_no_cell_names_are_not_in_the_digest(own: DataRoot) -> None:
    assert own.beside is not None
    before = suite_digest(suite_with(), own)
    put_list(own.beside, "subsets", "few", ["cat", "dog"])
    put_map(own.beside, "kinds", {"bird": ["owl"], "canine": ["dog"]})
    put_manifest(own.beside, "other")
    assert suite_digest(suite_with(), own) == before


def test_the_digest_of_a_suite_without_lists_is_that_of_suite_and_manifests_alone(own: DataRoot) -> None:
    suite = suite_with()
    expected = digest_of(
        {
            "suite": suite.model_dump(mode="json", exclude={"title"}),
            "manifests": {"mine": load_dataset("mine", data=own).scored_fields()},
        }
    )
    assert suite_digest(suite, own) == expected


def test_the_in_distribution_dataset_is_in_the_digest(own: DataRoot) -> None:
    assert own.beside is not None
    put_manifest(own.beside, "inside")
    suite = suite_with(metric="auroc", detector="msp", in_distribution="inside")
    before = suite_digest(suite, own)
    put_manifest(own.beside, "inside", "pre_cropped: true\n")
    assert suite_digest(suite, own) != before


def test_the_source_of_other_labels_is_in_the_digest(own: DataRoot) -> None:
    assert own.beside is not None
    layout = "{type: relabelled, source: mine, file: real.json, format: real_json}"
    (own.beside / "again.yaml").write_text(f"name: again\nrole: labels\nlayout: {layout}\n{FIELDS}")
    suite = load_suite("again", data=own)
    before = suite_digest(suite_with(dataset="again"), own)
    put_manifest(own.beside, "mine", "pre_cropped: true\n")
    assert suite_digest(suite_with(dataset="again"), own) != before
    assert suite.cells[0].dataset == "again"


# ------------------------------------------------------------------------------------- conditions


def test_a_cell_s_levels_choose_among_its_conditions() -> None:
    suite = load_suite("digits-safety")
    cell = suite.cells[1].model_copy(update={"conditions": ("contrast", "shot_noise"), "levels": (5, 2)})
    found = [(condition.name, condition.level) for condition in cell_conditions(cell, suite, NOWHERE)]
    # In the manifest's order, not the cell's.
    assert found == [("shot_noise", 2), ("shot_noise", 5), ("contrast", 2), ("contrast", 5)]
    every = cell.model_copy(update={"conditions": "all", "levels": (1,)})
    whole = cell.model_copy(update={"conditions": "all", "levels": ()})
    assert len(cell_conditions(whole, suite, NOWHERE)) == 5 * len(cell_conditions(every, suite, NOWHERE))
    assert {condition.level for condition in cell_conditions(every, suite, NOWHERE)} == {1}


def test_a_cell_that_names_an_unknown_level_is_refused() -> None:
    suite = load_suite("digits-safety")
    cell = suite.cells[1].model_copy(update={"levels": (5, 6)})
    with pytest.raises(FileFormatError, match="c_error: levels; expected some of 1, 2, 3, 4, 5; found 6"):
        cell_conditions(cell, suite, NOWHERE)


@pytest.mark.parametrize(("name", "source"), [("imagenet-real", "imagenet-1k"), ("cifar-10h", "cifar-10")])
def test_other_labels_are_measured_on_the_conditions_of_the_images_they_belong_to(
    name: str, source: str
) -> None:
    suite = load_suite(name)
    for cell in suite.cells:
        assert [c.path for c in cell_conditions(cell, suite, NOWHERE)] == [f"{source}/clean/clean-0"]
    # One pass over the images serves both kinds of labels.
    assert [(c.path, len(cells)) for c, cells in needed_conditions(suite, NOWHERE).items()] == [
        (f"{source}/clean/clean-0", len(suite.cells))
    ]


def test_a_cell_that_names_an_unknown_condition_is_refused() -> None:
    suite = load_suite("digits-safety")
    cell = suite.cells[1].model_copy(update={"conditions": ("snow",)})
    with pytest.raises(FileFormatError, match="cell c_error: conditions; expected some of brightness"):
        cell_conditions(cell, suite, NOWHERE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "eror_rate"}, "expected one of .*error_rate.*; found eror_rate"),
        ({"metric": "auroc"}, "expected a detector and in_distribution"),
        ({"detector": "msp", "in_distribution": "digits"}, "expected no detector"),
    ],
)
def test_a_cell_whose_metric_cannot_be_fed_is_refused(change: dict[str, str], message: str) -> None:
    suite = load_suite("digits-safety")
    cell = suite.cells[0].model_copy(update=change)
    with pytest.raises(FileFormatError, match=message):
        needed_conditions(suite.model_copy(update={"cells": (cell,)}), NOWHERE)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("imagenet-r", "found imagenet-r, without shape and texture and a class map"),
        ("objectnet", "found objectnet, without shape and texture$"),
    ],
)
def test_a_shape_bias_of_images_without_shape_and_texture_is_refused(dataset: str, message: str) -> None:
    cell = Cell(id="bias", dataset=dataset, metric="shape_bias")
    with pytest.raises(
        FileFormatError, match=f"cell bias: metric shape_bias; expected a dataset .*; {message}"
    ):
        needed_conditions(suite_of_cell(cell), NOWHERE)


@pytest.mark.parametrize(
    ("dataset", "metric", "said"),
    [
        (
            "cifar-10-p",
            "error_rate",
            "expected single images: .*found cifar-10-p/sequence/gaussian_noise",
        ),
        ("cifar-10-p", "rms_calibration_error", "expected single images"),
        ("cifar-10", "flip_rate", "expected sequences; found cifar-10/clean/clean-0 of dataset cifar-10"),
        ("cifar-10-c", "top5_distance", "expected sequences"),
    ],
)
def test_frames_are_compared_and_never_counted_as_images(dataset: str, metric: str, said: str) -> None:
    cell = Cell(id="one", dataset=dataset, metric=metric)
    with pytest.raises(FileFormatError, match=f"cell one: metric {metric}; {said}"):
        needed_conditions(suite_of_cell(cell), NOWHERE)


def test_frames_are_no_unknown_images_either() -> None:
    cell = Cell(id="one", dataset="cifar-10-p", metric="auroc", detector="msp", in_distribution="cifar-10")
    with pytest.raises(FileFormatError, match="expected single images"):
        needed_conditions(suite_of_cell(cell), NOWHERE)


def suite_of_cell(cell: Cell) -> Suite:
    return Suite(
        name="own", version=1, title="t", label_space="cifar-10", seed=0, cells=(cell,), columns=(cell.id,)
    )


def test_a_headline_is_the_list_of_the_manifest_and_has_its_digest() -> None:
    named = Cell(id="flips", dataset="cifar-10-p", metric="flip_rate", conditions="headline")
    headline = load_dataset("cifar-10-p").manifest.headline
    listed = named.model_copy(update={"conditions": headline, "levels": (1,)})
    found = cell_conditions(named, suite_of_cell(named), NOWHERE)
    assert len(found) == 10
    assert found == cell_conditions(listed, suite_of_cell(listed), NOWHERE)
    assert suite_digest(suite_of_cell(named), NOWHERE) == suite_digest(suite_of_cell(listed), NOWHERE)


def test_a_dataset_without_a_headline_says_so() -> None:
    cell = Cell(id="error", dataset="cifar-10", metric="error_rate", conditions="headline")
    with pytest.raises(FileFormatError, match="dataset cifar-10 has no headline"):
        cell_conditions(cell, suite_of_cell(cell), NOWHERE)
