"""Every number of a dataset's own suite is the one that NumPy gets from the stored logits by itself.

And the stored logits are those that NumPy gets from the files: what lies between is Pillow and known weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

import robustbench_safety as rbs
from robustbench_safety.evaluation import Evaluation
from robustbench_safety.records import Cell, Suite
from tests.published.arrays import CIFAR_LABELS, CIFAR_P, N_CIFAR, cifar_image, clip_frames
from tests.published.conftest import Scores
from tests.published.manifests import classes_of, fields_of
from tests.published.network import logits_of, seen
from tests.published.photographs import corrupted
from tests.published.writer import FEW, STYLES, WNIDS, Copies

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXACT = 1e-9
INDEX = {wnid: index for index, wnid in enumerate(WNIDS)}


@dataclass(frozen=True)
class Stored:
    """What one file of predictions holds."""

    ids: list[str]
    """Of every row."""
    logits: Floats
    """[N, K], or the best ten of a summary."""
    top: Ints
    """[N]."""

    @property
    def folders(self) -> list[str]:
        """The first folder in each id."""
        return [sample_id.partition("/")[0] for sample_id in self.ids]


def stored(evaluation: Evaluation, condition: str) -> Stored:
    table = pq.read_table(evaluation.run_folder / f"{condition}.parquet")
    column = "logits" if "logits" in table.column_names else "top_logits"
    logits = table[column].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    if column == "logits":
        top = logits.argmax(axis=1)
    else:
        top = table["top_classes"].combine_chunks().flatten().to_numpy().reshape(logits.shape)[:, 0]
    return Stored(table["sample_id"].to_pylist(), logits.astype(np.float64), top.astype(np.int64))


def values_of(evaluation: Evaluation) -> dict[str, float]:
    out = {}
    for name, score in evaluation.record.scores.items():
        assert score.value is not None, f"{name}: {score.reason}"
        out[name] = score.value
    return out


def columns_of(subset: str) -> list[int]:
    return [INDEX[wnid] for wnid in classes_of(f"subsets/{subset}")]


def softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Floats = powers / powers.sum(axis=1, keepdims=True)
    return out


def sliced_error(predictions: Stored, columns: list[int]) -> float:
    """Return the error among images of the columns' classes, the columns selected before argmax."""
    labels = [INDEX[folder] for folder in predictions.folders]
    rows = [row for row, label in enumerate(labels) if label in columns]
    predicted = predictions.logits[np.ix_(rows, columns)].argmax(axis=1)
    return float(np.mean([columns[p] != labels[row] for p, row in zip(predicted, rows, strict=True)]))


def mapped_error(
    predictions: Stored, columns: list[int], mapped: dict[str, list[str]], keys: list[str]
) -> float:
    """Return the error where any class that a key stands for is right."""
    rows = [row for row, key in enumerate(keys) if key]
    predicted = predictions.logits[np.ix_(rows, columns)].argmax(axis=1)
    wrong = [WNIDS[columns[p]] not in mapped[keys[row]] for p, row in zip(predicted, rows, strict=True)]
    return float(np.mean(wrong))


def equal_count_rms(logits: Floats, labels: list[int]) -> float:
    """Return the root mean squared calibration error over bins of 100 images, the last one shorter."""
    probabilities = softmax(logits)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence)
    total = 0.0
    for start in range(0, len(order), 100):
        part = order[start : start + 100]
        total += len(part) / len(order) * (correct[part].mean() - confidence[part].mean()) ** 2
    return float(np.sqrt(total))


# ------------------------------------------------------------------------------ from the files to the logits


