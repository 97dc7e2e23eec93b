"""What ``rbs export`` does."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.cli.screen import screen
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.hub import export_to_hub
from robustbench_safety.reporting.plain_text import one_line

__all__ = ["run_export"]


def run_export(
    record: Path, out: Path, *, model_id: str, benchmark: str | None, source: str | None, overwrite: bool
) -> None:
    """Write the files and say where they lie."""
    files = export_to_hub(
        read_json(record, ScoreRecord),
        out,
        model_id=model_id,
        benchmark=benchmark,
        source=source,
        overwrite=overwrite,
    )
    lines = [
        f"{'model card':<12} {files.card}",
        f"{'results':<12} {files.results} ({files.n_results} numbers)",
        *(f"left out: {one_line(reason, longest=400)}" for reason in files.left_out),
    ]
    for line in lines:
        screen().print(line, markup=False, soft_wrap=True)
