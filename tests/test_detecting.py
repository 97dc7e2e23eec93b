"""Detectors at work in a suite: fitted on what their cells name, from stored logits, features and passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from robustbench_safety import metrics
from robustbench_safety.data import DataRoot
from robustbench_safety.detectors import (
    DETECTORS,
    DetectorInputs,
    energy_score,
    fit_detector,
    msp_score,
    odin_score,
)
from robustbench_safety.errors import FileFormatError, RobustbenchSafetyError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.metrics.temperature import in_odd_half
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.runs import Run
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import featured_conditions, load_suite, suite_digest

TRAIN = """\
name: digits-train
version: 1
title: Digits, training part
role: fit
layout: {type: builtin, generator: digits, split: train}
conditions: [{kind: clean, names: [clean], levels: [0]}]
label_space: digits
samples: 797
image_size: [32, 32]
licence: own
citation: own
"""

SUITE = """\
name: unlike
version: 1
title: T
label_space: digits
seed: 0
detection:
  - in_distribution: digits
    groups: {noise: {blobs: blobs, rademacher: rademacher-noise}}
    detectors:
      - {name: msp}
      - {name: energy}
      - {name: odin, options: {temperature: 10, eps: 1/255}}
      - {name: kl_matching, tune: cross_fit}
      - {name: react, tune: cross_fit}
      - {name: ash_b, options: {percentile: 50}}
      - {name: knn, fit: digits-train, options: {k: 5}}
      - {name: mahalanobis, fit: digits-train}
      - {name: vim, fit: digits-train, options: {dimension: 20}}
      - {name: psi, fit: digits-train}
    metrics: {auroc: {name: auroc}}
