"""Suites: what exactly they measure is pinned; the YAML of one's own is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.files import resource_names
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import cell_conditions, load_suite, suite_digest

NOWHERE = DataRoot(root=Path("nowhere"))

#: A suite or manifest whose numbers may move gets a new version, and a new line here.
DIGESTS = {
    ("cifar10-clean", 1): "4b93d491181409d2a70125281d82d7386952db43f9afdc495dbfe82c8bbc43bc",
    ("digits-safety", 1): "4c39c1f42dafca4d99484344e22606346a5717cedc56b17d92645b8e85f15a9b",
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
