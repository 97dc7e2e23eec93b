"""Datasets scored as suites of their own: sets of right classes, groups, drops and labels of people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax

from robustbench_safety.cli.app import run
from robustbench_safety.data import DataRoot
from robustbench_safety.data.builtin import DigitsReader
from robustbench_safety.errors import DataError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.files import file_digest, read_json
from robustbench_safety.labels import class_digest, class_map_digest
from robustbench_safety.metrics import independent_difference, wilson_interval
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.recording import recorded_interval, rounded
from robustbench_safety.records import ScoreRecord
from tests.golden.make import RUN

CLEAN = "conditions: [{kind: clean, names: [clean], levels: [0]}]\nlabel_space: digits\n"
FIELDS = f"version: 1\ntitle: T\nlicence: own\ncitation: own\n{CLEAN}"
#: Two classes of pictures, each of which stands for several digits.
KINDS = {"round": ["8", "0", "6", "9"], "straight": ["1", "7", "4"]}
MEMBERS = [8, 0, 6, 9, 1, 7, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two folders, clean images beside them, and what people said of these."""
    root = tmp_path_factory.mktemp("own")
    draws = np.random.default_rng(0)
    reader = DigitsReader("test")
    everything = np.arange(200)
    digits = iter(reader.block(everything, reader.stored(everything)))
    keys = [str(member) for member in MEMBERS]
    for name in ("subsets", "maps", "pictures", "plain", "people"):
        (root / name).mkdir()
    (root / "subsets" / "few.yaml").write_text(
        "name: few\nlabel_space: digits\nsource: here\ncount: 7\n"
        f"digest: {class_digest(keys)}\nclasses: {keys}\n"
    )
    (root / "maps" / "kinds.yaml").write_text(
        f"name: kinds\nlabel_space: digits\nsource: here\ncount: 2\ndigest: {class_map_digest(KINDS)}\n"
        f"classes: {json.dumps(KINDS)}\n"
    )
    for key in KINDS:
        (root / "pictures" / key).mkdir()
        for i in range(60):
            style = "sketch" if i % 3 else "toy"
            # Digits of every class: some look most like one that is none of the dataset's.
            Image.fromarray(next(digits)).save(root / "pictures" / key / f"{style}_{i:02d}.png")
    np.save(root / "plain" / "images.npy", draws.integers(0, 256, size=(50, 32, 32, 3), dtype=np.uint8))
    np.save(root / "plain" / "labels.npy", np.arange(50) % 10)
    np.save(
        root / "people" / "counts.npy", draws.integers(0, 6, size=(50, 10)) + np.eye(10, dtype=int)[[3] * 50]
    )
    (root / "plain.yaml").write_text(
        "name: plain\nrole: clean\nlayout: {type: npy, images: images.npy, labels: labels.npy}\n"
        f"folder: plain\nsamples: 50\n{FIELDS}"
    )
    (root / "pictures.yaml").write_text(
        "name: pictures\nrole: shift\nlayout: {type: image_folder}\nfolder: pictures\nsamples: 120\n"
        "subset: few\nclass_map: kinds\ncompanion: plain\ncolumns: {style: '/([a-z]+)_'}\n" + FIELDS
    )
    (root / "people.yaml").write_text(
        "name: people\nrole: labels\nfolder: people\nsamples: 50\n"
        f"layout: {{type: relabelled, source: plain, file: counts.npy, format: counts_npy}}\n{FIELDS}"
    )
    return root


def scored(folder: Path, name: str, predictions: Path, *, skip_missing: bool = False) -> Evaluation:
    return score(
        "python:tests.golden.tiny:build",
        suite=folder / f"{name}.yaml",
        data=folder,
        predictions=predictions,
        batch_size=16,
        device="cpu",
        skip_missing=skip_missing,
    )


