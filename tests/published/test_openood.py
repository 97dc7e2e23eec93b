"""The suites of OpenOOD's lists: every cell filled, and the scores that NumPy can make held against it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

import robustbench_safety as rbs
from robustbench_safety.data import DataRoot
from robustbench_safety.evaluation import Evaluation
from tests.published.arrays import python2_pickle
from tests.published.conftest import TEXT
from tests.published.manifests import write_manifest
from tests.published.photographs import picture
from tests.published.test_reliability import SETS
from tests.published.test_scoring import softmax, stored, values_of
from tests.published.writer import Copies

Floats = NDArray[np.float64]

#: A covariance of 192 features and 10 classes needs 202.
N_TRAIN = 260
GROUPS = {
    "ood-cifar10": SETS["unknown-detection-cifar10"],
    "ood-imagenet": {
        "near": {"ssb_hard": "ssb-hard", "ninco": "ninco"},
        "far": {"inaturalist": "inaturalist", "textures": "textures", "openimage_o": "openimage-o"},
    },
}


@pytest.fixture(scope="module")
def with_training(copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The copies, with a training batch that can be read."""
    folder = tmp_path_factory.mktemp("training")
    own, batches = folder / "own", folder / "batches"
    shutil.copytree(copies.own, own)
    shutil.copytree(copies.folder("cifar-10"), batches)
    labels = (np.arange(N_TRAIN) % 10).tolist()
    images = [picture(k, shake=40, seed=5000 + i, size=(32, 32)) for i, k in enumerate(labels)]
    rows = np.stack(images).transpose(0, 3, 1, 2).reshape(N_TRAIN, 3072)
    (batches / "data_batch_1").write_bytes(python2_pickle(rows, labels))
    write_manifest(own, "cifar-10-train-1", batches, samples=N_TRAIN)
    write_manifest(own, "cifar-10", batches, samples=100)
    return DataRoot(root=copies.root, beside=own, folders={"cifar-10": batches, "cifar-10-train-1": batches})


@pytest.fixture(scope="module")
def evaluations(with_training: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    folder = tmp_path_factory.mktemp("openood")
    # Said to be made of text, so that what it has predicted serves the zero-shot suite too.
    made_of_text = rbs.load_model("python:tests.published.network:build_1000")
    spec = made_of_text.spec.model_copy(update={"zero_shot": TEXT})
    return {
        suite: rbs.score(model, suite=suite, data=with_training, predictions=folder, device="cpu",
                         batch_size=64)
        for suite, model in (("ood-cifar10", "python:tests.published.network:build_10"),
                             ("ood-imagenet", replace(made_of_text, spec=spec)))
    }  # fmt: skip


def features(evaluation: Evaluation, path: str) -> Floats:
    column = pq.read_table(evaluation.run_folder / f"{path}.parquet")["features"].combine_chunks()
    found: Floats = column.flatten().to_numpy().astype(np.float64).reshape(len(column), -1)
    return found


def fiftieth_distance(found: Floats, train: Floats) -> Floats:
    found, train = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (found, train))
    distances = np.sqrt(((found[:, None, :] - train[None, :, :]) ** 2).sum(axis=2))
    out: Floats = np.sort(distances, axis=1)[:, 49]
    return out


@pytest.mark.parametrize("suite", GROUPS)
def test_every_number_is_filled_and_has_an_interval(suite: str, evaluations: dict[str, Evaluation]) -> None:
    record = evaluations[suite].record
    assert record.status == "complete", record.partial_because
    for name, score in record.scores.items():
        assert score.value is not None, (name, score.reason)
        assert score.interval is not None, name
        assert score.interval.low < score.interval.high or score.value in (0, 1), name
        # Of 21 images a resampled precision lies above the one measured: the interval is for larger sets.
        if name.endswith("auroc"):
            assert score.interval.low <= score.value <= score.interval.high, name


