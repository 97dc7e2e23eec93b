"""The page of one model on one suite: headline, charts, every number, provenance, and how to remake it."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_safety.records import Score, ScoreRecord, Suite
from robustbench_safety.reporting.charts.from_field import Field, field_of
from robustbench_safety.reporting.charts.from_record import words
from robustbench_safety.reporting.charts.heat_map import N_SHADES
from robustbench_safety.reporting.charts.shapes import amount
from robustbench_safety.reporting.filing import Filed
from robustbench_safety.reporting.pages.environment import one_line, render
from robustbench_safety.reporting.pages.model_charts import charts_of
from robustbench_safety.reporting.pages.model_details import condition_details, group_details, score_table
from robustbench_safety.reporting.pages.provenance import provenance
from robustbench_safety.reporting.reproduce import reproduction
from robustbench_safety.reporting.rows import Board, Row
from robustbench_safety.reporting.shipped import shipped_suite
from robustbench_safety.reporting.tables import NOTE_MARK, interval_note, number, shown, shown_interval

__all__ = ["Headline", "Shelf", "headlines", "model_page", "report_page", "shelf_of"]

#: Characters of a name in a heading, and of a reason.
_NAME, _REASON = 120, 400
#: Scores that are told in a sentence.
_MOST_BESIDE = 9


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What all pages of one board share: made once, as thousands are made of it."""

    board: Board | None
    """None for a record that lies on no leaderboard."""
    field: Field | None
    suite: Suite | None
    """The shipped suite that the board's rows were scored on, where it is one."""
    why_alone: str = ""
    """Why there is no board, as the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One headline column of a row."""

    title: str
    unit: str
    """With the direction that is good."""
    value: str
    interval: str
    n: str
    rank: str
    to_know: tuple[str, ...]


def shelf_of(board: Board) -> Shelf:
    """Return what the pages of a board share."""
    return Shelf(board=board, field=field_of(board), suite=shipped_suite(board.suite))


def model_page(filed: Filed, row: Row, board: Board | Shelf) -> str:
    """Return the page of a row, as it lies in a site beside the page of its suite.

    Args:
        filed: The whole record.
        row: Its row on the board.
        board: The board; or its shelf, which saves much time where many pages are made.
    """
    shelf = board if isinstance(board, Shelf) else shelf_of(board)
    context = _context(filed.record, filed.digest, row, shelf)
    return render("model.html", root="../", inline=False, json_name=filed.path.name, **context)


def report_page(record: ScoreRecord, digest: str, row: Row | None, shelf: Shelf) -> str:
    """Return the page of a record as one file that needs no other.

    Args:
        record: The record.
        digest: Of its digested fields.
        row: Its row on the shelf's board, where it has one.
        shelf: The field that it is shown in.
    """
    return render("report.html", root="", inline=True, **_context(record, digest, row, shelf))


def _context(record: ScoreRecord, digest: str, row: Row | None, shelf: Shelf) -> dict[str, object]:
    # A row of another version or digest than the board's own stands apart: neither ranks nor suite are its.
    same = shelf.board is None or record.suite == shelf.board.suite
    suite = shelf.suite if same else None
    why_alone = shelf.why_alone if same else "those of the leaderboard are of another version of the suite."
    charts = charts_of(record, row, shelf.field if same else None, suite, why_alone=why_alone)
    return {
        "record": record,
        "digest": digest,
        "name": one_line(record.display_name, _NAME) or record.slug,
        "flags": [one_line(flag, _REASON) for flag in row.flags] if row is not None else _own_flags(record),
        "on_front": row is not None and row.on_front,
        "ranked": row is not None and row.ranked,
        "headlines": headlines(record, row),
        "interval_note": interval_note(record.scores[name] for name in record.columns),
        # A few are read beside the columns; of many the table of all scores tells.
        "beside": [
            (words(name), _with_unit(record.scores[name]))
            for name in record.beside
            if len(record.beside) <= _MOST_BESIDE
        ],
        "partial": [one_line(reason, _REASON) for reason in record.partial_because],
        "warnings": [
            (one_line(condition), [one_line(warning, _REASON) for warning in warnings])
            for condition, warnings in record.attack_warnings.items()
        ],
        "charts": charts,
        "missing": charts.missing,
        "shades": range(N_SHADES),
        "scores": score_table(record),
        "details": condition_details(record),
        "groups": group_details(record),
        "provenance": provenance(record, digest),
        "reproduction": reproduction(record, suite),
    }


def _with_unit(score: Score) -> str:
    if score.value is None:
        return shown(score)
    mark, worst = NOTE_MARK if score.note else "", f" ({words(score.worst)})" if score.worst else ""
    return f"{amount(score.value, score.unit)}{mark}{worst}"


def _own_flags(record: ScoreRecord) -> list[str]:
    if not record.trained_on_tested:
        return []
    return [f"trained on {', '.join(record.trained_on_tested)}, which it is tested on"]


def headlines(record: ScoreRecord, row: Row | None) -> list[Headline]:
    """Return the headline columns of a record.

    Args:
        record: The record.
        row: Its row, where it has one on a board: ranks, and what other attacks have reached.
    """
    return [_headline(name, record, row) for name in record.columns]


def _headline(name: str, record: ScoreRecord, row: Row | None) -> Headline:
    score = record.scores[name]
    unit = {"fraction": "%", "nats": "nats", "score": ""}[score.unit]
    direction = f"{score.direction} is better"
    known = row.best_known.get(name) if row is not None else None
    to_know: list[str] = []
    if known is not None:
        to_know.append(
            f"best known {number(known.value, score.unit)}: {one_line(known.source, _REASON)}; ranked by that"
        )
    to_know += [one_line(text, _REASON) for text in (score.reason, score.note) if text]
    rank = row.ranks.get(name) if row is not None else None
    return Headline(
        title=words(name),
        unit=f"{unit}, {direction}" if unit else direction,
        value=shown(score),
        interval=shown_interval(score),
        n=f"{score.n:,}" + (f" + {score.n_out:,} unknown" if score.n_out else ""),
        rank=str(rank) if rank is not None else "–",
        to_know=tuple(to_know),
    )
