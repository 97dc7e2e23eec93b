"""Records column by column, and what is said of it in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_safety as rbs
from robustbench_safety.errors import IncompatiblePredictionsError, UsageError
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.gate.comparing import compare, in_words
from tests.reporting.gate.committed import changed, companion_of, mixed, plain, record_of


def test_a_comparison_has_the_columns_and_those_beside_with_paired_intervals() -> None:
    (found,) = compare([plain(), mixed()])
    assert [one.column for one in found.columns] == [
        "clean_error", "corruptions", "consistency", "adversaries", "calibration", "anomaly",
    ]  # fmt: skip
    assert [one.paired for one in found.columns] == [True, True, True, True, False, True]
    for one in found.columns:
        assert not one.gated
        assert one.interval is not None
        assert one.drop is not None
        assert one.interval.low <= one.drop <= one.interval.high


def test_the_interval_of_a_difference_is_turned_with_the_records() -> None:
    (there,), (back,) = compare([plain(), mixed()]), compare([mixed(), plain()])
    for one, other in zip(there.columns, back.columns, strict=True):
        assert one.drop == -(other.drop or 0.0)
        assert one.interval is not None
        assert other.interval is not None
        # The draws are the same units in another order of their signs.
        assert one.interval.low == pytest.approx(-other.interval.high, abs=0.01)


def test_plain_words_say_what_is_better_worse_and_not_to_be_told_apart() -> None:
    (found,) = compare([plain(), mixed()])
    better, alike, flips = in_words(found)
    assert better.startswith(
        "digits CNN, noise and mixing is better than digits CNN, plain in corruptions by"
    )
    assert "calibration by 11.26 points" in better
    assert "unpaired" in better
    assert alike.startswith("No difference that could not be chance in clean error (+0.59 points (-0.")
    rows = [(one.n_newly_wrong, one.n_newly_right) for one in found.conditions]
    wrong = sum(one for one, _ in rows if one is not None)
    assert f"{wrong:,} answers are newly wrong" in flips
    (back,) = compare([mixed(), plain()])
    assert in_words(back)[0].startswith("digits CNN, plain is worse than")


def test_of_one_and_the_same_record_nothing_differs() -> None:
    (found,) = compare([plain(), plain()])
    assert len(in_words(found)) == 2
    assert in_words(found)[0].startswith("No difference that could not be chance in clean error")
    assert in_words(found)[1].endswith("0 answers are newly wrong and 0 newly right.")


def test_several_records_are_each_held_against_the_first() -> None:
    names = ["conv-small, PGD", "conv-marabou", "ResNet-4b, PGD"]
    found = compare([record_of("cifar10-safety-generated", name) for name in names])
    assert [(one.first.name, one.other.name) for one in found] == [(names[0], names[1]), (names[0], names[2])]
    # Other means and standard deviations are no hindrance here, and are said.
    assert all(any("other preprocessing" in note for note in one.notes) for one in found)


def test_flips_of_each_condition_are_those_of_the_companions() -> None:
    (found,) = compare([plain(), mixed()])
    first, second = (companion_of(path).datasets["digits-c"].correct for path in (plain(), mixed()))
    counted = [one for one in found.conditions if one.cell == "c_error"]
    assert len(counted) == 40
    for one in counted:
        before, now = first[one.condition.path], second[one.condition.path]
        assert one.n_newly_wrong == (before & ~now).sum()
        assert one.n_newly_right == (~before & now).sum()


def test_records_of_other_suites_or_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompatiblePredictionsError, match="other suite"):
        compare([plain(), record_of("cifar10-clean", "cifar:resnet20")])
    record = read_json(plain(), ScoreRecord)
    data = {**record.data_digests, "digits/clean/clean-0": "b" * 64}
    with pytest.raises(IncompatiblePredictionsError, match="other data digest"):
        compare([plain(), changed(plain(), tmp_path, "data", data_digests=data)])


def test_a_column_that_one_lacks_is_shown_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    record = read_json(plain(), ScoreRecord)
    score = record.scores["anomaly"].model_copy(update={"value": None, "interval": None, "reason": "no data"})
    lacking = changed(plain(), tmp_path, "lacking", scores={**record.scores, "anomaly": score})
    (found,) = compare([mixed(), lacking])
    assert found.columns[-1].reason == "not measured in the other record: no data"
    assert in_words(found)[-2] == "Nothing can be said of anomaly."


def test_one_record_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare([plain()])
    with pytest.raises(UsageError, match="one folder, or one for each of the 3"):
        compare([plain(), mixed(), plain()], predictions=["a", "b"])


def test_the_comparison_is_public() -> None:
    assert rbs.compare is compare
