"""What a suite, its cells and its aggregates may say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from robustbench_safety.records import Attack, Cell, Condition, Suite, pixel_fraction

ATTACK = {"name": "pgd", "norm": "linf", "eps": "2/255", "steps": 20, "step": "0.5/255"}
CELL = {"id": "error", "dataset": "digits", "metric": "error_rate"}
DETECTION = {
    "id": "auroc",
    "dataset": "blobs",
    "metric": "auroc",
    "detector": "msp",
    "in_distribution": "digits",
}

EFFECTIVE = {
    "id": "er",
    "of": ("error", "error2"),
    "reduce": "effective_robustness",
    "accuracies": "published",
    "axis": "logit",
}
RELATIVE = {
    "id": "rr",
    "of": ("error",),
    "reduce": "relative_robustness",
    "accuracies": "published",
    "reference": "resnet50",
}


def suite(**change: object) -> Suite:
    fields: Mapping[str, object] = {
        "name": "mine",
        "version": 1,
        "title": "Mine",
        "label_space": "digits",
        "seed": 0,
        "cells": (CELL, {**CELL, "id": "error2"}),
        "columns": ("error",),
    }
    return Suite.model_validate({**fields, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": (CELL, CELL)}, "id 'error' is listed twice"),
        (
            {"aggregates": ({"id": "error", "of": ("error",), "reduce": "mean"},)},
            "id 'error' is listed twice",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("eror",), "reduce": "mean"},)},
            "aggregate 'a' is made of unknown cell 'eror'",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error", "error"), "reduce": "mean"},)},
            "aggregate 'a': cell 'error' is listed twice",
        ),
        ({"aggregates": ({"id": "a", "of": (), "reduce": "mean"},)}, "at least 1"),
        ({"aggregates": ({"id": "a", "of": ("error",), "reduce": "median"},)}, "'mean'"),
        (
            {
                "cells": (CELL, {**CELL, "id": "rms", "metric": "rms_calibration_error"}),
                "aggregates": ({"id": "a", "of": ("error", "rms"), "reduce": "mean"},),
            },
            "aggregate 'a' would average different metrics",
        ),
        (
            {
                "cells": (
                    {**CELL, "options": {"bins": 10}},
                    {**CELL, "id": "b", "options": {"bins": 15}},
                ),
                "aggregates": ({"id": "a", "of": ("error", "b"), "reduce": "mean"},),
            },
            "would average different metrics",
        ),
        (
            {
                "cells": (CELL, DETECTION, {**DETECTION, "id": "b", "detector": "energy"}),
                "aggregates": ({"id": "a", "of": ("auroc", "b"), "reduce": "mean"},),
            },
            "would average different metrics",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "difference"},)},
            "reduce 'difference' is of two cells, 1 are listed",
        ),
        (
            {
                "cells": (CELL, {**CELL, "id": "b"}, {**CELL, "id": "c"}),
                "aggregates": ({"id": "a", "of": ("error", "b", "c"), "reduce": "difference"},),
            },
            "reduce 'difference' is of two cells, 3 are listed",
        ),
        (
            {
                "cells": (CELL, {**CELL, "id": "b", "subset": "few"}),
                "aggregates": ({"id": "a", "of": ("error", "b"), "reduce": "difference"},),
            },
            "aggregate 'a' would average different metrics",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error", "error"), "reduce": "difference"},)},
            "cell 'error' is listed twice",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error", "error2"), "reduce": "worst"},)},
            "reduce 'worst' is of one cell, 2 are listed",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "relative", "baseline": "b"},)},
            "reduce 'relative' is of two cells, 1 are listed",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "normalised"},)},
            "baseline goes with reduce 'normalised' and 'relative'",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "mean", "baseline": "b"},)},
            "baseline goes with reduce 'normalised' and 'relative'",
        ),
        (
            {"aggregates": ({**EFFECTIVE, "of": ("error",)},)},
            "reduce 'effective_robustness' is of two cells, 1 are listed",
        ),
        (
            {"aggregates": ({**RELATIVE, "of": ("error", "error2")},)},
            "reduce 'relative_robustness' is of one cell, 2 are listed",
        ),
        (
            {"aggregates": ({**EFFECTIVE, "accuracies": None},)},
            "accuracies goes with reduce 'effective_robustness' and 'relative_robustness', and they with acc",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "mean", "accuracies": "published"},)},
            "accuracies goes with reduce 'effective_robustness' and 'relative_robustness'",
        ),
        (
            {"aggregates": ({**EFFECTIVE, "axis": None},)},
            "axis goes with reduce 'effective_robustness', and it with an axis",
        ),
        ({"aggregates": ({**EFFECTIVE, "axis": "log"},)}, "'logit' or 'probit'"),
        ({"aggregates": ({**RELATIVE, "axis": "logit"},)}, "axis goes with reduce 'effective_robustness'"),
        (
            {"aggregates": ({**RELATIVE, "reference": None},)},
            "reference goes with reduce 'relative_robustness', and it with a reference",
        ),
        (
            {"aggregates": ({**EFFECTIVE, "reference": "resnet50"},)},
            "reference goes with reduce 'relative_robustness'",
        ),
        (
            {
                "cells": (CELL, {**CELL, "id": "few", "subset": "few"}),
                "aggregates": ({**EFFECTIVE, "of": ("few", "error")},),
            },
            "aggregate 'er' would average different metrics",
        ),
        (
            {
                "cells": (CELL, {**CELL, "id": "rms", "metric": "rms_calibration_error"}),
                "aggregates": ({**RELATIVE, "of": ("rms",)},),
            },
            "'relative_robustness' is of error_rate, not of rms_calibration_error",
        ),
        ({"models": "trained"}, "'all' or 'zero-shot'"),
        (
            {
                "cells": (CELL, {**CELL, "id": "rms", "metric": "rms_calibration_error"}),
                "aggregates": ({"id": "a", "of": ("rms",), "reduce": "normalised", "baseline": "b"},),
            },
            "'normalised' is of error_rate, flip_rate, top5_distance, not of rms_calibration_error",
        ),
        (
            {
                "cells": (CELL, {**CELL, "id": "b", "temperature": "cross_fit"}),
                "aggregates": ({"id": "a", "of": ("error", "b"), "reduce": "mean"},),
            },
            "aggregate 'a' would average different metrics",
        ),
        ({"cells": (CELL, {**DETECTION, "temperature": "cross_fit"})}, "it goes without temperature"),
        (
            {
                "cells": (CELL, DETECTION),
                "aggregates": ({"id": "a", "of": ("auroc",), "reduce": "worst"},),
            },
            "'worst' is of a metric of single conditions, not of anomaly detection",
        ),
        (
            {
                "cells": (CELL, DETECTION),
                "aggregates": ({"id": "a", "of": ("auroc",), "reduce": "pooled"},),
            },
            "'pooled' is of unknown_aurc; of auroc take the mean",
        ),
        (
            {"aggregates": ({"id": "a", "of": ("error",), "reduce": "pooled"},)},
            "'pooled' is of unknown_aurc; of error_rate take the mean",
        ),
        (
            {
                "cells": (
                    CELL,
                    {**DETECTION, "metric": "unknown_aurc"},
                    {**DETECTION, "id": "b", "metric": "unknown_aurc", "detector": "energy"},
                ),
                "aggregates": ({"id": "a", "of": ("auroc", "b"), "reduce": "pooled"},),
            },
            "would average different metrics",
        ),
        ({"columns": ("eror",)}, "column 'eror' is no cell and no aggregate"),
        ({"beside": ("eror",)}, "column 'eror' is no cell and no aggregate"),
        ({"columns": ("error", "error")}, "column 'error' is listed twice"),
        ({"beside": ("error",)}, "column 'error' is listed twice"),
        ({"columns": ()}, "at least 1"),
        ({"cells": ()}, "at least 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"seed": 2**63}, "less than"),
        ({"version": 0}, "greater than or equal to 1"),
    ],
)
def test_a_suite_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    suite()
    with pytest.raises(ValidationError, match=message):
        suite(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detector": "msp"}, "detector and in_distribution go together"),
        ({"in_distribution": "digits"}, "detector and in_distribution go together"),
        ({"conditions": ()}, "at least 1"),
        ({"conditions": ("fog", "fog")}, "condition 'fog' is listed twice"),
        ({"conditions": ("fog",), "attack": ATTACK}, "an attack is made on the clean images"),
        ({"options": {"bins": None}}, "valid integer"),
        ({"options": {"bins": float("inf")}}, "finite"),
    ],
)
def test_a_cell_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Cell.model_validate({**CELL, **change})


def test_a_difference_is_of_two_cells_that_measure_the_same() -> None:
    found = suite(aggregates=({"id": "drop", "of": ("error", "error2"), "reduce": "difference"},))
    assert found.aggregates[0].of == ("error", "error2")
    # A dataset with a map of its own is compared with one that the cell gives the same map.
    mapped = {**CELL, "id": "clean", "class_map": "kinds"}
    drop = {"id": "drop", "of": ("error", "clean"), "reduce": "difference"}
    assert suite(cells=(CELL, mapped), aggregates=(drop,)).cells[1].class_map == "kinds"


def test_fields_that_came_later_are_left_out_of_a_dump_while_they_say_nothing() -> None:
    # The fields that cells had when the digests of suites were first taken.
    plain = {
        "id", "dataset", "conditions", "metric", "subset", "attack", "detector", "in_distribution", "options",
    }  # fmt: skip
    assert set(Cell.model_validate(CELL).model_dump()) == plain
    assert set(Cell.model_validate({**CELL, "levels": (), "class_map": None}).model_dump()) == plain
    for said in ({"levels": (1,)}, {"class_map": "kinds"}):
        assert set(Cell.model_validate({**CELL, **said}).model_dump()) == plain | set(said)


@pytest.mark.parametrize("change", [{"levels": (-1,)}, {"levels": ("1",)}, {"class_map": "A Map"}])
def test_levels_are_whole_numbers_and_a_map_has_a_name(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cell.model_validate({**CELL, **change})


@pytest.mark.parametrize(
    ("text", "value"),
    [("2/255", 2 / 255), ("0.5/255", 0.5 / 255), ("1", 1.0), ("0.25", 0.25), ("8/255", 8 / 255)],
)
def test_a_share_of_the_pixel_range_is_read_exactly(text: str, value: float) -> None:
    assert pixel_fraction(text) == value
    assert Attack.model_validate({**ATTACK, "eps": text}).eps == text


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0/255",
        "256/255",
        "2/0",
        "-1/255",
        "1e-3",
        "2 / 255",
        "",
        "/",
        "1/2/3",
        ".5",
        "٢/255",
        "9" * 400,
        "1/" + "9" * 5000,
    ],
)
def test_what_is_no_share_of_the_pixel_range_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Attack.model_validate({**ATTACK, "eps": text})


def test_the_name_of_an_attack_carries_every_setting_and_the_seed() -> None:
    attack = Attack.model_validate(ATTACK)
    assert attack.condition_name(7) == "pgd-linf-eps2_255-steps20-step0.5_255-seed7"
    names = {
        Attack.model_validate({**ATTACK, **change}).condition_name(seed)
        for change in ({}, {"eps": "1/255"}, {"steps": 10}, {"step": "1/255"})
        for seed in (0, 1)
    }
    assert len(names) == 8


def test_the_longest_name_of_an_attack_is_still_a_name() -> None:
    attack = Attack(name="pgd", norm="linf", eps="0.1234567890", steps=10_000, step="0.1234567890")
    name = attack.condition_name(2**63 - 1)
    assert Condition(dataset="digits", kind="attack", name=name, level=0).name == name


def test_robustness_against_published_models_may_be_asked_for_and_is_in_the_digest() -> None:
    found = suite(aggregates=(EFFECTIVE, RELATIVE), columns=("er", "rr"))
    shown = found.model_dump(mode="json")["aggregates"]
    assert [one["accuracies"] for one in shown] == ["published", "published"]
    assert (shown[0]["axis"], shown[1]["reference"]) == ("logit", "resnet50")


def test_what_a_suite_does_not_ask_for_is_in_no_digest_taken_before() -> None:
    plain = suite(aggregates=({"id": "a", "of": ("error", "error2"), "reduce": "difference"},))
    shown = plain.model_dump(mode="json")
    assert set(shown["aggregates"][0]) == {"id", "of", "reduce"}
    assert "models" not in shown
    assert suite(models="zero-shot").model_dump(mode="json")["models"] == "zero-shot"


def test_a_length_in_l2_may_be_longer_than_the_pixel_range() -> None:
    assert Attack.model_validate({**ATTACK, "norm": "l2", "eps": "3", "step": "2"}).reach == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "steps is missing, pgd needs steps and step"),
        ({"step": None}, "step is missing, pgd needs steps and step"),
        ({"name": "autoattack"}, "autoattack chooses its steps itself"),
        ({"name": "autoattack", "step": None}, "autoattack chooses its steps itself"),
        ({"eps": "1.5"}, r"eps is \"1.5\", in linf a share of the pixel range lies in"),
        ({"step": "256/255"}, r"step is \"256/255\", in linf a share of the pixel range lies in"),
        ({"norm": "l2", "eps": "0"}, "a length in pixel space is above 0"),
        ({"norm": "l2", "paper_faithful": True}, "paper_faithful is of pgd in linf"),
        (
            {"name": "autoattack", "steps": None, "step": None, "paper_faithful": True},
            "paper_faithful is of pgd",
        ),
        ({"images": 0}, "greater than 0"),
        ({"norm": "l1"}, "'linf' or 'l2'"),
        ({"name": "fgsm"}, "'pgd' or 'autoattack'"),
        (
            {"eps": "0.1234567890", "steps": 10_000, "step": "0.1234567890", "images": 5000},
            "a name of more than 80 characters",
        ),
    ],
)
def test_an_attack_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Attack.model_validate({**ATTACK, **change})


def test_the_reach_of_an_attack_as_the_papers_code_makes_it_is_twice_its_eps() -> None:
    assert Attack.model_validate(ATTACK).reach == 2 / 255
    assert Attack.model_validate({**ATTACK, "paper_faithful": True}).reach == 4 / 255


def test_what_an_attack_could_not_say_before_is_left_out_of_a_dump_and_a_name_while_it_says_nothing() -> None:
    plain = Attack.model_validate({**ATTACK, "paper_faithful": False, "images": None})
    assert plain.model_dump() == ATTACK
    auto = Attack(name="autoattack", norm="l2", eps="0.5", images=100)
    assert auto.model_dump() == {"name": "autoattack", "norm": "l2", "eps": "0.5", "images": 100}
    assert auto.condition_name(0) == "autoattack-l2-eps0.5-n100-seed0"
    paper = Attack.model_validate({**ATTACK, "paper_faithful": True, "images": 7})
    assert paper.condition_name(1) == "pgd-linf-eps2_255-steps20-step0.5_255-paper-n7-seed1"
