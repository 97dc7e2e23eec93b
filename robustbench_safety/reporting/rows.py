"""What a leaderboard shows of one suite: its rows in order, with ranks, marks and the papers' numbers.

Tables and pages are made of this and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from robustbench_safety.augmentations import overlapping
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.records import Curves, KnownAttack, ReportedTable, ScoreRecord, Suite, SuiteReference
from robustbench_safety.reporting.columns import Column, columns_of_records, columns_of_suite
from robustbench_safety.reporting.filing import Filed, collector_at_rest, listed_records
from robustbench_safety.reporting.known_attacks import (
    BestKnown,
    FoundError,
    best_known,
    errors_found,
    reported_errors,
    strongest_found,
)
from robustbench_safety.reporting.ranking import RankInterval, pareto_front, rank_intervals
from robustbench_safety.reporting.reported import ReportedRow, read_reported, reported_rows
from robustbench_safety.suites import load_suite, suite_digest

__all__ = ["Board", "Row", "board_of", "boards"]


#: Files of their own beside those of the suites: the table of all scores, the site's first page.
_TAKEN = ("all_scores", "index.html")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record on its suite's board."""

    record: ScoreRecord
    """Without its conditions, groups, curves and digests of conditions: of thousands they fill the memory."""
    digest: str
    path: Path
    ranked: bool
    """Verified, complete, and of the board's own suite digest."""
    ranks: Mapping[str, RankInterval] = field(default_factory=dict)
    """By column; of ranked rows that have a number there."""
    on_front: bool = False
    """On the Pareto front over the headline columns, among the ranked rows that have them all."""
    best_known: Mapping[str, BestKnown] = field(default_factory=dict)
    """By column: what another attack has reached beyond the row's own."""
    flags: tuple[str, ...] = ()
    """What a reader must know before comparing the row with others."""

    def value(self, column: str) -> float | None:
        """Return what the row is ranked by in a column: its score, or the best known error."""
        if column in self.best_known:
            return self.best_known[column].value
        score = self.record.scores.get(column)
        return score.value if score is not None else None

    def ends(self, column: str) -> tuple[float, float] | None:
        """Return the interval of :meth:`value`; the value itself twice where there is none."""
        if column in self.best_known:
            known = self.best_known[column]
            return known.low, known.high
        score = self.record.scores.get(column)
        if score is None or score.value is None:
            return None
        if score.interval is None:
            return score.value, score.value
        # The interval of a calibration error is that of its true value, which lies below the measured one.
        return min(score.interval.low, score.value), max(score.interval.high, score.value)


@dataclass(frozen=True, kw_only=True)
class Board:
    """One suite."""

    suite: SuiteReference
    """Whose rows are ranked: the newest version that has a record."""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """Ranked ones first, the best by the first headline column before the others; then the rest, by kind."""
    reported: tuple[ReportedRow, ...]

    @property
    def headline(self) -> tuple[Column, ...]:
        """The suite's own columns."""
        return tuple(column for column in self.columns if column.headline)


@collector_at_rest()
def boards(leaderboard: Path) -> list[Board]:
    """Read a leaderboard; one board a suite that has a record or a reported row, by name.

    Raises:
        StorageError: There is no such leaderboard.
        FileFormatError: A record was changed after it was written, a file is not what it should be, or a
            suite has the name of a file of the leaderboard.
    """
    reported = read_reported(leaderboard)
    rows: dict[str, list[Row]] = {}
    found: dict[str, dict[str, FoundError]] = {}
    evidence: list[FoundError] = []
    suites: dict[str, Suite | None] = {}
    for filed in listed_records(leaderboard):
        name = filed.record.suite.name
        if name in _TAKEN:
            raise FileFormatError(
                f"{filed.path}: suite.name",
                expected="a name that is none of the leaderboard's own files",
                found=name,
                fix="give the suite another name, and score again",
            )
        if name not in suites:
            suites[name] = _shipped(name)  # 40 ms for a large suite: once, not for each record
        suite = suites[name]
        errors = (
            errors_found(filed.record, suite) if suite and suite.version == filed.record.suite.version else {}
        )
        found[filed.digest] = errors
        if filed.record.kind == "verified":
            evidence += errors.values()
        rows.setdefault(name, []).append(_row(filed))
    for table in reported:
        if table.rows:
            rows.setdefault(table.suite, [])
            if table.suite not in suites:
                suites[table.suite] = _shipped(table.suite)
    others = reported_errors(reported)
    strongest = strongest_found(evidence)
    out = []
    for name, own in sorted(rows.items()):
        known = [replace(row, best_known=_known(row, found[row.digest], strongest, others)) for row in own]
        tables = [table for table in reported if table.suite == name]
        out.append(_board(name, known, tables, suites[name]))
    return out


def _known(
    row: Row,
    own: Mapping[str, FoundError],
    strongest: Mapping[str, Sequence[FoundError]],
    reported: Sequence[tuple[KnownAttack, BestKnown]],
) -> dict[str, BestKnown]:
    networks = dict.fromkeys(one.network for one in own.values())
    rivals = [other for network in networks for other in strongest.get(network, ())]
    return best_known(own, rivals, reported, row.record)