columns: [noise_msp_auroc]
"""
NAMES = ("msp", "energy", "odin", "kl_matching", "react", "ash_b", "knn", "mahalanobis", "vim", "psi")
WITH_FEATURES = ("react", "ash_b", "knn", "mahalanobis", "vim")
TINY = "python:tests.golden.tiny:build"
#: A covariance of 192 features and 10 classes needs 202.
LIMIT = 210


def put_suite(folder: Path, text: str = SUITE) -> Path:
    (folder / "digits-train.yaml").write_text(TRAIN)
    (folder / "unlike.yaml").write_text(text)
    return folder / "unlike.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unlike")


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return score(
        TINY, suite=put_suite(folder), predictions=folder / "p", batch_size=64, device="cpu", limit=LIMIT
    )


def stored(evaluation: Evaluation, path: str) -> Predictions:
    return read_predictions(evaluation.run_folder / f"{path}.parquet")


def features(predictions: Predictions) -> np.ndarray:
    return np.asarray(predictions.values["features"], dtype=np.float64)


def value(evaluation: Evaluation, name: str) -> float:
    found = evaluation.record.scores[name].value
    assert found is not None, evaluation.record.scores[name].reason
    return found


def test_every_detector_fills_its_cells_and_their_mean(found: Evaluation) -> None:
    for name in NAMES:
        both = [value(found, f"{dataset}_{name}_auroc") for dataset in ("blobs", "rademacher")]
        assert all(0 <= one <= 1 for one in both)
        assert value(found, f"noise_{name}_auroc") == pytest.approx(np.mean(both), abs=1e-9)
    assert value(found, "rademacher_knn_auroc") > 0.99, "noise lies far from every digit"
    assert len({value(found, f"blobs_{name}_auroc") for name in NAMES}) > 3, "they are not one detector"


def test_an_image_is_shown_once_for_all_and_twice_for_odin(found: Evaluation) -> None:
    # digits and two sets clean, the training part clean; digits and two sets through ODIN's pass.
    assert found.record.forward_passes == 4 * LIMIT + 2 * 3 * LIMIT


def test_features_are_stored_where_a_detector_reads_them_and_make_the_logits(found: Evaluation) -> None:
    run = Run.load(found.run_folder)
    for path in ("digits/clean/clean-0", "blobs/clean/clean-0", "digits-train/clean/clean-0"):
        predictions = stored(found, path)
        digest = predictions.header.last_layer_digest
        assert digest is not None
        weight, bias = run.last_layer(digest)
        assert features(predictions) @ weight.T + bias == pytest.approx(predictions.logits(), abs=1e-5)
    passed = stored(found, "digits/detector-pass/odin-t10-eps1_255-0")
    assert passed.header.last_layer_digest is None
    assert "features" not in passed.values


def test_a_fitted_detector_is_fitted_on_the_training_images_its_cell_names(found: Evaluation) -> None:
    train, inside, outside = (
        stored(found, f"{name}/clean/clean-0") for name in ("digits-train", "digits", "blobs")
    )
    scorer = fit_detector("knn", on=DetectorInputs(features=features(train)), options={"k": 5})
    scores = [scorer(DetectorInputs(features=features(one))) for one in (inside, outside)]
    assert value(found, "blobs_knn_auroc") == pytest.approx(metrics.auroc(*scores), abs=1e-9)


def test_crossed_halves_score_each_image_by_the_half_it_is_not_in(found: Evaluation) -> None:
    inside, outside = (stored(found, f"{name}/clean/clean-0") for name in ("digits", "blobs"))
    odd = in_odd_half(inside.sample_ids)
    by_even, by_odd = (
        fit_detector("kl_matching", on=DetectorInputs(logits=inside.logits()[half])) for half in (~odd, odd)
    )
    scores = []
    for one in (inside, outside):
        each = [scorer(DetectorInputs(logits=one.logits())) for scorer in (by_even, by_odd)]
        scores.append(np.where(in_odd_half(one.sample_ids), *each))
    assert value(found, "blobs_kl_matching_auroc") == pytest.approx(metrics.auroc(*scores), abs=1e-9)
    swapped = [np.where(odd, by_odd(DetectorInputs(logits=inside.logits())), scores[0]), scores[1]]
    assert metrics.auroc(*swapped) != metrics.auroc(*scores)


def test_odin_scores_the_logits_of_its_own_pass_for_both_sides(found: Evaluation) -> None:
    sides = [stored(found, f"{name}/detector-pass/odin-t10-eps1_255-0") for name in ("digits", "blobs")]
    scores = [odin_score(one.logits(), temperature=10.0) for one in sides]
    assert value(found, "blobs_odin_auroc") == pytest.approx(metrics.auroc(*scores), abs=1e-9)
    plain = stored(found, "digits/clean/clean-0")
    # One step towards the predicted class makes it likelier.
    assert (msp_score(sides[0].logits()) < msp_score(plain.logits())).mean() > 0.9
    assert sides[0].header.data_digest != plain.header.data_digest


def test_stored_predictions_give_the_same_scores_without_the_network(found: Evaluation, folder: Path) -> None:
    again = rescore(found.run_folder, suite=folder / "unlike.yaml")
    assert again.record.scores == found.record.scores


def test_features_scored_in_blocks_give_the_same_scores(
    found: Evaluation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustbench_safety.detecting._ROWS_TOGETHER", 50)
    again = rescore(found.run_folder, suite=folder / "unlike.yaml").record.scores
    for name, before in found.record.scores.items():
        assert again[name].value == pytest.approx(before.value, abs=1e-4), name


def test_the_companion_has_no_training_images_and_scores_of_columns_alone(found: Evaluation) -> None:
    datasets = found.companion.datasets
    assert set(datasets) == {"digits", "blobs", "rademacher-noise"}
    assert set(datasets["blobs"].scores) == {"msp"}
    assert list(datasets["digits"].correct) == ["digits/clean/clean-0"]


# ----------------------------------------------------------------- what is there already, and what is not


def test_predictions_without_features_are_made_again_and_only_these(folder: Path, tmp_path: Path) -> None:
    plain = SUITE.replace("detectors:\n", "detectors: [{name: msp}]\n").split("      - {name: msp}")[0]
    plain += "    metrics: {auroc: {name: auroc}}\ncolumns: [noise_msp_auroc]\n"
    (tmp_path / "own").mkdir()
    settings = {"predictions": tmp_path / "p", "batch_size": 64, "device": "cpu", "limit": LIMIT}
    first = score(TINY, suite=put_suite(tmp_path / "own", plain), **settings)  # type: ignore[arg-type]  # mixed values
    logits = stored(first, "blobs/clean/clean-0")
    assert logits.header.last_layer_digest is None
    whole = put_suite(tmp_path / "own")
    second = score(TINY, suite=whole, **settings)  # type: ignore[arg-type]  # mixed values
    assert second.run_folder == first.run_folder
    anew = stored(second, "blobs/clean/clean-0")
    assert anew.header.last_layer_digest is not None
    assert np.array_equal(anew.logits(), logits.logits())
    kept = {path: path.stat().st_mtime_ns for path in second.run_folder.rglob("*.parquet")}
    third = score(TINY, suite=put_suite(tmp_path / "own", plain), **settings)  # type: ignore[arg-type]  # mixed values
    assert {path: path.stat().st_mtime_ns for path in third.run_folder.rglob("*.parquet")} == kept
    assert third.record.scores["noise_msp_auroc"] == second.record.scores["noise_msp_auroc"]


@pytest.fixture
def copied(found: Evaluation, tmp_path: Path) -> Path:
    shutil.copytree(found.run_folder, tmp_path / "run")
    return tmp_path / "run"


def test_without_fit_data_a_fitted_detector_is_null_with_the_reason(copied: Path, folder: Path) -> None:
    (copied / "digits-train/clean/clean-0.parquet").unlink()
    scores = rescore(copied, suite=folder / "unlike.yaml").record.scores
    for name in NAMES:
        reason = scores[f"blobs_{name}_auroc"].reason
        fitted = DETECTORS[name].fit == "fit"
        assert reason == ("no predictions on digits-train/clean/clean-0" if fitted else None)


def test_a_last_layer_that_was_changed_is_refused(copied: Path, folder: Path) -> None:
    path = copied / "last-layer.safetensors"
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({**tensors, "bias": tensors["bias"] + 1}, path)
    with pytest.raises(FileFormatError, match="is not the layer that the stored features go into"):
        rescore(copied, suite=folder / "unlike.yaml")
    path.unlink()
    with pytest.raises(FileFormatError, match="cannot be read; expected the last layer"):
        rescore(copied, suite=folder / "unlike.yaml")


def test_a_network_without_a_last_layer_has_no_features_and_the_rest_all_the_same(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "both.yaml").write_text(f"model: ensemble:members\nmembers: ['{TINY}', '{TINY}']\n")
    own = put_suite(tmp_path, SUITE.replace("- {name: msp}", "- {name: msp}\n      - {name: disagreement}"))
    found = score(
        tmp_path / "both.yaml", suite=own, predictions=tmp_path / "p", batch_size=64, device="cpu",
        limit=60, trust_code=True)  # fmt: skip
    for name in (*NAMES, "disagreement"):
        reason = found.record.scores[f"blobs_{name}_auroc"].reason
        if name in WITH_FEATURES:
            assert "no penultimate features are stored" in str(reason), name
        elif DETECTORS[name].sees_shift:
            assert "needs logits, and there are probabilities alone" in str(reason)
        else:
            assert reason is None, name
    # Two of the same never disagree: what is left of rounding tells nothing apart.
    assert found.record.scores["blobs_disagreement_auroc"].value == pytest.approx(0.5, abs=0.1)
    assert found.record.status == "partial"


def test_a_single_network_has_no_disagreement(found: Evaluation, folder: Path, tmp_path: Path) -> None:
    own = put_suite(tmp_path, SUITE.replace("- {name: msp}", "- {name: msp}\n      - {name: disagreement}"))
    reason = rescore(found.run_folder, suite=own).record.scores["blobs_disagreement_auroc"].reason
    assert "its members' disagreement is not stored; expected an ensemble" in str(reason)


def test_a_lost_last_layer_is_written_again_by_the_same_command(tmp_path: Path) -> None:
    settings = {"suite": put_suite(tmp_path), "predictions": tmp_path / "p", "batch_size": 64}
    settings |= {"device": "cpu", "limit": 20}
    first = score(TINY, **settings)  # type: ignore[arg-type]  # mixed values
    (first.run_folder / "last-layer.safetensors").unlink()
    again = score(TINY, **settings)  # type: ignore[arg-type]  # mixed values
    assert again.record.scores == first.record.scores


def test_a_setting_that_does_not_suit_the_network_costs_no_other_detector(
    found: Evaluation, tmp_path: Path
) -> None:
    own = put_suite(tmp_path, SUITE.replace("dimension: 20", "dimension: 500"))
    scores = rescore(found.run_folder, suite=own).record.scores
    assert "vim: dimension cannot be used" in str(scores["blobs_vim_auroc"].reason)
    assert scores["blobs_knn_auroc"] == found.record.scores["blobs_knn_auroc"]


def test_answers_are_read_for_the_unified_measure_whatever_the_detector(tmp_path: Path) -> None:
    error = "  - {id: error, dataset: digits, metric: error_rate}\n"
    text = SUITE[: SUITE.index("detection:")] + (
        "cells:\n"
        "  - {id: unknown, dataset: blobs, metric: unknown_aurc, detector: odin, in_distribution: digits}\n"
        f"{error}columns: [unknown]\n"
    )
    values = []
    for own in (text, text.replace(error, "")):
        record = score(
            TINY, suite=put_suite(tmp_path, own), predictions=tmp_path / "p", batch_size=64, device="cpu",
            limit=30).record  # fmt: skip
        assert record.scores["unknown"].value is not None, record.scores["unknown"].reason
        values.append(record.scores["unknown"].value)
    assert values[0] == values[1]


def test_a_set_that_one_cell_is_fitted_on_may_be_measured_by_another(
    found: Evaluation, folder: Path, tmp_path: Path
) -> None:
    text = (
        SUITE[: SUITE.index("detection:")]
        + """\
