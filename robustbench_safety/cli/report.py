"""What ``rbs report`` does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from robustbench_safety.cli.screen import messages, screen
from robustbench_safety.errors import MissingDependencyError
from robustbench_safety.reporting.report import figures_folder, read_report, write_report

__all__ = ["run_report"]

_INSTALL = "uv pip install 'robustbench-safety[plots]'"


def run_report(record: Path, out: Path, *, leaderboard: Path | None, png: Path | None) -> None:
    """Write the page and the figures, and say where they lie.

    Without matplotlib the page is written alone, and it is said what to install.

    Raises:
        MissingDependencyError: A folder of figures was named, and matplotlib is not installed.
        RobustbenchSafetyError: What was handed in is wrong, or cannot be written.
    """
    can_draw = find_spec("matplotlib") is not None
    if png is not None and not can_draw:
        raise MissingDependencyError(
            "--png needs the extra 'plots'", expected="matplotlib", found="not installed", fix=_INSTALL
        )
    found = read_report(record, leaderboard=leaderboard)
    folder = (png or figures_folder(out)) if can_draw else None
    files = write_report(found, out, png=folder)
    screen().print(f"{'report':<12} {out}", markup=False, soft_wrap=True)
    if folder is None:
        said = f"no figures as PNG: the extra 'plots' is not installed; {_INSTALL}"
        messages().print(said, markup=False, soft_wrap=True)
        return
    screen().print(f"{'figures':<12} {folder} ({len(files) - 1} PNG)", markup=False, soft_wrap=True)
