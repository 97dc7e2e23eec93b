"""A record in a Hugging Face repository: ``.eval_results/*.yaml`` and the card's ``model-index``.

Everything is made and read back by huggingface_hub's own classes, and written into a folder: nothing is sent.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from robustbench_safety.errors import (
    FileFormatError,
    MissingDependencyError,
    StorageError,
    UndefinedMetricError,
    UsageError,
)
from robustbench_safety.files import digest_of, read_bytes, write_bytes
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.records import Record, Score, ScoreRecord
from robustbench_safety.reporting.columns import columns_of_records
from robustbench_safety.reporting.plain_text import escaped, one_line
from robustbench_safety.reporting.tables import shown, shown_interval

__all__ = ["HubFiles", "export_to_hub"]

#: Bytes of a README that is added to.
_LARGEST_CARD = 4 * 2**20
#: Of a repository on the hub: ``owner/name``.
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
#: The block at the beginning of a card, as the hub finds it.
_METADATA = re.compile(r"\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
#: Digits after the point, of a percentage or of another unit.
_DIGITS = 4
#: Characters of a record's own note.
_LONGEST_NOTE = 400
_TAG = "robustbench-safety"
_TASK = "image-classification"


class HubFiles(Record):
    """What was written."""

    card: Path
    """``README.md``, the model card."""
    results: Path
    """``.eval_results/<suite>.yaml``."""
    n_results: int
    """Numbers in each."""
    left_out: tuple[str, ...]
    """Columns without a value, and why."""


def export_to_hub(
    record: ScoreRecord,
    folder: Path,
    *,
    model_id: str,
    benchmark: str | None = None,
    source: str | None = None,
    overwrite: bool = False,
) -> HubFiles:
    """Write a record's columns into a copy of a model repository.

    A ``README.md`` that is there keeps its text and what else its metadata hold; the results of this suite in
    its ``model-index`` are replaced. Fractions are written in percent, and every entry says so.

    Args:
        record: Of the model.
        folder: A copy of the model's repository, or a new folder.
        model_id: The repository, ``owner/name``.
        benchmark: Repository of the benchmark's dataset on the hub; ``robustbench-safety/<suite>`` when None,
            which need not exist: the hub shows entries of an unknown benchmark on the model alone.
        source: Address that shows where the numbers come from.
        overwrite: Replace other results of this suite.

    Raises:
        MissingDependencyError: huggingface_hub is not there, or too old.
        UsageError: An id or the address cannot be used.
        UndefinedMetricError: No column has a value.
        FileFormatError: The ``README.md`` has metadata that cannot be read.
        StorageError: There are other results of this suite; a file cannot be read or written.
    """
    hub = _library()
    for name, value in (("model id", model_id), ("benchmark", benchmark)):
        if value is not None:
            _check_repository(name, value)
    if source is not None and not re.fullmatch(r"https?://[^\s\x00-\x1f<>\"]{1,2000}", source):
        raise UsageError(
            "source cannot be used", expected="an address, https://...", found=repr(source[:200])
        )
    columns = {name: record.scores[name] for name in (*record.columns, *record.beside)}
    measured = {name: score for name, score in columns.items() if score.value is not None}
    if not measured:
        raise UndefinedMetricError(
            f"record {record.slug} has no number to export",
            expected="a column with a value",
            found="; ".join(f"{name}: {score.reason}" for name, score in columns.items())[:500],
        )
    benchmark = benchmark or f"robustbench-safety/{record.suite.name}"
    files = HubFiles(
        card=folder / "README.md",
        results=folder / ".eval_results" / f"{record.suite.name}.yaml",
        n_results=len(measured),
        left_out=tuple(f"{name}: {score.reason}" for name, score in columns.items() if score.value is None),
    )
    results = _results(hub, record, measured, benchmark, source)
    card = _card(hub, record, measured, files.card, model_id, source, overwrite=overwrite)
    _refuse_other_results(files.results, results, overwrite=overwrite)
    write_bytes(files.results, results)
    write_bytes(files.card, card)
    return files


def _library() -> Any:  # the package's types are not ours to promise
    try:
        hub = importlib.import_module("huggingface_hub")
        _ = hub.EvalResultEntry
    except (ModuleNotFoundError, AttributeError) as error:
        raise MissingDependencyError(
            "an export for the hub needs the extra 'hub'",
            expected="the package huggingface_hub with EvalResultEntry",
            found="not installed" if isinstance(error, ModuleNotFoundError) else "an older one",
            fix="uv pip install --upgrade 'robustbench-safety[hub]'; in a checkout: uv pip install '.[hub]'",
        ) from error
    return hub


def _check_repository(name: str, value: str) -> None:
    validate = importlib.import_module("huggingface_hub.utils").validate_repo_id
    with foreign_code(f"{name} cannot be used", raising=UsageError, expected="owner/name, as on the hub"):
        validate(value)
    if not _REPOSITORY.fullmatch(value):
        raise UsageError(
            f"{name} cannot be used", expected="owner/name, as on the hub", found=repr(value[:200])
        )


def _results(
    hub: Any, record: ScoreRecord, measured: dict[str, Score], benchmark: str, source: str | None
) -> bytes:
    """Return ``.eval_results/<suite>.yaml``."""
    entries = [
        hub.EvalResultEntry(
            dataset_id=benchmark,
            task_id=name,
            value=_value(score),
            date=_date(record),
            source_url=source,
            source_name=f"robustbench_safety {record.suite.name}" if source else None,
            notes=_note(record, name, score),
        )
        for name, score in measured.items()
    ]
    text: str = yaml.safe_dump(
        hub.eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000
    )
    if hub.parse_eval_result_entries(yaml.safe_load(text)) != entries:
        raise FileFormatError(f"the results of {record.slug} are not read back as they were written")
    return text.encode()


def _date(record: ScoreRecord) -> str | None:
    """Return when the numbers were made; None where a record that somebody sent has no date there."""
    try:
        return datetime.fromisoformat(record.timings.finished).isoformat()
    except ValueError:
        return None


def _value(score: Score) -> float:
    value = score.value if score.value is not None else 0.0
    return round(100 * value if score.unit == "fraction" else value, _DIGITS)


def _note(record: ScoreRecord, name: str, score: Score) -> str:
    """Return what a number means and where it comes from, in one line."""
    return "; ".join(_facts(record, name, score))


def _facts(record: ScoreRecord, name: str, score: Score) -> Iterator[str]:
    unit = {"fraction": "in percent", "nats": "in nats", "score": "without unit"}[score.unit]
    yield f"{name} {unit}, {score.direction} is better"
    if score.interval is not None:
        yield f"{100 * score.interval.level:.3g} % interval {shown_interval(score)}"
    yield f"n = {score.n}" + (f" and {score.n_out} out of distribution" if score.n_out else "")
    if score.worst:
        yield f"of the worst condition, {score.worst}"
    suite = record.suite
    yield f"robustbench_safety suite {suite.name}, version {suite.version}, digest {suite.digest[:16]}"
    yield f"{record.kind} row, record {digest_of(record.digested_fields())[:16]}"
    if score.note:
        yield one_line(score.note, longest=_LONGEST_NOTE)


def _index(hub: Any, record: ScoreRecord, measured: dict[str, Score], source: str | None) -> list[Any]:
    """Return the entries of ``model-index``."""
    titles = {name: column.heading for name, column in columns_of_records([record]).items()}
    return [
        hub.EvalResult(
            task_type=_TASK,
            task_name="Image classification",
            dataset_type=record.suite.name,
            dataset_name=f"robustbench_safety {record.suite.name}",
            dataset_args={"version": record.suite.version, "digest": record.suite.digest},
            metric_type=name,
            metric_name=titles[name],
            metric_value=_value(score),
            metric_args={"notes": _note(record, name, score)},
            source_url=source,
            source_name=f"robustbench_safety {record.suite.name}" if source else None,
        )
        for name, score in measured.items()
    ]


def _card(
    hub: Any,
    record: ScoreRecord,
    measured: dict[str, Score],
    path: Path,
    model_id: str,
    source: str | None,
    *,
    overwrite: bool,
) -> bytes:
    """Return ``README.md``: what is there with the results of this suite, or a short one."""
    ours = _index(hub, record, measured, source)
    there = path.exists()
    text = _card_text(path) if there else f"---\npipeline_tag: {_TASK}\n---\n{_body(record)}"
    with foreign_code(
        f"{path}: the metadata cannot be read",
        raising=FileFormatError,
        expected="YAML between two lines of ---, as on the hub",
        fix="correct it, or export to another folder",
    ):
        card = hub.ModelCard(text)
        # The library puts the results of several models under the last one's name.
        block = _METADATA.match(text)
        n_models = len((yaml.safe_load(block[1]) or {}).get("model-index") or []) if block else 0
        known = list(card.data.eval_results or [])
    if n_models > 1:
        raise FileFormatError(
            f"{path}: model-index is of {n_models} models",
            expected="one",
            fix="split it, or export to another folder",
        )
    others = [one for one in known if one.dataset_type != record.suite.name]
    mine = [one for one in known if one.dataset_type == record.suite.name]
    if mine and not overwrite and mine != ours:
        raise _other_results(path, record)
    card.data.model_name = card.data.model_name or model_id.partition("/")[2]
    card.data.eval_results = [*others, *ours]
    card.data.tags = list(dict.fromkeys([*(card.data.tags or []), _TAG]))
    written = str(card)
    back = hub.ModelCard(written).data
    if [dataclasses.asdict(one) for one in back.eval_results] != [
        dataclasses.asdict(one) for one in card.data.eval_results
    ]:
        raise FileFormatError(f"{path}: its results are not read back as they were written")
    return written.encode()


def _card_text(path: Path) -> str:
    try:
        text = read_bytes(path, largest=_LARGEST_CARD).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not text in UTF-8", found=str(error)) from error
    # Without a block of metadata the library says so in a log line, and begins an empty one.
    return text if _METADATA.match(text) else f"---\n{{}}\n---\n{text}"


def _body(record: ScoreRecord) -> str:
    """Return the text of a new card."""
    suite = record.suite
    rows = []
    for name, column in columns_of_records([record]).items():
        score = record.scores[name]
        value = shown(score) if score.value is not None else f"– ({escaped(score.reason or '')})"
        n = f"{score.n:,}" + (f" + {score.n_out:,}" if score.n_out else "")
        rows.append(f"| {escaped(column.heading)} | {value} | {shown_interval(score) or '–'} | {n} |")
    lines = [
        "",
        f"# {escaped(record.display_name) or 'unnamed'}",
        "",
        f"Safety beyond clean accuracy, measured by robustbench_safety: suite `{suite.name}`, version "
        f"{suite.version}, digest `{suite.digest[:16]}`; {record.kind} row, record "
        f"`{digest_of(record.digested_fields())[:16]}`, {escaped(record.timings.finished)}.",
        "",
        "| column | value | 95 % interval | n |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        "↓ lower is better, ↑ higher is better. Rows compare only where suite, version and digest agree.",
        "",
    ]
    return "\n".join(lines)


def _refuse_other_results(path: Path, content: bytes, *, overwrite: bool) -> None:
    if path.exists() and not overwrite and read_bytes(path, largest=_LARGEST_CARD) != content:
        raise _other_results(path, None)


def _other_results(path: Path, record: ScoreRecord | None) -> StorageError:
    of = f" of {record.suite.name}" if record else ""
    return StorageError(
        f"{path} has other results{of} already",
        expected="none, or these",
        fix="replace them with --overwrite, or export to another folder",
    )
