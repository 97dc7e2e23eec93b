"""Where files of the user lie unless something else is said."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["default_data_root"]


def default_data_root() -> Path:
    """Return the folder under which datasets lie: ``RBS_DATA``, else one in the user's cache."""
    if named := os.environ.get("RBS_DATA"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "robustbench-safety" / "data"