@pytest.mark.parametrize(
    ("suite", "condition", "below", "border"),
    [
        ("imagenet-a", "imagenet-1k/clean/clean-0", "val", 0),
        ("imagenet-a", "imagenet-a/clean/clean-0", "", 0),
        ("imagenet-v2-matched-frequency", "imagenet-v2-matched-frequency/clean/clean-0", "", 0),
        ("objectnet", "objectnet/clean/clean-0", "images", 2),
    ],
)
def test_stored_logits_are_those_of_pillows_pixels(
    copies: Copies, scores: Scores, suite: str, condition: str, below: str, border: int
) -> None:
    found = stored(scores(suite, 1000), condition)
    folder = copies.folder(condition.partition("/")[0]) / below
    rows = range(0, len(found.ids), 23)
    shown = []
    for row in rows:
        (path,) = folder.glob(f"{found.ids[row]}.*")
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        shown.append(seen(pixels[border : len(pixels) - border, border : pixels.shape[1] - border]))
    assert found.logits[rows] == pytest.approx(logits_of(np.stack(shown), 1000), abs=1e-3)


# ----------------------------------------------------------------------------------- ImageNet-A, -R and -O


def test_the_columns_of_imagenet_a_are_selected_before_the_argmax(scores: Scores) -> None:
    evaluation = scores("imagenet-a", 1000)
    hard, clean = (stored(evaluation, f"{name}/clean/clean-0") for name in ("imagenet-a", "imagenet-1k"))
    columns, values = columns_of("imagenet-a"), values_of(evaluation)
    error, clean_error = sliced_error(hard, columns), sliced_error(clean, columns)
    labels = [INDEX[folder] for folder in hard.folders]
    assert evaluation.record.columns == ("error_200", "error_1000", "clean_error_200", "drop", "rms")
    assert values["error_200"] == pytest.approx(error, abs=EXACT)
    assert values["error_1000"] == pytest.approx(np.mean(hard.logits.argmax(axis=1) != labels), abs=EXACT)
    assert values["clean_error_200"] == pytest.approx(clean_error, abs=EXACT)
    assert values["drop"] == pytest.approx(error - clean_error, abs=EXACT)
    rms = equal_count_rms(hard.logits[:, columns], [columns.index(label) for label in labels])
    assert values["rms"] == pytest.approx(rms, abs=1e-6)
    assert evaluation.record.scores["clean_error_200"].n == 200
    # The numbers tell the rules apart.
    assert 0 < clean_error < error < values["error_1000"] < 1


def test_the_companion_costs_one_pass_over_the_validation_set_for_all_suites(scores: Scores) -> None:
    record = scores("imagenet-a", 1000).record
    assert set(record.prediction_digests) == {"imagenet-a/clean/clean-0", "imagenet-1k/clean/clean-0"}
    assert record.forward_passes == 200 + 1000
    for suite in ("imagenet-o", "imagenet-r", "objectnet", "imagenet-real"):
        scores(suite, 1000)
    passes = scores.passes(1000)
    assert passes["imagenet-1k/clean/clean-0"] == 1000
    assert scores.shown[1000] == sum(passes.values())


def test_imagenet_r_has_an_error_for_every_style(scores: Scores) -> None:
    evaluation = scores("imagenet-r", 1000)
    found, columns = stored(evaluation, "imagenet-r/clean/clean-0"), columns_of("imagenet-r")
    predicted = np.array(columns)[found.logits[:, columns].argmax(axis=1)]
    wrong = predicted != [INDEX[folder] for folder in found.folders]
    assert values_of(evaluation)["error_200"] == pytest.approx(wrong.mean(), abs=EXACT)
    groups = evaluation.record.groups["error_200"]["style"]
    styles = np.array([sample_id.partition("/")[2].rpartition("_")[0] for sample_id in found.ids])
    assert set(groups) == set(STYLES)
    for style, group in groups.items():
        assert group.n == np.count_nonzero(styles == style)
        assert group.value == pytest.approx(wrong[styles == style].mean(), abs=EXACT)
    assert groups["art"].value < groups["videogame"].value, "they differ, so that a mix-up would show"


