"""The suites of natural shift on small copies of every set: each number is NumPy's from the stored logits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import linregress, logistic

import robustbench_safety as rbs
from robustbench_safety.accuracies import line_accuracies, load_accuracies
from robustbench_safety.cli.app import run
from robustbench_safety.errors import ModelError
from robustbench_safety.evaluation import Evaluation
from robustbench_safety.files import digest_of, write_json
from robustbench_safety.records import ScoreRecord, Suite
from robustbench_safety.reporting.filing import Filed
from robustbench_safety.reporting.pages.model_page import model_page
from robustbench_safety.reporting.rows import board_of
from robustbench_safety.suites import load_suite, refuse_model
from tests.models.clip.tiny_clip import config, known_to_open_clip, make
from tests.published.conftest import Scores
from tests.published.manifests import classes_of, fields_of
from tests.published.test_scoring import (
    EXACT,
    INDEX,
    columns_of,
    mapped_error,
    sliced_error,
    stored,
    values_of,
)
from tests.published.writer import ROBIN, ROBIN_IID, STYLES, WNIDS, Copies, categories_of
from tests.reporting.pages.page_checks import Page, check_page

TABLE = "imagenet-testbed-standard"
#: By column: data set, and clean error that the line is read at.
ON_A_LINE = {
    "r": ("imagenet-r", "clean_r_error"),
    "objectnet": ("objectnet", "clean_objectnet_class_error"),
    "sketch": ("imagenet-sketch", "clean_error"),
    "v2": ("imagenet-v2-matched-frequency", "clean_error"),
    "v2_threshold": ("imagenet-v2-threshold-0.7", "clean_error"),
    "v2_top": ("imagenet-v2-top-images", "clean_error"),
}
NATURAL = ("imagenet-natural", "zero-shot-clip")


@pytest.fixture
def natural(scores: Scores) -> Evaluation:
    return scores("imagenet-natural", 1000)


def page_of(record: ScoreRecord) -> Page:
    """Return the page of a record, taken apart and checked."""
    filed = Filed(record=record, digest="0" * 64, path=Path(f"{record.slug}--00000000.json"))
    board = board_of([filed])
    return check_page(model_page(filed, board.rows[0], board))


# ------------------------------------------------------------------------------------------ imagenet-natural


def test_every_number_of_imagenet_natural_is_filled_and_the_row_is_whole(natural: Evaluation) -> None:
    record = natural.record
    assert (record.status, record.partial_because) == ("complete", ())
    for name, score in record.scores.items():
        assert score.value is not None, f"{name}: {score.reason}"
        assert score.interval is not None, name
        low, high = score.interval.low, score.interval.high
        assert low <= high, name
        if not name.endswith("_rms"):
            assert low - EXACT <= score.value <= high + EXACT, name


def test_errors_are_of_the_subset_and_of_all_classes(natural: Evaluation) -> None:
    values = values_of(natural)
    clean = stored(natural, "imagenet-1k/clean/clean-0")
    labels = [INDEX[folder] for folder in clean.folders]
    assert values["clean_error"] == pytest.approx(np.mean(clean.top != labels), abs=EXACT)
    for short, name in (("a", "imagenet-a"), ("r", "imagenet-r")):
        found = stored(natural, f"{name}/clean/clean-0")
        columns, own = columns_of(name), [INDEX[folder] for folder in found.folders]
        assert values[f"{short}_error"] == pytest.approx(sliced_error(found, columns), abs=EXACT)
        assert values[f"{short}_error_1000"] == pytest.approx(np.mean(found.top != own), abs=EXACT)
        assert values[f"clean_{short}_error"] == pytest.approx(sliced_error(clean, columns), abs=EXACT)
        assert values[f"{short}_error"] < values[f"{short}_error_1000"]
    for short, name in (("sketch", "imagenet-sketch"), ("g", "imagenet-g-v1")):
        found = stored(natural, f"{name}/clean/clean-0")
        own = [INDEX[folder] for folder in found.folders]
        assert values[f"{short}_error"] == pytest.approx(np.mean(found.top != own), abs=EXACT)
    for short in ("v2", "v2_threshold", "v2_top"):
        found = stored(natural, f"{ON_A_LINE[short][0]}/clean/clean-0")
        wrong = found.top != [int(folder) for folder in found.folders]
        assert values[f"{short}_error"] == pytest.approx(np.mean(wrong), abs=EXACT)
    assert len({values[f"{short}_error"] for short in ("v2", "v2_threshold", "v2_top", "sketch", "g")}) == 5


def test_objectnet_s_drop_is_by_sets_of_classes_and_its_line_by_the_class_alone(natural: Evaluation) -> None:
    values = values_of(natural)
    mapped, columns = fields_of("maps/objectnet")["classes"], columns_of("objectnet")
    found, clean = (stored(natural, f"{name}/clean/clean-0") for name in ("objectnet", "imagenet-1k"))
    key_of = {wnid: key for key, members in mapped.items() for wnid in members}
    keys = [key_of.get(folder, "") for folder in clean.folders]
    error = mapped_error(found, columns, mapped, found.folders)
    by_sets, by_class = mapped_error(clean, columns, mapped, keys), sliced_error(clean, columns)
    assert values["objectnet_error"] == pytest.approx(error, abs=EXACT)
    assert values["objectnet_drop"] == pytest.approx(error - by_sets, abs=EXACT)
    assert values["clean_objectnet_class_error"] == pytest.approx(by_class, abs=EXACT)
    assert by_sets < by_class, "so do they here"
    line = natural.record.scores["objectnet_effective_robustness"].line
    assert line is not None
    assert line.clean == pytest.approx(1 - by_class, abs=EXACT)


@pytest.mark.parametrize("short", ["a", "r", "sketch", "v2", "v2_threshold", "v2_top", "g"])
def test_a_drop_is_the_error_less_that_on_the_same_classes(natural: Evaluation, short: str) -> None:
    values = values_of(natural)
    clean = values[f"clean_{short}_error"] if short in ("a", "r") else values["clean_error"]
    assert values[f"{short}_drop"] == pytest.approx(values[f"{short}_error"] - clean, abs=EXACT)


def test_reassessed_labels_are_those_of_the_images_that_have_some(
    natural: Evaluation, copies: Copies
) -> None:
    found = stored(natural, "imagenet-1k/clean/clean-0")
    lists = json.loads((copies.folder("imagenet-real") / "real.json").read_text())
    right = [lists[int(sample_id.rpartition("_")[2]) - 1] for sample_id in found.ids]
    wrong = [top not in those for top, those in zip(found.top, right, strict=True) if those]
    assert values_of(natural)["real_error"] == pytest.approx(np.mean(wrong), abs=EXACT)
    assert "imagenet-real/labels" in natural.record.data_digests


def test_imagenet_r_has_an_error_of_every_style_beside_the_columns(natural: Evaluation) -> None:
    found, columns = stored(natural, "imagenet-r/clean/clean-0"), columns_of("imagenet-r")
    predicted = np.array(columns)[found.logits[:, columns].argmax(axis=1)]
    wrong = predicted != [INDEX[folder] for folder in found.folders]
    styles = np.array([sample_id.partition("/")[2].rpartition("_")[0] for sample_id in found.ids])
    groups = natural.record.groups["r_error"]["style"]
    assert set(groups) == set(STYLES)
    for style, group in groups.items():
        assert group.n == np.count_nonzero(styles == style)
        assert group.value == pytest.approx(wrong[styles == style].mean(), abs=EXACT)
        assert group.interval.low <= group.value <= group.interval.high
    assert len({group.value for group in groups.values()}) > 1


@pytest.mark.parametrize("short", ON_A_LINE)
def test_effective_robustness_is_what_lies_above_scipy_s_line(natural: Evaluation, short: str) -> None:
    dataset, clean_cell = ON_A_LINE[short]
    values, points = values_of(natural), line_accuracies(load_accuracies(TABLE), dataset)
    fit = linregress(np.asarray(logistic.ppf(points.clean)), np.asarray(logistic.ppf(points.shifted)))
    clean = 1 - values[clean_cell]
    expected = float(logistic.cdf(fit.intercept + fit.slope * logistic.ppf(clean)))
    score = natural.record.scores[f"{short}_effective_robustness"]
    assert score.value == pytest.approx(1 - values[f"{short}_error"] - expected, abs=1e-9)
    assert (score.direction, score.unit) == ("higher", "fraction")
    assert score.interval is not None
    assert score.interval.method == "two-sample percentile bootstrap, 2000 draws"
    line = score.line
    assert line is not None
    assert (line.intercept, line.slope) == pytest.approx((fit.intercept, fit.slope), abs=1e-9)
    assert (line.axis, line.n_models) == ("logit", len(points.models))
    assert (line.clean, line.expected) == pytest.approx((clean, expected), abs=1e-9)
    assert line.band.low < line.expected < line.band.high
    assert line.band.method == f"percentile bootstrap of {line.n_models} models, 1000 draws, logit axes"
    assert line.curve[0][0] == pytest.approx(min(points.clean), abs=1e-9)
    assert line.curve[-1][0] == pytest.approx(max(points.clean), abs=1e-9)
    for place, on_line, low, high in line.curve:
        assert on_line == pytest.approx(
            float(logistic.cdf(fit.intercept + fit.slope * logistic.ppf(place))), abs=1e-8
        )
        assert low < on_line < high


@pytest.mark.parametrize("short", ["a", *ON_A_LINE])
def test_relative_robustness_is_the_accuracy_less_resnet_50_s(natural: Evaluation, short: str) -> None:
    table = load_accuracies(TABLE)
    dataset = "imagenet-a" if short == "a" else ON_A_LINE[short][0]
    published = table.models["resnet50"][table.columns.index(table.shifts[dataset].shifted)]
    assert published is not None
    error, score = (natural.record.scores[f"{short}_{end}"] for end in ("error", "relative_robustness"))
    assert error.value is not None
    assert score.value == pytest.approx(1 - error.value - published / 100, abs=EXACT)
    assert error.interval is not None
    assert score.interval is not None
    # The published number stands as it is: what is left is the interval of the model's own accuracy.
    assert score.interval.low == pytest.approx(1 - error.interval.high - published / 100, abs=EXACT)
    assert score.interval.high == pytest.approx(1 - error.interval.low - published / 100, abs=EXACT)


def test_the_record_names_the_table_of_published_models_and_can_be_read_again(
    natural: Evaluation, tmp_path: Path
) -> None:
    record = natural.record
    assert record.accuracies == {TABLE: digest_of(load_accuracies(TABLE))}
    write_json(tmp_path / "record.json", record)
    again = ScoreRecord.model_validate_json((tmp_path / "record.json").read_text(), strict=False)
    assert again.scores["r_effective_robustness"] == record.scores["r_effective_robustness"]


def test_the_page_of_the_row_has_a_scatter_for_each_line(natural: Evaluation) -> None:
    page = page_of(natural.record)
    said = [text for text in page.words if text.startswith("1 ranked row.")]
    # The manifests of the copies are not those of the shipped suite: a line goes by its own name.
    for short in ON_A_LINE:
        assert any(f"accuracy on {short.replace('_', ' ')} " in text for text in said), short
    name = next(name for name, score in natural.record.scores.items() if score.line is not None)
    score = natural.record.scores[name]
    assert score.line is not None
    assert score.value is not None
    assert f"The line is that of {score.line.n_models} published models." in page.text
    where = "above" if score.value >= 0 else "below"
    assert f"This row lies {100 * abs(score.value):.2f} points {where} it: its effective" in page.text
    assert f"by style: {len(STYLES)} groups" in page.text


def test_one_pass_over_each_set_serves_all_of_its_numbers(natural: Evaluation) -> None:
    record = natural.record
    assert len(record.prediction_digests) == 9, "ten sets, of which ReaL shows the validation images"
    assert record.forward_passes == 1000 + 200 + 400 + 151 + 1001 + 3 * 1000 + 1000


# ---------------------------------------------------------------------------------------- zero-shot-clip


def test_the_zero_shot_suite_has_the_cells_and_columns_of_imagenet_natural() -> None:
    one, other = (load_suite(name) for name in NATURAL)
    for field in ("cells", "aggregates", "columns", "beside", "label_space", "seed"):
        assert getattr(one, field) == getattr(other, field), field
    assert (one.models, other.models) == ("all", "zero-shot")


def test_a_zero_shot_model_fills_the_zero_shot_suite_with_the_numbers_of_the_other(
    natural: Evaluation, copies: Copies
) -> None:
    record = rbs.rescore(natural.run_folder, suite="zero-shot-clip", data=copies.data).record
    assert record.status == "complete"
    assert record.model.zero_shot is not None
    assert record.scores == natural.record.scores
    assert all(score.value is not None for score in record.scores.values())
    assert record.groups == natural.record.groups
    assert record.suite.digest != natural.record.suite.digest


def test_a_clip_with_a_classifier_made_of_text_is_taken(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One cell of the suite on a few images: what is tested is who is let in.
    monkeypatch.setenv("RBS_CACHE", str(tmp_path / "cache"))
    whole = load_suite("zero-shot-clip")
    cells = tuple(cell for cell in whole.cells if cell.id == "a_error")
    change = {"cells": cells, "aggregates": (), "columns": ("a_error",), "beside": ()}
    with known_to_open_clip(tmp_path, tiny=config()):
        tiny = make("tiny", tmp_path)
        (tmp_path / "clip.yaml").write_text(
            f"model: clip:tiny\ncheckpoint: {tiny.checkpoint.name}\nlabel_space: imagenet-1k\n"
            "zero_shot: {templates: plain}\n"
        )
        record = rbs.score(
            tmp_path / "clip.yaml", suite=whole.model_copy(update=change), data=copies.data,
            predictions=tmp_path / "runs", device="cpu", batch_size=8, limit=8).record  # fmt: skip
    assert record.model.zero_shot is not None
    assert record.scores["a_error"].value is not None
    assert record.scores["a_error"].n == 8


def test_a_trained_classifier_is_refused_before_any_image(copies: Copies, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"zero-shot-clip takes zero-shot models alone.*a trained classifier"
    ):
        rbs.score(
            "python:tests.published.network:build_1000", suite="zero-shot-clip", data=tmp_path / "no-data",
            predictions=tmp_path / "runs", device="cpu")  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_an_ensemble_is_zero_shot_where_all_of_its_members_are(natural: Evaluation) -> None:
    suite, one = load_suite("zero-shot-clip"), natural.record.model
    trained = one.model_copy(update={"zero_shot": None})
    refuse_model(suite, trained.model_copy(update={"members": (one, one)}))
    for members in ((one, trained), ()):
        with pytest.raises(ModelError, match="a trained classifier"):
            refuse_model(suite, trained.model_copy(update={"members": members}))
    refuse_model(load_suite("imagenet-natural"), trained)


def test_predictions_of_a_trained_classifier_are_not_rescored_on_it_either(
    scores: Scores, copies: Copies
) -> None:
    suite = load_suite("zero-shot-clip").model_copy(update={"label_space": "robin"})
    with pytest.raises(ModelError, match="takes zero-shot models alone"):
        rbs.rescore(scores("robin", "robin").run_folder, suite=suite, data=copies.data)


def test_a_file_of_predictions_does_not_tell_what_made_it_and_is_refused(
    copies: Copies, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.csv"
    rows = "".join(f"imagenet-a/clean/clean-0,x{i},{WNIDS[0]}\n" for i in range(3))
    path.write_text("condition,sample_id,top1\n" + rows)
    with pytest.raises(
        ModelError, match=r"takes zero-shot models alone.*a file of predictions, whoever made"
    ):
        rbs.score(
            f"predictions:{path}", suite="zero-shot-clip", data=copies.data, predictions=tmp_path / "runs",
            skip_missing=True)  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_what_a_suite_takes_is_shown_and_moves_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["suites", "show", "zero-shot-clip"]) == 0
    out = capsys.readouterr().out
    assert "models   zero-shot alone\n" in out
    assert run(["suites", "show", "imagenet-natural"]) == 0
    assert "zero-shot alone" not in capsys.readouterr().out
    fields = load_suite("imagenet-natural").model_dump(mode="json")
    assert "models" not in fields, "so that the digests of older suites hold"
    assert Suite.model_validate(fields | {"models": "zero-shot"}, strict=False).models == "zero-shot"


# -------------------------------------------------------------------------------------------------- robin


def test_robin_has_an_error_of_each_nuisance_and_their_plain_mean(scores: Scores) -> None:
    evaluation = scores("robin", "robin")
    record, values = evaluation.record, values_of(evaluation)
    keys = classes_of("labels/robin")
    assert record.status == "complete"
    for part, (n, _) in {**ROBIN, "iid-test": (ROBIN_IID, 10)}.items():
        found = stored(evaluation, f"robin-{part}/clean/clean-0")
        error = np.mean(found.top != [keys.index(folder) for folder in found.folders])
        name = "iid" if part == "iid-test" else part
        assert values[f"{name}_error"] == pytest.approx(error, abs=EXACT)
        assert record.scores[f"{name}_error"].n == n
        assert 0 < error < 1, part
    errors = [values[f"{nuisance}_error"] for nuisance in ROBIN]
    assert len(set(errors)) > 3
    assert values["ood_error"] == pytest.approx(np.mean(errors), abs=EXACT)
    assert values["ood_error"] != pytest.approx(
        np.average(errors, weights=[n for n, _ in ROBIN.values()]), abs=1e-4
    ), "every nuisance weighs the same"
    assert values["pose_drop"] == pytest.approx(values["pose_error"] - values["iid_error"], abs=EXACT)


def test_the_mean_over_robin_s_nuisances_has_an_interval_over_their_images(scores: Scores) -> None:
    score = scores("robin", "robin").record.scores["ood_error"]
    assert score.interval is not None
    assert score.value is not None
    assert score.interval.low < score.value < score.interval.high
    assert "by combination of sets" in score.interval.method


def test_robin_refuses_a_network_for_imagenet(copies: Copies, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not speak the label space of suite robin; expected robin"):
        rbs.score(
            "python:tests.published.network:build_1000", suite="robin", data=copies.data,
            predictions=tmp_path / "runs", device="cpu")  # fmt: skip


# --------------------------------------------------------------------------------------------- shape-bias


def test_shape_bias_is_that_of_the_stored_probabilities_of_sixteen_categories(scores: Scores) -> None:
    evaluation = scores("shape-bias", 1000)
    found, values = stored(evaluation, "cue-conflict/clean/clean-0"), values_of(evaluation)
    mapped = fields_of("maps/sixteen-classes")["classes"]
    log_probabilities = found.logits - logsumexp(found.logits, axis=1, keepdims=True)
    means = [
        np.exp(log_probabilities[:, [INDEX[w] for w in members]]).mean(axis=1) for members in mapped.values()
    ]
    decided = np.array(list(mapped))[np.stack(means, axis=1).argmax(axis=1)]
    names = [sample_id.rpartition("/")[2].split("-") for sample_id in found.ids]
    shape, texture = (np.array([name[part].rstrip("0123456789") for name in names]) for part in (0, 1))
    assert sorted(zip(shape, texture, strict=True)) == sorted(categories_of(n) for n in range(128))
    conflict = shape != texture
    n_shape, n_texture = (int((decided == cue)[conflict].sum()) for cue in (shape, texture))
    n = int(conflict.sum())
    assert 0 < n < 128
    assert values["shape_bias"] == pytest.approx(n_shape / (n_shape + n_texture), abs=EXACT)
    assert values["shape_accuracy"] == pytest.approx(n_shape / n, abs=EXACT)
    assert values["texture_accuracy"] == pytest.approx(n_texture / n, abs=EXACT)
    assert 0 < n_shape < n
    assert 0 < n_texture < n
    record = evaluation.record
    assert record.status == "complete"
    for name, score in record.scores.items():
        assert (score.n, score.direction) == (n, "higher"), name
        assert score.interval is not None
        assert score.interval.method == "wilson"
    bias = record.scores["shape_bias"].interval
    assert bias is not None
    rate, total = n_shape / (n_shape + n_texture), n_shape + n_texture
    reach = 1.96 * np.sqrt(rate * (1 - rate) / total)
    assert bias.high - bias.low == pytest.approx(2 * reach, rel=0.1), "over the decisions, not the images"


def test_the_decision_is_not_the_category_of_the_best_class(scores: Scores) -> None:
    # Otherwise a sum, a mean and the top-1 class could not be told apart by these images.
    found = stored(scores("shape-bias", 1000), "cue-conflict/clean/clean-0")
    mapped = fields_of("maps/sixteen-classes")["classes"]
    groups = [[INDEX[wnid] for wnid in members] for members in mapped.values()]
    probabilities = np.exp(found.logits - logsumexp(found.logits, axis=1, keepdims=True))
    rules = [
        np.stack([getattr(probabilities[:, group], rule)(axis=1) for group in groups]).argmax(axis=0)
        for rule in ("mean", "sum", "max")
    ]
    assert (rules[0] != rules[1]).any()
    assert (rules[0] != rules[2]).any()
