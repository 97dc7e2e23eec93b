"""What the commands do: call the package, print what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustbench_safety.cli.progress import shown_progress
from robustbench_safety.cli.screen import messages, screen, show_record, show_suite_table
from robustbench_safety.data import DataRoot
from robustbench_safety.demo import DEMO_MODELS, DEMO_SUITE
from robustbench_safety.errors import UnknownNameError, UsageError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.files import read_json, write_yaml
from robustbench_safety.records import Precision, ScoreRecord
from robustbench_safety.reporting.baselines import measured_baselines
from robustbench_safety.reporting.filing import write_record
from robustbench_safety.reporting.leaderboard import build_tables
from robustbench_safety.reporting.rows import boards
from robustbench_safety.stated import TOLERANCE, StatedDifference
from robustbench_safety.suites import load_suite

__all__ = [
    "build_leaderboard",
    "run_demo",
    "run_rescore",
    "run_score",
    "show_leaderboard",
    "write_baselines",
]


def run_score(
    leaderboard: Path,
    model: str,
    *,
    suite: str,
    checkpoint: Path | None,
    name: str | None,
    data: DataRoot,
    predictions: Path,
    device: str | None,
    batch_size: int | None,
    precision: Precision | None,
    tf32: bool,
    compiled: bool,
    workers: int | None,
    seed: int | None,
    limit: int | None,
    skip_missing: bool,
    trust_pickle: bool,
    trust_code: bool,
    baseline: Sequence[Path],
) -> None:
    """Score, file the record, and say where everything lies."""
    with shown_progress(messages(), name or model) as progress:
        evaluation = score(
            model,
            suite=suite,
            checkpoint=checkpoint,
            name=name,
            data=data,
            predictions=predictions,
            device=device,
            batch_size=batch_size,
            precision=precision,
            tf32=tf32,
            compiled=compiled,
            workers=workers,
            seed=seed,
            limit=limit,
            skip_missing=skip_missing,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            baseline=baseline,
            progress=progress,
        )
    _report(evaluation, leaderboard)


def run_rescore(
    leaderboard: Path, run_folder: Path, suite: str, *, data: DataRoot, baseline: Sequence[Path]
) -> None:
    """Make the record again, file it, and say where it lies."""
    _report(rescore(run_folder, suite=suite, data=data, baseline=baseline), leaderboard)


def write_baselines(record: Path, out: Path, suite: str | None) -> None:
    """Write one file for each baseline of the record's suite, and say where they lie."""
    measured = read_json(record, ScoreRecord)
    try:
        chosen = load_suite(suite or measured.suite.name)
    except UnknownNameError as error:
        if suite is not None:
            raise
        raise UsageError(
            f"{record} is of suite {measured.suite.name}, which is not shipped",
            expected="the file of the suite",
            fix="name it with --suite FILE",
        ) from error
    for baseline in measured_baselines(measured, chosen):
        path = out / f"{baseline.name}.yaml"
        write_yaml(path, baseline)
        _say_places({"baseline": path})


def _report(evaluation: Evaluation, leaderboard: Path) -> None:
    path = write_record(leaderboard, evaluation.record, evaluation.companion)
    show_record(evaluation.record)
    for one in evaluation.stated:
        screen().print(_stated(one), markup=False, soft_wrap=True)
    record = evaluation.record
    shown = {f"{name}: {record.scores[name].reason}" for name in (*record.columns, *record.beside)}
    for reason in record.partial_because:
        if reason in shown:
            continue  # the table has just said it
        screen().print(f"partial: {reason}", markup=False, soft_wrap=True)
    for condition, warnings in record.attack_warnings.items():
        for warning in warnings:
            screen().print(f"warning: {condition}: {warning}", markup=False, soft_wrap=True)
    notes = {score.note for score in record.scores.values() if score.note}
    for note in sorted(notes):
        screen().print(f"note: {note}", markup=False, soft_wrap=True)
    for reason in evaluation.skipped:
        screen().print(f"skipped {reason}", markup=False, soft_wrap=True)
    _say_places({"record": path, "predictions": evaluation.run_folder})


def _stated(one: StatedDifference) -> str:
    shown = (
        f"top-1 on {one.dataset}: stated {100 * one.stated:.2f} %, measured {100 * one.measured:.2f} % "
        f"({100 * one.difference:+.2f} points)"
    )
    if not one.is_odd:
        return shown
    return (
        f"warning: {shown}, more than {100 * TOLERANCE:.1f} points apart: "
        "check the preprocessing, the label space and the weights"
    )


def run_demo(out: Path) -> None:
    """Score both shipped checkpoints and show the leaderboard that they make."""
    leaderboard = out / "leaderboard"
    for model in DEMO_MODELS:
        with shown_progress(messages(), model.name) as progress:
            evaluation = score(
                model.model,
                suite=DEMO_SUITE,
                checkpoint=model.checkpoint,
                name=model.name,
                predictions=out / "predictions",
                progress=progress,
            )
        write_record(leaderboard, evaluation.record, evaluation.companion)
    tables = build_tables(leaderboard)
    show_leaderboard(leaderboard, DEMO_SUITE)
    _say_places({
        "tables": tables[0].parent,
        "records": leaderboard / "records",
        "predictions": out / "predictions",
    })  # fmt: skip


def build_leaderboard(leaderboard: Path, *, site: Path | None, with_site: bool) -> None:
    """Write the tables, and the site unless it is not wanted.

    Raises:
        UsageError: A folder is named for the site that is not wanted.
    """
    if site is not None and not with_site:
        raise UsageError("--site and --no-site", expected="one of the two", fix="leave one out")
    read = boards(leaderboard)
    for path in build_tables(leaderboard, read=read):
        screen().print(str(path), markup=False, soft_wrap=True)
    if with_site:
        from robustbench_safety.reporting.pages.site import build_site

        files = build_site(leaderboard, site, read=read)
        screen().print(f"{files[0]} and {len(files) - 1:,} more files", markup=False, soft_wrap=True)


def show_leaderboard(leaderboard: Path, suite: str | None) -> None:
    """Print the table of one suite, or of all."""
    by_suite = {board.suite.name: board for board in boards(leaderboard)}
    if suite is not None and suite not in by_suite:
        raise UnknownNameError.among(f"suite on {leaderboard}:", suite, by_suite)
    for name, board in by_suite.items():
        if suite in (None, name):
            show_suite_table(board)


def _say_places(places: dict[str, Path]) -> None:
    for what, path in places.items():
        screen().print(f"{what:<12} {path}", markup=False, soft_wrap=True)
