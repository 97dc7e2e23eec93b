"""From a reference network's record to a baseline, and from that to scores: the network itself scores 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, UndefinedMetricError, UsageError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.files import digest_of, read_yaml, write_json
from robustbench_safety.normalising import check_aggregates
from robustbench_safety.records import Baseline, BaselineTable
from robustbench_safety.reporting.baselines import measured_baselines
from robustbench_safety.suites import load_suite, suite_digest

SUITE = """\
name: divided
version: 1
title: T
label_space: digits
seed: 0
cells:
  - {id: clean_error, dataset: digits, metric: error_rate}
  - {id: c_error, dataset: digits-c, conditions: [contrast, impulse_noise], metric: error_rate}
  - {id: noise_error, dataset: digits-c, conditions: [impulse_noise], metric: error_rate}
  - {id: flip_rate, dataset: digits-p, conditions: [translate, gaussian_noise], metric: flip_rate}
  - {id: distance, dataset: digits-p, conditions: [translate, gaussian_noise], metric: top5_distance}
aggregates:
  - {id: mce, of: [c_error], reduce: normalised, baseline: small-c}
  - {id: relative_mce, of: [c_error, clean_error], reduce: relative, baseline: small-c}
  - {id: worst, of: [c_error], reduce: worst}
  - {id: mfr, of: [flip_rate], reduce: normalised, baseline: small-p}
  - {id: mt5d, of: [distance], reduce: normalised, baseline: small-p}
columns: [mce, mfr, mt5d]
beside: [clean_error, worst, relative_mce, noise_error]
"""

OF_C = """\
name: small-c
version: 1
title: T
model: a network
source: made up
clean_error: 0.01
metrics:
  error_rate: {verified: true, source: made up, values: {contrast: [0.5], impulse_noise: [0.25]}}
"""

OF_P = """\
name: small-p
version: 1
title: T
model: a network
source: made up
metrics:
  flip_rate: {verified: false, source: recalled, values: {translate: [0.5], gaussian_noise: [0.25]}}
  top5_distance: {unavailable: nobody has measured it}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("divided")
    (folder / "baselines").mkdir()
    (folder / "divided.yaml").write_text(SUITE)
    (folder / "baselines" / "small-c.yaml").write_text(OF_C)
    (folder / "baselines" / "small-p.yaml").write_text(OF_P)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> Evaluation:
    return score(
        "python:tests.golden.tiny:build", suite=folder / "divided.yaml", predictions=folder / "p", limit=60,
        batch_size=64, device="cpu")  # fmt: skip


def measured(folder: Path, reference: Evaluation) -> list[Path]:
    write_json(folder / "record.json", reference.record)
    arguments = ["suites", "baseline", str(folder / "record.json"), "--out", str(folder / "own")]
    assert run([*arguments, "--suite", str(folder / "divided.yaml")]) == 0
    return [folder / "own" / "small-c.yaml", folder / "own" / "small-p.yaml"]


