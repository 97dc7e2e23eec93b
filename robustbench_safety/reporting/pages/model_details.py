"""Tables of one record: its scores, every cell by condition, and rates by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustbench_safety.records import ConditionScore, Score, ScoreRecord
from robustbench_safety.reporting.charts.from_record import words
from robustbench_safety.reporting.charts.svg import spoken
from robustbench_safety.reporting.pages.environment import one_line
from robustbench_safety.reporting.tables import number, shown, shown_interval

__all__ = ["Detail", "condition_details", "group_details", "score_table"]

_ARROWS = {"lower": "↓", "higher": "↑"}
_UNITS = {"fraction": " %", "nats": " (nats)", "score": ""}
#: Characters of a reason or a note: a record that somebody sent may have any.
_LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A table that is folded away."""

    title: str
    table: Markup


def score_table(record: ScoreRecord) -> Markup:
    """Return the table of every score, those of the columns first: a null stands there with its reason."""
    own = dict.fromkeys((*record.columns, *record.beside))
    names = [*own, *sorted(name for name in record.scores if name not in own)]
    rows = "".join(_score_row(name, record) for name in names)
    return Markup(  # noqa: S704  # every text in it is escaped
        '<table class="plain"><caption>Every score of the record, with its 95 % interval and the images '
        'behind it (+ those of unknown classes).</caption><thead><tr><th scope="col">score</th>'
        '<th scope="col">value</th><th scope="col">95 % interval</th><th scope="col">n</th>'
        '<th scope="col" class="words">what to know</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _score_row(name: str, record: ScoreRecord) -> str:
    score = record.scores[name]
    n = f"{score.n:,}" + (f" + {score.n_out:,}" if score.n_out else "")
    return (
        f'<tr><th scope="row">{spoken(_heading(name, score))}</th><td>{spoken(shown(score))}</td>'
        f"<td>{shown_interval(score)}</td><td>{n}</td>"
        f'<td class="words">{spoken(_to_know(name, score, record))}</td></tr>'
    )


def _heading(name: str, score: Score) -> str:
    return f"{words(name)}{_UNITS[score.unit]} {_ARROWS[score.direction]}"


def _to_know(name: str, score: Score, record: ScoreRecord) -> str:
    said = []
    if score.reason is not None:
        said.append(f"not measured: {one_line(score.reason, _LONGEST)}")
    if score.note is not None:
        said.append(one_line(score.note, _LONGEST))
    conditions = record.conditions.get(name, ())
    chance = score.chance if score.chance is not None or len(conditions) != 1 else conditions[0].chance
    if chance is not None:
        said.append(f"chance reaches {number(chance, score.unit)}")
    if score.interval is not None:
        said.append(f"interval: {one_line(score.interval.method, _LONGEST)}")
    return "; ".join(said)


def condition_details(record: ScoreRecord) -> list[Detail]:
    """Return every cell by condition: a table for each data set and kind, a column for each cell.

    A cell whose numbers are all among another's, as of one group of corruptions, is left out. The ratios of a
    mean of ratios follow.
    """
    by_place: dict[tuple[str, str], dict[str, tuple[ConditionScore, ...]]] = {}
    for name, scores in record.conditions.items():
        if scores and name in record.scores:
            first = scores[0].condition
            by_place.setdefault((first.dataset, first.kind), {})[name] = scores
    found = [
        _by_condition(dataset, kind, _without_parts(cells), record)
        for (dataset, kind), cells in by_place.items()
    ]
    return [*found, *_ratios(record)]


def _without_parts(
    cells: Mapping[str, tuple[ConditionScore, ...]],
) -> dict[str, tuple[ConditionScore, ...]]:
    values = {name: {_key(one): one.value for one in scores} for name, scores in cells.items()}
    return {
        name: scores
        for name, scores in cells.items()
        if not any(
            len(values[name]) < len(other) and values[name].items() <= other.items()
            for key, other in values.items()
            if key != name
        )
    }


def _by_condition(
    dataset: str, kind: str, cells: Mapping[str, tuple[ConditionScore, ...]], record: ScoreRecord
) -> Detail:
    by_cell = {name: {_key(one): one for one in scores} for name, scores in cells.items()}
    conditions = list(dict.fromkeys(key for known in by_cell.values() for key in known))
    counts = Counter(one.n for scores in cells.values() for one in scores)
    said = f"{dataset}, {kind}: each number with its 95 % interval"
    if len(counts) == 1:
        said += f", {next(iter(counts)):,} images or clips each"
    head = "".join(f'<th scope="col">{spoken(_heading(name, record.scores[name]))}</th>' for name in by_cell)
    rows = []
    for condition in conditions:
        body = "".join(
            _condition_cell(known.get(condition), record.scores[name].unit, with_n=len(counts) > 1)
            for name, known in by_cell.items()
        )
        rows.append(f'<tr><th scope="row">{spoken(_named(*condition))}</th>{body}</tr>')
    return Detail(
        title=f"{dataset}, {kind}: {len(conditions)} condition{'s' if len(conditions) != 1 else ''}, "
        f"{len(by_cell)} score{'s' if len(by_cell) != 1 else ''} of each",
        table=_table(said, f'<th scope="col">condition</th>{head}', rows),
    )


def _key(one: ConditionScore) -> tuple[str, int]:
    """Return what tells the conditions of one data set and kind apart; quicker to look up than they are."""
    return one.condition.name, one.condition.level


def _named(name: str, level: int) -> str:
    return words(name) + (f", {level}" if level else "")


def _condition_cell(one: ConditionScore | None, unit: str, *, with_n: bool) -> str:
    if one is None:
        return "<td>–</td>"
    said = []
    if one.interval is not None:
        said.append(f"{number(one.interval.low, unit)}–{number(one.interval.high, unit)}")
    if one.chance is not None:
        said.append(f"chance {number(one.chance, unit)}")
    if with_n:
        said.append(f"n {one.n:,}")
    small = f" <small>{', '.join(said)}</small>" if said else ""
    return f"<td>{number(one.value, unit)}{small}</td>"


def _ratios(record: ScoreRecord) -> list[Detail]:
    return [
        Detail(
            title=f"{words(name)}: ratio by name",
            table=_table(
                f"Of {words(name)} the ratio of each name to the baseline's, in percent",
                '<th scope="col">name</th><th scope="col">ratio %</th>',
                [
                    f'<tr><th scope="row">{spoken(words(one))}</th><td>{number(value, "fraction")}</td></tr>'
                    for one, value in score.by_name.items()
                ],
            ),
        )
        for name, score in record.scores.items()
        if score.by_name
    ]


def group_details(record: ScoreRecord) -> list[Detail]:
    """Return the rates of each cell among the images of each group."""
    found = []
    for name, columns in record.groups.items():
        for column, groups in columns.items():
            title = f"{words(name)} by {one_line(column)}"
            rows = [
                f'<tr><th scope="row">{spoken(one_line(group))}</th><td>{number(one.value, "fraction")}</td>'
                f"<td>{number(one.interval.low, 'fraction')} – {number(one.interval.high, 'fraction')}</td>"
                f"<td>{one.n:,}</td></tr>"
                for group, one in groups.items()
            ]
            head = "".join(
                f'<th scope="col">{title}</th>' for title in ("group", "rate %", "95 % interval", "n")
            )
            found.append(Detail(title=f"{title}: {len(rows)} groups", table=_table(title, head, rows)))
    return found


def _table(caption: str, head: str, rows: Sequence[str] | Iterable[str]) -> Markup:
    return Markup(  # noqa: S704  # every text in it is escaped
        f'<table class="plain"><caption>{spoken(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
