"""What can be told of a record without its model: whether it fits its suite, companion and the other rows."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_safety.companion import Companion
from robustbench_safety.files import slugify
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.checking.board_checks import (
    answers_by,
    check_board,
    check_data_digests,
    check_supersession,
    same_row,
    superseded,
)
from robustbench_safety.reporting.checking.companion_checks import check_companion, determined
from robustbench_safety.reporting.checking.curve_checks import check_curves
from robustbench_safety.reporting.checking.findings import Finding, near
from robustbench_safety.reporting.checking.interval_checks import check_intervals
from robustbench_safety.reporting.checking.number_checks import check_numbers
from robustbench_safety.reporting.checking.rules import Rules, check_suite, known_rules, rules_of
from robustbench_safety.reporting.checking.suite_checks import check_structure

__all__ = [
    "Finding",
    "Rules",
    "answers_by",
    "check_board",
    "check_data_digests",
    "check_names",
    "check_record",
    "check_suite",
    "check_supersession",
    "determined",
    "known_rules",
    "near",
    "rules_of",
    "same_row",
    "superseded",
]

#: Characters of a name shown in tables.
_LONGEST_NAME = 200


def check_names(record: ScoreRecord) -> Iterator[Finding]:
    """Yield what is wrong with the names of a record: they become paths, and cells of tables."""
    slug = slugify(record.display_name)
    if record.slug != slug:
        yield Finding(
            what="slug", expected=f"{slug}, of its display name", found=record.slug, fix="take --name for it"
        )
    name = record.display_name
    # What is not printable steers terminals, or, as marks of the direction of writing, turns a row round.
    if len(name) > _LONGEST_NAME or not name.strip() or not name.isprintable():
        expected = f"1 to {_LONGEST_NAME} printable characters"
        yield Finding(what="display_name", expected=expected, found=f"{len(name)}: {name[:80]!a}")


def check_record(
    record: ScoreRecord, companion: Companion, rules: Rules, *, intervals: bool = False
) -> Iterator[Finding]:
    """Yield everything in a record that cannot be, by its suite, by itself and by its companion.

    Args:
        record: Of the suite.
        companion: Of the record, by digest.
        rules: Of the suite.
        intervals: Whether those that are bootstrapped are made again, too, which takes seconds a record.
    """
    yield from check_names(record)
    structure = list(check_structure(record, rules))
    yield from structure
    if not structure:
        yield from check_numbers(record, rules)
        found = list(check_companion(record, companion, rules))
        yield from found
        if not found:
            yield from check_curves(record, companion, rules)
        if intervals and not found:
            yield from check_intervals(record, companion, rules)
