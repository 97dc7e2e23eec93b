"""A record that somebody sent: read, checked against its suite, companion and the board, and filed.

Whatever the record says of who stands for it, it is filed as what was checked here: ``self-reported``, or
with the predictions at hand ``recomputed``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

from robustbench_safety.companion import Companion, read_companion
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError, UsageError
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.records import Curves, Score, ScoreInterval, ScoreRecord, Verification
from robustbench_safety.reporting.checking import (
    Finding,
    Rules,
    check_data_digests,
    check_record,
    check_suite,
    check_supersession,
    near,
    rules_of,
    same_row,
    superseded,
)
from robustbench_safety.reporting.filing import Filed, filed_records, write_record
from robustbench_safety.runs import Run
from robustbench_safety.scoring import score_predictions

__all__ = [
    "Sent",
    "add_record",
    "compare_scores",
    "file_as",
    "filed_on",
    "read_sent",
    "refuse",
    "signed",
]

_OUR_NAME = re.compile(r"^(?P<slug>.+)--(?P<digest>[0-9a-f]{8})$")
#: Hexadecimal digits of a digest that name a record.
_SHORTEST_DIGEST = 8
#: A companion has under 1 MB on a CIFAR suite, some 10 MB on one of ImageNet.
_LARGEST_COMPANION = 256 * 2**20
#: Bootstraps of another NumPy may draw otherwise; a value does not depend on any draw.
_OF_INTERVALS = 1e-6
_LONGEST_SIGNATURE = 200


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A record with its companion, as somebody sent them."""

    path: Path
    record: ScoreRecord
    digest: str
    companion: Companion


def read_sent(path: Path) -> Sent:
    """Read a record and the companion beside it, and check that they are what was written together.

    Raises:
        UsageError: It is not named as a record is.
        StorageError: A file cannot be read.
        FileFormatError: One of them is no record or companion, was changed, or is another's.
    """
    if path.suffix != ".json":
        raise UsageError(
            str(path), expected="a record: a file that ends in .json", found=path.suffix or "no ending"
        )
    record = read_json(path, ScoreRecord)
    digest = digest_of(record.digested_fields())
    named = _OUR_NAME.match(path.stem)
    if named is not None and (named["slug"], named["digest"]) != (record.slug, digest[:8]):
        raise FileFormatError(
            f"{path} was changed after it was written",
            expected=f"the name {record.slug}--{digest[:8]}.json for this content",
            found=path.name,
            fix="send it as `rbs score` wrote it",
        )
    beside = path.with_suffix(".parquet")
    if not beside.is_file():
        raise FileFormatError(
            f"{path} lacks its companion",
            expected=f"{beside.name} beside it",
            found="no such file",
            fix="send both files that `rbs score` wrote",
        )
    if (size := beside.stat().st_size) > _LARGEST_COMPANION:
        raise FileFormatError(
            f"{beside} is too large", expected=f"at most {_LARGEST_COMPANION} bytes", found=str(size)
        )
    companion = read_companion(beside, digest=record.companion_digest)
    return Sent(path=path, record=record, digest=digest, companion=companion)


def add_record(
    leaderboard: Path,
    path: Path,
    *,
    data: DataRoot | None = None,
    suite: Path | None = None,
    baseline: Sequence[Path] = (),
    predictions: Path | None = None,
    supersedes: str | None = None,
    by: str | None = None,
) -> Filed:
    """Check a record that somebody sent and file it.

    Args:
        leaderboard: The folder; it is made where there is none.
        path: Of the record; its companion lies beside it.
        data: Data root, for manifests and files of labels; None for the usual.
        suite: Of one's own; None for the shipped one that the record names.
        baseline: Files of baselines that the record was scored with in place of the suite's.
        predictions: The sender's run folder: the record is recomputed from it; None to take its word.
        supersedes: First digits of the digest of the record that it corrects; None for what it says itself.
        by: Who files it; None for this command.

    Returns:
        What was filed: ``recomputed`` with predictions, else ``self-reported``.

    Raises:
        FileFormatError: A file is not what it should be, or the record cannot be right; says where.
        IncompatiblePredictionsError: The predictions give other scores.
        UsageError: An option cannot be used.
    """
    sent = read_sent(path)
    record, root = sent.record, data or DataRoot.default()
    signature = signed("add", by)
    rules = rules_of(record, data=root, suite=suite, baseline=baseline)
    refuse(path, check_suite(record, rules))
    refuse(path, check_record(record, sent.companion, rules, intervals=True))
    kind: Literal["self-reported", "recomputed"] = "self-reported"
    if predictions is not None:
        _recompute(sent, predictions, rules)
        kind = "recomputed"
    filed = list(filed_records(leaderboard)) if (leaderboard / "records").is_dir() else []
    target = _target(supersedes, filed) if supersedes is not None else record.supersedes
    record = file_as(record, kind=kind, by=signature, supersedes=target)
    _refuse_misfit(path, record, filed)
    written = write_record(leaderboard, record, sent.companion)
    return Filed(record=record, digest=digest_of(record.digested_fields()), path=written)