def test_imagenet_o_is_told_from_images_of_its_own_classes_and_apart_from_all_of_them(scores: Scores) -> None:
    evaluation = scores("imagenet-o", 1000)
    outside, inside = (stored(evaluation, f"{name}/clean/clean-0") for name in ("imagenet-o", "imagenet-1k"))
    columns, values = columns_of("imagenet-o"), values_of(evaluation)
    own = [row for row, folder in enumerate(inside.folders) if INDEX[folder] in columns]
    for ending, those, rows in (
        ("200", columns, own),
        ("all_1000", list(range(1000)), list(range(1000))),
    ):
        scores_in = -softmax(inside.logits[np.ix_(rows, those)]).max(axis=1)
        scores_out = -softmax(outside.logits[:, those]).max(axis=1)
        truth = np.repeat([0, 1], [len(scores_in), len(scores_out)])
        both = np.concatenate([scores_in, scores_out])
        # The highest threshold that at least 95 % of the 200 reach.
        threshold = np.sort(scores_out)[::-1][189]
        assert values[f"aupr_out_{ending}"] == pytest.approx(average_precision_score(truth, both), abs=1e-8)
        assert values[f"auroc_{ending}"] == pytest.approx(roc_auc_score(truth, both), abs=1e-8)
        assert values[f"fpr95_{ending}"] == pytest.approx(np.mean(scores_in >= threshold), abs=EXACT)
        score = evaluation.record.scores[f"aupr_out_{ending}"]
        assert (score.n, score.n_out) == (len(rows), 200)
    assert abs(values["aupr_out_200"] - values["aupr_out_all_1000"]) > 0.05
    assert 0.55 < values["auroc_200"] < 0.99


# -------------------------------------------------------------------------------------- several right classes


def test_any_class_that_a_folder_of_objectnet_stands_for_is_right(scores: Scores) -> None:
    evaluation = scores("objectnet", 1000)
    found, clean = (stored(evaluation, f"{name}/clean/clean-0") for name in ("objectnet", "imagenet-1k"))
    mapped, columns = fields_of("maps/objectnet")["classes"], columns_of("objectnet")
    values = values_of(evaluation)
    key_of = {wnid: key for key, members in mapped.items() for wnid in members}
    clean_keys = [key_of.get(folder, "") for folder in clean.folders]
    error = mapped_error(found, columns, mapped, found.folders)
    clean_error = mapped_error(clean, columns, mapped, clean_keys)
    assert len(found.ids) == 151
    assert values["error_125"] == pytest.approx(error, abs=EXACT)
    assert values["error_1000"] == pytest.approx(
        mapped_error(found, list(range(1000)), mapped, found.folders), abs=EXACT
    )
    assert values["clean_error_125"] == pytest.approx(clean_error, abs=EXACT)
    assert evaluation.record.scores["clean_error_125"].n == 125
    assert values["drop"] == pytest.approx(error - clean_error, abs=EXACT)
    assert clean_error < sliced_error(clean, columns), "so do they beside it"
    first = {key: members[:1] for key, members in mapped.items()}
    assert 0 < error < mapped_error(found, columns, first, found.folders), "sets of classes matter here"


def test_reassessed_labels_are_joined_by_id_and_images_without_any_are_left_out(
    copies: Copies, scores: Scores
) -> None:
    evaluation = scores("imagenet-real", 1000)
    found = stored(evaluation, "imagenet-1k/clean/clean-0")
    lists = json.loads((copies.folder("imagenet-real") / "real.json").read_text())
    right = [lists[int(sample_id.rpartition("_")[2]) - 1] for sample_id in found.ids]
    wrong = [top not in those for top, those in zip(found.top, right, strict=True) if those]
    values = values_of(evaluation)
    assert values["error"] == pytest.approx(np.mean(wrong), abs=EXACT)
    assert evaluation.record.scores["error"].n == len(wrong) == sum(map(bool, lists)) < 1000
    original = np.mean(found.top != [INDEX[folder] for folder in found.folders])
    assert values["original_error"] == pytest.approx(original, abs=EXACT)
    assert values["error"] != pytest.approx(values["original_error"], abs=0.01)
    assert set(evaluation.record.prediction_digests) == {"imagenet-1k/clean/clean-0"}


