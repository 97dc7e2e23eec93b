"""The first page of a site: which suites there are, and how to read their tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from robustbench_safety.reporting.pages.environment import render
from robustbench_safety.reporting.pages.suite_page import KINDS
from robustbench_safety.reporting.rows import Board

__all__ = ["index_page"]


def index_page(boards: Sequence[Board]) -> str:
    """Return the page that leads to all tables."""
    counted = [(board, _counts(board)) for board in boards]
    return render(
        "index.html",
        root="",
        measured=[(board, counts) for board, counts in counted if board.rows],
        reported=[(board, counts) for board, counts in counted if not board.rows],
        kinds=KINDS,
    )


def _counts(board: Board) -> dict[str, int]:
    """Return how many rows there are of each kind, in the order of trust."""
    counts = Counter[str](row.record.kind for row in board.rows)
    counts["reported"] = len(board.reported)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