def refuse(path: Path, findings: Iterable[Finding]) -> None:
    """Refuse a record of which something was found.

    Raises:
        FileFormatError: Names the first finding, and how many there are.
    """
    found = list(findings)
    if found:
        first, more = found[0], f"{len(found) - 1} more findings" if len(found) > 1 else ""
        fix = "; ".join(part for part in (first.fix, more) if part)
        raise FileFormatError(f"{path}: {first.what}", expected=first.expected, found=first.found, fix=fix)


def signed(command: str, by: str | None) -> str:
    """Return who stands for a row: what the user says, else the command and its version.

    Raises:
        UsageError: It is empty, of several lines or too long.
    """
    if by is None:
        return f"rbs leaderboard {command} {metadata.version('robustbench-safety')}"
    if not by.strip() or not by.isprintable() or len(by) > _LONGEST_SIGNATURE:
        raise UsageError(
            "--by", expected=f"one line of 1 to {_LONGEST_SIGNATURE} characters", found=repr(by[:80])
        )
    return by.strip()


def file_as(
    record: ScoreRecord,
    *,
    kind: Literal["verified", "recomputed", "self-reported"],
    by: str,
    supersedes: str | None,
) -> ScoreRecord:
    """Return the record as it is filed: with who stands for it, and what it takes the place of."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    verification = Verification(kind=kind, by=by, at=at)
    return record.model_copy(update={"verification": verification, "supersedes": supersedes})


def filed_on(leaderboard: Path, path: Path) -> tuple[Filed, list[Filed]]:
    """Return the record of a leaderboard that lies at ``path``, and all that lie there.

    Raises:
        UsageError: It is none of them.
    """
    filed = list(filed_records(leaderboard))
    for one in filed:
        if one.path.resolve() == path.resolve():
            return one, filed
    raise UsageError(
        f"{path} is not on {leaderboard}",
        expected=f"a record below {leaderboard / 'records'}",
        fix="file it first with `rbs leaderboard add`",
    )


def compare_scores(
    record: ScoreRecord, again: ScoreRecord, *, tolerance: float = 1e-9
) -> list[tuple[str, Finding]]:
    """Return which scores of a record another has not, by id.

    Values and the conditions' values agree to ``tolerance``, intervals to 1e-6.
    """
    found: list[tuple[str, Finding]] = []
    for name in sorted({*record.scores, *again.scores}):
        first, second = record.scores.get(name), again.scores.get(name)
        if first is None or second is None or not _same(first, second, tolerance):
            found.append((name, _differs(f"score {name}", _said(first), _said(second))))
    for cell, values in again.conditions.items():
        own = {one.condition.path: one.value for one in record.conditions.get(cell, ())}
        for one in values:
            path = one.condition.path
            if path not in own or not near(own[path], one.value, tolerance=tolerance):
                found.append((cell, _differs(f"{cell} on {path}", str(own.get(path)), str(one.value))))
    return [*found, *_compare_curves(record.curves, again.curves)]


def _compare_curves(first: Curves, second: Curves) -> Iterator[tuple[str, Finding]]:
    for kind in Curves.model_fields:
        sent, made = getattr(first, kind), getattr(second, kind)
        for name in sorted({*sent, *made}):
            numbers = [list(_numbers(curves.get(name, ()))) for curves in (sent, made)]
            alike = len(numbers[0]) == len(numbers[1]) and all(map(near, *numbers))
            if not alike:
                yield name, _differs(f"curves.{kind}.{name}", "another curve", "the curve")


def _numbers(curve: object) -> Iterator[float]:
    """Yield every number of a curve; of a bin without images something that no number is."""
    if isinstance(curve, tuple | list):
        for one in curve:
            yield from _numbers(one)
    else:
        yield float(curve) if isinstance(curve, int | float) else -1e9


def _differs(what: str, found: str, expected: str) -> Finding:
    return Finding(what=what, expected=f"{expected}, recomputed", found=found)


def _said(score: Score | None) -> str:
    if score is None:
        return "no such score"
    if score.value is None or score.interval is None:
        return str(score.value)
    return f"{score.value} ({score.interval.low} to {score.interval.high})"


def _same(first: Score, second: Score, tolerance: float) -> bool:
    if (first.value is None) != (second.value is None) or first.n != second.n:
        return False
    values = (first.value or 0.0, second.value or 0.0)
    return near(*values, tolerance=tolerance) and _same_interval(first.interval, second.interval)


def _same_interval(first: ScoreInterval | None, second: ScoreInterval | None) -> bool:
    if first is None or second is None:
        return first is second
    low = near(first.low, second.low, tolerance=_OF_INTERVALS)
    return low and near(first.high, second.high, tolerance=_OF_INTERVALS)


def _recompute(sent: Sent, folder: Path, rules: Rules) -> None:
    run = Run.load(folder)
    again, companion = score_predictions(run, rules.suite, rules.data, baselines=rules.baselines)
    for what, found, expected in (
        ("model", digest_of(run.info.model), digest_of(sent.record.model)),
        ("environment", digest_of(run.info.environment), digest_of(sent.record.environment)),
    ):
        if found != expected:
            raise IncompatiblePredictionsError(
                f"{folder} was not made for {sent.path}: {what}", expected=expected, found=found,
                fix="name the run folder that the record was made from")  # fmt: skip
    differing = [finding for _, finding in compare_scores(sent.record, again)]
    if not differing and companion.digest() != sent.record.companion_digest:
        differing = [_differs("companion", sent.record.companion_digest, companion.digest())]
    if differing:
        more = "".join(f"\n  {finding}" for finding in differing[1:20])
        raise IncompatiblePredictionsError(
            f"{sent.path}: {len(differing)} numbers are not those of {folder}: {differing[0].what}",
            expected=differing[0].expected,
            found=differing[0].found + more,
        )
    if again.prediction_digests != sent.record.prediction_digests:
        raise IncompatiblePredictionsError(
            f"{sent.path}: prediction_digests",
            expected=f"those of {folder}",
            found="others",
            fix="name the run folder that the record was made from",
        )


def _target(text: str, filed: Sequence[Filed]) -> str:
    """Return the digest of the record that ``--supersedes`` means."""
    found = [one.digest for one in filed if one.digest.startswith(text)]
    if len(text) < _SHORTEST_DIGEST or len(found) != 1:
        raise UsageError(
            f"--supersedes {text[:80]}",
            expected=f"at least {_SHORTEST_DIGEST} digits of the digest of a record on the leaderboard",
            found=f"{len(found)} of that digest" if len(text) >= _SHORTEST_DIGEST else f"{len(text)} digits",
            fix="the digits stand in the record's file name",
        )
    return found[0]


def _refuse_misfit(path: Path, record: ScoreRecord, filed: Sequence[Filed]) -> None:
    """Refuse a record that is there already, hides what it may not, or was measured on other images."""
    one = Filed(record=record, digest=digest_of(record.digested_fields()), path=path)
    refuse(path, check_supersession(one, {other.digest: other for other in filed}, [*filed, one]))
    gone = superseded([*filed, one])
    row = same_row(record)
    for other in filed:
        if other.digest not in gone and same_row(other.record) == row:
            raise FileFormatError(
                f"{path}: the same model on the same suite has a row already",
                expected="a new row, or one that supersedes it",
                found=str(other.path),
                fix=f"correct it with --supersedes {other.digest[:_SHORTEST_DIGEST]}",
            )
    refuse(path, check_data_digests(record, filed))