def test_the_likelihood_of_reassessed_labels_is_null_with_its_reason(
    copies: Copies, scores: Scores, tmp_path: Path
) -> None:
    metrics = ("error_rate", "negative_log_likelihood")
    suite = Suite(
        name="own", version=1, title="Own", label_space="imagenet-1k", seed=0,
        cells=tuple(Cell(id=metric, dataset="imagenet-real", metric=metric) for metric in metrics),
        columns=metrics)  # fmt: skip
    evaluation = scores("imagenet-real", 1000)
    record = rbs.rescore(evaluation.run_folder, suite=suite, data=copies.data).record
    likelihood = record.scores["negative_log_likelihood"]
    assert likelihood.value is None
    assert "several right classes" in str(likelihood.reason)
    assert record.status == "partial"
    assert record.scores["error_rate"].value == values_of(evaluation)["error"]


def test_a_person_is_right_with_any_of_the_most_frequent_choices(copies: Copies, scores: Scores) -> None:
    evaluation = scores("cifar-10h", 10)
    found = stored(evaluation, "cifar-10/clean/clean-0")
    counts = np.load(copies.folder("cifar-10h") / "cifar10h-counts.npy")
    most = counts == counts.max(axis=1, keepdims=True)
    values = values_of(evaluation)
    assert values["error"] == pytest.approx(np.mean(~most[np.arange(N_CIFAR), found.top]), abs=EXACT)
    shares = counts / counts.sum(axis=1, keepdims=True)
    crossed = -(shares * np.log(softmax(found.logits))).sum(axis=1)
    assert values["soft_cross_entropy"] == pytest.approx(crossed.mean(), abs=1e-6)
    assert values["error"] < values["original_error"]


def test_shape_and_texture_of_cue_conflict_images_have_errors_of_their_own(scores: Scores) -> None:
    evaluation = scores("cue-conflict", 1000)
    found = stored(evaluation, "cue-conflict/clean/clean-0")
    mapped, columns = fields_of("maps/sixteen-classes")["classes"], columns_of("sixteen-classes")
    chosen = np.array(columns)[found.logits[:, columns].argmax(axis=1)]
    wrong = np.array([WNIDS[c] not in mapped[key] for c, key in zip(chosen, found.folders, strict=True)])
    assert values_of(evaluation)["error_207"] == pytest.approx(wrong.mean(), abs=EXACT)
    assert 0 < wrong.mean() < 1
    groups = evaluation.record.groups["error_207"]
    names = [sample_id.rpartition("/")[2].split("-") for sample_id in found.ids]
    for column, place in (("shape", 0), ("texture", 1)):
        those = np.array([name[place].rstrip("0123456789") for name in names])
        assert set(groups[column]) == set(those)
        for key, group in groups[column].items():
            assert group.n == np.count_nonzero(those == key)
            assert group.value == pytest.approx(wrong[those == key].mean(), abs=EXACT)


# --------------------------------------------------------------------------------------------- one label each


def test_folder_10_of_imagenet_v2_is_scored_as_class_10(scores: Scores) -> None:
    evaluation = scores("imagenet-v2-matched-frequency", 1000)
    found = stored(evaluation, "imagenet-v2-matched-frequency/clean/clean-0")
    clean = stored(evaluation, "imagenet-1k/clean/clean-0")
    error = np.mean(found.top != [int(folder) for folder in found.folders])
    clean_error = np.mean(clean.top != [INDEX[folder] for folder in clean.folders])
    values = values_of(evaluation)
    assert values["error"] == pytest.approx(error, abs=EXACT)
    assert values["clean_error"] == pytest.approx(clean_error, abs=EXACT)
    assert values["drop"] == pytest.approx(error - clean_error, abs=EXACT)
    as_text = np.mean(found.top != [int(name) for name in sorted(map(str, range(1000)))])
    assert 0 < error < 0.6 < 0.9 < as_text, "folders sorted as text would be told"


