"""Run folders: what was made for whom is never mixed with anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError, StorageError
from robustbench_safety.records import Condition, PredictionsHeader, RunInfo, ScoreRecord
from robustbench_safety.runs import Run

MakeInfo = Callable[..., RunInfo]
Write = Callable[..., PredictionsHeader]

CLEAN = Condition(dataset="digits", kind="clean", name="clean", level=0)


def test_a_run_that_was_started_is_resumed_with_what_it_was_started_with(
    tmp_path: Path, make_info: MakeInfo
) -> None:
    started = Run.resume_or_start(tmp_path / "run", make_info())
    assert (tmp_path / "run" / "run.json").is_file()
    resumed = Run.resume_or_start(tmp_path / "run", make_info())
    assert started == resumed == Run.load(tmp_path / "run")


def test_another_display_name_or_commit_is_the_same_run(
    tmp_path: Path, make_info: MakeInfo, record: ScoreRecord
) -> None:
    Run.resume_or_start(tmp_path, make_info())
    environment = record.environment.model_copy(update={"commit": "another"})
    resumed = Run.resume_or_start(tmp_path, make_info(display_name="Other", environment=environment))
    assert resumed.info == make_info(), "what is recorded is what the first predictions were made with"


@pytest.mark.parametrize(
    ("part", "change", "field"),
    [
        (None, {"seed": 1}, "seed; expected 1; found 0"),
        (None, {"limit": 100}, "limit; expected 100; found None"),
        (None, {"slug": "other"}, "slug; expected other; found tiny"),
        ("environment", {"batch_size": 7}, "environment.batch_size; expected 7; found"),
        ("environment", {"threads": 77}, "environment.threads; expected 77; found"),
        ("environment", {"libraries": {"torch": "0"}}, "environment.libraries."),
        ("model", {"weights_digest": "0" * 64}, "model.weights_digest; expected 0000"),
        ("model", {"training_data": "more"}, "model.training_data; expected more; found"),
    ],
)
def test_a_run_made_with_other_settings_is_refused_and_the_field_named(
    tmp_path: Path,
    make_info: MakeInfo,
    record: ScoreRecord,
    part: str | None,
    change: dict[str, object],
    field: str,
) -> None:
    Run.resume_or_start(tmp_path, make_info())
    if part is not None:
        whole = record.environment if part == "environment" else record.model
        change = {part: whole.model_copy(update=change)}
    with pytest.raises(IncompatiblePredictionsError) as raised:
        Run.resume_or_start(tmp_path, make_info(**change))
    message = str(raised.value)
    assert message.startswith(f"{tmp_path} was made from something else: {field}")
    assert message.endswith("name another folder with --predictions")


def test_a_folder_without_a_note_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"is not a run folder; .*; found no run.json"):
        Run.load(tmp_path)
    with pytest.raises(FileFormatError, match=r"is not a run folder; .*; found no such folder"):
        Run.load(tmp_path / "absent")


def test_a_note_that_was_damaged_is_told(tmp_path: Path, make_info: MakeInfo) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"run\.json is not valid JSON"):
        Run.resume_or_start(tmp_path, make_info())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, make_info: MakeInfo) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"run\.json cannot be written"):
        Run.resume_or_start(tmp_path / "file" / "run", make_info())


def test_the_folder_s_name_differs_by_model_precision_and_device(record: ScoreRecord) -> None:
    other = record.model.model_copy(update={"weights_digest": "0" * 64})
    crop = record.model.preprocessing.model_copy(update={"std": (0.9, 0.9, 0.9)})
    cropped = record.model.model_copy(update={"preprocessing": crop})
    names = [
        Run.folder_name("tiny", record.model, precision="float32", device="cpu"),
        Run.folder_name("tiny", other, precision="float32", device="cpu"),
        Run.folder_name("tiny", cropped, precision="float32", device="cpu"),
        Run.folder_name("tiny", record.model, precision="bfloat16", device="cpu"),
        Run.folder_name("tiny", record.model, precision="float32", device="cuda"),
    ]
    assert len(set(names)) == 5
    for name in names:
        slug, _, digest = name.partition("--")
        assert slug == "tiny"
        assert len(digest) == 8
    assert Run.folder_name("tiny", record.model, precision="float32", device="cpu") == names[0]


@pytest.fixture
def finished(tmp_path: Path, make_info: MakeInfo, write: Write) -> tuple[Run, PredictionsHeader]:
    run = Run.resume_or_start(tmp_path, make_info())
    logits = np.zeros((10, 3), dtype=np.float32)
    header = write(run.path(CLEAN), {"logits": logits}, labels=np.zeros(10, dtype=np.int64))
    return run, header


def test_a_condition_lies_below_dataset_and_kind(
    finished: tuple[Run, PredictionsHeader], tmp_path: Path
) -> None:
    run, _ = finished
    assert run.path(CLEAN) == tmp_path / "digits" / "clean" / "clean-0.parquet"
    fog = Condition(dataset="digits-c", kind="corruption", name="fog", level=3)
    assert run.path(fog) == tmp_path / "digits-c" / "corruption" / "fog-3.parquet"


def test_a_level_with_a_dot_in_its_name_keeps_it(
    finished: tuple[Run, PredictionsHeader], tmp_path: Path
) -> None:
    attack = Condition(dataset="digits", kind="attack", name="pgd-eps0.5_255", level=0)
    assert finished[0].path(attack).name == "pgd-eps0.5_255-0.parquet"


def test_a_finished_condition_is_known_by_its_header(finished: tuple[Run, PredictionsHeader]) -> None:
    run, header = finished
    assert run.finished({"seed": 0, "model_digest": "1" * 64}, CLEAN) == header
    assert run.finished({}, CLEAN) == header


def test_a_condition_that_is_not_there_is_not_finished(finished: tuple[Run, PredictionsHeader]) -> None:
    other = Condition(dataset="digits", kind="clean", name="other", level=0)
    assert finished[0].finished({}, other) is None


@pytest.mark.parametrize(
    ("expected", "field"),
    [
        ({"model_digest": "9" * 64}, "model_digest; expected 9999"),
        ({"seed": 3}, "seed; expected 3; found 0"),
        ({"limit": 5}, "limit; expected 5; found None"),
        ({"columns": "summary"}, "columns; expected summary; found logits"),
        ({"seed": 0, "manifest_digest": "9" * 64}, "manifest_digest; expected 9999"),
        (
            {"condition": {"dataset": "digits", "kind": "clean", "name": "x", "level": 0}},
            "condition.name; expected x",
        ),
    ],
)
def test_a_condition_made_from_something_else_is_refused_and_the_field_named(
    finished: tuple[Run, PredictionsHeader], expected: dict[str, object], field: str
) -> None:
    run, _ = finished
    with pytest.raises(IncompatiblePredictionsError) as raised:
        run.finished(expected, CLEAN)
    assert str(raised.value).startswith(f"{run.path(CLEAN)} was made from something else: {field}")


def test_a_damaged_file_is_not_taken_for_a_finished_condition(
    finished: tuple[Run, PredictionsHeader],
) -> None:
    run, _ = finished
    path = run.path(CLEAN)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match="is not a file of predictions"):
        run.finished({}, CLEAN)
