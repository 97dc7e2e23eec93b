"""A record that an audit has borne out, filed anew as verified in the place of the one that was sent."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.auditing.audit import Audit
from robustbench_safety.companion import Companion
from robustbench_safety.errors import UsageError
from robustbench_safety.reporting.filing import Filed, write_record
from robustbench_safety.reporting.submitting import file_as

__all__ = ["file_verified"]


def file_verified(leaderboard: Path, filed: Filed, companion: Companion, audit: Audit, *, by: str) -> Path:
    """File the record as verified; it supersedes the one that was sent.

    Args:
        leaderboard: Where it lies.
        filed: What was audited.
        companion: Its own.
        audit: Agrees.
        by: Who stands for it.

    Returns:
        Path of the new record.

    Raises:
        UsageError: The audit does not agree.
    """
    if not audit.agrees:
        raise UsageError(f"{filed.path} was not borne out", expected="an audit that agrees")
    signed = f"{by}: {audit.words}"
    record = file_as(filed.record, kind="verified", by=signed, supersedes=filed.digest)
    return write_record(leaderboard, record, companion)