def test_the_error_on_cifar_10_c_is_the_mean_over_its_severities_each_from_its_own_rows(
    scores: Scores,
) -> None:
    evaluation = scores("cifar-10-c", 10)
    conditions = evaluation.record.conditions["error"]
    errors = []
    for name in ("gaussian_noise", "fog"):
        for level in range(1, 6):
            found = stored(evaluation, f"cifar-10-c/corruption/{name}-{level}")
            shown = np.stack([corrupted(cifar_image(row), name, level) for row in range(N_CIFAR)])
            assert found.logits == pytest.approx(logits_of(shown, 10), abs=1e-3)
            errors.append(float(np.mean(found.top != CIFAR_LABELS)))
    assert [(one.condition.name, one.condition.level) for one in conditions] == [
        (name, level) for name in ("gaussian_noise", "fog") for level in range(1, 6)
    ]
    assert [one.value for one in conditions] == pytest.approx(errors, abs=EXACT)
    assert values_of(evaluation)["error"] == pytest.approx(np.mean(errors), abs=EXACT)
    assert len(set(errors)) > 4, "a wrong slice would be told"


def test_the_error_on_tiny_imagenet_c_is_that_of_its_summaries(copies: Copies, scores: Scores) -> None:
    # By the path of the manifest: the shipped suite of this name wants all fifteen corruptions.
    evaluation = scores(str(copies.own / "tiny-imagenet-c.yaml"), 200)
    wnids = classes_of("labels/tiny-imagenet")
    errors = []
    for name in ("gaussian_noise", "brightness"):
        for level in (1, 5):
            found = stored(evaluation, f"tiny-imagenet-c/corruption/{name}-{level}")
            folder = copies.folder("tiny-imagenet-c") / name / str(level)
            shown = np.stack([np.asarray(Image.open(folder / f"{i}.JPEG")) for i in found.ids])
            best = np.sort(logits_of(shown, 200), axis=1)[:, ::-1][:, : found.logits.shape[1]]
            assert found.logits == pytest.approx(best, abs=1e-3)
            errors.append(float(np.mean(found.top != [wnids.index(folder) for folder in found.folders])))
    values = values_of(evaluation)
    assert [one.value for one in evaluation.record.conditions["error"]] == pytest.approx(errors, abs=EXACT)
    assert values["error"] == pytest.approx(np.mean(errors), abs=EXACT)
    clean = stored(evaluation, "tiny-imagenet/clean/clean-0")
    lines = (copies.folder("tiny-imagenet") / "val" / "val_annotations.txt").read_text().splitlines()
    labels = {line.split(".")[0]: wnids.index(line.split("\t")[1]) for line in lines}
    clean_error = np.mean(clean.top != [labels[sample_id] for sample_id in clean.ids])
    assert values["clean_error"] == pytest.approx(clean_error, abs=EXACT)
    assert 0 < clean_error < 0.5


# -------------------------------------------------------------------------------------------------- sequences


def flip_rate(clips: Ints, name: str) -> float:
    """Return the share of frames unlike the frame before; of noise, unlike the first."""
    before = clips[:, :1] if "noise" in name else clips[:, :-1]
    return float(np.mean(clips[:, 1:] != before))


