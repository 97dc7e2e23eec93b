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
        super().__init__(what, expected, found, fix)

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
    def among(cls, kind: str, name: str, known: Iterable[str], *, fix: str = "") -> UnknownNameError:
        """Build the error for ``name``, naming the nearest of the ``known`` names."""
        names = sorted(known)
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        expected = f"one like {', '.join(near)}" if near else f"one of {', '.join(names[:20])}"
        return cls(f"unknown {kind} {name!r}", expected=expected if names else "", fix=fix)


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
