"""The suite that every dataset is: its cells under its own rules, beside what it is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.data import DataRoot, Dataset, dataset_names, load_dataset
from robustbench_safety.errors import UsageError
from robustbench_safety.labels import class_digest
from robustbench_safety.records import Cell, Suite
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import cell_conditions
from robustbench_safety.suites.of_dataset import suite_of

NOWHERE = DataRoot(root=Path("nowhere"))

ALONE = ("error", "rms")
BESIDE_CLEAN = ("error", "clean_error", "drop", "rms")
DETECTED = ("auroc", "aupr_out", "fpr95")
#: What corruptions are made of, and what detectors are fitted on: no suites.
UNTESTED = {"frost-textures": "material", "cifar-10-train-1": "fit"}
#: Columns of the suite of every other shipped dataset; a new dataset gets a place here.
COLUMNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ["cifar-10", "cifar-100", "digits", "digits-c", "imagenet-1k", "robin-iid-test", "tiny-imagenet"],
        ALONE,
    ),
    **dict.fromkeys(
        [
            "cifar-10-c",
            "cifar-10-c-bar",
            "cifar-10-c-generated",
            "cifar-10.1-v4",
            "cifar-10.1-v6",
            "cifar-100-c",
            "cifar-100-c-generated",
            "imagenet-c",
            "imagenet-c-bar",
            "imagenet-c-bar-resize256",
            "imagenet-c-generated",
            "imagenet-c-resize256",
            "imagenet-g-v1",
            "imagenet-sketch",
            "imagenet-v2-matched-frequency",
            "imagenet-v2-threshold-0.7",
            "imagenet-v2-top-images",
            "robin-context",
            "robin-occlusion",
            "robin-pose",
            "robin-shape",
            "robin-texture",
            "robin-weather",
            "tiny-imagenet-c",
            "tiny-imagenet-c-generated",
        ],
        BESIDE_CLEAN,
    ),
    **dict.fromkeys(
        ["imagenet-a", "imagenet-r"], ("error_200", "error_1000", "clean_error_200", "drop", "rms")
    ),
    "objectnet": ("error_125", "error_1000", "clean_error_125", "drop", "rms"),
    "cue-conflict": ("error_207", "error_1000", "clean_error_207", "drop", "rms"),
    **dict.fromkeys(
        [
            "cifar-10-p",
            "cifar-10-p-generated",
            "cifar-100-p",
            "cifar-100-p-generated",
            "imagenet-p",
            "imagenet-p-generated",
            "tiny-imagenet-p-generated",
        ],
        ("flip_rate", "clean_error"),
    ),
    "digits-p": ("flip_rate",),
    "imagenet-real": ("error", "original_error"),
    "cifar-10h": ("error", "soft_cross_entropy", "original_error"),
    "imagenet-o": (
        "auroc_200",
        "auroc_all_50000",
        "aupr_out_200",
        "aupr_out_all_50000",
        "fpr95_200",
        "fpr95_all_50000",
    ),
    **dict.fromkeys(
        [
            "blobs",
            "blobs-64",
            "blobs-224",
            "gaussian-noise",
            "gaussian-noise-64",
            "gaussian-noise-224",
            "inaturalist",
            "isun",
            "lsun",
            "lsun-crop",
            "lsun-resize",
            "mnist",
            "ninco",
            "openimage-o",
            "places69",
            "rademacher-noise",
            "rademacher-noise-64",
            "rademacher-noise-224",
            "ssb-hard",
            "svhn",
            "textures",
            "tinyimagenet-crop",
            "tinyimagenet-resize",
            *(
                f"openood-cifar10-{name}"
                for name in ("cifar100", "mnist", "places365", "svhn", "texture", "tin")
            ),
            *(
                f"openood-cifar100-{name}"
                for name in ("cifar10", "mnist", "places365", "svhn", "texture", "tin")
            ),
            *(
                f"openood-imagenet-{name}"
                for name in ("inaturalist", "ninco", "openimage-o", "ssb-hard", "textures")
            ),
        ],
        DETECTED,
    ),
}


@pytest.mark.parametrize("name", UNTESTED)
def test_no_model_is_tested_on_what_corruptions_are_made_of_or_detectors_fitted_on(name: str) -> None:
    with pytest.raises(UsageError, match=f"role '{UNTESTED[name]}'"):
        suite_of(load_dataset(name, data=NOWHERE))


def own_suite(name: str) -> Suite:
    """The suite that a dataset is, also where a suite of its name is shipped."""
    return suite_of(load_dataset(name, data=NOWHERE))


def by_id(suite: Suite) -> dict[str, Cell]:
    return {cell.id: cell for cell in suite.cells}


@pytest.mark.parametrize("name", [name for name in dataset_names() if name not in UNTESTED])
def test_every_shipped_dataset_is_a_suite_with_the_columns_of_its_kind(name: str) -> None:
    dataset = load_dataset(name, data=NOWHERE)
    suite = suite_of(dataset)
    assert suite.columns == COLUMNS[name]
    assert (suite.name, suite.version, suite.seed) == (name, dataset.manifest.version, 0)
    assert needed_conditions(suite, NOWHERE), "its metrics, conditions and lists exist"


@pytest.mark.parametrize("name", [name for name in dataset_names() if name not in UNTESTED])
def test_the_label_space_is_the_dataset_s_or_that_of_the_images_it_is_told_from(name: str) -> None:
    dataset = load_dataset(name, data=NOWHERE)
    companion = dataset.companion()
    expected = dataset if dataset.manifest.role != "ood" else companion
    assert expected is not None
    assert suite_of(dataset).label_space == expected.manifest.label_space


@pytest.mark.parametrize("name", [name for name, columns in COLUMNS.items() if "drop" in columns])
def test_the_drop_is_the_error_less_that_of_the_companion_on_the_same_classes(name: str) -> None:
    manifest = load_dataset(name, data=NOWHERE).manifest
    suite = own_suite(name)
    (drop,) = suite.aggregates
    assert (drop.id, drop.reduce) == ("drop", "difference")
    first, second = (by_id(suite)[cell] for cell in drop.of)
    assert first == suite.cells[0]
    assert (first.dataset, second.dataset) == (name, manifest.companion)
    assert first.metric == second.metric == "error_rate"
    assert first.subset == second.subset == manifest.subset
    # The dataset is measured by its own map, its companion only because the cell says so.
    assert (first.class_map, second.class_map) == (None, manifest.class_map)


@pytest.mark.parametrize("name", [name for name, columns in COLUMNS.items() if "error_1000" in columns])
def test_the_error_on_all_classes_is_told_from_that_on_the_dataset_s(name: str) -> None:
    cells = by_id(own_suite(name))
    few, every = (cells[column] for column in COLUMNS[name][:2])
    assert few.subset is not None
    assert every == few.model_copy(update={"id": "error_1000", "subset": None})
    assert cells["rms"] == few.model_copy(update={"id": "rms", "metric": "rms_calibration_error"})


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("imagenet-c", 75),
        ("imagenet-c-resize256", 75),
        ("imagenet-c-bar-resize256", 50),
        ("imagenet-c-generated", 75),
        ("cifar-10-c", 75),
        ("cifar-10-c-generated", 75),
        ("cifar-100-c", 75),
        ("cifar-100-c-generated", 75),
        ("tiny-imagenet-c", 75),
        ("tiny-imagenet-c-generated", 75),
        ("cifar-10-c-bar", 50),
        ("imagenet-c-bar", 50),
        ("imagenet-p", 10),
        ("imagenet-p-generated", 10),
        ("tiny-imagenet-p-generated", 10),
        ("cifar-10-p", 10),
        ("cifar-10-p-generated", 10),
        ("cifar-100-p", 10),
        ("cifar-100-p-generated", 10),
        ("imagenet-1k", 1),
    ],
)
def test_the_headline_is_the_published_mean(name: str, n: int) -> None:
    suite = own_suite(name)
    cell = suite.cells[0]
    found = cell_conditions(cell, suite, NOWHERE)
    assert len(found) == n
    assert {condition.dataset for condition in found} == {name}
    for other in suite.cells:
        if other.dataset == name:
            assert cell_conditions(other, suite, NOWHERE) == found


def test_of_nineteen_corruptions_of_imagenet_c_the_four_extra_ones_stay_out() -> None:
    suite = own_suite("imagenet-c")
    names = {condition.name for condition in cell_conditions(suite.cells[0], suite, NOWHERE)}
    everything = {
        condition.name for condition in load_dataset("imagenet-c", data=NOWHERE).manifest.all_conditions()
    }
    assert everything - names == {"gaussian_blur", "saturate", "spatter", "speckle_noise"}


@pytest.mark.parametrize("name", ["imagenet-p", "cifar-10-p", "cifar-100-p"])
def test_flips_are_counted_in_the_ten_sequences_at_the_first_difficulty_alone(name: str) -> None:
    suite = own_suite(name)
    found = cell_conditions(by_id(suite)["flip_rate"], suite, NOWHERE)
    assert {condition.name for condition in found} == {
        "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate",
        "rotate", "tilt", "scale",
    }  # fmt: skip
    assert [condition.level for condition in found] == [1] * 10
    assert {condition.kind for condition in found} == {"sequence"}


@pytest.mark.parametrize("name", [name for name, columns in COLUMNS.items() if columns == DETECTED])
def test_images_out_of_distribution_are_told_from_the_companion_s_by_the_largest_softmax(name: str) -> None:
    companion = load_dataset(name, data=NOWHERE).manifest.companion
    for cell in own_suite(name).cells:
        assert (cell.dataset, cell.in_distribution, cell.detector) == (name, companion, "msp")
        assert (cell.subset, cell.options) == (None, {})
    assert [cell.metric for cell in own_suite(name).cells] == ["auroc", "aupr_out", "fpr_at_tpr"]


def test_imagenet_o_is_measured_on_its_classes_and_apart_from_that_on_all_images() -> None:
    cells = by_id(own_suite("imagenet-o"))
    for column, metric in (("auroc", "auroc"), ("aupr_out", "aupr_out"), ("fpr95", "fpr_at_tpr")):
        few, every = cells[f"{column}_200"], cells[f"{column}_all_50000"]
        assert (few.metric, few.subset) == (metric, "imagenet-o")
        assert every == few.model_copy(update={"id": every.id, "subset": None})
        assert few.in_distribution == "imagenet-1k"


def test_human_labels_are_measured_beside_the_original_ones() -> None:
    cells = by_id(own_suite("cifar-10h"))
    assert (cells["error"].dataset, cells["original_error"].dataset) == ("cifar-10h", "cifar-10")
    assert cells["soft_cross_entropy"].metric == "soft_label_cross_entropy"
    assert cells["soft_cross_entropy"].dataset == "cifar-10h"


# ------------------------------------------------------------------------------------------ of one's own

PETS = ["cat", "dog", "fox", "owl"]


def own(folder: Path, **change: object) -> Dataset:
    fields: dict[str, object] = {
        "name": "mine",
        "version": 4,
        "title": "Mine",
        "role": "shift",
        "layout": "{type: image_folder}",
        "conditions": "[{kind: clean, names: [clean], levels: [0]}]",
        "label_space": "pets",
        "samples": 6,
        "licence": "own",
        "citation": "own",
        **change,
    }
    for kind, name, more, classes in (
        ("labels", "pets", "", PETS),
        ("subsets", "few", "label_space: pets\ncount: 2\n", ["owl", "dog"]),
    ):
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / f"{name}.yaml").write_text(
            f"name: {name}\ndigest: {class_digest(classes)}\nsource: here\n{more}classes: {classes}\n"
        )
    name = str(fields["name"])
    (folder / f"{name}.yaml").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    return load_dataset(name, data=DataRoot(root=folder, beside=folder))


def test_a_dataset_of_one_s_own_counts_the_classes_of_its_own_lists(tmp_path: Path) -> None:
    own(tmp_path, name="source", role="clean")
    suite = suite_of(own(tmp_path, subset="few", companion="source"))
    assert suite.columns == ("error_2", "error_4", "clean_error_2", "drop", "rms")
    assert (suite.title, suite.version) == ("Mine", 4)


def test_without_a_companion_there_is_no_drop(tmp_path: Path) -> None:
    suite = suite_of(own(tmp_path, subset="few"))
    assert suite.columns == ("error_2", "error_4", "rms")
    assert suite.aggregates == ()


def test_a_headline_of_one_s_own_chooses_conditions_and_levels(tmp_path: Path) -> None:
    dataset = own(
        tmp_path,
        role="corruption",
        layout="{type: image_folder, path: '{name}/{level}'}",
        conditions="[{kind: corruption, names: [fog, snow, rain], levels: [1, 2, 3]}]",
        headline="[rain, fog]",
        headline_levels="[3, 1]",
    )
    suite = suite_of(dataset)
    found = [(c.name, c.level) for c in cell_conditions(suite.cells[0], suite, dataset.data)]
    assert found == [("fog", 1), ("fog", 3), ("rain", 1), ("rain", 3)]


@pytest.mark.parametrize("role", ["fit", "tune"])
def test_images_that_nobody_is_tested_on_are_no_suite(tmp_path: Path, role: str) -> None:
    with pytest.raises(
        UsageError, match=f"dataset mine has role '{role}'; expected a dataset that models are tested on"
    ):
        suite_of(own(tmp_path, role=role))


def test_images_out_of_distribution_without_a_companion_are_no_suite(tmp_path: Path) -> None:
    dataset = own(tmp_path, role="ood", label_space="null", layout="{type: image_folder, folders: any}")
    with pytest.raises(
        UsageError, match=r"mine has no in-distribution images to be told from; .* name it as `companion`"
    ):
        suite_of(dataset)


def test_a_companion_without_labels_tells_nothing(tmp_path: Path) -> None:
    unlabelled = {"role": "ood", "label_space": "null", "layout": "{type: image_folder, folders: any}"}
    own(tmp_path, name="other", **unlabelled)
    with pytest.raises(
        UsageError, match="dataset other has no label space; expected labelled companion images"
    ):
        suite_of(own(tmp_path, companion="other", **unlabelled))
