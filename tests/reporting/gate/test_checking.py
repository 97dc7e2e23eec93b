"""The gate on committed records: what fails, what passes, and what may not be compared at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robustbench_safety as rbs
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.errors import (
    FileFormatError,
    IncompatiblePredictionsError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.files import read_json
from robustbench_safety.metrics import holm_adjusted, mcnemar_test
from robustbench_safety.records import ScoreInterval, ScoreRecord
from robustbench_safety.reporting.gate.checking import check, decided
from tests.reporting.gate.committed import RECORDS, changed, column, companion_of, mixed, plain, record_of

FIVE = ["corruptions", "consistency", "adversaries", "calibration", "anomaly"]
PGD = "digits/attack/pgd-linf-eps2_255-steps20-step0.5_255-seed0-0"


def with_wrong(path: Path, folder: Path, name: str, *, condition: str, n: int) -> Path:
    """File the record as if ``n`` more images of a condition were wrong; return its path."""
    record, companion = read_json(path, ScoreRecord), companion_of(path)
    dataset = condition.partition("/")[0]
    rows = companion.datasets[dataset]
    right = rows.correct[condition].copy()
    right[np.flatnonzero(right)[:n]] = False
    rows.correct[condition] = right
    value = round(float(1 - right.mean()), 10)
    cell = next(k for k, v in record.conditions.items() if k == "pgd_error" and v)
    shown = record.conditions[cell][0].model_copy(update={"value": value})
    scores = {key: record.scores[key].model_copy(update={"value": value}) for key in (cell, "adversaries")}
    return changed(
        path, folder, name, companion,
        scores={**record.scores, **scores}, conditions={**record.conditions, cell: (shown,)},
    )  # fmt: skip


def test_a_record_against_itself_passes_without_a_flip() -> None:
    report = check(plain(), plain())
    assert not report.failed
    assert [one.drop for one in report.columns] == [0.0] * 5
    assert {one.n_newly_wrong for one in report.conditions} == {0, None}
    assert [one.p_value for one in report.columns if one.paired] == [1.0] * 4
    assert "both are one and the same record" in report.notes


def test_every_column_is_tested_by_what_pairs_it() -> None:
    report = check(plain(), mixed())
    tests = {one.column: one.test for one in report.columns}
    assert tests == {
        "corruptions": "sign-flip", "consistency": "sign-flip", "adversaries": "mcnemar",
        "calibration": "intervals", "anomaly": "delong",
    }  # fmt: skip
    assert [one.column for one in report.columns] == FIVE
    assert report.failed
    assert all(one.failed for one in report.columns)
    assert not check(mixed(), plain()).failed
    # What the companion lacks is said, on the column and to every reader.
    calibration = column(report, "calibration")
    assert not calibration.paired
    assert calibration.reason is not None
    assert "does not keep rms_calibration_error" in calibration.reason
    assert any("calibration is compared by its intervals alone" in note for note in report.notes)


def test_the_numbers_are_those_of_the_companions() -> None:
    report = check(plain(), mixed())
    first, second = companion_of(mixed()).datasets["digits"], companion_of(plain()).datasets["digits"]
    newly_wrong = first.correct[PGD] & ~second.correct[PGD]
    newly_right = ~first.correct[PGD] & second.correct[PGD]
    found = column(report, "adversaries")
    assert found.p_value == mcnemar_test(int(newly_wrong.sum()), int(newly_right.sum()))
    assert found.drop == pytest.approx((newly_wrong.sum() - newly_right.sum()) / 850, abs=1e-10)
    assert [one.adjusted_p_value for one in report.columns] == holm_adjusted(
        [one.p_value for one in report.columns if one.p_value is not None]
    )
    (condition,) = (one for one in report.conditions if one.cell == "pgd_error")
    assert (condition.n_newly_wrong, condition.n_newly_right) == (newly_wrong.sum(), newly_right.sum())
    ids = np.array(first.source_ids)[newly_wrong]
    assert condition.newly_wrong == tuple(ids[:5].tolist())


def test_conditions_are_listed_worst_first() -> None:
    drops = [one.drop for one in check(plain(), mixed()).conditions]
    assert drops == sorted(drops, reverse=True)
    # 40 conditions for errors and calibration each, 4 sequences, one attack, 3 sets.
    assert len(drops) == 40 + 40 + 4 + 1 + 3


def test_a_drop_that_may_be_chance_passes_and_fails_with_fail_on_any(tmp_path: Path) -> None:
    # Three images newly wrong and none newly right: 1 in 8 by chance.
    worse = with_wrong(plain(), tmp_path, "worse", condition=PGD, n=3)
    report = check(worse, plain())
    found = column(report, "adversaries")
    assert found.p_value == pytest.approx(1 / 8)
    assert not report.failed
    strict = check(worse, plain(), fail_on_any=True)
    assert [one.column for one in strict.columns if one.failed] == ["adversaries"]


def test_a_drop_within_its_tolerance_passes_however_sure_it_is(tmp_path: Path) -> None:
    # 17 of 850 images, exactly two points: above 1.99, and not above 2.
    worse = with_wrong(plain(), tmp_path, "worse", condition=PGD, n=17)
    assert column(check(worse, plain()), "adversaries").failed
    assert column(check(worse, plain(), tolerances={"adversaries": 1.99}), "adversaries").failed
    allowed = check(worse, plain(), tolerances={"adversaries": 2.0})
    assert not allowed.failed
    assert column(allowed, "adversaries").tolerance == pytest.approx(0.02)


def test_the_columns_are_adjusted_for_each_other(tmp_path: Path) -> None:
    # Seven newly wrong: 1 in 128 alone, 5 in 128 as the smallest of five. Six: 5 in 64, which passes.
    seven = column(check(with_wrong(plain(), tmp_path, "7", condition=PGD, n=7), plain()), "adversaries")
    assert (seven.p_value, seven.adjusted_p_value) == pytest.approx((1 / 128, 5 / 128))
    assert seven.failed
    six = column(check(with_wrong(plain(), tmp_path, "6", condition=PGD, n=6), plain()), "adversaries")
    assert (six.p_value, six.adjusted_p_value) == pytest.approx((1 / 64, 5 / 64))
    assert not six.failed


# ------------------------------------------------------------------------------------------ not comparable


def test_what_was_not_measured_alike_is_refused_with_both_values_and_what_to_do(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    other_suite = record.suite.model_copy(update={"version": 3})
    other_digest = record.suite.model_copy(update={"digest": "a" * 64})
    data = {**record.data_digests, "digits/clean/clean-0": "b" * 64}
    spec = record.model.preprocessing.model_copy(update={"interpolation": "bicubic"})
    anomaly = record.scores["anomaly"].model_copy(update={"direction": "lower"})
    turned = {**record.scores, "anomaly": anomaly}
    cases: dict[str, tuple[dict[str, Any], list[str]]] = {
        "name": ({"suite": record.suite.model_copy(update={"name": "mine"})}, ["other suite", "mine"]),
        "version": ({"suite": other_suite}, ["other suite version", "expected 2", "found 3"]),
        "digest": ({"suite": other_digest}, ["other suite digest", "aaaaaaaaaaaa", "rescore"]),
        "seed": ({"seed": 7}, ["other seed", "found 7"]),
        "columns": ({"columns": record.columns[:2]}, ["other columns", "found corruptions, consistency in"]),
        "turned": ({"scores": turned}, ["other units of the columns", "anomaly fraction lower"]),
        "limit": ({"limit": 100}, ["other limit", "all images", "the first 100"]),
        "data": ({"data_digests": data}, ["other data digest of digits/clean/clean-0", "bbbbbbbbbbbb"]),
        "kernel": (
            {"model": record.model.model_copy(update={"preprocessing": spec})},
            ["other preprocessing", "interpolation bicubic", "--allow-preprocessing-change"],
        ),
    }
    for name, (fields, said) in cases.items():
        with pytest.raises(IncompatiblePredictionsError) as refused:
            check(changed(plain(), tmp_path, name, **fields), mixed())
        for words in (*said, "candidate", "baseline"):
            assert words in str(refused.value), name
        assert refused.value.exit_code == 2


def test_two_records_that_both_leave_out_a_column_are_refused(tmp_path: Path) -> None:
    fewer = read_json(plain(), ScoreRecord).columns[:2]
    copies = [changed(path, tmp_path, path.stem[:12], columns=fewer) for path in (plain(), mixed())]
    with pytest.raises(FileFormatError, match="none of suite digits-safety"):
        check(*copies)


def test_rows_of_a_companion_in_another_order_are_paired_all_the_same(tmp_path: Path) -> None:
    companion, order = companion_of(plain()), np.random.default_rng(0).permutation(850)
    rows = dict(companion.datasets)
    for name, own in companion.datasets.items():
        if len(own.source_ids) == 850:
            rows[name] = CompanionRows(
                source_ids=np.array(own.source_ids)[order].tolist(),
                correct={path: bits[order] for path, bits in own.correct.items()},
                flips={path: counts[order] for path, counts in own.flips.items()},
                predicted=None if own.predicted is None else own.predicted[order],
                confidence=None if own.confidence is None else own.confidence[order],
                scores={detector: scores[order] for detector, scores in own.scores.items()},
            )
    shuffled = check(changed(plain(), tmp_path, "shuffled", Companion(rows)), mixed())
    for one, other in zip(shuffled.columns, check(plain(), mixed()).columns, strict=True):
        assert one == other


def test_an_allowed_change_of_preprocessing_is_said(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    spec = record.model.preprocessing.model_copy(update={"interpolation": "bicubic"})
    other = changed(plain(), tmp_path, "k", model=record.model.model_copy(update={"preprocessing": spec}))
    report = check(other, plain(), allow_preprocessing_change=True)
    (note,) = (note for note in report.notes if "preprocessing" in note)
    assert "interpolation bilinear (baseline), interpolation bicubic (candidate)" in note


def without(record: ScoreRecord, name: str) -> dict[str, Any]:
    score = record.scores[name].model_copy(update={"value": None, "interval": None, "reason": "no data"})
    return {"scores": {**record.scores, name: score}}


def test_a_column_that_one_record_lacks_is_never_a_pass(tmp_path: Path) -> None:
    lacking = changed(plain(), tmp_path, "lacking", **without(read_json(plain(), ScoreRecord), "anomaly"))
    for candidate, baseline in ((lacking, plain()), (plain(), lacking)):
        with pytest.raises(IncompatiblePredictionsError, match="column anomaly") as refused:
            check(candidate, baseline, fail_on_any=True)
        assert "no data" in str(refused.value)


def test_a_column_that_both_lack_is_listed_and_not_gated(tmp_path: Path) -> None:
    lacking = changed(plain(), tmp_path, "lacking", **without(read_json(plain(), ScoreRecord), "anomaly"))
    report = check(lacking, lacking)
    found = column(report, "anomaly")
    assert not found.gated
    assert found.drop is None
    assert found.reason == "measured in neither: no data"
    assert "anomaly is not gated: measured in neither: no data" in report.notes
    fields: dict[str, Any] = {}
    for name in FIVE:
        record = read_json(plain(), ScoreRecord).model_copy(update=fields)
        fields = without(record, name)
    empty = changed(plain(), tmp_path, "empty", **fields)
    with pytest.raises(IncompatiblePredictionsError, match="nothing to check"):
        check(empty, empty)


def test_a_column_without_interval_or_pairs_needs_fail_on_any(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    score = record.scores["calibration"].model_copy(update={"interval": None})
    bare = changed(plain(), tmp_path, "bare", scores={**record.scores, "calibration": score})
    with pytest.raises(IncompatiblePredictionsError, match="calibration cannot be tested"):
        check(bare, mixed())
    report = check(bare, mixed(), fail_on_any=True)
    found = column(report, "calibration")
    assert (found.gated, found.failed, found.test, found.p_value) == (True, True, None, None)


# -------------------------------------------------------------------------------------- what pairs, or not


def test_without_companions_everything_is_compared_by_its_intervals(tmp_path: Path) -> None:
    alone = tmp_path / "alone.json"
    shutil.copy(plain(), alone)
    report = check(alone, mixed())
    assert {one.test for one in report.columns} == {"intervals"}
    assert {one.n_newly_wrong for one in report.conditions} == {None}
    assert any("no companion (.parquet) lies beside the candidate" in note for note in report.notes)


def test_a_companion_of_another_record_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    shutil.copy(plain(), copy)
    shutil.copy(mixed().with_suffix(".parquet"), copy.with_suffix(".parquet"))
    with pytest.raises(FileFormatError, match="no companion that can be read"):
        check(copy, mixed())


def test_a_record_that_its_companion_contradicts_is_refused(tmp_path: Path) -> None:
    # The value of the condition moves, and the companion's answers do not.
    record = read_json(plain(), ScoreRecord)
    cell = record.conditions["pgd_error"][0].model_copy(update={"value": 0.5})
    odd = changed(plain(), tmp_path, "odd", conditions={**record.conditions, "pgd_error": (cell,)})
    with pytest.raises(FileFormatError, match=r"the companion of the candidate give .* and the record 0\.5"):
        check(odd, plain())


def test_a_column_that_somebody_has_typed_in_is_refused(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    score = record.scores["adversaries"].model_copy(update={"value": 0.01})
    odd = changed(plain(), tmp_path, "odd", scores={**record.scores, "adversaries": score})
    with pytest.raises(FileFormatError, match="its units add up to a drop of 0, and the records say"):
        check(odd, plain())


def test_a_record_whose_name_says_another_digest_is_refused(tmp_path: Path) -> None:
    odd = changed(plain(), tmp_path, plain().stem, seed=1)
    with pytest.raises(FileFormatError, match="was changed after it was written"):
        check(odd, plain())


def test_other_sample_ids_are_not_paired(tmp_path: Path) -> None:
    companion = companion_of(plain())
    rows = {
        name: CompanionRows(
            source_ids=[f"x{one}" for one in own.source_ids] if name == "digits" else own.source_ids,
            correct=own.correct, flips=own.flips, predicted=own.predicted, confidence=own.confidence,
            scores=own.scores,
        )
        for name, own in companion.datasets.items()
    }  # fmt: skip
    other = changed(plain(), tmp_path, "other", Companion(rows))
    found = column(check(other, plain()), "adversaries")
    assert found.reason == f"the sample ids on {PGD} are not the same in both"


def test_a_suite_that_is_not_at_hand_leaves_the_intervals(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    suite = record.suite.model_copy(update={"name": "of-my-own"})
    copies = [changed(path, tmp_path, path.stem[:12], suite=suite) for path in (plain(), mixed())]
    report = check(*copies)
    assert {one.test for one in report.columns} == {"intervals"}
    assert any("name the suite's file with --suite" in note for note in report.notes)
    with pytest.raises(UsageError, match="predictions cannot be read"):
        check(*copies, predictions=tmp_path)
    with pytest.raises(IncompatiblePredictionsError, match="is not the suite of the records"):
        check(*copies, suite="cifar10-clean")


def test_other_machines_and_precisions_are_allowed_and_said(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    environment = record.environment.model_copy(update={"precision": "bfloat16", "batch_size": 7})
    report = check(changed(plain(), tmp_path, "half", environment=environment), plain())
    assert "other precision: float32 (baseline), bfloat16 (candidate)" in report.notes
    assert any(note.startswith("other batch_size") for note in report.notes)


# ----------------------------------------------------------------------------------------- wrong arguments


def test_a_tolerance_of_no_column_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"corruption'.*corruptions"):
        check(plain(), mixed(), tolerances={"corruption": 1})


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_number_from_0_on_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="tolerance of corruptions"):
        check(plain(), mixed(), tolerances={"corruptions": value})


def test_files_that_are_no_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        check(tmp_path / "none.json", plain())
    with pytest.raises(UsageError, match=r"ends in \.json"):
        check(plain().with_suffix(".parquet"), plain())
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(FileFormatError):
        check(tmp_path / "list.json", plain())
    with pytest.raises(UsageError, match="alpha"):
        check(plain(), mixed(), alpha=0.0)


def test_the_check_is_public() -> None:
    assert rbs.check is check


def test_decisions_are_made_over_the_gated_columns_alone() -> None:
    report = check(plain(), mixed())
    ungated = [one.model_copy(update={"gated": one.column == "adversaries"}) for one in report.columns]
    found = decided(ungated)
    assert [one.failed for one in found] == [False, False, True, False, False]
    assert found[2].adjusted_p_value == found[2].p_value
    assert found[0].adjusted_p_value is None
    assert isinstance(found[2].interval, ScoreInterval)


# -------------------------------------------------------------------------- the committed records of CIFAR-10


def test_resnet_20_has_more_errors_than_resnet_32_and_the_other_way_round_passes() -> None:
    small, large = (record_of("cifar10-clean", f"cifar:resnet{depth}") for depth in (20, 32))
    report = check(small, large)
    assert column(report, "clean_error").failed
    assert column(report, "clean_error").drop == pytest.approx(0.009, abs=1e-9)
    back = check(large, small)
    assert not back.failed
    # Paired by the clean confidences of the companion, which keeps no losses.
    assert {one.column: one.test for one in back.columns} == {
        "clean_error": "mcnemar", "rms": "paired-bootstrap", "ece": "paired-bootstrap", "nll": "intervals",
        "brier": "intervals", "aurc": "paired-bootstrap", "error_auroc": "paired-bootstrap",
    }  # fmt: skip


def test_models_that_see_the_images_differently_are_compared_if_that_is_allowed() -> None:
    suite = "cifar10-safety-generated"
    small, large = record_of(suite, "conv-small, PGD"), record_of(suite, "ResNet-4b, PGD")
    with pytest.raises(IncompatiblePredictionsError, match="other preprocessing"):
        check(small, large)
    report = check(small, large, allow_preprocessing_change=True)
    assert [one.column for one in report.columns if one.failed] == FIVE
    assert [one.paired for one in report.columns] == [True, True, True, False, True]
    assert not check(large, small, allow_preprocessing_change=True).failed


SAFETY = "cifar10-safety-generated"
FILED = {read_json(path, ScoreRecord).display_name for path in sorted((RECORDS / SAFETY).glob("*.json"))}
#: Trained the usual way; a smaller network, trained against attacks, while that is not filed.
FIRST = "ResNet-20" if "ResNet-20" in FILED else "conv-small, PGD"


@pytest.mark.parametrize("name", sorted(FILED & {"ResNet-32", "ResNet-4b, PGD"}))
def test_what_fails_one_way_passes_the_other(name: str) -> None:
    one, other = record_of(SAFETY, FIRST), record_of(SAFETY, name)
    there = check(one, other, allow_preprocessing_change=True)
    back = check(other, one, allow_preprocessing_change=True)
    for first, second in zip(there.columns, back.columns, strict=True):
        assert first.drop == -(second.drop or 0.0)
        assert not (first.failed and second.failed)
        assert first.paired == second.paired == (first.column != "calibration")
        for found in (first, second):
            assert found.drop is not None
            assert found.adjusted_p_value is not None
            assert found.failed == (found.drop > 1e-9 and found.adjusted_p_value <= 0.05)
