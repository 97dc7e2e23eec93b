"""A report as JSON: every field, for other programs."""

from __future__ import annotations

import json

from robustbench_safety.records import CheckReport

__all__ = ["json_of"]


def json_of(report: CheckReport) -> str:
    """Return a report as JSON, which ``CheckReport.model_validate_json`` reads back.

    Keys are sorted, one field a line. All characters are ASCII: a name with escape sequences, or with letters
    that turn the direction of writing round, shows as what it is.
    """
    data = report.model_dump(mode="json")
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
