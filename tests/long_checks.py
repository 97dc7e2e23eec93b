"""Whether the longer checks are run as well: all severities where one is enough to see a change."""

from __future__ import annotations

import os

#: Set by ``make golden``.
LONG = bool(os.environ.get("RBS_LONG"))