def test_the_suite_of_a_record_is_asked_for_where_it_is_not_shipped(
    folder: Path, reference: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(folder / "record.json", reference.record)
    asked = ["suites", "baseline", str(folder / "record.json"), "--out", str(folder / "none")]
    assert run(asked) == 2
    assert "is of suite divided, which is not shipped; expected the file" in capsys.readouterr().err
    assert run([*asked, "--suite", "digits-sfety"]) == 2
    assert "unknown suite 'digits-sfety'" in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_scores_are_divided_by_the_baseline_s_and_noted_where_nobody_has_verified_it(
    reference: Evaluation,
) -> None:
    record = reference.record
    by_name: dict[str, list[float]] = {}
    for one in record.conditions["c_error"]:
        by_name.setdefault(one.condition.name, []).append(one.value)
    means = {name: sum(values) / 5 for name, values in by_name.items()}
    expected = (means["contrast"] / 0.5 + means["impulse_noise"] / 0.25) / 2
    assert record.scores["mce"].value == pytest.approx(expected, abs=1e-9)
    assert record.scores["mce"].note is None
    assert record.scores["mce"].interval is not None
    worst = record.scores["worst"]
    assert worst.value == pytest.approx(max(means.values()))
    assert worst.worst == max(means, key=means.__getitem__)
    assert record.scores["relative_mce"].interval is not None
    assert record.scores["mfr"].note == "divided by unverified figures of baseline small-p"
    assert record.scores["mfr"].interval is not None


def test_what_the_baseline_has_no_figures_of_is_null_and_makes_no_row_partial(reference: Evaluation) -> None:
    record = reference.record
    assert record.scores["mt5d"].reason == "baseline small-p has no top5_distance: nobody has measured it"
    assert record.scores["distance"].value is not None
    # The limit alone makes this row partial.
    assert record.partial_because == ("limit: 60 source images of each dataset",)


def test_the_record_says_which_baselines_were_used(folder: Path, reference: Evaluation) -> None:
    used = {
        name: read_yaml(folder / "baselines" / f"{name}.yaml", Baseline) for name in ("small-c", "small-p")
    }
    assert reference.record.baselines == {name: digest_of(found) for name, found in used.items()}


def test_a_network_beside_its_own_numbers_scores_1(folder: Path, reference: Evaluation) -> None:
    own = measured(folder, reference)
    record = rescore(reference.run_folder, suite=folder / "divided.yaml", baseline=own).record
    for name in ("mce", "mfr", "mt5d"):
        assert record.scores[name].value == pytest.approx(1, abs=1e-8), name
    # On sixty images this network is no worse under noise than on clean ones.
    assert record.scores["relative_mce"].value is None
    assert record.scores["relative_mce"].reason == (
        "the baseline does not get worse under impulse_noise: nothing to divide by"
    )
    assert record.partial_because == reference.record.partial_because
    assert record.suite.digest != reference.record.suite.digest
    assert set(record.baselines) == {"small-c", "small-p"}
    assert record.baselines != reference.record.baselines


def test_a_measured_baseline_says_where_its_numbers_come_from(folder: Path, reference: Evaluation) -> None:
    of_c, of_p = (read_yaml(path, Baseline) for path in measured(folder, reference))
    table = of_c.metrics["error_rate"]
    assert isinstance(table, BaselineTable)
    assert [len(values) for values in table.values.values()] == [5, 5]
    assert digest_of(reference.record.digested_fields()) in table.source
    # A row of 60 images is partial, not verified.
    assert not table.verified
    assert of_c.clean_error == reference.record.scores["clean_error"].value
    assert set(of_p.metrics) == {"flip_rate", "top5_distance"}


def test_a_verified_whole_record_makes_verified_figures(folder: Path, reference: Evaluation) -> None:
    whole = reference.record.model_copy(update={"status": "complete", "partial_because": (), "limit": None})
    for found in measured_baselines(whole, load_suite(folder / "divided.yaml")):
        assert all(table.verified for table in found.metrics.values() if isinstance(table, BaselineTable))


def test_the_suite_s_digest_covers_the_baseline_s_numbers_and_not_its_prose(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "baselines").mkdir()
    root, suite = DataRoot(root=tmp_path, beside=tmp_path), load_suite(folder / "divided.yaml")
    digests = []
    (tmp_path / "baselines" / "small-p.yaml").write_text(OF_P)
    for text in (OF_C, OF_C.replace("title: T", "title: Other"), OF_C.replace("[0.25]", "[0.26]")):
        (tmp_path / "baselines" / "small-c.yaml").write_text(text)
        digests.append(suite_digest(suite, root))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_baseline_that_the_suite_does_not_name_is_refused_before_anything_is_read(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(OF_C.replace("small-c", "other"))
    with pytest.raises(
        UsageError, match=r"baseline other is none that suite divided divides by; .*small-c or small-p"
    ):
        rescore(tmp_path, suite=folder / "divided.yaml", baseline=other)
    twice = [folder / "baselines" / "small-c.yaml"] * 2
    with pytest.raises((UsageError, FileFormatError), match="baseline small-c is given twice"):
        rescore(tmp_path, suite=folder / "divided.yaml", baseline=twice)


def test_a_baseline_without_a_condition_of_the_cell_is_refused_before_anything_is_predicted(
    folder: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.yaml"
    short.write_text(OF_C.replace("contrast: [0.5], ", ""))
    with pytest.raises(FileFormatError, match="aggregate mce: the baseline has no numbers of contrast"):
        score(
            "python:tests.golden.tiny:build", suite=folder / "divided.yaml", predictions=tmp_path / "p",
            baseline=short)  # fmt: skip
    assert not (tmp_path / "p").exists()


def test_a_baseline_no_worse_under_a_condition_is_refused_neither_before_a_run_nor_after(
    folder: Path, reference: Evaluation
) -> None:
    suite, root = load_suite(folder / "divided.yaml"), DataRoot(root=folder, beside=folder)
    used = {name: read_yaml(path, Baseline) for path in measured(folder, reference) for name in [path.stem]}
    check_aggregates(suite, root, used)
    perfect = used["small-c"].model_copy(update={"clean_error": 1.0})
    check_aggregates(suite, root, {**used, "small-c": perfect})


def test_a_record_of_another_suite_or_without_mistakes_makes_no_baseline(
    folder: Path, reference: Evaluation
) -> None:
    suite = load_suite(folder / "divided.yaml")
    with pytest.raises(UsageError, match="the record is not of suite divided, version 2"):
        measured_baselines(reference.record, suite.model_copy(update={"version": 2}))
    with pytest.raises(UsageError, match="suite divided divides by no baseline"):
        measured_baselines(reference.record, suite.model_copy(update={"aggregates": ()}))
    perfect = tuple(one.model_copy(update={"value": 0.0}) for one in reference.record.conditions["c_error"])
    conditions = {**reference.record.conditions, "c_error": perfect}
    with pytest.raises(UndefinedMetricError, match="the record's numbers of impulse_noise are all 0"):
        measured_baselines(reference.record.model_copy(update={"conditions": conditions}), suite)