def test_noise_of_cifar_10_p_is_compared_with_the_first_frame_and_motion_with_the_one_before(
    scores: Scores,
) -> None:
    evaluation = scores("cifar-10-p", 10)
    rates = {}
    for name in ("gaussian_noise", "motion_blur", "translate"):
        found = stored(evaluation, f"cifar-10-p/sequence/{name}-1")
        shown = np.concatenate([clip_frames(name, row) for row in range(12)])
        assert found.logits == pytest.approx(logits_of(shown, 10), abs=1e-3)
        rates[name] = flip_rate(found.top.reshape(12, CIFAR_P[name]), name)
    conditions = evaluation.record.conditions["flip_rate"]
    # The harder noise is measured where a suite asks for it; the published mean is over level 1.
    assert {one.condition.name: one.value for one in conditions} == pytest.approx(rates, abs=EXACT)
    assert {one.condition.level for one in conditions} == {1}
    assert values_of(evaluation)["flip_rate"] == pytest.approx(np.mean(list(rates.values())), abs=EXACT)
    assert min(rates.values()) > 0
    clean = stored(evaluation, "cifar-10/clean/clean-0")
    assert values_of(evaluation)["clean_error"] == pytest.approx(
        np.mean(clean.top != CIFAR_LABELS), abs=EXACT
    )


def test_clips_of_imagenet_p_are_shown_frame_by_frame_at_the_size_of_the_input(
    copies: Copies, scores: Scores
) -> None:
    evaluation = scores("imagenet-p", 1000)
    rates = {}
    for name, frames in (("gaussian_noise", 31), ("translate", 41)):
        found = stored(evaluation, f"imagenet-p/sequence/{name}-1")
        with av.open(str(copies.folder("imagenet-p") / name / f"{found.ids[frames]}.mp4")) as video:
            clip = [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in video.decode(video=0)]
        best = np.sort(logits_of(np.stack([seen(pixels, resize=32) for pixels in clip]), 1000), axis=1)[
            :, ::-1
        ]
        second = found.logits[frames : 2 * frames]
        assert second == pytest.approx(best[:, : second.shape[1]], abs=1e-3)
        rates[name] = flip_rate(found.top.reshape(2 * len(FEW), frames), name)
    conditions = evaluation.record.conditions["flip_rate"]
    assert {one.condition.name: one.value for one in conditions} == pytest.approx(rates, abs=EXACT)
    assert values_of(evaluation)["flip_rate"] == pytest.approx(np.mean(list(rates.values())), abs=EXACT)
    assert 0 < min(rates.values()) < max(rates.values()) < 1


# --------------------------------------------------------------------------------------- out of distribution


@pytest.mark.parametrize("suite", ["svhn", "mnist", "textures", "openood-cifar10-texture"])
def test_sets_of_another_size_are_brought_to_the_input_and_told_from_cifar_10(
    copies: Copies, scores: Scores, suite: str
) -> None:
    evaluation = scores(suite, 10)
    outside, inside = (stored(evaluation, f"{name}/clean/clean-0") for name in (suite, "cifar-10"))
    if "text" in suite:
        folder = copies.root / ("openood/images_classic" if "openood" in suite else "dtd/images")
        shown = np.stack([seen(np.asarray(Image.open(folder / f"{i}.jpg")), resize=32) for i in outside.ids])
        assert outside.logits == pytest.approx(logits_of(shown, 10), abs=1e-3)
    confidences = [softmax(found.logits).max(axis=1) for found in (inside, outside)]
    truth = np.repeat([0, 1], [len(part) for part in confidences])
    both = -np.concatenate(confidences)
    values = values_of(evaluation)
    assert values["auroc"] == pytest.approx(roc_auc_score(truth, both), abs=1e-8)
    assert values["aupr_out"] == pytest.approx(average_precision_score(truth, both), abs=1e-8)
    n = len(confidences[1])
    threshold = np.sort(-confidences[1])[::-1][int(np.ceil(0.95 * n)) - 1]
    assert values["fpr95"] == pytest.approx(np.mean(-confidences[0] >= threshold), abs=EXACT)
    score = evaluation.record.scores["aupr_out"]
    assert (score.n, score.n_out) == (N_CIFAR, n)
