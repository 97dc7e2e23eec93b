"""What a check of a dataset's files finds, collected: many of one kind are counted, not listed."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field

from robustbench_safety.errors import RobustbenchSafetyError
from robustbench_safety.records.base import Name, Record

__all__ = ["Finding", "FindingKind", "Findings", "Verification", "finding_of", "some_of"]

FindingKind = Literal[
    "archive",  # a published file of another length or digest
    "missing",  # a file or folder that is read is not there
    "class",  # a class without a folder, or a folder without a class
    "count",  # too many or too few images, in all or of a class
    "samples",  # other images than the other conditions have, or other names than published
    "content",  # anything else that a reader refuses: an array of another shape, a wrong md5
    "size",  # an image of another height and width
    "undecodable",  # an image that is damaged
    "unreadable",  # the system refuses to read it
    "stray",  # a file that no condition reads
    "digest",  # a file that is not as a digest file says
    "labels",  # a file of labels for another dataset's images
    "nothing",  # there is nothing on disk to verify
]
#: Findings of one kind that are kept one by one within one scope; the rest are counted.
_KEPT = 20


class Finding(Record):
    """One thing that a check found, in the four parts of an error."""

    kind: FindingKind
    where: str
    """The file, folder, class or condition, in a sentence where that says what is wrong."""
    expected: str = ""
    found: str = ""
    fix: str = ""
    level: Literal["wrong", "note"] = "wrong"
    """``note``: it does no harm."""


class Verification(Record):
    """What was checked of one dataset, and what was found."""

    dataset: Name
    folder: str
    """Where it was looked for; empty where nothing lies on disk."""
    quick: bool
    """Whether images were only counted and archives only measured."""
    conditions: int = Field(ge=0)
    """Conditions that were looked for."""
    images: int = Field(ge=0)
    """Images that they hold, over all conditions."""
    decoded: int = Field(ge=0)
    """Images that were decoded; arrays are checked by their shape and never are."""
    hashed: int = Field(ge=0)
    """Archives and files whose digest was compared."""
    seconds: float = Field(ge=0)
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notes do no harm."""
        return all(finding.level != "wrong" for finding in self.findings)


class Findings:
    """Findings in the order in which they were added, a bounded number of each kind in each scope."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[str, FindingKind], Finding]] = []
        self._counts: Counter[tuple[str, FindingKind]] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, scope: str, finding: Finding) -> None:
        """Take in a finding.

        Args:
            scope: What it belongs to, a condition say; named where the findings are too many.
            finding: What was found.
        """
        key = (scope, finding.kind)
        self._counts[key] += 1
        if self._counts[key] <= _KEPT:
            self._kept.append((key, finding))

    def all(self) -> tuple[Finding, ...]:
        """Return those that were kept; after the last of each kind how many more there are."""
        out: list[Finding] = []
        seen: Counter[tuple[str, FindingKind]] = Counter()
        for key, finding in self._kept:
            out.append(finding)
            seen[key] += 1
            more = self._counts[key] - _KEPT
            if seen[key] == _KEPT and more > 0:
                scope, kind = key
                out.append(
                    Finding(kind=kind, where=scope, found=f"{more} more of this kind", level=finding.level)
                )
        return tuple(out)


def finding_of(kind: FindingKind, error: RobustbenchSafetyError) -> Finding:
    """Return an error as a finding."""
    return Finding(kind=kind, where=error.what, expected=error.expected, found=error.found, fix=error.fix)


def some_of(names: list[str], shown: int = 5) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> some_of(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
