"""Tests of the export to the hub's files; huggingface_hub's own classes read them, and nothing is sent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries

from robustbench_safety.errors import (
    FileFormatError,
    MissingDependencyError,
    StorageError,
    UndefinedMetricError,
    UsageError,
)
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.hub import export_to_hub
from tests.golden.make import RECORD
from tests.reporting.gate.reports import HOSTILE

MODEL = "octo/digits"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("an export has opened a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def record() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


def entries(folder: Path, record: ScoreRecord) -> list[EvalResultEntry]:
    path = folder / ".eval_results" / f"{record.suite.name}.yaml"
    return list(parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8"))))


def results(folder: Path) -> list[Any]:
    return list(ModelCard.load(folder / "README.md").data.eval_results or [])


def test_every_column_is_an_entry_with_its_value_in_percent(tmp_path: Path, record: ScoreRecord) -> None:
    files = export_to_hub(record, tmp_path, model_id=MODEL)
    names = [*record.columns, *record.beside]
    found = entries(tmp_path, record)
    assert [one.task_id for one in found] == names
    assert files.n_results == len(names)
    for one in found:
        score = record.scores[one.task_id]
        assert score.value is not None
        assert score.interval is not None
        assert one.value == round(100 * score.value, 4)
        assert one.dataset_id == f"robustbench-safety/{record.suite.name}"
        assert one.verify_token is None
        assert one.notes is not None
        for part in (
            "in percent",
            f"{score.direction} is better",
            f"95 % interval {100 * score.interval.low:.2f} – {100 * score.interval.high:.2f}",
            f"n = {score.n}",
            f"suite {record.suite.name}, version {record.suite.version}, digest {record.suite.digest[:16]}",
            f"{record.kind} row",
        ):
            assert part in one.notes


def test_the_model_index_holds_the_same_numbers(tmp_path: Path, record: ScoreRecord) -> None:
    export_to_hub(record, tmp_path, model_id=MODEL, source="https://example.org/row")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.model_name == "digits"
    found = results(tmp_path)
    assert [(one.metric_type, one.metric_value) for one in found] == [
        (one.task_id, one.value) for one in entries(tmp_path, record)
    ]
    assert {one.dataset_type for one in found} == {record.suite.name}
    assert {one.source_url for one in found} == {"https://example.org/row"}
    assert found[0].dataset_args == {"version": record.suite.version, "digest": record.suite.digest}
    assert [one.source_url for one in entries(tmp_path, record)] == ["https://example.org/row"] * len(found)
    assert f"| {record.columns[0].replace('_', ' ')} % ↓ |" in card.text


def test_nats_and_scores_are_written_as_they_are(tmp_path: Path, record: ScoreRecord) -> None:
    first = record.columns[0]
    score = record.scores[first].model_copy(update={"unit": "nats", "value": 0.5, "interval": None})
    nats = record.model_copy(update={"scores": record.scores | {first: score}})
    export_to_hub(nats, tmp_path, model_id=MODEL)
    found = entries(tmp_path, record)[0]
    assert found.value == 0.5
    assert "in nats" in str(found.notes)


def test_a_column_without_a_value_is_left_out_and_said(tmp_path: Path, record: ScoreRecord) -> None:
    first = record.columns[0]
    null = record.scores[first].model_copy(update={"value": None, "reason": "no data", "interval": None})
    files = export_to_hub(
        record.model_copy(update={"scores": record.scores | {first: null}}), tmp_path, model_id=MODEL
    )
    assert files.left_out == (f"{first}: no data",)
    assert first not in [one.task_id for one in entries(tmp_path, record)]
    assert "– (no data)" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_record_without_any_value_is_refused_and_nothing_is_written(
    tmp_path: Path, record: ScoreRecord
) -> None:
    nothing = {
        name: score.model_copy(update={"value": None, "reason": "no data", "interval": None})
        for name, score in record.scores.items()
    }
    with pytest.raises(UndefinedMetricError, match="no number to export"):
        export_to_hub(record.model_copy(update={"scores": nothing}), tmp_path / "out", model_id=MODEL)
    assert not (tmp_path / "out").exists()


CARD = """---
license: mit
language: en
tags: [mine]
model-index:
- name: My model
  results:
  - task: {type: image-classification}
    dataset: {type: beans, name: Beans}
    metrics: [{type: accuracy, value: 0.9}]
---
# My model

