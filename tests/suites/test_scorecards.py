"""The safety suites: their columns, and what each is measured on, held against the protocols."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.files import resource_names
from robustbench_safety.normalising import check_aggregates
from robustbench_safety.records import Aggregate, Cell, Suite
from robustbench_safety.robustness import check_robustness
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import cell_conditions, suite_baselines, suite_digest
from robustbench_safety.suites import load_suite as load_shipped

NOWHERE = DataRoot(root=Path("nowhere"))
load_suite = cache(load_shipped)

FIVE = ("corruptions", "consistency", "adversaries", "calibration", "anomaly")
OF_FIVE = {
    "cifar10-safety": "cifar-10",
    "cifar10-safety-generated": "cifar-10",
    "cifar100-safety": "cifar-100",
    "cifar100-safety-generated": "cifar-100",
    "imagenet-safety": "imagenet-1k",
    "imagenet-safety-resize256": "imagenet-1k",
    "imagenet-safety-generated": "imagenet-1k",
    "tiny-imagenet-c-generated": "tiny-imagenet",
}
#: Suites and the clean images that each stands on.
CLEAN = OF_FIVE | {"tiny-imagenet-c": "tiny-imagenet"}
#: Suites of reliability and the sets of each, by the first part of a cell's id.
RELIABILITY = {
    "reliability": {
        "clean": "imagenet-1k",
        "c": "imagenet-c",
        "v2": "imagenet-v2-matched-frequency",
        "sketch": "imagenet-sketch",
        "r": "imagenet-r",
        "a": "imagenet-a",
        "objectnet": "objectnet",
    },
    "reliability-cifar10": {"clean": "cifar-10", "c": "cifar-10-c", "v6": "cifar-10.1-v6"},
    "reliability-cifar10-generated": {"clean": "cifar-10", "c": "cifar-10-c-generated"},
}
OPENOOD = ("ood-cifar10", "ood-imagenet", "ood-imagenet-zero-shot")
UNKNOWN = ("unknown-detection", "unknown-detection-cifar10")
#: protocols.md 3.12, of RobustBench: norm, eps, and images where they are not all.
ADVERSARIAL = {
    "adversarial-cifar10-linf": ("linf", "8/255", None),
    "adversarial-cifar10-l2": ("l2", "0.5", None),
    "adversarial-imagenet-linf": ("linf", "4/255", 5000),
}
CIFAR = ("cifar10-safety", "cifar100-safety")
IMAGENET = ("imagenet-safety", "imagenet-safety-resize256")
NATURAL = ("imagenet-natural", "zero-shot-clip")
GENERATED = tuple(name for name in OF_FIVE if name.endswith("-generated"))

# ---------------------------------------------------------- what the papers average, read in their sources

#: protocols.md 1.2: the corruptions by group.
GROUPS = {
    "noise": {"gaussian_noise", "shot_noise", "impulse_noise"},
    "blur": {"defocus_blur", "glass_blur", "motion_blur", "zoom_blur"},
    "weather": {"snow", "frost", "fog", "brightness"},
    "digital": {"contrast", "elastic_transform", "pixelate", "jpeg_compression"},
}
#: protocols.md 1.4: the ten sequences of the paper; 2.6: the ten of the authors' script.
PAPER_TEN = {
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate",
    "tilt", "scale",
}  # fmt: skip
AUGMIX_TEN = (PAPER_TEN - {"snow"}) | {"spatter"}
#: protocols.md 1.3.
C_BAR_TEN = {
    "blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout",
    "cocentric_sine_waves", "inverse_sparkles", "perlin_noise", "plasma_noise",
    "single_frequency_greyscale", "sparkles",
}  # fmt: skip
#: protocols.md 4.1 (recalled there): what the column of anomalies is averaged over.
SEVEN = {"gaussian-noise", "rademacher-noise", "blobs", "textures", "svhn", "lsun", "places69"}
#: Where there is nothing but clean images: the three that are drawn, at the size of the network.
DRAWN = {
    "cifar-10": {"gaussian-noise", "rademacher-noise", "blobs"},
    "cifar-100": {"gaussian-noise", "rademacher-noise", "blobs"},
    "tiny-imagenet": {"gaussian-noise-64", "rademacher-noise-64", "blobs-64"},
    "imagenet-1k": {"gaussian-noise-224", "rademacher-noise-224", "blobs-224"},
}


def cells_of(suite: Suite) -> dict[str, Cell]:
    return {cell.id: cell for cell in suite.cells}


def aggregates_of(suite: Suite) -> dict[str, Aggregate]:
    return {aggregate.id: aggregate for aggregate in suite.aggregates}


def made_of(suite: Suite, column: str) -> list[Cell]:
    """The cells that a column is made of."""
    cells = cells_of(suite)
    return [cells[name] for name in aggregates_of(suite)[column].of]


def named(suite: Suite, cell: Cell) -> dict[str, list[int]]:
    """Names of the conditions of a cell, with the levels of each."""
    out: dict[str, list[int]] = {}
    for condition in cell_conditions(cell, suite, NOWHERE):
        out.setdefault(condition.name, []).append(condition.level)
    return out


def at(levels: list[int], names: Iterable[str]) -> dict[str, list[int]]:
    return dict.fromkeys(names, levels)


# ----------------------------------------------------------------------------------------- what is shipped


def test_the_shipped_suites_are_these() -> None:
    others = {"cifar10-clean", "cifar10-natural", "digits-safety", "robin", "shape-bias", *NATURAL}
    assert resource_names("suites") == sorted(
        {*CLEAN, *others, *RELIABILITY, *UNKNOWN, *OPENOOD, *ADVERSARIAL}
    )


@pytest.mark.parametrize("name", resource_names("suites"))
def test_every_cell_finds_its_conditions_and_every_baseline_its_numbers(name: str) -> None:
    suite = load_suite(name)
    for cell in suite.cells:
        assert cell_conditions(cell, suite, NOWHERE), cell.id
    check_aggregates(suite, NOWHERE, suite_baselines(suite, NOWHERE))
    check_robustness(suite, NOWHERE)
    assert needed_conditions(suite, NOWHERE)


@pytest.mark.parametrize("name", resource_names("suites"))
def test_every_number_that_has_no_column_is_there_for_a_reason(name: str) -> None:
    # An aggregate that nobody shows is dead; a cell may stand in the record alone.
    suite = load_suite(name)
    drops = {one.id for one in suite.aggregates if one.reduce == "difference"}
    if name in OPENOOD:  # every detector has its means: only those that are compared are shown
        drops |= {
            one.id for one in suite.aggregates if one.id.endswith(("fpr95", "hendrycks", "_in", "_out"))
        }
        drops |= {one.id for one in suite.aggregates if one.id.startswith(("v2_", "r_"))}
    assert {one.id for one in suite.aggregates} - drops - set(suite.columns) - set(suite.beside) <= {
        "anomaly_maxlogit_auroc", "anomaly_energy_auroc",
    }  # fmt: skip


@pytest.mark.parametrize("name", OF_FIVE)
def test_a_safety_suite_has_the_five_columns_and_the_clean_error_beside_them(name: str) -> None:
    suite = load_suite(name)
    assert suite.columns == FIVE
    assert suite.beside[0] == "clean_error"
    assert suite.label_space == load_dataset(OF_FIVE[name]).manifest.label_space
    assert suite.seed == 0


def test_tiny_imagenet_c_has_error_and_calibration_with_groups_and_clean_beside() -> None:
    suite = load_suite("tiny-imagenet-c")
    assert suite.columns == ("corruptions", "calibration")
    assert {"clean_error", "worst_corruption", "clean_rms", *(f"c_{group}_error" for group in GROUPS)} < set(
        suite.beside
    )


@pytest.mark.parametrize("name", ["tiny-imagenet-c", "tiny-imagenet-c-generated"])
def test_a_suite_of_a_dataset_s_name_goes_before_it_with_a_version_above_it(name: str) -> None:
    assert load_suite(name).version > load_dataset(name).manifest.version


# ------------------------------------------------------------------------------------ corruptions, sequences


@pytest.mark.parametrize("name", CLEAN)
def test_corruptions_are_the_official_fifteen_at_five_severities(name: str) -> None:
    suite = load_suite(name)
    fifteen = set().union(*GROUPS.values())
    assert len(fifteen) == 15
    on_c = [cell for cell in suite.cells if cell.id.startswith("c_") and not cell.id.startswith("c_bar")]
    for cell in on_c:
        group = cell.id.split("_")[1]
        assert named(suite, cell) == at([1, 2, 3, 4, 5], GROUPS.get(group, fifteen)), cell.id
    assert len({cell.dataset for cell in on_c}) == 1
    (cell,) = made_of(suite, "corruptions")
    assert (cell.id, cell.metric) == ("c_error", "error_rate")
    assert aggregates_of(suite)["worst_corruption"].of == ("c_error",)


@pytest.mark.parametrize("name", CLEAN)
def test_the_groups_part_the_fifteen(name: str) -> None:
    suite = load_suite(name)
    cells = cells_of(suite)
    parts = [named(suite, cells[f"c_{group}_error"]) for group in GROUPS]
    together = [corruption for part in parts for corruption in part]
    assert len(together) == len(set(together)) == 15
    assert set(together) == set(named(suite, cells["c_error"]))
    assert {cells[f"c_{group}_error"].metric for group in GROUPS} == {"error_rate"}


@pytest.mark.parametrize("name", OF_FIVE)
def test_flips_are_counted_in_the_ten_of_the_paper_at_the_first_difficulty(name: str) -> None:
    suite = load_suite(name)
    (cell,) = made_of(suite, "consistency")
    assert named(suite, cell) == at([1], PAPER_TEN)
    assert cell.metric == "flip_rate"
    assert {one.kind for one in cell_conditions(cell, suite, NOWHERE)} == {"sequence"}
    if OF_FIVE[name] != "imagenet-1k":
        (other,) = made_of(suite, "consistency_augmix")
        assert named(suite, other) == at([1], AUGMIX_TEN)
        assert (other.dataset, other.metric) == (cell.dataset, "flip_rate")


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_is_divided_by_alexnet_and_the_plain_means_stand_beside(name: str) -> None:
    suite = load_suite(name)
    aggregates = aggregates_of(suite)
    assert [(aggregates[one].reduce, aggregates[one].baseline) for one in ("corruptions", "consistency")] == [
        ("normalised", "alexnet-imagenet-c"),
        ("normalised", "alexnet-imagenet-p"),
    ]
    assert aggregates["relative_mce"].of == ("c_error", "clean_error")
    assert aggregates["relative_mce"].reduce == "relative"
    (distance,) = made_of(suite, "mt5d")
    assert named(suite, distance) == at([1], PAPER_TEN)
    assert distance.metric == "top5_distance"
    assert {"c_error", "relative_mce", "p_flip_rate", "p_top5_distance", "mt5d"} < set(suite.beside)


@pytest.mark.parametrize("name", [name for name in OF_FIVE if name not in IMAGENET])
def test_nothing_is_divided_where_the_baseline_saw_other_images(name: str) -> None:
    assert suite_baselines(load_suite(name), NOWHERE) == {}


@pytest.mark.parametrize("name", IMAGENET)
def test_the_two_suites_of_imagenet_differ_in_the_crop_of_c_and_c_bar_alone(name: str) -> None:
    cells = cells_of(load_suite(name))
    for cell in ("c_error", "c_bar_error", "c_rms", "c_bar_rms"):
        pre_cropped = load_dataset(cells[cell].dataset).manifest.pre_cropped
        assert pre_cropped is not name.endswith("-resize256")
    # No source resizes the frames of ImageNet-P.
    assert cells["p_flip_rate"].dataset == "imagenet-p"
    native = [
        cell.model_copy(update={"dataset": cell.dataset.removesuffix("-resize256")})
        for cell in cells.values()
    ]
    assert native == list(load_suite("imagenet-safety").cells)


@pytest.mark.parametrize("name", IMAGENET)
def test_shifts_of_imagenet_are_measured_on_their_own_classes_beside_the_clean_images_of_these(
    name: str,
) -> None:
    suite = load_suite(name)
    cells = cells_of(suite)
    assert named(suite, cells["c_bar_error"]) == at([1, 2, 3, 4, 5], C_BAR_TEN)
    for letter in ("a", "r"):
        shift = f"imagenet-{letter}"
        drop = aggregates_of(suite)[f"{letter}_drop"]
        assert [(cells[one].dataset, cells[one].subset) for one in drop.of] == [
            (shift, shift),
            ("imagenet-1k", shift),
        ]
        assert (cells[f"{letter}_rms"].dataset, cells[f"{letter}_rms"].subset) == (shift, shift)
    o = cells["o_aupr"]
    assert (o.dataset, o.subset, o.in_distribution) == ("imagenet-o", "imagenet-o", "imagenet-1k")
    # 2,000 images among 12,000: the base rate that the authors' code has, without weights.
    assert (o.metric, o.detector, o.options) == ("aupr_out", "msp", {})


# ------------------------------------------------------------------------------- adversaries, calibration


@pytest.mark.parametrize("name", OF_FIVE)
def test_adversaries_are_pgd_of_the_papers_on_the_clean_images(name: str) -> None:
    suite = load_suite(name)
    (cell,) = made_of(suite, "adversaries")
    assert cell.attack is not None
    # protocols.md 3.12
    assert cell.attack.model_dump() == {
        "name": "pgd", "norm": "linf", "eps": "2/255", "steps": 20, "step": "0.5/255",
    }  # fmt: skip
    assert (cell.dataset, cell.metric) == (OF_FIVE[name], "error_rate")


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_an_adversarial_suite_is_ranked_by_autoattack_and_has_pgd_of_the_same_size_beside(name: str) -> None:
    suite, (norm, eps, images) = load_suite(name), ADVERSARIAL[name]
    assert suite.columns == ("autoattack_error",)
    assert {"clean_error", "pgd_error", "clean_rms"} < set(suite.beside)
    cells = cells_of(suite)
    dataset = "cifar-10" if "cifar10" in name else "imagenet-1k"
    assert {cell.dataset for cell in suite.cells} == {dataset}
    for which in ("pgd", "autoattack"):
        found = {end: cells[f"{which}_{end}"] for end in ("error", "rms", "nll", "msp_auroc")}
        assert {(one.attack.name, one.attack.norm, one.attack.eps, one.attack.images)
                for one in found.values() if one.attack} == {(which, norm, eps, images)}  # fmt: skip
        assert found["msp_auroc"].in_distribution == dataset
        assert [found[end].metric for end in ("error", "rms", "nll", "msp_auroc")] == [
            "error_rate", "rms_calibration_error", "negative_log_likelihood", "auroc"]  # fmt: skip
    # One pass over the clean images and two attacks serve all cells.
    assert len(needed_conditions(suite, NOWHERE)) == 3


@pytest.mark.parametrize("name", CLEAN)
def test_calibration_is_the_mean_rms_over_the_75_cells_beside_that_on_clean_images(name: str) -> None:
    suite = load_suite(name)
    (cell,) = made_of(suite, "calibration")
    assert (cell.id, cell.metric, cell.options) == ("c_rms", "rms_calibration_error", {})
    assert len(cell_conditions(cell, suite, NOWHERE)) == 75
    clean = cells_of(suite)["clean_rms"]
    assert (clean.dataset, clean.metric) == (CLEAN[name], cell.metric)
    assert "clean_rms" in suite.beside
    for prefix in ("clean", "c"):
        hendrycks = cells_of(suite)[f"{prefix}_rms_hendrycks"]
        assert hendrycks.metric == "rms_calibration_error_hendrycks"


#: Measures of calibration, by the end of a cell's id.
MEASURES: dict[str, tuple[str, dict[str, object]]] = {
    "rms": ("rms_calibration_error", {}),
    "rms_hendrycks": ("rms_calibration_error_hendrycks", {}),
    "mad": ("mean_absolute_calibration_error", {}),
    "mad_hendrycks": ("mean_absolute_calibration_error_hendrycks", {}),
    "ece": ("expected_calibration_error", {"bins": 15, "binning": "equal_width"}),
    "ece_equal_mass": ("expected_calibration_error", {"bins": 15, "binning": "equal_mass"}),
    "brier": ("brier_score", {}),
    "nll": ("negative_log_likelihood", {}),
    "soft_f1": ("soft_f1_score", {}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_every_measure_of_calibration_is_there_on_clean_images(name: str) -> None:
    cells = cells_of(load_suite(name))
    found = {end: cells[f"clean_{end}"] for end in MEASURES}
    assert {end: (cell.metric, cell.options) for end, cell in found.items()} == MEASURES
    assert {cell.dataset for cell in found.values()} == {CLEAN[name]}
    for end in ("ece", "brier", "nll"):
        assert (cells[f"c_{end}"].metric, cells[f"c_{end}"].options) == MEASURES[end]


@pytest.mark.parametrize("name", resource_names("suites"))
def test_a_temperature_makes_a_row_of_its_own_that_says_so(name: str) -> None:
    suite = load_suite(name)
    cells = cells_of(suite)
    for cell in suite.cells:
        assert (cell.temperature is not None) == cell.id.endswith("_scaled")
        if cell.temperature is not None:
            plain = cells[cell.id.removesuffix("_scaled")]
            assert cell == plain.model_copy(update={"id": cell.id, "temperature": "cross_fit"})
    if name in OF_FIVE:
        assert {cell.id for cell in suite.cells if cell.temperature} == {
            f"clean_{end}_scaled" for end in ("rms", "ece", "brier", "nll")
        }


# ------------------------------------------------------------------------------------------------- anomaly


def expected_sets(name: str) -> set[str]:
    if name in GENERATED:
        return DRAWN[OF_FIVE[name]]
    if name in CIFAR:
        return SEVEN
    # The papers' list for ImageNet is unverified. Textures without its four ImageNet classes.
    return {"openood-imagenet-textures", "inaturalist", "lsun", "places69"}


@pytest.mark.parametrize("name", OF_FIVE)
@pytest.mark.parametrize(
    ("column", "metric", "detector", "options"),
    [
        ("anomaly", "auroc", "msp", {}),
        ("anomaly_aupr", "aupr_out", "msp", {"base_rate": 1 / 6}),
        ("anomaly_fpr95", "fpr_at_tpr", "msp", {"tpr": 0.95}),
        ("anomaly_maxlogit_auroc", "auroc", "maxlogit", {}),
        ("anomaly_energy_auroc", "auroc", "energy", {}),
    ],
)
def test_anomalies_are_told_from_all_clean_images_and_the_sets_weigh_alike(
    name: str, column: str, metric: str, detector: str, options: dict[str, float]
) -> None:
    suite = load_suite(name)
    assert aggregates_of(suite)[column].reduce == "mean"
    found = made_of(suite, column)
    assert {cell.dataset for cell in found} == expected_sets(name)
    assert len(found) == len(expected_sets(name))
    for cell in found:
        assert (cell.metric, cell.detector, cell.options) == (metric, detector, options)
        assert (cell.in_distribution, cell.subset, cell.conditions) == (OF_FIVE[name], None, "all")
        manifest = load_dataset(cell.dataset).manifest
        assert manifest.role == "ood"
        # A network of 32 px takes photographs of any size; noise is never resized.
        if manifest.image_size is None:
            assert manifest.resize_to_input or OF_FIVE[name] == "imagenet-1k"


# ----------------------------------------------------------------------------------------------- generated


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_suite_needs_clean_images_and_what_is_made_from_them(name: str) -> None:
    datasets = {condition.dataset for condition in needed_conditions(load_suite(name), NOWHERE)}
    for dataset in datasets - {OF_FIVE[name]}:
        layout = load_dataset(dataset).manifest.layout
        assert layout.type in ("generated", "builtin")
        assert getattr(layout, "source", OF_FIVE[name]) == OF_FIVE[name]


def test_generated_and_official_suites_are_never_ranked_together() -> None:
    # Rows are ranked together where suite, version and digest agree.
    names = resource_names("suites")
    suites = [load_suite(name) for name in names]
    assert [suite.name for suite in suites] == names
    assert len({suite_digest(suite, NOWHERE) for suite in suites}) == len(suites)
    for name in GENERATED:
        official = load_suite(name.removesuffix("-generated"))
        shared = {cell.dataset for cell in official.cells} & {cell.dataset for cell in load_suite(name).cells}
        assert all(load_dataset(one).manifest.role in ("clean", "ood") for one in shared)


# ------------------------------------------------------------------------------------------------- natural


def test_the_natural_suite_has_both_new_test_sets_and_the_labels_of_people() -> None:
    suite = load_suite("cifar10-natural")
    assert suite.columns == (
        "v6_error", "v6_drop", "v4_error", "v4_drop", "human_cross_entropy", "v6_rms", "v4_rms",
    )  # fmt: skip
    cells = cells_of(suite)
    for version in ("v4", "v6"):
        drop = aggregates_of(suite)[f"{version}_drop"]
        assert (drop.of, drop.reduce) == ((f"{version}_error", "clean_error"), "difference")
    for short, dataset in (("clean", "cifar-10"), ("v6", "cifar-10.1-v6"), ("v4", "cifar-10.1-v4")):
        found = {end: cells[f"{short}_{end}"] for end in ("error", "rms", "rms_hendrycks", "ece")}
        assert {cell.dataset for cell in found.values()} == {dataset}
        assert {end: (cell.metric, cell.options) for end, cell in found.items()} == {
            "error": ("error_rate", {}),
            **{end: MEASURES[end] for end in ("rms", "rms_hendrycks", "ece")},
        }
    people = cells["human_cross_entropy"]
    assert (people.dataset, people.metric) == ("cifar-10h", "soft_label_cross_entropy")
    # People's labels are joined to the predictions on CIFAR-10: three conditions, no fourth.
    assert len(needed_conditions(suite, NOWHERE)) == 3


# --------------------------------------------------------------------------------------------- reliability

#: Measures of what a confidence is worth, beside those of calibration above.
SELECTIVE: dict[str, tuple[str, dict[str, object]]] = {
    "error": ("error_rate", {}),
    **{end: MEASURES[end] for end in ("rms", "ece", "brier", "nll")},
    "aurc": ("aurc", {}),
    "eaurc": ("excess_aurc", {}),
    "augrc": ("augrc", {}),
    "prr": ("prediction_rejection_ratio", {}),
    "error_auroc": ("error_detection_auroc", {}),
    "accuracy_at_80": ("accuracy_at_coverage", {"coverage": 0.8}),
    "accuracy_at_90": ("accuracy_at_coverage", {"coverage": 0.9}),
    "accuracy_at_95": ("accuracy_at_coverage", {"coverage": 0.95}),
}


@pytest.mark.parametrize("name", RELIABILITY)
def test_reliability_measures_the_same_on_clean_images_and_on_every_shift(name: str) -> None:
    suite, sets = load_suite(name), RELIABILITY[name]
    cells = cells_of(suite)
    for short, dataset in sets.items():
        # An image with several right classes has no one probability that ought to be 1.
        undefined = {"brier", "nll"} if load_dataset(dataset).manifest.class_map else set()
        found = {end: cells.pop(f"{short}_{end}") for end in SELECTIVE if end not in undefined}
        assert {end: (cell.metric, cell.options) for end, cell in found.items()} == {
            end: measure for end, measure in SELECTIVE.items() if end not in undefined
        }
        assert {cell.dataset for cell in found.values()} == {dataset}
        # Each shift is measured on its own classes.
        assert {cell.subset for cell in found.values()} == {load_dataset(dataset).manifest.subset}
        n_conditions = {len(cell_conditions(cell, suite, NOWHERE)) for cell in found.values()}
        assert n_conditions == {75 if short == "c" else 1}
    assert not cells
    assert suite.columns == tuple(f"{short}_{end}" for end in ("rms", "aurc") for short in sets)


def test_reliability_on_generated_corruptions_is_the_same_but_for_them_and_the_new_images() -> None:
    official, generated = load_suite("reliability-cifar10"), load_suite("reliability-cifar10-generated")
    kept = [cell for cell in official.cells if not cell.id.startswith("v6_")]
    assert [cell.model_copy(update={"dataset": cell.dataset.removesuffix("-generated")})
            for cell in generated.cells] == kept  # fmt: skip
    assert {c.dataset for c in needed_conditions(generated, NOWHERE)} == {"cifar-10", "cifar-10-c-generated"}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_images_are_of_other_classes_and_told_by_the_confidence_alone(name: str) -> None:
    suite = load_suite(name)
    for cell in suite.cells:
        if cell.detector is not None:
            assert (cell.detector, cell.subset, cell.fit, cell.tune) == ("msp", None, None, None)
            assert load_dataset(cell.dataset).manifest.role == "ood"
        else:
            assert load_dataset(cell.dataset).manifest.role == "clean"
