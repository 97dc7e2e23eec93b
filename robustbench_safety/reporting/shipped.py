"""The shipped suite that a record was scored on, where it was that one."""

from __future__ import annotations

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import RobustbenchSafetyError
from robustbench_safety.records import Suite, SuiteReference
from robustbench_safety.suites import load_suite, suite_digest

__all__ = ["shipped_suite"]


def shipped_suite(reference: SuiteReference) -> Suite | None:
    """Return the suite of a record; None where none of that name, version and digest is shipped.

    It takes a while, as the digest covers every manifest of the suite: ask once for all of its records.

    Args:
        reference: What the record says.
    """
    try:
        suite = load_suite(reference.name)
        if suite.version != reference.version:
            return None
        return suite if suite_digest(suite, DataRoot.default()) == reference.digest else None
    except RobustbenchSafetyError:
        return None  # a suite of somebody's own, or of another version of this package