cells:
  - {id: train, dataset: digits-train, metric: auroc, detector: msp, in_distribution: digits}
  - {id: knn, dataset: blobs, metric: auroc, detector: knn, detector_options: {k: 5},
     in_distribution: digits, fit: digits-train}
columns: [train, knn]
"""
    )
    scores = rescore(found.run_folder, suite=put_suite(tmp_path, text)).record.scores
    sides = [
        msp_score(stored(found, f"{name}/clean/clean-0").logits()) for name in ("digits", "digits-train")
    ]
    assert scores["train"].value == pytest.approx(metrics.auroc(*sides), abs=1e-9)
    assert scores["knn"].value == found.record.scores["blobs_knn_auroc"].value


# ------------------------------------------------------------------------------------------ wrong suites


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{name: knn, fit: digits-train,", "{name: knn,", "fit; expected training images for knn"),
        ("{name: msp}", "{name: msp, fit: digits-train}", "fit; expected none: msp needs none"),
        ("{name: kl_matching, tune: cross_fit}", "{name: kl_matching}", "tune; expected held-out images"),
        ("{k: 5}", "{m: 5}", "option of knn"),
        ("{k: 5}", "{k: 5.5}", "k of knn cannot be used; expected a value of type int"),
        ("eps: 1/255", "eps: 3", "eps"),
        ("eps: 1/255", "step: 1/255", "step: Extra inputs"),
        ("tune: cross_fit}", "tune: digits}", "no detector is set by the images it is measured on"),
        ("{name: energy}", "{name: enrgy}", "unknown detector 'enrgy'"),
        ("{name: energy}", "{name: msp}", "is listed twice"),
        (
            "in_distribution: digits",
            "in_distribution: digits-c",
            "expected a dataset of one condition; found",
        ),
        ("in_distribution: digits", "in_distribution: gaussian-noise", "expected images of known classes"),
        ("{blobs: blobs,", "{blobs: digits,", "expected other images than digits"),
        ("knn, fit: digits-train", "knn, fit: digits", "expected other images than the cell is measured on"),
        ("knn, fit: digits-train", "knn, fit: gaussian-noise", "expected clean images of known classes"),
        ("knn, fit: digits-train", "knn, fit: digits-c", "expected clean images of known classes"),
        ("{name: auroc}}", "{name: auroc, options: {tpr: 0.9}}}", "unknown option of auroc 'tpr'"),
        ("{blobs: blobs, rademacher: rademacher-noise}", "{}", "groups.noise"),
        ("temperature: 10,", "temperature: 0.0000001,", "temperature"),
        ("in_distribution: digits\n", "in_distribution: digits\n    subset: nosuch\n", "nosuch"),
        (
            "in_distribution: digits\n",
            "in_distribution: digits\n    subset: imagenet-a\n",
            "classes of digits",
        ),
    ],
)
def test_a_detector_that_cannot_work_is_refused_before_any_image(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in SUITE
    path, root = put_suite(tmp_path, SUITE.replace(old, new)), DataRoot(root=tmp_path, beside=tmp_path)
    with pytest.raises(RobustbenchSafetyError, match=message):
        needed_conditions(load_suite(path, data=root), root)


def test_what_it_is_fitted_on_and_its_settings_are_in_the_digest(tmp_path: Path) -> None:
    root = DataRoot(root=tmp_path, beside=tmp_path)
    digests = []
    for old, new in (
        ("", ""),
        ("{k: 5}", "{k: 6}"),
        ("cross_fit", "digits-train"),
        ("eps: 1/255", "eps: 2/255"),
    ):
        suite = load_suite(put_suite(tmp_path, SUITE.replace(old, new, 1)), data=root)
        digests.append(suite_digest(suite, root))
    (tmp_path / "digits-train.yaml").write_text(TRAIN.replace("version: 1", "version: 2"))
    digests.append(suite_digest(load_suite(tmp_path / "unlike.yaml", data=root), root))
    assert len(set(digests)) == 5


def test_features_are_asked_for_where_a_detector_needs_them_alone(tmp_path: Path) -> None:
    root = DataRoot(root=tmp_path, beside=tmp_path)
    suite = load_suite(put_suite(tmp_path), data=root)
    paths = {condition.path for condition in featured_conditions(suite, root)}
    datasets = ("digits", "digits-train", "blobs", "rademacher-noise")
    assert paths == {f"{name}/clean/clean-0" for name in datasets}
    logits = [cell for cell in suite.cells if cell.detector not in WITH_FEATURES]
    assert not featured_conditions(suite.model_copy(update={"cells": tuple(logits)}), root)


def test_the_score_of_energy_is_the_function_s(found: Evaluation) -> None:
    sides = [stored(found, f"{name}/clean/clean-0").logits() for name in ("digits", "blobs")]
    expected = metrics.auroc(*(energy_score(one) for one in sides))
    assert value(found, "blobs_energy_auroc") == pytest.approx(expected, abs=1e-9)
