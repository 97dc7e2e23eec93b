"""The exceptions of this package. Each says what is wrong, what was expected, what was found, how to mend it.

RobustbenchSafetyError            exit code 2 unless noted
├── UsageError                    an option or argument has a value that cannot be used
├── UnknownNameError              no model, suite, dataset, metric ... of that name (near names shown)
├── FileFormatError               a YAML, JSON or Parquet file does not hold what it should
├── DataError                     images or labels are missing, short, corrupt or mislabelled
├── CheckpointError               weights cannot be read safely or do not fit the architecture
├── ModelError                    a network misbehaves: wrong class count, non-finite logits
├── MissingDependencyError        a library of an optional extra is not installed
├── StorageError                  a file or folder cannot be written: full disk, no permission
├── IncompatiblePredictionsError  stored predictions were made from other inputs than those asked for
├── UndefinedMetricError          a metric has no value on this input (never 0, never NaN)
└── IncompleteError               the run was interrupted; what was finished is kept (exit code 3)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self

__all__ = [
    "CheckpointError",
    "DataError",
    "FileFormatError",
    "IncompatiblePredictionsError",
    "IncompleteError",
    "MissingDependencyError",
    "ModelError",
    "RobustbenchSafetyError",
    "StorageError",
    "UndefinedMetricError",
    "UnknownNameError",
    "UsageError",
]

#: Names listed where none is near.
_SHOWN = 20
#: Near names listed, and the letters from which on a name is looked for inside the others.
_NEAR, _PART = 3, 3


class RobustbenchSafetyError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: The file, field, option or argument that is wrong, and in a few words how.
        expected: What would have been right.
        found: What was there instead.
        fix: What the user can do.
    """

    exit_code = 2

    def __init__(self, what: str, *, expected: str = "", found: str = "", fix: str = "") -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.fix = fix
        # One argument: an error that comes from another process is built again from its arguments.
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.found:
            parts.append(f"found {self.found}")
        if self.fix:
            parts.append(self.fix)
        return "; ".join(parts)


class UsageError(RobustbenchSafetyError):
    """An option or argument has a value that cannot be used."""


class UnknownNameError(RobustbenchSafetyError):
    """There is no thing of that name."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], *, fix: str = "") -> Self:
        """Build the error for ``name``, naming the nearest of the ``known`` names, or the first of them."""
        names = sorted(known)
        lowered: dict[str, str] = {}
        for entry in names:
            lowered.setdefault(entry.lower(), entry)
        near = _near(name.lower(), lowered)
        if near:
            expected = f"one like {', '.join(lowered[entry] for entry in near)}"
        elif names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            expected = f"one of {', '.join(names[:_SHOWN])}{more}"
        else:
            expected = f"a {kind}, and there is none"
        return cls(f"unknown {kind} {name!r}", expected=expected, fix=fix)


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that begin with ``name``, those spelt like it, then those that hold it."""
    holding: list[str] = []
    if len(name) >= _PART:
        holding = [entry for entry in known if name in entry]
        holding.sort(key=lambda entry: (len(entry), entry))
    begun = [entry for entry in holding if entry.startswith(name)]
    alike = difflib.get_close_matches(name, known, n=_NEAR, cutoff=0.5)
    return list(dict.fromkeys([*begun, *alike, *holding]))[:_NEAR]


class FileFormatError(RobustbenchSafetyError):
    """A file does not hold what it should."""


class DataError(RobustbenchSafetyError):
    """Images or labels are missing, short, corrupt or mislabelled."""


class CheckpointError(RobustbenchSafetyError):
    """Weights cannot be read safely, or do not fit the architecture."""


class ModelError(RobustbenchSafetyError):
    """A network misbehaves: wrong class count, non-finite logits."""


class MissingDependencyError(RobustbenchSafetyError):
    """A library of an optional extra is not installed."""


class StorageError(RobustbenchSafetyError):
    """A file or folder cannot be written or read."""


class IncompatiblePredictionsError(RobustbenchSafetyError):
    """Stored predictions were made from other inputs than those asked for."""


class UndefinedMetricError(RobustbenchSafetyError):
    """A metric has no value on this input."""


class IncompleteError(RobustbenchSafetyError):
    """The run was interrupted; the same command goes on from there."""

    exit_code = 3
