"""Without the images ids and labels are the file's, checked against the manifest, and the record says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.errors import DataError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.files import digest_of
from robustbench_safety.labels import class_digest
from robustbench_safety.predictions import read_predictions
from robustbench_safety.records import ScoreRecord
from tests.submitted.conftest import Table, parquet

N = 120
CELLS = (
    "name: own\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\ncells:\n"
    "  - {id: error, dataset: plain, metric: error_rate}\n"
    "  - {id: noisy_error, dataset: noisy, metric: error_rate}\n"
    "  - {id: auroc, dataset: strange, metric: auroc, detector: msp, in_distribution: plain}\n"
    "aggregates: [{id: drop, of: [noisy_error, error], reduce: difference}]\n"
    "columns: [error, noisy_error, drop, auroc]\n"
)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite on stacks of images that nobody here has."""
    common = "version: 1\ntitle: T\nlicence: own\ncitation: own\nimage_size: [32, 32]\n"
    labelled = f"layout: {{type: npy, images: images.npy, labels: labels.npy}}\nlabel_space: digits\n{common}"
    clean = "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
    for name, text in {
        "plain": f"role: clean\nsamples: {N}\n{clean}{labelled}",
        "noisy": f"role: corruption\ncompanion: plain\nsamples: {N}\n{labelled}".replace(
            "images: images.npy", "images: '{name}.npy', levels_in_rows: 2"
        )
        + "conditions: [{kind: corruption, names: [snow], levels: [1, 2]}]\n",
        "strange": f"role: ood\nsamples: 80\n{clean}{common}"
        "layout: {type: npy, images: images.npy}\nlabel_space: null\ncompanion: plain\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nfolder: {name}\n{text}")
    path = tmp_path / "own.yaml"
    path.write_text(CELLS)
    return path


@pytest.fixture
def table() -> Table:
    """Logits on all its conditions, rows in no order."""
    draws = np.random.default_rng(1)
    parts: list[Table] = []
    labels = draws.integers(0, 10, size=N)
    for condition, n in (
        ("plain/clean/clean-0", N),
        ("noisy/corruption/snow-1", N),
        ("noisy/corruption/snow-2", N),
        ("strange/clean/clean-0", 80),
    ):
        logits = draws.normal(size=(n, 10)).astype(np.float32)
        if n == N:
            logits[np.arange(N), labels] += 2
        parts.append({
            "sample_id": np.array([f"{i:05d}" for i in range(n)]),
            "condition": np.full(n, condition),
            "label": labels.astype(str) if n == N else np.full(n, ""),
            "logits": logits,
        })  # fmt: skip
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = draws.permutation(len(whole["label"]))
    return {name: column[order] for name, column in whole.items()}


@pytest.fixture
def scored_here(suite: Path, tmp_path: Path) -> Callable[..., Evaluation]:
    def do(table: Table, **options: object) -> Evaluation:
        path = parquet(table, tmp_path / "p.parquet")
        settings: dict[str, object] = {"data": tmp_path / "data", "predictions": tmp_path / "runs"}
        return score(f"predictions:{path}", suite=suite, **(settings | options))  # type: ignore[arg-type]

    return do


ScoredHere = Callable[..., Evaluation]


def test_the_file_s_own_labels_are_taken_and_the_record_says_so(
    scored_here: ScoredHere, table: Table, suite: Path, tmp_path: Path
) -> None:
    found = scored_here(table)
    record = found.record
    clean = table["condition"] == "plain/clean/clean-0"
    wrong = table["logits"][clean].astype(np.float64).argmax(axis=1) != table["label"][clean].astype(int)
    assert record.scores["error"].value == pytest.approx(wrong.mean(), abs=1e-9)
    assert record.scores["auroc"].n_out == 80
    assert record.status == "complete"
    assert record.kind == "recomputed"
    assert set(record.without_images) == set(np.unique(table["condition"]).tolist())
    stored = read_predictions(found.run_folder / "plain/clean/clean-0.parquet")
    assert stored.header.data_digest_covers == "ids-and-labels"
    assert stored.sample_ids == sorted(stored.sample_ids)
    again = rescore(found.run_folder, suite=suite, data=tmp_path / "data")
    assert digest_of(again.record.digested_fields()) == digest_of(record.digested_fields())


def test_the_digest_moves_with_a_label_and_not_with_the_order_of_the_rows(
    scored_here: ScoredHere, table: Table
) -> None:
    first = scored_here(table).record.data_digests
    turned = {name: column[::-1] for name, column in table.items()}
    assert scored_here(turned).record.data_digests == first
    changed = table | {"label": np.where(table["label"] == "3", "4", table["label"])}
    other = scored_here(changed).record.data_digests
    assert other["plain/clean/clean-0"] != first["plain/clean/clean-0"]
    assert other["strange/clean/clean-0"] == first["strange/clean/clean-0"]


