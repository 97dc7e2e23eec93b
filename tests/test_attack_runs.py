"""Attacks from a suite to a record: subsets, resumption, early refusals, and warnings that are seen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.cli.commands import _report
from robustbench_safety.engines.local import Silent
from robustbench_safety.errors import DataError, IncompleteError, MissingDependencyError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.files import digest_of
from robustbench_safety.masking import MASKING_NOTE
from robustbench_safety.models import Model
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.records import Suite
from robustbench_safety.reporting.tables import NOTE_MARK, markdown_table
from robustbench_safety.startup import CHECKED
from tests.attacks.networks import Quantised, short_autoattack
from tests.golden import tiny
from tests.reporting.boards import board

LIMIT, IMAGES = 40, 12
PGD = {"name": "pgd", "norm": "linf", "eps": "16/255", "steps": 4, "step": "8/255"}
AUTO = {"name": "autoattack", "norm": "linf", "eps": "16/255"}
MSP = {"metric": "auroc", "detector": "msp", "in_distribution": "digits"}


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    with short_autoattack():
        yield


def suite_of(cells: Mapping[str, Mapping[str, object]]) -> Suite:
    usual = {"dataset": "digits", "metric": "error_rate"}
    listed = [{**usual, **cell, "id": name} for name, cell in cells.items()]
    return Suite.model_validate(
        {"name": "attacked", "version": 1, "title": "T", "label_space": "digits", "seed": 0,
         "cells": tuple(listed), "columns": tuple(cells)})  # fmt: skip


SUITE = suite_of({
    "clean_error": {},
    "pgd_error": {"attack": {**PGD, "images": IMAGES}},
    "l2_error": {"attack": {**PGD, "norm": "l2", "eps": "2", "step": "0.5", "images": IMAGES}},
    "paper_error": {"attack": {**PGD, "paper_faithful": True, "images": IMAGES}},
    "auto_error": {"attack": {**AUTO, "images": IMAGES}},
    "auto_nll": {"attack": {**AUTO, "images": IMAGES}, "metric": "negative_log_likelihood"},
    "auto_msp_auroc": {"attack": {**AUTO, "images": IMAGES}, **MSP},
    "pgd_msp_auroc": {"attack": PGD, **MSP},
})  # fmt: skip


def run(folder: Path, model: Model | str = "python:tests.golden.tiny:build", **options: object) -> Evaluation:
    settings: dict[str, Any] = {
        "suite": SUITE, "predictions": folder, "limit": LIMIT, "batch_size": 8, "device": "cpu"}  # fmt: skip
    return score(model, **(settings | options))


def of_attack(evaluation: Evaluation, start: str) -> Predictions:
    (path,) = evaluation.run_folder.rglob(f"attack/{start}*.parquet")
    return read_predictions(path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_an_attack_on_some_images_measures_these_and_its_name_says_how_many(undisturbed: Evaluation) -> None:
    scores = undisturbed.record.scores
    assert {name: one.n for name, one in scores.items()} == {
        "clean_error": LIMIT, "pgd_error": IMAGES, "l2_error": IMAGES, "paper_error": IMAGES,
        "auto_error": IMAGES, "auto_nll": IMAGES, "auto_msp_auroc": LIMIT, "pgd_msp_auroc": LIMIT,
    }  # fmt: skip
    assert scores["auto_msp_auroc"].n_out == IMAGES
    assert sorted(path for path in undisturbed.record.data_digests if "attack" in path) == [
        "digits/attack/autoattack-linf-eps16_255-n12-seed0-0",
        "digits/attack/pgd-l2-eps2-steps4-step0.5-n12-seed0-0",
        "digits/attack/pgd-linf-eps16_255-steps4-step8_255-n12-seed0-0",
        "digits/attack/pgd-linf-eps16_255-steps4-step8_255-paper-n12-seed0-0",
        "digits/attack/pgd-linf-eps16_255-steps4-step8_255-seed0-0",
    ]


def test_pgd_and_autoattack_are_made_on_the_same_images(undisturbed: Evaluation) -> None:
    drawn = of_attack(undisturbed, "autoattack").sample_ids
    assert of_attack(undisturbed, "pgd-linf-eps16_255-steps4-step8_255-n12").sample_ids == drawn
    whole = of_attack(undisturbed, "pgd-linf-eps16_255-steps4-step8_255-seed0").sample_ids
    assert [name for name in whole if name in drawn] == drawn


def test_autoattack_is_not_above_pgd(undisturbed: Evaluation) -> None:
    auto, pgd = (undisturbed.record.scores[name].value for name in ("auto_error", "pgd_error"))
    assert auto is not None
    assert pgd is not None
    assert auto >= pgd > 0


def test_the_images_drawn_do_not_depend_on_the_batch_size(tmp_path: Path, undisturbed: Evaluation) -> None:
    found = run(tmp_path, batch_size=5)
    assert found.record.data_digests == undisturbed.record.data_digests
    start = "pgd-linf-eps16_255-steps4-step8_255-n12"
    assert of_attack(found, start).sample_ids == of_attack(undisturbed, start).sample_ids
    for name in ("pgd_error", "l2_error", "paper_error"):
        assert found.record.scores[name].value == undisturbed.record.scores[name].value


def test_an_attack_on_some_images_alone_does_not_make_a_row_partial(tmp_path: Path) -> None:
    cells = {"clean_error": {}, "pgd_error": {"attack": {**PGD, "images": IMAGES}}}
    found = run(tmp_path, suite=suite_of(cells), limit=None, batch_size=64).record
    assert found.status == "complete"
    assert found.scores["pgd_error"].n == IMAGES


def test_the_companion_keeps_the_rows_of_all_images_alone(undisturbed: Evaluation) -> None:
    (rows,) = undisturbed.companion.datasets.values()
    assert len(rows.source_ids) == LIMIT
    assert list(rows.correct) == [
        "digits/clean/clean-0", "digits/attack/pgd-linf-eps16_255-steps4-step8_255-seed0-0"
    ]  # fmt: skip
    # The clean scores: those of attacked images would have taken their place.
    clean = read_predictions(next(undisturbed.run_folder.rglob("clean/*.parquet")))
    probabilities = torch.from_numpy(clean.logits()).softmax(dim=1).amax(dim=1)
    order = rows.scores["msp"].argsort()
    assert torch.equal(
        probabilities[torch.from_numpy(order.copy())], probabilities.sort(descending=True).values
    )


def test_the_header_says_how_the_attack_went(undisturbed: Evaluation) -> None:
    outcome = of_attack(undisturbed, "autoattack").header.attack
    assert outcome is not None
    assert outcome.measures is not None
    assert str(outcome.library).startswith("pyautoattack ")
    assert outcome.settings.images == IMAGES
    assert sum(outcome.measures.broken.values()) <= outcome.measures.wrong
    assert outcome.measures.large_eps is not None
    assert (outcome.measures.large_eps.images, outcome.measures.large_eps.right) == (IMAGES, 0)
    pgd = of_attack(undisturbed, "pgd-l2").header.attack
    assert pgd is not None
    assert pgd.measures is not None
    assert pgd.measures.images == IMAGES
    assert pgd.measures.loss_at_start is not None
    assert pgd.measures.loss_at_end is not None
    assert pgd.measures.loss_at_end > pgd.measures.loss_at_start


def test_the_network_sees_each_image_as_often_as_the_record_says(tmp_path: Path) -> None:
    model, seen = rbs.load_model("python:tests.golden.tiny:build"), []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    record = run(tmp_path, model).record
    # The check at the start shows the first images twice, and the first of them alone.
    assert sum(seen) == 2 * CHECKED + 1 + record.forward_passes


class StopAfter(Silent):
    """Stands for a user who presses Ctrl-C after the second batch of a condition."""

    def __init__(self, part: str) -> None:
        self._part, self._here, self._left = part, False, 1

    def condition(self, name: str) -> None:
        self._here = self._part in name

    def advance(self, images: int) -> None:
        if self._here:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("part", ["autoattack", "pgd-l2"])
def test_after_an_interruption_the_same_file_is_made(
    tmp_path: Path, undisturbed: Evaluation, part: str
) -> None:
    with pytest.raises(IncompleteError):
        run(tmp_path, progress=StopAfter(part))
    (chunks,) = tmp_path.rglob("*.chunks")
    assert len(list(chunks.iterdir())) == 2
    again = run(tmp_path)
    assert digest_of(again.record.digested_fields()) == digest_of(undisturbed.record.digested_fields())
    headers = [of_attack(one, part).header for one in (again, undisturbed)]
    assert headers[0].attack == headers[1].attack
    assert headers[0].forward_passes == headers[1].forward_passes
    assert not list(tmp_path.rglob("*.chunks"))


def test_without_the_library_nothing_is_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., ModuleType] = importlib.import_module

    def absent(name: str, *more: str) -> ModuleType:
        if name == "pyautoattack":
            raise ModuleNotFoundError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"needs the extra 'attacks'"):
        run(tmp_path, skip_missing=True)
    assert not list(tmp_path.rglob("*"))


def test_images_of_no_class_cannot_be_attacked(tmp_path: Path) -> None:
    suite = suite_of({"error": {}, "blobs": {"dataset": "blobs", "attack": PGD, **MSP}})
    with pytest.raises(DataError, match="blobs cannot be attacked; expected images of known classes"):
        run(tmp_path, suite=suite)


# ---------------------------------------------------------------------------------------- warnings


class Masked(nn.Module):
    """The tiny network behind a step function of the pixels."""

    label_space = "digits"

    def __init__(self) -> None:
        super().__init__()
        self.network = Quantised(tiny.build())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.network(images)
        return logits


def test_an_honest_network_has_no_warnings(undisturbed: Evaluation) -> None:
    assert undisturbed.record.attack_warnings == {}
    assert "attack_warnings" not in undisturbed.record.model_dump()
    assert {one.note for one in undisturbed.record.scores.values()} == {None}


def test_warnings_of_masked_gradients_reach_record_table_and_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = suite_of({"clean_error": {}, "pgd_error": {"attack": PGD}, "auto_error": {"attack": AUTO}})
    found = run(tmp_path / "runs", "python:tests.test_attack_runs:Masked", suite=suite)
    record = found.record
    pgd, auto = (path for path in record.data_digests if "attack" in path)
    assert any(warning.startswith("The loss") for warning in record.attack_warnings[pgd])
    assert any(warning.startswith("At an eps of 0.5") for warning in record.attack_warnings[pgd])
    assert any(warning.startswith("Square") for warning in record.attack_warnings[auto])
    assert {name: one.note for name, one in record.scores.items()} == {
        "clean_error": None, "pgd_error": MASKING_NOTE, "auto_error": MASKING_NOTE
    }  # fmt: skip
    again = rescore(found.run_folder, suite=suite).record
    assert digest_of(again.digested_fields()) == digest_of(record.digested_fields())
    table = markdown_table(board(record))
    assert table.count(NOTE_MARK) == 4, "a mark on both values, and a line for each"
    assert "signs of gradient masking" in table
    _report(found, tmp_path / "leaderboard")
    shown = " ".join(capsys.readouterr().out.split())
    for path, warnings in record.attack_warnings.items():
        for warning in warnings:
            assert f"warning: {path}: {warning}" in shown
