"""The suites of reliability and of unknown detection, each cell held against NumPy and scikit-learn.

On small copies of every set that they measure, in its published layout, with networks of known weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

import robustbench_safety as rbs
from robustbench_safety.data import DataRoot
from robustbench_safety.evaluation import Evaluation
from robustbench_safety.suites import load_suite
from tests.published.arrays import CIFAR_LABELS
from tests.published.manifests import fields_of, only, write_manifest
from tests.published.photographs import picture
from tests.published.test_scoring import INDEX, columns_of, softmax, stored, values_of
from tests.published.writer import WNIDS, Copies

Floats = NDArray[np.float64]


def tied_means(order: Floats, values: Floats) -> Floats:
    """Return the mean of ``values`` over the images of the same ``order``."""
    _, group = np.unique(order, return_inverse=True)
    means: Floats = np.bincount(group, weights=values) / np.bincount(group)
    return means[group]


def risks(confidence: Floats, correct: Floats) -> Floats:
    """Return the error rate among the k most confident images, k = 1..N."""
    wrong = tied_means(confidence, 1 - correct)[np.argsort(-confidence, kind="stable")]
    out: Floats = wrong.cumsum() / np.arange(1, len(wrong) + 1)
    return out


def of_answers(confidence: Floats, correct: Floats) -> dict[str, float]:
    """Return every measure of confidence and correctness, by the end of a cell's id."""
    n, risk = len(correct), risks(confidence, correct)
    rate = 1 - correct.mean()
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, [100 * b for b in range(1, n // 100)])
    spread = tied_means(confidence, correct)
    squares = [len(b) / n * (confidence[b].mean() - spread[b].mean()) ** 2 for b in bins]
    width = np.minimum(np.ceil(confidence * 15).astype(int), 15)
    gaps = [abs((confidence - correct)[width == b].sum()) / n for b in range(16)]
    area = roc_auc_score(1 - correct, -confidence)
    found = {
        "error": rate,
        "rms": np.sqrt(sum(squares)),
        "ece": sum(gaps),
        "aurc": risk.mean(),
        "eaurc": risk.mean() - (rate + (1 - rate) * np.log(1 - rate)),
        "augrc": (risk * np.arange(1, n + 1)).mean() / n,
        "prr": 2 * area - 1,
        "error_auroc": area,
    }
    for percent in (80, 90, 95):
        answered = -(-percent * n // 100)
        found[f"accuracy_at_{percent}"] = 1 - risk[answered - 1]
    return found


def of_logits(logits: Floats, labels: list[int]) -> dict[str, float]:
    """Return these, and what needs the probability of the one right class."""
    shares, k = softmax(logits), logits.shape[1]
    correct = (logits.argmax(axis=1) == labels).astype(float)
    falling = logits - logits.max(axis=1, keepdims=True)
    return of_answers(shares.max(axis=1), correct) | {
        # Not scikit-learn's log loss, which cuts probabilities off at 2e-16.
        "nll": float(np.mean(np.log(np.exp(falling).sum(axis=1)) - falling[range(len(labels)), labels])),
        "brier": ((shares - np.eye(k)[labels]) ** 2).sum(axis=1).mean(),
    }


def summary(evaluation: Evaluation, condition: str, labels: list[int]) -> dict[str, float]:
    """Return the same of a condition of which the best ten classes are kept."""
    table = pq.read_table(evaluation.run_folder / f"{condition}.parquet")
    confidence = np.exp(-table["neg_log_confidence"].to_numpy().astype(np.float64))
    nll = table["label_nll"].to_numpy().astype(np.float64)
    correct = (stored(evaluation, condition).top == labels).astype(float)
    squares = table["sum_squared_probabilities"].to_numpy().astype(np.float64)
    brier = (squares - 2 * np.exp(-nll) + 1).mean()
    return of_answers(confidence, correct) | {"nll": nll.mean(), "brier": brier}


def means(parts: list[dict[str, float]]) -> dict[str, float]:
    return {end: float(np.mean([part[end] for part in parts])) for end in parts[0]}


def compare(evaluation: Evaluation, expected: dict[str, dict[str, float]]) -> None:
    """Hold every cell against what is expected of its set; no cell is left out."""
    values = values_of(evaluation)
    assert set(values) == {f"{name}_{end}" for name, ends in expected.items() for end in ends}
    for name, ends in expected.items():
        for end, value in ends.items():
            assert values[f"{name}_{end}"] == pytest.approx(value, abs=2e-6), f"{name}_{end}"
    record = evaluation.record
    for column in (*record.columns, *record.beside):
        score = record.scores[column]
        assert score.interval is not None, column
        assert score.interval.low < score.interval.high, column


@pytest.fixture(scope="module")
def few(copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The copies with 200 images of CIFAR-10.1, as a binned measure takes 100, and with few corruptions."""
    folder = tmp_path_factory.mktemp("few")
    own, new = folder / "own", folder / "cifar-10.1"
    shutil.copytree(copies.own, own)
    new.mkdir()
    labels = np.repeat(np.arange(10), 20).astype(np.int32)
    images = [picture(int(k), shake=24, seed=900 + i, size=(32, 32)) for i, k in enumerate(labels)]
    np.save(new / "cifar10.1_v6_data.npy", np.stack(images))
    np.save(new / "cifar10.1_v6_labels.npy", labels)
    write_manifest(own, "cifar-10.1-v6", new, samples=200, samples_per_class=20)
    conditions = only("corruption", gaussian_noise=(5,), fog=(1,))
    write_manifest(own, "imagenet-c", copies.folder("imagenet-c"), samples=1000, samples_per_class=1,
                   conditions=conditions)  # fmt: skip
    conditions = only("corruption", gaussian_noise=(1, 5), contrast=(3,))
    write_manifest(own, "cifar-10-c-generated", folder, samples=100, conditions=conditions)
    return DataRoot(root=copies.root, beside=own, folders={"cifar-10.1-v6": new})


def scored(suite: str, classes: int, data: DataRoot, folder: Path) -> Evaluation:
    model = f"python:tests.published.network:build_{classes}"
    return rbs.score(model, suite=suite, data=data, predictions=folder, device="cpu", batch_size=64)


# ------------------------------------------------------------------------------------------- reliability


def test_every_number_of_reliability_on_imagenet_is_the_one_that_numpy_gets(
    few: DataRoot, tmp_path: Path
) -> None:
    evaluation = scored("reliability", 1000, few, tmp_path)
    expected: dict[str, dict[str, float]] = {}
    for name, dataset, subset in (
        ("clean", "imagenet-1k", None),
        ("v2", "imagenet-v2-matched-frequency", None),
        ("sketch", "imagenet-sketch", None),
        ("r", "imagenet-r", "imagenet-r"),
        ("a", "imagenet-a", "imagenet-a"),
    ):
        found = stored(evaluation, f"{dataset}/clean/clean-0")
        # The folders of ImageNet-V2 are called by the index, the others by the wnid.
        keys = [int(folder) if folder.isdigit() else INDEX[folder] for folder in found.folders]
        columns = columns_of(subset) if subset else list(range(1000))
        expected[name] = of_logits(found.logits[:, columns], [columns.index(key) for key in keys])
    parts = []
    for corruption in ("gaussian_noise-5", "fog-1"):
        path = f"imagenet-c/corruption/{corruption}"
        labels = [INDEX[folder] for folder in stored(evaluation, path).folders]
        parts.append(summary(evaluation, path, labels))
    expected["c"] = means(parts)
    # Any of the classes that a folder stands for is right.
    found = stored(evaluation, "objectnet/clean/clean-0")
    mapped, columns = fields_of("maps/objectnet")["classes"], columns_of("objectnet")
    sliced = found.logits[:, columns]
    right = [
        WNIDS[columns[p]] in mapped[key] for p, key in zip(sliced.argmax(axis=1), found.folders, strict=True)
    ]
    expected["objectnet"] = of_answers(softmax(sliced).max(axis=1), np.array(right, dtype=float))
    compare(evaluation, expected)
    # The sets differ, so that a mix-up would show.
    assert len({round(part["aurc"], 6) for part in expected.values()}) == 7


@pytest.mark.parametrize(
    ("suite", "conditions"),
    [
        ("reliability-cifar10", [f"cifar-10-c/corruption/{name}-{level}" for name in ("gaussian_noise", "fog")
                                 for level in range(1, 6)]),
        ("reliability-cifar10-generated",
         [f"cifar-10-c-generated/corruption/{one}" for one in ("gaussian_noise-1", "gaussian_noise-5",
                                                               "contrast-3")]),
    ],
)  # fmt: skip
def test_every_number_of_reliability_on_cifar_is_the_one_that_numpy_gets(
    suite: str, conditions: list[str], few: DataRoot, tmp_path: Path
) -> None:
    evaluation = scored(suite, 10, few, tmp_path)
    labels = CIFAR_LABELS.tolist()
    expected = {
        "clean": of_logits(stored(evaluation, "cifar-10/clean/clean-0").logits, labels),
        "c": means([of_logits(stored(evaluation, path).logits, labels) for path in conditions]),
    }
    if suite == "reliability-cifar10":
        new = stored(evaluation, "cifar-10.1-v6/clean/clean-0").logits
        expected["v6"] = of_logits(new, np.repeat(np.arange(10), 20).tolist())
    compare(evaluation, expected)
    assert evaluation.record.status == "complete"


# ------------------------------------------------------------------------------------------ unknown images

SETS = {
    "unknown-detection": {
        "near": {"ssb_hard": "ssb-hard", "ninco": "ninco"},
        "far": {"inaturalist": "inaturalist", "textures": "textures", "openimage_o": "openimage-o"},
    },
    "unknown-detection-cifar10": {
        "near": {"cifar100": "cifar100", "tin": "tin"},
        "far": {"mnist": "mnist", "svhn": "svhn", "texture": "texture", "places365": "places365"},
    },
}


@pytest.mark.parametrize(
    ("suite", "clean", "prefix"),
    [
        ("unknown-detection", "imagenet-1k", "openood-imagenet"),
        ("unknown-detection-cifar10", "cifar-10", "openood-cifar10"),
    ],
)
def test_every_number_of_unknown_detection_is_the_one_that_numpy_gets(
    suite: str, clean: str, prefix: str, few: DataRoot, tmp_path: Path
) -> None:
    on_imagenet = clean == "imagenet-1k"
    evaluation = scored(suite, 1000 if on_imagenet else 10, few, tmp_path)
    inside = stored(evaluation, f"{clean}/clean/clean-0")
    labels = [INDEX[folder] for folder in inside.folders] if on_imagenet else CIFAR_LABELS.tolist()
    confidence = softmax(inside.logits).max(axis=1)
    correct = (inside.logits.argmax(axis=1) == labels).astype(float)
    answers = of_answers(confidence, correct)
    expected = {
        "clean_error": answers["error"],
        "misclassification_aurc": answers["aurc"],
        "misclassification_auroc": answers["error_auroc"],
        "clean_eaurc": answers["eaurc"],
        "clean_augrc": answers["augrc"],
    }

    def unknown(*outside: Floats) -> float:
        together = np.concatenate([confidence, *outside])
        return float(risks(together, np.concatenate([correct, *(0 * one for one in outside)])).mean())

    groups: dict[str, list[Floats]] = {}
    for group, sets in SETS[suite].items():
        for name, dataset in sets.items():
            logits = stored(evaluation, f"{prefix}-{dataset}/clean/clean-0").logits
            outside = softmax(logits).max(axis=1)
            groups.setdefault(group, []).append(outside)
            truth = np.repeat([0, 1], [len(confidence), len(outside)])
            both = -np.concatenate([confidence, outside])
            # The highest threshold that at least 95 % of the 21 reach.
            threshold = np.sort(outside)[19]
            expected |= {
                f"{name}_unknown_aurc": unknown(outside),
                f"{name}_auroc": roc_auc_score(truth, both),
                f"{name}_fpr95": float(np.mean(confidence <= threshold)),
                f"{name}_aupr_out": average_precision_score(truth, both),
                f"{name}_aupr_in": average_precision_score(1 - truth, -both),
            }
        expected[f"{group}_unknown_aurc"] = unknown(*groups[group])
        for end in ("auroc", "fpr95"):
            expected[f"{group}_{end}"] = float(np.mean([expected[f"{name}_{end}"] for name in sets]))
    # Near and far are one list for the one measure that does not tell them apart.
    expected["unknown_aurc"] = unknown(*groups["near"], *groups["far"])
    values, record = values_of(evaluation), evaluation.record
    assert values == pytest.approx(expected, abs=1e-6)
    score, n_out = record.scores["unknown_aurc"], 21 * sum(map(len, groups.values()))
    assert (score.n, score.n_out) == (len(correct), n_out)
    assert score.chance == pytest.approx((n_out + (1 - correct).sum()) / (n_out + len(correct)))
    for name in (*record.columns, *record.beside):
        interval = record.scores[name].interval
        assert interval is not None, name
        assert interval.low <= values[name] <= interval.high, name


@pytest.mark.parametrize("suite", SETS)
def test_near_and_far_are_pooled_in_the_unified_measure_and_nowhere_else(suite: str) -> None:
    found = load_suite(suite)
    reduced = {one.id: (one.reduce, one.of) for one in found.aggregates}
    sets = {group: tuple(names) for group, names in SETS[suite].items()}
    every = (*sets["near"], *sets["far"])
    assert reduced.pop("unknown_aurc") == ("pooled", tuple(f"{name}_unknown_aurc" for name in every))
    for group, names in sets.items():
        assert reduced.pop(f"{group}_unknown_aurc") == (
            "pooled",
            tuple(f"{name}_unknown_aurc" for name in names),
        )
        for end in ("auroc", "fpr95"):
            assert reduced.pop(f"{group}_{end}") == ("mean", tuple(f"{name}_{end}" for name in names))
    assert not reduced
    assert found.columns == ("unknown_aurc", "misclassification_aurc", "near_auroc", "far_auroc")
