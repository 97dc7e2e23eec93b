"""Top-1 predictions of published models, converted into the accepted files: their published accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import logistic

from robustbench_safety.accuracies import line_accuracies, load_accuracies
from robustbench_safety.evaluation import score
from robustbench_safety.labels import load_label_space
from robustbench_safety.suites import load_suite

IMAGENET_SETS = {
    "val": "imagenet-1k",
    "v2_matched_frequency": "imagenet-v2-matched-frequency",
    "v2_threshold07": "imagenet-v2-threshold-0.7",
    "v2_top_images": "imagenet-v2-top-images",
}


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    return shared / "data" / "predictions"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("model", "accuracies"),
    [
        ("resnet50", dict(zip(IMAGENET_SETS, (76.13, 63.33, 72.70, 78.09), strict=True))),
        ("alexnet", {"val": 56.52, "v2_matched_frequency": 43.98}),
    ],
)  # fmt: skip
def test_published_imagenet_predictions_have_their_published_accuracies(
    published: Path, tmp_path: Path, model: str, accuracies: dict[str, float]
) -> None:
    keys = np.array(load_label_space("imagenet-1k").classes)
    parts = []
    with np.load(published / "imagenetv2" / "predictions_top1.npz") as content:
        for part in {"val": 0, **accuracies}:
            labels, best = content[f"labels/{part}"], content[f"{model}/{part}"]
            ids = [f"ILSVRC2012_val_{i:08d}" for i in content["val_image_number"].tolist()]
            if part != "val":
                ids = [f"{label}/{i:05d}" for i, label in enumerate(labels.tolist())]
            columns = {"sample_id": ids, "condition": [f"{IMAGENET_SETS[part]}/clean/clean-0"] * len(ids)}
            columns |= {"label": keys[labels].tolist(), "top1": keys[best].tolist()}
            parts.append(pa.table(columns))
    path = tmp_path / "published.parquet"
    pq.write_table(pa.concat_tables(parts), path)
    (tmp_path / "model.yaml").write_text(
        f"model: predictions:published.parquet\nlabel_space: imagenet-1k\nname: {model}\n"
    )
    for part, accuracy in accuracies.items():
        found = score(
            tmp_path / "model.yaml",
            suite=IMAGENET_SETS[part],
            data=tmp_path / "no-images",
            predictions=tmp_path / "runs",
        ).record
        error = found.scores["error"]
        assert error.value is not None
        # As they are stated: percent with two digits.
        assert round(100 * (1 - error.value), 2) == accuracy
        assert error.n == (50_000 if part == "val" else 10_000)
        assert found.without_images
        assert "only top-1 classes were handed in" in str(found.scores["rms"].reason)
        if part != "val":
            drop = found.scores["drop"]
            assert drop.value is not None
            assert round(100 * drop.value, 2) == round(accuracies["val"] - accuracy, 2)


@pytest.mark.realdata
def test_published_predictions_lie_as_far_from_the_published_line_as_their_accuracies_do(
    published: Path, tmp_path: Path
) -> None:
    # Accuracies 76.13 and 63.33 %; the testbed measured 63.21 % of the same network, 0.12 points less.
    keys = np.array(load_label_space("imagenet-1k").classes)
    file = {"val": "imagenet-1k", "v2_matched_frequency": "imagenet-v2-matched-frequency"}
    with np.load(published / "imagenetv2" / "predictions_top1.npz") as content:
        numbers = content["val_image_number"].tolist()
        for part, dataset in file.items():
            labels, best = content[f"labels/{part}"], content[f"resnet50/{part}"]
            ids = [f"{label}/{i:05d}" for i, label in enumerate(labels.tolist())]
            if part == "val":
                ids = [f"ILSVRC2012_val_{i:08d}" for i in numbers]
            path = tmp_path / "theirs" / dataset / "clean" / "clean-0.parquet"
            path.parent.mkdir(parents=True)
            columns = {"sample_id": ids, "label": keys[labels].tolist(), "top1": keys[best].tolist()}
            pq.write_table(pa.table(columns), path)
    whole = load_suite("imagenet-natural")
    suite = whole.model_copy(update={
        "cells": tuple(cell for cell in whole.cells if cell.id in ("clean_error", "v2_error")),
        "aggregates": tuple(one for one in whole.aggregates if "v2_error" in one.of),
        "columns": ("v2_error",), "beside": ()})  # fmt: skip
    record = score(
        f"predictions:{tmp_path / 'theirs'}", suite=suite, data=tmp_path / "none",
        predictions=tmp_path / "runs").record  # fmt: skip
    points = line_accuracies(load_accuracies("imagenet-testbed-standard"), "imagenet-v2-matched-frequency")
    x, y = (np.asarray(logistic.ppf(np.array(values))) for values in (points.clean, points.shifted))
    slope, intercept = np.polyfit(x, y, 1)
    expected = 0.6333 - logistic.cdf(intercept + slope * logistic.ppf(0.7613))
    found = record.scores["v2_effective_robustness"]
    assert record.status == "complete"
    assert found.value is not None
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert 100 * expected == pytest.approx(-0.62, abs=0.005)
    assert found.interval is not None
    # 10,000 images: about a point to either side.
    assert -0.018 < found.interval.low < found.value < found.interval.high < 0.006
    relative = record.scores["v2_relative_robustness"].value
    assert relative is not None
    assert 100 * relative == pytest.approx(63.33 - 63.21, abs=1e-6)


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["v4", "v6"])
def test_published_cifar_predictions_have_their_published_accuracies(
    published: Path, real_data: Path, tmp_path: Path, version: str
) -> None:
    # The images of the test set are at hand, and so are their labels; those of CIFAR-10.1 are not.
    stated = {"v4": 89.71, "v6": 90.15}
    keys = np.array(load_label_space("cifar-10").classes)
    with np.load(published / "cifar10.1" / "predictions.npz") as content:
        original, shifted = content["wrn_28_10/original"], content[f"wrn_28_10/{version}"]
        labels = keys[content[f"labels_{version}"]]
    for dataset, columns in (
        ("cifar-10", {"top1_index": original}),
        (f"cifar-10.1-{version}", {"top1_index": shifted, "label": labels}),
    ):
        file = tmp_path / "theirs" / dataset / "clean" / "clean-0.npz"
        file.parent.mkdir(parents=True)
        ids = np.array([f"{i:05d}" for i in range(len(columns["top1_index"]))])
        np.savez(file, sample_id=ids, **columns)
    found = score(
        f"predictions:{tmp_path / 'theirs'}",
        suite=f"cifar-10.1-{version}",
        data=real_data,
        predictions=tmp_path / "runs",
    ).record
    error, clean = found.scores["error"].value, found.scores["clean_error"].value
    assert error is not None
    assert clean is not None
    assert round(100 * (1 - error), 2) == stated[version]
    assert round(100 * (1 - clean), 2) == 95.93
    assert found.without_images == (f"cifar-10.1-{version}/clean/clean-0",)
    # Both count their images from 00000, and they are other images: two samples, no pairs.
    drop = found.scores["drop"]
    assert drop.value == pytest.approx(error - clean, abs=1e-9)
    assert drop.interval is not None
    assert drop.interval.method == "square-and-add of wilson and wilson"
