"""What a record is held against: its suite, as it is shipped or as a user names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustbench_safety.data import DataRoot, dataset_names
from robustbench_safety.errors import FileFormatError, UnknownNameError, UsageError
from robustbench_safety.files import digest_of, read_yaml, resource_names
from robustbench_safety.records import AccuracyTable, Baseline, ScoreRecord, Suite, SuiteReference
from robustbench_safety.reporting.checking.findings import Finding
from robustbench_safety.suites import load_suite, suite_accuracies, suite_baselines, suite_digest

__all__ = ["Rules", "check_suite", "rules_of"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A suite with everything that its numbers depend on."""

    suite: Suite
    data: DataRoot
    reference: SuiteReference
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    accuracies: Mapping[str, AccuracyTable] = field(default_factory=dict)


def rules_of(
    record: ScoreRecord,
    *,
    data: DataRoot,
    suite: str | Path | None = None,
    baseline: Sequence[Path] = (),
) -> Rules:
    """Return the suite that a record names; with a suite of one's own, that one.

    Args:
        record: Somebody's.
        data: Data root, for manifests of one's own.
        suite: Path of a YAML file; None for the shipped suite of the record's name.
        baseline: Files of baselines in place of the suite's.

    Raises:
        UnknownNameError: There is no shipped suite or dataset of that name.
        FileFormatError: A file is no suite or no baseline.
        UsageError: A baseline is given twice, or is none that the suite divides by.
    """
    if suite is not None and Path(suite).suffix in (".yaml", ".yml"):
        data = replace(data, beside=data.beside or Path(suite).parent)
    elif suite is None:
        # The name comes from a file that somebody sent: it must not open one.
        known = [*resource_names("suites"), *dataset_names(beside=data.beside)]
        if record.suite.name not in known:
            fix = "name the file of a suite of your own with --suite"
            raise UnknownNameError.among("suite", record.suite.name, known, fix=fix)
    chosen = load_suite(suite or record.suite.name, data=data)
    own: dict[str, Baseline] = {}
    for path in baseline:
        found = read_yaml(path, Baseline)
        if found.name in own:
            raise UsageError(f"{path}: baseline {found.name} is given twice", expected="one file of a name")
        own[found.name] = found
    baselines = suite_baselines(chosen, data, own=own)
    reference = SuiteReference(
        name=chosen.name,
        version=chosen.version,
        digest=suite_digest(chosen, data, baselines=baselines),
    )
    return Rules(
        suite=chosen,
        data=data,
        reference=reference,
        baselines=baselines,
        accuracies=suite_accuracies(chosen, data),
    )


def check_suite(record: ScoreRecord, rules: Rules) -> Iterator[Finding]:
    """Yield where the suite that a record was measured by is not the one at hand."""
    own, ours = record.suite, rules.reference
    fix = f"score again with suite {ours.name} as it is here, or name your own with --suite"
    for name in ("name", "version", "digest"):
        found, expected = getattr(own, name), getattr(ours, name)
        if found != expected:
            yield Finding(what=f"suite {name}", expected=str(expected), found=str(found), fix=fix)
            return
    for what, found, expected in (
        ("baselines", record.baselines, {name: digest_of(one) for name, one in rules.baselines.items()}),
        ("accuracies", record.accuracies, {name: digest_of(one) for name, one in rules.accuracies.items()}),
    ):
        if found != expected:
            yield Finding(what=what, expected=_digests(expected), found=_digests(found), fix=fix)


def _digests(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:8]}" for name, digest in sorted(named.items())) or "none"


def is_of_another_suite(record: ScoreRecord, rules: Rules) -> bool:
    """Tell whether a row lawfully has another digest: an older version, or a baseline of one's own.

    One with the digest of the suite as it is here is of that suite, whatever else it says. Of a version to
    come there is no row yet.
    """
    if record.suite.digest == rules.reference.digest:
        return False
    if record.suite.version != rules.reference.version:
        return record.suite.version < rules.reference.version
    return record.baselines != {name: digest_of(one) for name, one in rules.baselines.items()}


def known_rules(record: ScoreRecord, data: DataRoot) -> Rules | None:
    """Return the rules of a record of a shipped suite; None where the suite is somebody's own."""
    try:
        return rules_of(record, data=data)
    except (UnknownNameError, FileFormatError):
        return None