def board_of(filed: Iterable[Filed]) -> Board:
    """Return the board of some records of one suite, without what other suites and papers say."""
    rows = [_row(one) for one in filed]
    name = rows[0].record.suite.name
    return _board(name, rows, [], _shipped(name))


def _board(name: str, rows: Sequence[Row], tables: list[ReportedTable], suite: Suite | None) -> Board:
    gone = {row.record.supersedes for row in rows if row.record.supersedes}
    kept = [row for row in rows if row.digest not in gone]
    newest = _newest(name, [row.record.suite for row in kept], suite)
    columns = _columns(kept, newest)
    if suite is not None and tables:
        columns = {**columns_of_suite(suite), **columns}
    ranked = [row for row in kept if row.record.kind == "verified" and row.record.suite == newest]
    others = [row for row in kept if not (row.record.kind == "verified" and row.record.suite == newest)]
    headline = [column for column in columns.values() if column.headline]
    ranked = _ranked(ranked, list(columns.values()), headline)
    ranked.sort(key=lambda row: _order(row, headline[0]))
    others.sort(key=lambda row: (row.record.suite != newest, row.record.kind, *_order(row, headline[0])))
    return Board(
        suite=newest,
        title=suite.title if suite is not None else name,
        columns=tuple(columns.values()),
        rows=(*ranked, *others),
        reported=tuple(reported_rows(tables)),
    )


def _columns(rows: Sequence[Row], newest: SuiteReference) -> dict[str, Column]:
    """Return the columns of all rows, as they are in the suite that is ranked.

    What a row of another version alone has as its suite's own stands beside.
    """
    ranked = [row for row in rows if row.record.suite == newest]
    # Of a column that two rows describe differently, what a verified one says counts.
    told = sorted(ranked or rows, key=lambda row: row.record.kind != "verified")
    own = columns_of_records(row.record for row in told)
    others = columns_of_records(row.record for row in rows)
    beside = {name: replace(column, headline=False) for name, column in others.items() if name not in own}
    return {**beside, **own}


def _newest(name: str, found: Sequence[SuiteReference], suite: Suite | None) -> SuiteReference:
    """Return whose rows are ranked: the suite as it is shipped, else the newest that has a row.

    A version to come, which only a forged record can have, is never the newest of a shipped suite.
    """
    if suite is not None:
        digest = suite_digest(suite, DataRoot.default())
        shipped = SuiteReference(name=name, version=suite.version, digest=digest)
        older = [one for one in found if one.version <= suite.version]
        if shipped in found or not older:
            return shipped
        found = older
    return max(found, key=lambda one: (one.version, one.digest))


def _ranked(rows: Sequence[Row], columns: Sequence[Column], headline: Sequence[Column]) -> list[Row]:
    """Return the rows with their ranks and the front."""
    ranks: list[dict[str, RankInterval]] = [{} for _ in rows]
    for column in columns:
        ends = {i: pair for i, row in enumerate(rows) if (pair := row.ends(column.id)) is not None}
        low, high = (np.array([pair[end] for pair in ends.values()], dtype=np.float64) for end in (0, 1))
        found = rank_intervals(low, high) if column.direction == "lower" else rank_intervals(-high, -low)
        for i, rank in zip(ends, found, strict=True):
            ranks[i][column.id] = rank
    whole = [i for i, rank in enumerate(ranks) if all(column.id in rank for column in headline)]
    points = [[_lower(rows[i], column) for column in headline] for i in whole]
    front = {i for i, there in zip(whole, pareto_front(points), strict=True) if there} if whole else set()
    return [
        replace(row, ranked=True, ranks=rank, on_front=i in front)
        for i, (row, rank) in enumerate(zip(rows, ranks, strict=True))
    ]


def _lower(row: Row, column: Column) -> float:
    """Return the value of a column, turned so that lower is better."""
    value = row.value(column.id)
    if value is None:
        return float("inf")
    return value if column.direction == "lower" else -value


def _order(row: Row, first: Column) -> tuple[float, str, str]:
    return (_lower(row, first), row.record.display_name, row.digest)


def _row(filed: Filed) -> Row:
    record = filed.record
    light = record.model_copy(
        update={
            "conditions": {}, "groups": {}, "curves": Curves(), "data_digests": {}, "prediction_digests": {},
        }
    )  # fmt: skip
    return Row(record=light, digest=filed.digest, path=filed.path, ranked=False, flags=_flags(record))


def _flags(record: ScoreRecord) -> tuple[str, ...]:
    flags = []
    if record.trained_on_tested:
        flags.append(f"trained on {', '.join(record.trained_on_tested)}, which it is tested on")
    tested = {
        name.rpartition("-")[0]
        for kind, _, name in (path.partition("/")[2].partition("/") for path in record.data_digests)
        if kind in ("corruption", "sequence")
    }
    for name, held in overlapping(record.model.augmentations, tested).items():
        flags.append(
            f"trained with {name}, a tested corruption"
            if held == (name,)
            else f"trained with {name}, which overlaps the corruptions: {', '.join(held)}"
        )
    if record.attack_warnings:
        flags.append("signs of masked gradients: it may be less robust than measured")
    if record.without_images:
        flags.append("scored without the images at hand")
    return tuple(flags)


def _shipped(name: str) -> Suite | None:
    """Return the shipped suite of a name; None for a suite of somebody's own."""
    try:
        return load_suite(name)
    except UnknownNameError:
        return None
