"""The published rows of timm on ImageNet-A and -R: drops to the printed digit, and changes of rank."""

from __future__ import annotations

import bisect
import csv
from functools import cache
from pathlib import Path

import pytest

from robustbench_safety.aggregating import Measured, difference_of
from robustbench_safety.files import read_json
from robustbench_safety.records import Aggregate, Cell, Curves, Score, ScoreRecord
from robustbench_safety.suites import load_suite
from tests.reporting.boards import board

pytestmark = pytest.mark.realdata

GOLDEN = Path(__file__).parent / "golden" / "record.json"
#: By the short name of a set in suite imagenet-natural: its published file, that of its companion, and how
#: many of the 1,556 rows stand in both (one row of ImageNet-A has no companion).
SETS = {"a": ("imagenet-a", 1555), "r": ("imagenet-r", 1556)}

Key = tuple[str, str, str]


@cache
def rows(path: Path) -> dict[Key, dict[str, str]]:
    """Return the rows by model, image size and crop: a model may stand there at several sizes."""
    with path.open(newline="") as lines:
        return {(row["model"], row["img_size"], row["crop_pct"]): row for row in csv.DictReader(lines)}


@pytest.fixture(params=SETS)
def published(
    request: pytest.FixtureRequest, shared: Path
) -> tuple[str, dict[Key, dict[str, str]], dict[Key, dict[str, str]]]:
    name, n = SETS[request.param]
    shifted, clean = (rows(shared / "facts" / "timm" / f"results-{name}{end}.csv") for end in ("", "-clean"))
    assert len(shifted) == len(clean) == 1556
    assert len(set(shifted) & set(clean)) == n
    return request.param, shifted, clean


def score_of(row: dict[str, str]) -> Score:
    error = float(row["top1_err"]) / 100
    return Score(value=error, n=1, interval=None, unit="fraction", direction="lower")


def test_drops_on_200_classes_are_the_published_ones_to_the_printed_digit(
    published: tuple[str, dict[Key, dict[str, str]], dict[Key, dict[str, str]]],
) -> None:
    short, shifted, clean = published
    suite = load_suite("imagenet-natural")
    aggregate: Aggregate = next(one for one in suite.aggregates if one.id == f"{short}_drop")
    by_id: dict[str, Cell] = {cell.id: cell for cell in suite.cells}
    cells = [by_id[name] for name in aggregate.of]
    empty = {cell.id: Measured() for cell in cells}
    n = 0
    for key, row in shifted.items():
        if key in clean:
            scores = {cells[0].id: score_of(row), cells[1].id: score_of(clean[key])}
            drop = difference_of(cells, empty, scores, seed=0)
            assert drop.value is not None
            # A drop of the accuracy is a rise of the error.
            assert f"{-100 * drop.value:+.3f}" == row["top1_diff"], key
            n += 1
    assert n == SETS[short][1]


def positions(table: dict[Key, dict[str, str]], template: ScoreRecord) -> dict[Key, int]:
    """Return where each row stands in a table of ours that is ranked by the error."""
    records = [
        template.model_copy(
            update={"slug": str(i), "display_name": "/".join(key), "scores": {"e": score_of(row)}}
        )
        for i, (key, row) in enumerate(table.items())
    ]
    keys = list(table)
    return {keys[int(row.record.slug)]: rank for rank, row in enumerate(board(*records).rows)}


def tied(table: dict[Key, dict[str, str]]) -> dict[Key, range]:
    """Return the places that each row may have, were those of equal error ordered otherwise."""
    values = sorted(float(row["top1_err"]) for row in table.values())
    return {
        key: range(bisect.bisect_left(values, error), bisect.bisect_right(values, error))
        for key, row in table.items()
        for error in [float(row["top1_err"])]
    }


def test_changes_of_rank_are_the_published_ones_up_to_the_order_among_equals(
    published: tuple[str, dict[Key, dict[str, str]], dict[Key, dict[str, str]]],
) -> None:
    # Accuracies are printed with three decimals, and many are equal: timm's order among those is not told.
    short, shifted, clean = published
    template = read_json(GOLDEN, ScoreRecord).model_copy(update={
        "columns": ("e",), "beside": (), "conditions": {}, "curves": Curves(), "prediction_digests": {},
        "data_digests": {}, "groups": {}})  # fmt: skip
    ours_shifted, ours_clean = positions(shifted, template), positions(clean, template)
    open_shifted, open_clean = tied(shifted), tied(clean)
    exact = 0
    for key, row in shifted.items():
        assert ours_shifted[key] in open_shifted[key]
        if key not in clean:
            continue
        before, after, change = open_clean[key], open_shifted[key], int(row["rank_diff"])
        assert before.start - (after.stop - 1) <= change <= before.stop - 1 - after.start, key
        if len(before) == len(after) == 1:
            assert ours_clean[key] - ours_shifted[key] == change, key
            exact += 1
    assert exact == {"a": 199, "r": 233}[short], "rows whose two errors no other row has"
