"""What `rbs leaderboard add` and `verify` print and return."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustbench_safety.cli.screen import screen
from robustbench_safety.data import DataRoot
from robustbench_safety.reporting.submitting import add_record
from robustbench_safety.reporting.verifying import verify_board

__all__ = ["run_add", "say", "verify_leaderboard"]


def say(line: str) -> None:
    """Print one line; what would steer the terminal, or begin another line, is written out."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    screen().print(plain, markup=False, soft_wrap=True)


def run_add(
    leaderboard: Path,
    record: Path,
    *,
    data: DataRoot,
    suite: Path | None,
    baseline: Sequence[Path],
    recompute: Path | None,
    supersedes: str | None,
    by: str | None,
) -> None:
    """File a record, and say as what and where."""
    filed = add_record(
        leaderboard,
        record,
        data=data,
        suite=suite,
        baseline=baseline,
        predictions=recompute,
        supersedes=supersedes,
        by=by,
    )
    own = filed.record
    say(f"{own.kind:<12} {filed.path}")
    if own.kind == "partial":
        say(f"a partial row is never ranked: {own.partial_because[0]}")
    else:
        say("not ranked until its keeper has run `rbs leaderboard audit`")
    say("run `rbs leaderboard build` to write the tables")


def verify_leaderboard(leaderboard: Path, *, predictions: Path | None, data: DataRoot) -> int:
    """Print a line a finding; return 0 when there is none, 1 with one, 2 where a file cannot be read."""
    usual = Path("predictions")
    at_hand = predictions or (usual if usual.is_dir() else None)
    check = verify_board(leaderboard, predictions=at_hand, data=data)
    for path, finding in check.findings:
        say(f"{path}: {finding}")
    recomputed = f", {check.n_recomputed} recomputed from their predictions" if check.n_recomputed else ""
    if not check.findings:
        say(f"{check.n_records} records{recomputed}, tables up to date")
    else:
        say(f"{check.n_records} records{recomputed}, {len(check.findings)} findings")
    return check.exit_code
