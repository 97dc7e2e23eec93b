"""The shipped baselines, a user's own, and what a baseline may say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from robustbench_safety.baselines import baseline_table, load_baseline
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import FileFormatError, UndefinedMetricError, UnknownNameError
from robustbench_safety.files import digest_of, resource_folder, resource_names
from robustbench_safety.metrics import mean_corruption_error, mean_flip_rate
from robustbench_safety.records import Baseline, BaselineGap, BaselineTable

#: Published means over the severities, to six digits: google-research/augmix, imagenet.py.
PUBLISHED_MEANS = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}

OWN = """\
name: mine
version: 2
title: My network
model: ResNet-18, trained here
source: a run of ours
clean_error: 0.25
metrics:
  error_rate:
    verified: true
    source: a run of ours
    values:
      fog: [0.5, 0.75]
      snow: [0.25, 0.5]
  flip_rate:
    unavailable: not run
"""


def baseline(**change: object) -> Baseline:
    fields: Mapping[str, object] = {
        "name": "mine",
        "version": 1,
        "title": "Mine",
        "model": "a network",
        "source": "here",
        "metrics": {"error_rate": table({"fog": [0.5]})},
    }
    return Baseline.model_validate({**fields, **change}, strict=False)


def table(values: Mapping[str, object], **change: object) -> dict[str, object]:
    return {"verified": True, "source": "here", "values": values, **change}


def written(folder: Path, text: str, *, name: str = "mine") -> Path:
    (folder / "baselines").mkdir(exist_ok=True)
    (folder / "baselines" / f"{name}.yaml").write_text(text)
    return folder


# What is shipped.


def test_the_shipped_baselines_are_found_where_manifests_lie() -> None:
    folder = "data_manifests/baselines"
    assert resource_names(folder) == ["alexnet-imagenet-c", "alexnet-imagenet-p"]
    assert resource_folder(folder) == Path(__file__).parents[1] / "data_manifests" / "baselines"


@pytest.mark.parametrize("name", resource_names("data_manifests/baselines"))
def test_every_shipped_baseline_can_be_read(name: str) -> None:
    assert load_baseline(name).name == name


def test_alexnets_means_are_the_published_ones_to_six_digits() -> None:
    found = baseline_table(load_baseline("alexnet-imagenet-c"), "error_rate")
    assert found.verified
    assert {name: round(mean, 6) for name, mean in found.means().items()} == PUBLISHED_MEANS
    assert list(found.values) == list(PUBLISHED_MEANS)
    assert {len(numbers) for numbers in found.values.values()} == {5}


def test_alexnets_grand_mean_is_the_published_one() -> None:
    errors = baseline_table(load_baseline("alexnet-imagenet-c"), "error_rate").values
    assert round(mean_corruption_error(errors, baseline=None), 6) == 0.788993
    assert mean_corruption_error(errors, baseline=errors) == 1.0


def test_alexnets_clean_error_is_what_its_accuracy_leaves() -> None:
    assert load_baseline("alexnet-imagenet-c").clean_error == pytest.approx(1 - 0.56522, abs=1e-12)


@pytest.mark.realdata
def test_alexnets_clean_error_is_that_of_the_testbed(shared: Path) -> None:
    lines = (shared / "facts" / "imagenet_testbed_top1.csv").read_text().splitlines()
    column = lines[0].split(",").index("val")
    (accuracy,) = (float(line.split(",")[column]) for line in lines[1:] if line.startswith("alexnet,"))
    assert load_baseline("alexnet-imagenet-c").clean_error == pytest.approx(1 - accuracy / 100, abs=5e-6)


@pytest.mark.parametrize(
    ("name", "dataset", "metric"),
    [
        ("alexnet-imagenet-c", "imagenet-c", "error_rate"),
        ("alexnet-imagenet-c", "imagenet-c-generated", "error_rate"),
        ("alexnet-imagenet-p", "imagenet-p", "flip_rate"),
        ("alexnet-imagenet-p", "imagenet-p-generated", "flip_rate"),
    ],
)
def test_a_baseline_names_what_its_data_sets_published_mean_is_over(
    name: str, dataset: str, metric: str
) -> None:
    manifest = load_dataset(dataset, data=DataRoot(root=Path())).manifest
    named = load_baseline(name).metrics[metric]  # type: ignore[index]  # a name from a parameter
    assert isinstance(named, BaselineTable)
    assert set(named.values) == set(manifest.headline)


def test_recalled_flip_rates_say_that_they_are_not_verified() -> None:
    found = baseline_table(load_baseline("alexnet-imagenet-p"), "flip_rate")
    assert not found.verified
    assert "recalled" in found.source
    assert len(found.values) == 10
    assert mean_flip_rate(found.means(), baseline=found.means()) == 1.0


def test_top5_distances_that_nobody_published_have_a_reason_in_their_place() -> None:
    with pytest.raises(
        UndefinedMetricError,
        match=r"baseline alexnet-imagenet-p has no top5_distance: no source held .*; measure AlexNet",
    ):
        baseline_table(load_baseline("alexnet-imagenet-p"), "top5_distance")


def test_a_metric_that_a_baseline_does_not_name_has_no_value_either() -> None:
    with pytest.raises(UndefinedMetricError, match="has no flip_rate: its file does not name the metric"):
        baseline_table(load_baseline("alexnet-imagenet-c"), "flip_rate")


# A user's own.


def test_a_baseline_of_one_s_own_lies_below_baselines_and_goes_first(tmp_path: Path) -> None:
    written(tmp_path, OWN)
    written(tmp_path, OWN.replace("name: mine", "name: alexnet-imagenet-p"), name="alexnet-imagenet-p")
    own = load_baseline("mine", beside=tmp_path)
    assert own.clean_error == 0.25
    assert baseline_table(own, "error_rate").values == {"fog": (0.5, 0.75), "snow": (0.25, 0.5)}
    assert own.metrics["flip_rate"] == BaselineGap(unavailable="not run")
    assert load_baseline("alexnet-imagenet-p", beside=tmp_path).version == 2
    assert load_baseline("alexnet-imagenet-c", beside=tmp_path).clean_error == 0.43478


def test_a_manifest_of_one_s_own_is_not_taken_for_the_baseline_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "alexnet-imagenet-c.yaml").write_text("name: alexnet-imagenet-c\n")
    assert len(load_baseline("alexnet-imagenet-c", beside=tmp_path).metrics) == 1


def test_an_unknown_baseline_shows_near_ones_and_what_to_do() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown baseline 'alexnet-c'; expected one like alexnet-imagenet-c.*; named in",
    ):
        load_baseline("alexnet-c", fix="named in a suite")


def test_a_baseline_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"other\.yaml: name is wrong; expected other; found mine; call"
    ):
        load_baseline("other", beside=written(tmp_path, OWN, name="other"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.5, 0.75]", "[0.5, 75]", r"error_rate of 'fog' is 75: a fraction is at most 1"),
        ("[0.5, 0.75]", "[0.5, -0.1]", r"line 12: metrics\.error_rate\.values\.fog\.1 is wrong"),
        ("[0.5, 0.75]", "[0.5]", r"'snow' has 2 numbers where 'fog' has 1: all have one a level"),
        ("[0.5, 0.75]", "[]", r"metrics\.error_rate\.values\.fog is wrong"),
        ("[0.5, 0.75]", "[0, 0.0]", r"'fog' is 0 at every level: nothing can be divided by it"),
        ("[0.5, 0.75]", "0.5", r"metrics\.error_rate\.values\.fog is wrong"),
        ("    verified: true\n", "", r"metrics\.error_rate\.verified is missing"),
        ("    verified: true\n", "    verified: maybe\n", r"metrics\.error_rate\.verified is wrong"),
        ("unavailable: not run", "unavailable: ''", r"metrics\.flip_rate\.unavailable is wrong"),
        ("flip_rate:", "flips:", r"metrics\.flips"),
        ("clean_error: 0.25", "clean_error: 25", r"clean_error is wrong"),
        ("model: ResNet-18, trained here\n", "", r"model is missing"),
        ("version: 2", "version: 2\nlevels: 5", r"levels is an unknown field"),
    ],
)
def test_a_baseline_that_cannot_be_used_says_which_number_is_wrong(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in OWN
    with pytest.raises(FileFormatError, match=rf"mine\.yaml.*{message}"):
        load_baseline("mine", beside=written(tmp_path, OWN.replace(old, new, 1)))


# The record.


@pytest.mark.parametrize(
    ("metric", "largest"), [("error_rate", 1.0), ("flip_rate", 1.0), ("top5_distance", 15.0)]
)
def test_each_metric_has_its_own_range(metric: str, largest: float) -> None:
    assert baseline(metrics={metric: table({"fog": [largest]})}).metrics
    with pytest.raises(ValidationError, match=f"{metric} of 'fog' is .* at most {largest:g}"):
        baseline(metrics={metric: table({"fog": [math.nextafter(largest, math.inf)]})})
    for bad in (math.nan, math.inf):
        with pytest.raises(ValidationError, match="finite"):
            baseline(metrics={metric: table({"fog": [bad]})})


@pytest.mark.parametrize("metrics", [{}, {"error_rate": table({})}, {"accuracy": table({"fog": [0.5]})}])
def test_an_empty_baseline_or_an_unknown_metric_is_refused(metrics: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        baseline(metrics=metrics)


def test_a_lone_number_is_the_mean_and_more_are_one_a_level() -> None:
    lone = BaselineTable(verified=True, source="here", values={"fog": (0.5,), "snow": (0.25,)})
    assert lone.by_name() == {"fog": 0.5, "snow": 0.25} == lone.means()
    several = BaselineTable(verified=True, source="here", values={"fog": (0.5, 0.75)})
    assert several.by_name() == {"fog": (0.5, 0.75)}
    assert several.means() == {"fog": 0.625}


def test_what_cannot_move_a_number_is_in_no_digest() -> None:
    one = baseline(metrics={"error_rate": table({"fog": [0.5]}), "flip_rate": {"unavailable": "not run"}})
    prose = baseline(
        title="Another",
        model="the same, said otherwise",
        source="there",
        metrics={
            "error_rate": table({"fog": [0.5]}, source="there", verified=False),
            "flip_rate": {"unavailable": "lost"},
        },
    )
    assert digest_of(one.scored_fields()) == digest_of(prose.scored_fields())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"clean_error": 0.5},
        {"metrics": {"error_rate": table({"fog": [0.25]})}},
        {"metrics": {"error_rate": table({"snow": [0.5]})}},
        {"metrics": {"flip_rate": table({"fog": [0.5]})}},
    ],
)
def test_whatever_can_move_a_number_is_in_the_digest(change: dict[str, object]) -> None:
    assert digest_of(baseline(**change).scored_fields()) != digest_of(baseline().scored_fields())