def test_a_record_without_images_cannot_be_called_verified(scored_here: ScoredHere, table: Table) -> None:
    fields = scored_here(table).record.model_dump()
    fields["verification"]["kind"] = "verified"
    with pytest.raises(ValueError, match="images were not at hand cannot be verified"):
        ScoreRecord.model_validate(fields)


def test_when_the_images_come_to_hand_the_same_call_takes_them(
    scored_here: ScoredHere, table: Table, tmp_path: Path
) -> None:
    scored_here(table)
    clean = {name: column[table["condition"] == "plain/clean/clean-0"] for name, column in table.items()}
    order = np.argsort(clean["sample_id"])
    (tmp_path / "data/plain").mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, size=(N, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "data/plain/images.npy", images)
    np.save(tmp_path / "data/plain/labels.npy", clean["label"][order].astype(int))
    found = scored_here(table).record
    assert "plain/clean/clean-0" not in found.without_images
    assert len(found.without_images) == 3
    # One label of the data set is another: the file's no longer agree.
    np.save(tmp_path / "data/plain/labels.npy", (clean["label"][order].astype(int) + 1) % 10)
    with pytest.raises(DataError, match=f"{N} samples are labelled otherwise by the data set: 00000, 00001"):
        scored_here(table)


def without(table: Table, row: int) -> Table:
    at = np.flatnonzero(table["condition"] == "plain/clean/clean-0")[row]
    return {name: np.delete(column, at, axis=0) for name, column in table.items()}


def relabelled(table: Table, condition: str, label: str) -> Table:
    at = np.flatnonzero(table["condition"] == condition)[5]
    labels = table["label"].astype("<U20")
    labels[at] = label
    return table | {"label": labels}


def renamed(table: Table, old: str, new: str) -> Table:
    return table | {"sample_id": np.where(table["sample_id"] == old, new, table["sample_id"])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k != "label"},
            "neither images nor labels are at hand; exp",
        ),
        (lambda t: without(t, 3), f"does not have the samples of plain; expected {N}; found {N - 1}"),
        (
            lambda t: renamed(t, "00003", "3"),
            "sample_id '3'; expected the index in the published array, 0000",
        ),
        (lambda t: relabelled(t, "plain/clean/clean-0", "ten"), "label 'ten'; expected a class of plain"),
        (lambda t: relabelled(t, "plain/clean/clean-0", ""), "label ''; expected a class of plain"),
        (lambda t: relabelled(t, "strange/clean/clean-0", "3"), "label '3'; expected no label"),
        (
            lambda t: relabelled(t, "noisy/corruption/snow-2", str((int(label_of(t)) + 1) % 10)),
            "snow-2 has other samples or labels than noisy/corruption/snow-1",
        ),
    ],
)
def test_what_does_not_fit_the_manifest_is_refused(
    scored_here: ScoredHere, table: Table, change: Callable[[Table], Table], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scored_here(change(table))


def label_of(table: Table) -> str:
    at = np.flatnonzero(table["condition"] == "noisy/corruption/snow-2")[5]
    return str(table["label"][at])


def test_what_nobody_can_tell_is_left_out_with_skip_missing(scored_here: ScoredHere, table: Table) -> None:
    unlabelled = {name: column for name, column in table.items() if name != "label"}
    found = scored_here(unlabelled, skip_missing=True)
    assert found.record.scores["error"].value is None
    assert any(told.startswith("plain/clean/clean-0: ") for told in found.skipped)
    assert found.record.status == "partial"


def test_a_limit_takes_the_first_of_the_sorted_ids(scored_here: ScoredHere, table: Table) -> None:
    found = scored_here(table, limit=7)
    stored = read_predictions(found.run_folder / "plain/clean/clean-0.parquet")
    assert stored.sample_ids == [f"{i:05d}" for i in range(7)]


def test_any_label_space_will_do_and_nothing_need_be_an_image(tmp_path: Path) -> None:
    keys = ["negative", "neutral", "positive"]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "sentiment.yaml").write_text(
        f"name: sentiment\nsource: here\ndigest: {class_digest(keys)}\nclasses: {keys}\n"
    )
    (tmp_path / "reviews.yaml").write_text(
        "name: reviews\nversion: 1\ntitle: T\nrole: clean\nfolder: reviews\nsamples: 4\nlicence: own\n"
        "layout: {type: image_folder}\nconditions: [{kind: clean, names: [clean], levels: [0]}]\n"
        "label_space: sentiment\ncitation: own\n"
    )
    (tmp_path / "theirs.csv").write_text(
        "sample_id,label,top1\nfilm/12,positive,positive\nfilm/7,negative,neutral\n"
        '"book, the first",neutral,neutral\nbook/2,negative,negative\n'
    )
    found = score(
        f"predictions:{tmp_path / 'theirs.csv'}",
        suite=tmp_path / "reviews.yaml",
        data=tmp_path / "data",
        predictions=tmp_path / "runs",
    ).record
    assert (found.scores["error"].value, found.scores["error"].n) == (0.25, 4)
    assert "only top-1 classes were handed in" in str(found.scores["rms"].reason)
