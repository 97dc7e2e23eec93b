"""Everything on a leaderboard that is not as it should be, found and told one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustbench_safety.companion import read_companion
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import RobustbenchSafetyError
from robustbench_safety.files import digest_of
from robustbench_safety.predictions import read_header
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.checking import (
    Finding,
    Rules,
    check_board,
    check_names,
    check_record,
    check_suite,
    known_rules,
)
from robustbench_safety.reporting.checking.rules import is_of_another_suite
from robustbench_safety.reporting.filing import Filed, file_of, record_path, records_folder
from robustbench_safety.reporting.leaderboard import stale_tables
from robustbench_safety.reporting.submitting import compare_scores
from robustbench_safety.runs import Run
from robustbench_safety.scoring import needed_conditions, score_predictions

__all__ = ["BoardCheck", "verify_board"]

#: Parts of a record's path below the folder of records: suite and file.
_DEPTH = 2


@dataclass
class BoardCheck:
    """What was found on a leaderboard."""

    n_records: int = 0
    n_recomputed: int = 0
    """Records whose predictions were at hand."""
    findings: list[tuple[Path, Finding]] = field(default_factory=list)
    """By file, in the order in which they were found."""
    unreadable: bool = False
    """Whether a file could not be read at all."""

    @property
    def exit_code(self) -> int:
        """0 when all is well, 1 with a finding, 2 where a file could not be read."""
        return 2 if self.unreadable else int(bool(self.findings))


def verify_board(
    leaderboard: Path, *, predictions: Path | None = None, data: DataRoot | None = None
) -> BoardCheck:
    """Check every record with its companion, the records among each other, and the tables.

    A record of a shipped suite is held against it; one of somebody's own suite, of an older version or with a
    baseline of one's own against itself alone.

    Args:
        leaderboard: The folder.
        predictions: Folder of run folders: a record whose predictions lie there is recomputed. None for none.
        data: Data root, for manifests and files of labels; None for the usual.

    Raises:
        StorageError: There is no such leaderboard.
    """
    folder = records_folder(leaderboard)
    check, root = BoardCheck(), data or DataRoot.default()
    check.findings += _strays(folder)
    filed = [one for path in _records(folder) if (one := _read(leaderboard, path, check))]
    rules = {one.record.suite.name: known_rules(one.record, root) for one in filed}
    for one in filed:
        found = list(_check_one(one, rules[one.record.suite.name]))
        check.findings += [(one.path, finding) for finding in found]
    check.findings += [(one.path, finding) for one, finding in check_board(filed)]
    if predictions is not None:
        runs = _runs(predictions)
        for one in filed:
            recomputed = _recompute(one.record, rules[one.record.suite.name], runs)
            check.n_recomputed += recomputed is not None
            check.findings += [(one.path, finding) for finding in recomputed or ()]
    if len(filed) == check.n_records:
        # Tables are made of whole records: with a broken one there is nothing to hold them against.
        try:
            stale = Finding(what="stale", fix="run `rbs leaderboard build`")
            check.findings += [(path, stale) for path in stale_tables(leaderboard)]
        except RobustbenchSafetyError as error:  # what is reported beside the records, or the name of a suite
            check.unreadable = True
            check.findings.append((leaderboard, _said(error, leaderboard)))
    return check


def _records(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*/*.json")) if not path.is_symlink() and path.is_file()]


def _strays(folder: Path) -> Iterator[tuple[Path, Finding]]:
    """Yield what lies among the records and is none."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in inside)
        if path.is_symlink():
            yield path, Finding(what="is a link", expected="a file", fix="remove it")
        elif path.is_dir() or hidden:
            continue  # a run that was killed leaves hidden files, which nothing reads
        elif not path.is_file():
            yield path, Finding(what="is no file", expected="a record", fix="remove it")
        elif len(inside) != _DEPTH or path.suffix not in (".json", ".parquet"):
            expected = "records/SUITE/NAME.json, and NAME.parquet beside it"
            yield path, Finding(what="is no record", expected=expected, fix="remove it")
        elif path.suffix == ".parquet" and not path.with_suffix(".json").exists():
            yield path, Finding(what="belongs to no record", expected=path.with_suffix(".json").name)


def _read(leaderboard: Path, path: Path, check: BoardCheck) -> Filed | None:
    """Return a record that is what its name says; else say what it is."""
    check.n_records += 1
    try:
        record = file_of(path).record
    except RobustbenchSafetyError as error:
        check.unreadable = True
        check.findings.append((path, _said(error, path)))
        return None
    # Of the fields as they were read, whatever the text around them.
    digest = digest_of(record.digested_fields())
    expected = record_path(leaderboard, record, digest=digest)
    if path != expected:
        changed = Finding(
            what="was changed after it was written",
            expected=f"the file name {expected.parent.name}/{expected.name} for this content",
            found=f"{path.parent.name}/{path.name}",
            fix="restore it: a correction is a new record",
        )
        check.findings.append((path, changed))
        return None
    return Filed(record=record, digest=digest, path=path)


def _check_one(one: Filed, rules: Rules | None) -> Iterator[Finding]:
    record, beside = one.record, one.path.with_suffix(".parquet")
    if beside.is_symlink() or not beside.is_file():
        yield Finding(what="lacks its companion", expected=f"{beside.name} beside it", fix="restore it")
        return
    try:
        companion = read_companion(beside, digest=record.companion_digest)
    except RobustbenchSafetyError as error:
        yield _said(error, one.path)
        return
    if rules is None or is_of_another_suite(record, rules):
        yield from check_names(record)
        return
    wrong = list(check_suite(record, rules))
    yield from wrong
    if not wrong:
        yield from check_record(record, companion, rules)


def _said(error: RobustbenchSafetyError, path: Path) -> Finding:
    what = error.what.removeprefix(f"{path}: ").removeprefix(f"{path} ")
    return Finding(what=what, expected=error.expected, found=error.found, fix=error.fix)


def _runs(predictions: Path) -> list[Run]:
    """Return the run folders below a folder, those that can be read."""
    runs = []
    for path in sorted(predictions.rglob("run.json")):
        try:
            runs.append(Run.load(path.parent))
        except RobustbenchSafetyError:
            continue  # somebody's, of another version: it makes no record wrong
    return runs


def _recompute(record: ScoreRecord, rules: Rules | None, runs: Sequence[Run]) -> list[Finding] | None:
    """Return where a record is not what its predictions give; None where they are not at hand."""
    if rules is None or record.suite != rules.reference:
        return None
    conditions = needed_conditions(rules.suite.model_copy(update={"seed": record.seed}), rules.data)
    paths = [one for one in conditions if one.path in record.prediction_digests]
    expected = (digest_of(record.model), record.environment, record.limit, record.seed)
    for run in runs:
        info = run.info
        if (digest_of(info.model), info.environment, info.limit, info.seed) != expected:
            continue
        try:
            found = {
                one.path: read_header(run.path(one)).predictions_digest
                for one in paths
                if run.path(one).is_file()
            }
            if not _at_hand(record.prediction_digests, found):
                continue
            again, _ = score_predictions(run, rules.suite, rules.data, baselines=rules.baselines)
        except RobustbenchSafetyError as error:
            return [Finding(what=f"its predictions in {run.folder} give no record", found=str(error))]
        return [finding for _, finding in compare_scores(record, again)]
    return None


def _at_hand(recorded: Mapping[str, str], found: Mapping[str, str]) -> bool:
    return bool(recorded) and dict(recorded) == dict(found)