@pytest.fixture(scope="module")
def pictures(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return scored(folder, "pictures", tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def people(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return scored(folder, "people", tmp_path_factory.mktemp("people"))


def stored(evaluation: Evaluation, dataset: str) -> Predictions:
    return read_predictions(evaluation.run_folder / f"{dataset}/clean/clean-0.parquet")


def wrong_by_kind(predictions: Predictions, among: list[int]) -> NDArray[np.float64]:
    """Return 1 for each image whose best digit ``among`` some is of another kind than its label."""
    kinds = {int(member): kind for kind, members in KINDS.items() for member in members}
    out = []
    for row, label in zip(predictions.logits(), predictions.labels.tolist(), strict=True):
        if label in kinds:
            best = max(among, key=lambda k: row[k])
            out.append(float(kinds.get(best) != kinds[label]))
    return np.array(out)


def test_any_digit_of_the_kind_is_right_among_the_dataset_s_classes_and_among_all(
    pictures: Evaluation,
) -> None:
    predictions = stored(pictures, "pictures")
    # The first member of each kind is the stored label.
    assert set(predictions.labels.tolist()) == {8, 1}
    scores = pictures.record.scores
    assert not np.array_equal(
        wrong_by_kind(predictions, MEMBERS), wrong_by_kind(predictions, list(range(10)))
    ), "else the test could not tell the columns apart"
    for column, among in (("error_7", MEMBERS), ("error_10", list(range(10)))):
        wrong = wrong_by_kind(predictions, among)
        assert (scores[column].value, scores[column].n) == (rounded(wrong.mean()), 120)


def test_the_companion_is_measured_on_images_of_the_same_classes_by_the_same_rule(
    pictures: Evaluation,
) -> None:
    wrong = wrong_by_kind(stored(pictures, "plain"), MEMBERS)
    clean = pictures.record.scores["clean_error_7"]
    # 5 of each of ten digits, of which 7 are members.
    assert (clean.value, clean.n) == (rounded(wrong.mean()), 35)


def test_the_drop_is_the_difference_of_the_two_with_the_interval_of_other_images(
    pictures: Evaluation,
) -> None:
    a = wrong_by_kind(stored(pictures, "pictures"), MEMBERS)
    b = wrong_by_kind(stored(pictures, "plain"), MEMBERS)
    expected = independent_difference(
        a.mean(), wilson_interval(int(a.sum()), 120), b.mean(), wilson_interval(int(b.sum()), 35)
    )
    drop = pictures.record.scores["drop"]
    assert drop.value == pytest.approx(a.mean() - b.mean(), abs=1e-9)
    assert drop.interval is not None
    assert (drop.interval.low, drop.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert pictures.record.status == "complete"


def test_the_record_has_the_rate_of_every_group(pictures: Evaluation) -> None:
    predictions = stored(pictures, "pictures")
    wrong = wrong_by_kind(predictions, MEMBERS)
    groups = pictures.record.groups
    assert set(groups) == {"error_7", "error_10"}
    for style, n in (("sketch", 80), ("toy", 40)):
        events = [w for w, name in zip(wrong, predictions.sample_ids, strict=True) if f"/{style}_" in name]
        found = groups["error_7"]["style"][style]
        assert (found.n, found.value) == (n, rounded(sum(events) / n))
        assert found.interval == recorded_interval(wilson_interval(int(sum(events)), n))
    styles = pictures.companion.table().column("group_style").to_pylist()
    assert [style for style in styles if style] == [
        name.split("/")[1].split("_")[0] for name in predictions.sample_ids
    ]


def test_labels_of_people_are_scored_from_the_predictions_on_the_images_they_belong_to(
    people: Evaluation, folder: Path
) -> None:
    predictions = stored(people, "plain")
    assert list(people.record.prediction_digests) == ["plain/clean/clean-0"]
    counts = np.load(folder / "people" / "counts.npy")
    shares = counts / counts.sum(axis=1, keepdims=True)
    logits = predictions.logits()
    expected = -(shares * log_softmax(logits, axis=1)).sum(axis=1).mean()
    scores = people.record.scores
    assert scores["soft_cross_entropy"].value == pytest.approx(expected, abs=1e-9)
    assert scores["soft_cross_entropy"].unit == "nats"
    most = counts == counts.max(axis=1, keepdims=True)
    wrong = ~most[np.arange(50), logits.argmax(axis=1)]
    assert scores["error"].value == rounded(wrong.mean())
    assert scores["original_error"].value == rounded(1 - predictions.correct.mean())


def test_rescoring_finds_the_labels_under_data(
    people: Evaluation, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = ["--suite", str(folder / "people.yaml"), "--leaderboard", str(tmp_path)]
    assert run(["rescore", str(people.run_folder), *suite, "--data", str(folder)]) == 0
    capsys.readouterr()
    (path,) = tmp_path.rglob("people/*.json")
    again = read_json(path, ScoreRecord)
    assert again.scores == people.record.scores
    assert again.kind == people.record.kind


def test_the_record_keeps_the_digest_of_the_file_of_labels(people: Evaluation, folder: Path) -> None:
    digests = people.record.data_digests
    assert digests["people/labels"] == file_digest(folder / "people" / "counts.npy")
    assert set(digests) == {"people/labels", "plain/clean/clean-0"}


def test_labels_that_are_gone_are_told_before_any_image_or_leave_a_null_with_the_reason(
    people: Evaluation, folder: Path, tmp_path: Path
) -> None:
    path = folder / "people" / "counts.npy"
    path.rename(tmp_path / "counts.npy")
    try:
        with pytest.raises(DataError, match="dataset people is not in"):
            scored(folder, "people", tmp_path / "new")
        assert not (tmp_path / "new").exists()
        skipping = scored(folder, "people", people.run_folder.parent, skip_missing=True)
        again = rescore(
            people.run_folder, suite=folder / "people.yaml", data=DataRoot(root=folder, beside=folder)
        )
    finally:
        (tmp_path / "counts.npy").rename(path)
    assert skipping.skipped[0].startswith("people: dataset people is not in")
    for record in (skipping.record, again.record):
        assert record.kind == "partial"
        assert record.scores["original_error"] == people.record.scores["original_error"]
        for column in ("error", "soft_cross_entropy"):
            found = record.scores[column]
            assert found.value is None
            assert found.reason is not None
            assert found.reason.startswith("no labels for plain/clean/clean-0: dataset people is not in")


def test_the_golden_run_has_neither_groups_nor_labels_of_others() -> None:
    record = json.loads((RUN.parent / "record.json").read_text())
    assert "groups" not in record
    assert not [path for path in record["data_digests"] if path.endswith("/labels")]