Its *own* text, with --- in it.
---
"""


def test_a_card_that_is_there_keeps_its_text_and_its_other_results(
    tmp_path: Path, record: ScoreRecord
) -> None:
    (tmp_path / "README.md").write_text(CARD, encoding="utf-8")
    export_to_hub(record, tmp_path, model_id=MODEL)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.text == CARD.partition("---\n# My")[2].join(["# My", ""])
    assert (card.data.license, card.data.language, card.data.model_name) == ("mit", "en", "My model")
    assert card.data.tags == ["mine", "robustbench-safety"]
    found = results(tmp_path)
    assert (found[0].dataset_type, found[0].metric_value) == ("beans", 0.9)
    assert len(found) == 1 + len(entries(tmp_path, record))


@pytest.mark.parametrize("text", ["# Only text\n", "", "---\nno end of it\n", "of\r\nWindows\r\n"])
def test_a_card_without_metadata_gets_them_and_keeps_its_text(
    tmp_path: Path, record: ScoreRecord, text: str
) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    export_to_hub(record, tmp_path, model_id=MODEL)
    assert (tmp_path / "README.md").read_bytes().endswith(text.encode())
    assert len(results(tmp_path)) == len(entries(tmp_path, record))


def test_the_same_export_again_changes_nothing(tmp_path: Path, record: ScoreRecord) -> None:
    files = export_to_hub(record, tmp_path, model_id=MODEL)
    before = [path.read_bytes() for path in (files.card, files.results)]
    export_to_hub(record, tmp_path, model_id=MODEL)
    assert [path.read_bytes() for path in (files.card, files.results)] == before


def test_other_results_of_the_suite_are_replaced_only_on_demand(tmp_path: Path, record: ScoreRecord) -> None:
    export_to_hub(record, tmp_path, model_id=MODEL)
    first = record.columns[0]
    score = record.scores[first].model_copy(update={"value": 0.25})
    other = record.model_copy(update={"scores": record.scores | {first: score}})
    before = (tmp_path / "README.md").read_bytes()
    with pytest.raises(StorageError, match="--overwrite"):
        export_to_hub(other, tmp_path, model_id=MODEL)
    assert (tmp_path / "README.md").read_bytes() == before
    export_to_hub(other, tmp_path, model_id=MODEL, overwrite=True)
    assert entries(tmp_path, record)[0].value == 25.0
    assert len(results(tmp_path)) == len(entries(tmp_path, record))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_record_breaks_the_files(tmp_path: Path, record: ScoreRecord, text: str) -> None:
    first = record.columns[0]
    score = record.scores[first].model_copy(update={"note": text})
    timings = record.timings.model_copy(update={"finished": text})
    hostile = record.model_copy(
        update={
            "display_name": text,
            "timings": timings,
            "scores": record.scores | {first: score},
        }
    )
    export_to_hub(hostile, tmp_path, model_id=MODEL)
    found = entries(tmp_path, record)
    assert len(found) == len(results(tmp_path)) == len([*record.columns, *record.beside])
    assert {one.date for one in found} == {None}
    body = ModelCard.load(tmp_path / "README.md").text
    assert body.count("\n# ") == 1
    assert "<" not in body
    assert len([line for line in body.splitlines() if line.startswith("|")]) == 2 + len(found)


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "digits",
        "a/b/c",
        "../../etc",
        "/digits",
        "octo/",
        "octo/-x",
        "octo/a--b",
        "o c/x",
        "a/" + 99 * "b",
    ],
)
def test_an_id_that_the_hub_would_not_take_is_refused(
    tmp_path: Path, record: ScoreRecord, model_id: str
) -> None:
    for one, benchmark in ((model_id, None), (MODEL, model_id)):
        with pytest.raises(UsageError, match="cannot be used"):
            export_to_hub(record, tmp_path / "out", model_id=one, benchmark=benchmark)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["", "javascript:alert(1)", "example.org", "https://a b", "https://x\ny"])
def test_a_source_that_is_no_address_is_refused(tmp_path: Path, record: ScoreRecord, source: str) -> None:
    with pytest.raises(UsageError, match="source cannot be used"):
        export_to_hub(record, tmp_path / "out", model_id=MODEL, source=source)


@pytest.mark.parametrize(
    "text",
    [
        "---\n[a, list]\n---\ntext",
        "---\na: [unclosed\n---\ntext",
        "---\nmodel-index: [{name: x}]\n---\n",
        "---\nmodel-index: [{name: x, results: []}, {name: y, results: []}]\n---\n",
        "\ufffe".encode("utf-16-le").decode("latin-1"),
    ],
)
def test_a_card_that_cannot_be_read_is_left_as_it_is(tmp_path: Path, record: ScoreRecord, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"README\.md"):
        export_to_hub(record, tmp_path, model_id=MODEL)
    assert path.read_bytes() == text.encode("latin-1")
    assert not (tmp_path / ".eval_results").exists()


def test_without_the_extra_the_message_says_how_to_get_it(
    tmp_path: Path, record: ScoreRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"robustbench-safety\[hub\]"):
        export_to_hub(record, tmp_path, model_id=MODEL)
