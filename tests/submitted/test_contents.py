"""Logits, probabilities, or top-1 classes alone: what each can give, and what is null with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import read_yaml
from robustbench_safety.labels import class_digest
from robustbench_safety.records import ScoreRecord, Suite
from robustbench_safety.reporting.filing import write_record
from tests.golden.make import LIMIT, SUITE
from tests.submitted.conftest import CLASSES, Table, npz, parquet, probabilities_of, top1_of

Scored = Callable[..., Evaluation]

#: Cells of the golden suite that classes alone can give.
OF_CLASSES = {"clean_error", "c_error", "flip_rate"}
#: Those of detectors that see what softmax hides.
OF_LOGITS = {"energy_aupr", "maxlogit_fpr"}


def test_probabilities_give_the_scores_of_their_logits_but_those_that_need_more(
    network: ScoreRecord, logits: Table, scored: Scored, tmp_path: Path
) -> None:
    found = scored(parquet(probabilities_of(logits), tmp_path / "p.parquet")).record
    for name, own in network.scores.items():
        value = found.scores[name].value
        if name in OF_LOGITS:
            assert value is None
            assert "needs logits, and there are probabilities alone" in str(found.scores[name].reason)
        elif name != "pgd_error":
            assert value == pytest.approx(own.value, abs=1e-6), name
    assert found.model.outputs == "probabilities"


@pytest.mark.parametrize("column", ["top1", "top1_index"])
def test_top_1_classes_alone_give_errors_and_flips_and_a_reason_for_the_rest(
    network: ScoreRecord, logits: Table, scored: Scored, tmp_path: Path, column: str
) -> None:
    evaluation = scored(npz(top1_of(logits, as_index=column == "top1_index"), tmp_path / "p.npz"))
    found = evaluation.record
    assert found.model.outputs == "top-1"
    for name, own in network.scores.items():
        if name in OF_CLASSES:
            assert found.scores[name] == own
        elif name != "pgd_error":
            assert "only top-1 classes were handed in" in str(found.scores[name].reason), name
    path = write_record(tmp_path / "leaderboard", found, evaluation.companion)
    table = evaluation.companion.table()
    assert path.with_suffix(".parquet").exists()
    assert table.column("confidence").null_count == len(table)
    assert table.column("predicted").null_count == 0 or "digits-c" in table.column("dataset").to_pylist()


def subset_suite(folder: Path, keys: list[str]) -> Path:
    (folder / "subsets").mkdir()
    (folder / "subsets" / "few.yaml").write_text(
        "name: few\nlabel_space: digits\nsource: here\n"
        f"count: {len(keys)}\ndigest: {class_digest(keys)}\nclasses: {keys}\n"
    )
    suite = folder / "few.yaml"
    suite.write_text(
        "name: few\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\ncells:\n"
        "  - {id: few_error, dataset: digits, metric: error_rate, subset: few}\n"
        "columns: [few_error]\n"
    )
    return suite


def test_a_top_1_class_outside_the_subset_makes_its_cell_null(
    clean: Table, scored: Scored, tmp_path: Path
) -> None:
    suite = subset_suite(tmp_path, ["3", "8", "9"])
    with_logits = scored(parquet(clean, tmp_path / "l.parquet"), suite=suite).record.scores["few_error"]
    top1 = scored(parquet(top1_of(clean), tmp_path / "t.parquet"), suite=suite).record.scores["few_error"]
    assert with_logits.value is not None
    assert "only top-1 classes were handed in; expected logits, or top-1 classes among the 3" in str(
        top1.reason
    )
    # Had the network been shown the subset's columns alone, its top-1 would lie inside: nothing is lost.
    few = np.array([3, 8, 9])
    inside = clean["logits"][:, few].argmax(axis=1)
    best = {"sample_id": clean["sample_id"], "top1_index": few[inside]}
    told = scored(parquet(best, tmp_path / "f.parquet"), suite=suite).record.scores["few_error"]
    assert told.value == with_logits.value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p * 1.01,
            r"sample \d{5}, .* and \d+ more; expected probabilities that sum to 1 within 0.001",
        ),
        (lambda p: np.where(p == p.max(), p + 0.1, p - 0.1 / 9), "expected probabilities of at least 0"),
        (lambda p: np.where(p == p.max(), np.nan, p), r"sample \d{5}; expected finite numbers; found NaN"),
        (lambda p: np.where(p == p.max(), np.inf, p), "expected finite numbers"),
    ],
)
def test_what_is_no_probability_is_refused_with_the_sample(
    clean: Table, scored: Scored, tmp_path: Path, change: Callable[[object], np.ndarray], message: str
) -> None:
    table = probabilities_of(clean)
    table["probabilities"] = change(table["probabilities"])
    with pytest.raises(DataError, match=message):
        scored(parquet(table, tmp_path / "p.parquet"), suite="digits")


def test_probabilities_that_miss_one_a_little_are_taken(clean: Table, scored: Scored, tmp_path: Path) -> None:
    table = probabilities_of(clean)
    exact = scored(parquet(table, tmp_path / "a.parquet"), suite="digits").record.scores["rms"].value
    table["probabilities"] = table["probabilities"].astype(np.float64).round(4)
    close = scored(parquet(table, tmp_path / "b.parquet"), suite="digits").record.scores["rms"].value
    assert close == pytest.approx(exact, abs=2e-3)


def test_a_number_too_large_for_float32_is_not_finite(clean: Table, scored: Scored, tmp_path: Path) -> None:
    table = clean | {"logits": clean["logits"].astype(np.float64)}
    table["logits"][7, 3] = 1e300
    with pytest.raises(DataError, match=f"sample {clean['sample_id'][7]}; expected finite numbers"):
        scored(parquet(table, tmp_path / "p.parquet"), suite="digits")


def test_an_unknown_top_1_class_is_refused_by_name(clean: Table, scored: Scored, tmp_path: Path) -> None:
    table = top1_of(clean)
    table["top1"][4] = "x"
    with pytest.raises(DataError, match="top1 'x' is no class of the label space; expected one of 0, 1"):
        scored(parquet(table, tmp_path / "p.parquet"), suite="digits")
    numbers = top1_of(clean, as_index=True)
    numbers["top1_index"][4] = len(CLASSES)
    with pytest.raises(DataError, match="top1_index is no class of the label space; expected 0 to 9; found"):
        scored(parquet(numbers, tmp_path / "p.parquet"), suite="digits")


def test_the_outputs_that_a_model_file_states_must_be_those_of_the_file(
    clean: Table, tmp_path: Path, scored: Scored
) -> None:
    parquet(clean, tmp_path / "p.parquet")
    model = tmp_path / "model.yaml"
    model.write_text("model: predictions:p.parquet\nlabel_space: digits\noutputs: probabilities\n")
    with pytest.raises(FileFormatError, match="states as its outputs; expected probabilities; found logits"):
        score(model, suite="digits", predictions=tmp_path / "runs", limit=LIMIT)
    model.write_text(
        "model: predictions:p.parquet\nlabel_space: digits\noutputs: logits\nname: Closed model\n"
        "training_data: unknown\ntrained_on: [mnist]\n"
    )
    record = score(model, suite="digits", predictions=tmp_path / "runs", limit=LIMIT).record
    assert record.display_name == "Closed model"
    assert (record.model.training_data, record.model.trained_on) == ("unknown", ("mnist",))


def test_the_golden_suite_holds_the_cells_that_these_tests_name() -> None:
    cells = {cell.id for cell in read_yaml(SUITE, Suite).cells}
    assert cells >= OF_CLASSES | OF_LOGITS | {"pgd_error"}
