"""A model whose gradient cannot be had is scored all the same: what needs it is null, with the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import robustbench_safety as rbs
from robustbench_safety.errors import ModelError
from robustbench_safety.evaluation import rescore, score
from robustbench_safety.files import digest_of, read_yaml
from robustbench_safety.models import Model
from robustbench_safety.records import Suite
from tests.golden.make import SUITE

REASON = "needs the gradient of the model, which python cannot give"


@pytest.fixture(scope="module")
def model() -> Model:
    whole = rbs.load_model("python:tests.golden.tiny:build")
    return dataclasses.replace(whole, spec=whole.spec.model_copy(update={"gradients": False}))


def test_an_adversarial_cell_of_a_model_without_gradients_is_null_and_says_why(
    model: Model, tmp_path: Path
) -> None:
    found = score(model, suite=SUITE, predictions=tmp_path, limit=20, batch_size=16, device="cpu")
    assert found.record.scores["pgd_error"].value is None
    assert found.record.scores["pgd_error"].reason == REASON
    assert f"pgd_error: {REASON}" in found.record.partial_because
    assert found.record.scores["clean_error"].value is not None
    assert found.record.kind == "partial"
    assert not list(tmp_path.rglob("attack"))
    again = rescore(found.run_folder, suite=SUITE)
    assert digest_of(again.record.digested_fields()) == digest_of(found.record.digested_fields())


def test_a_suite_of_attacks_alone_is_refused_for_a_model_without_gradients(
    model: Model, tmp_path: Path
) -> None:
    golden = read_yaml(SUITE, Suite)
    attacks = tuple(cell for cell in golden.cells if cell.attack)
    suite = golden.model_copy(
        update={"cells": attacks, "aggregates": (), "columns": ("pgd_error",), "beside": ()}
    )
    with pytest.raises(ModelError, match=f"nothing of suite golden can be measured: it {REASON}"):
        score(model, suite=suite, predictions=tmp_path, limit=20, batch_size=16, device="cpu")