@pytest.mark.parametrize("suite", GROUPS)
def test_the_scores_of_logits_are_the_ones_that_numpy_gets(
    suite: str, evaluations: dict[str, Evaluation]
) -> None:
    evaluation, prefix = evaluations[suite], "openood-" + suite.removeprefix("ood-")
    values = values_of(evaluation)
    insides = {"": "cifar-10" if suite == "ood-cifar10" else "imagenet-1k"}
    if suite == "ood-imagenet":
        insides |= {"v2_": "imagenet-v2-matched-frequency", "r_": "imagenet-r"}
    functions: dict[str, Callable[[Floats], Floats]] = {
        "msp": lambda z: -softmax(z).max(axis=1),
        "maxlogit": lambda z: -z.max(axis=1),
        "energy": lambda z: -np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) - z.max(axis=1),
    }
    for before, dataset in insides.items():
        inside = stored(evaluation, f"{dataset}/clean/clean-0").logits
        for group, sets in GROUPS[suite].items():
            areas: dict[str, list[float]] = {}
            for name, part in sets.items():
                outside = stored(evaluation, f"{prefix}-{part}/clean/clean-0").logits
                truth = np.repeat([0, 1], [len(inside), len(outside)])
                for detector, function in functions.items():
                    both = np.concatenate([function(inside), function(outside)])
                    area = roc_auc_score(truth, both)
                    areas.setdefault(detector, []).append(area)
                    assert values[f"{before}{name}_{detector}_auroc"] == pytest.approx(area, abs=1e-6)
                    if detector == "msp" and not before:
                        expected = average_precision_score(truth, both)
                        assert values[f"{name}_msp_aupr_out"] == pytest.approx(expected, abs=1e-6)
            for detector, found in areas.items():
                mean = values[f"{before}{group}_{detector}_auroc"]
                assert mean == pytest.approx(np.mean(found), abs=1e-6)


def test_a_fitted_detector_reads_the_training_batch(evaluations: dict[str, Evaluation]) -> None:
    evaluation = evaluations["ood-cifar10"]
    train = features(evaluation, "cifar-10-train-1/clean/clean-0")
    assert len(train) == N_TRAIN
    inside = fiftieth_distance(features(evaluation, "cifar-10/clean/clean-0"), train)
    outside = fiftieth_distance(features(evaluation, "openood-cifar10-svhn/clean/clean-0"), train)
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    area = roc_auc_score(truth, np.concatenate([inside, outside]))
    assert values_of(evaluation)["svhn_knn_auroc"] == pytest.approx(area, abs=1e-6)


def test_mcm_is_the_maximum_softmax_of_the_cosines(
    evaluations: dict[str, Evaluation], with_training: DataRoot
) -> None:
    folder = evaluations["ood-imagenet"].run_folder
    evaluation = rbs.rescore(folder, suite="ood-imagenet-zero-shot", data=with_training)
    assert evaluation.record.status == "complete", evaluation.record.partial_because
    inside, outside = (
        -softmax(stored(evaluation, f"{name}/clean/clean-0").logits / TEXT.logit_scale).max(axis=1)
        for name in ("imagenet-1k", "openood-imagenet-ninco")
    )
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    values = values_of(evaluation)
    area = roc_auc_score(truth, np.concatenate([inside, outside]))
    assert values["ninco_mcm_auroc"] == pytest.approx(area, abs=1e-6)
    assert values["ninco_mcm_auroc"] != values["ninco_msp_auroc"]


def test_without_training_images_the_run_says_what_is_missing(
    with_training: DataRoot, tmp_path: Path
) -> None:
    folders = {**with_training.folders, "cifar-10-train-1": tmp_path / "nowhere"}
    root = DataRoot(root=with_training.root, beside=with_training.beside, folders=folders)
    with pytest.raises(rbs.errors.DataError, match="cifar-10-train-1"):
        rbs.score("python:tests.published.network:build_10", suite="ood-cifar10", data=root,
                  predictions=tmp_path / "p", device="cpu", batch_size=64)  # fmt: skip
    evaluation = rbs.score(
        "python:tests.published.network:build_10", suite="ood-cifar10", data=root, predictions=tmp_path / "p",
        device="cpu", batch_size=64, skip_missing=True)  # fmt: skip
    scores = evaluation.record.scores
    assert scores["near_msp_auroc"].value is not None
    assert "no predictions on cifar-10-train-1/clean/clean-0" in str(scores["near_knn_auroc"].reason)
    assert evaluation.record.status == "partial"
