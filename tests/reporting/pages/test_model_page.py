"""The page of a model: every number of the record, nothing of a name as markup, the same bytes twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robustbench_safety.companion import read_companion
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.records import (
    CheckpointInfo,
    ConditionScore,
    Curves,
    GroupScore,
    LineScore,
    ScoreInterval,
    ScoreRecord,
    Verification,
    ZeroShot,
)
from robustbench_safety.reporting.filing import Filed, file_of, write_record
from robustbench_safety.reporting.pages.environment import STATIC
from robustbench_safety.reporting.pages.model_page import Shelf, model_page, report_page, shelf_of
from robustbench_safety.reporting.rows import Board, board_of, boards
from robustbench_safety.reporting.tables import number
from tests.golden.make import RECORD
from tests.reporting.pages.page_checks import Page, check_page

LEADERBOARD = Path(__file__).parents[3] / "leaderboard"
HOSTILE = (
    "</h1><script>alert(1)</script>\" onload='x' =1+1 [red]{{ 7919*7907 }}{% raw %}\x1b[31m\u202e"
    + "z" * 5000
)


def html_of(record: ScoreRecord, board: Board | None = None) -> str:
    """Return the page of a record that need not lie anywhere."""
    filed = Filed(
        record=record, digest=digest_of(record.digested_fields()), path=Path(f"{record.slug}--00000000.json")
    )
    shown = board or board_of([filed])
    row = next(one for one in shown.rows if one.digest == filed.digest)
    return model_page(filed, row, shown)


@pytest.fixture(scope="module")
def all_boards() -> dict[str, Board]:
    return {board.suite.name: board for board in boards(LEADERBOARD)}


@pytest.fixture(scope="module")
def pages(all_boards: dict[str, Board]) -> dict[str, tuple[ScoreRecord, str]]:
    found = {}
    for board in all_boards.values():
        shelf = shelf_of(board)
        for row in board.rows:
            filed = file_of(row.path)
            found[row.path.stem] = (filed.record, model_page(filed, row, shelf))
    return found


@pytest.fixture(scope="module")
def partial() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


def test_every_page_of_the_leaderboard_is_sound(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    assert len(pages) >= 8
    for _, html in pages.values():
        check_page(html)


def test_every_score_stands_on_the_page_as_the_record_has_it(
    pages: dict[str, tuple[ScoreRecord, str]],
) -> None:
    for record, html in pages.values():
        table = html[html.index("Every score of the record") :]
        rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', table)
        shown = {name.rsplit(" ", 1)[0]: (value, interval) for name, value, interval in rows}
        for name, score in record.scores.items():
            title = name.replace("_", " ") + {"fraction": " %", "nats": " (nats)", "score": ""}[score.unit]
            value, interval = shown[title]
            assert score.value is not None
            assert value.split()[0].rstrip("†") == number(score.value, score.unit)
            if score.interval is not None:
                ends = (score.interval.low, score.interval.high)
                assert interval == " – ".join(number(end, score.unit) for end in ends)


def test_every_condition_stands_in_a_table(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    record, html = next(one for one in pages.values() if one[0].suite.name == "cifar10-safety-generated")
    cells = set(re.findall(r"<td>([0-9.]+)(?: <small>([^<]*)</small>)?</td>", html))
    for name, scores in record.conditions.items():
        for one in scores:
            unit = record.scores[name].unit
            assert any(value == number(one.value, unit) for value, _ in cells), (name, one.condition)
    assert "cifar-10-c-generated, corruption: 75 conditions" in html
    # The errors of one group are among the 75: they have no column of their own.
    assert '<th scope="col">c noise error % ↓</th>' not in html


def test_the_same_record_makes_the_same_bytes(all_boards: dict[str, Board]) -> None:
    board = all_boards["cifar10-safety-generated"]
    filed = file_of(board.rows[0].path)
    assert model_page(filed, board.rows[0], board) == model_page(filed, board.rows[0], shelf_of(board))


def test_ranks_are_intervals_and_the_front_is_said(
    all_boards: dict[str, Board], pages: dict[str, tuple[ScoreRecord, str]]
) -> None:
    n_front = 0
    for board in all_boards.values():
        n = sum(row.ranked for row in board.rows)
        for row in board.rows:
            text = Page(pages[row.path.stem][1]).text
            n_front += row.on_front
            assert ("◆ on the Pareto front" in text) == row.on_front
            for flag in row.flags:
                assert flag in text
            if row.ranked:
                assert "A rank is an interval" in text
            for column in board.headline:
                if row.ranked and column.id in row.ranks:
                    assert f"rank {row.ranks[column.id]} of {n}" in text
    assert n_front > 0


def test_what_stands_beside_the_columns_has_its_unit(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    (html,) = (html for stem, (_, html) in pages.items() if stem.startswith("resnet-4b-pgd--ceed8b30"))
    assert "clean error 22.80 %, worst corruption 58.79 % (contrast), " in Page(html).text


def test_clean_is_set_against_a_column_of_other_images(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    for record, html in pages.values():
        if record.suite.name == "cifar10-safety-generated":
            assert "Clean error against corruptions" in html
        if record.suite.name == "reliability-cifar10-generated":
            assert "Clean error against c rms" in html
        if record.suite.name == "cifar10-clean":  # there is none
            assert "Clean error against" not in html


def test_provenance_names_every_digest(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    for key, (record, html) in pages.items():
        info = record.model.checkpoint
        assert info is not None
        filed = file_of(next((LEADERBOARD / "records" / record.suite.name).glob(f"{key}.json")))
        for value in (
            info.sha256, info.file, record.model.weights_digest, record.suite.digest, filed.digest,
            record.companion_digest, record.verification.by, record.verification.at,
            f"{record.forward_passes:,}", f"{record.timings.images_per_second:,.1f} images/s",
            record.environment.device_name, f"torch {record.environment.libraries['torch']}",
        ):  # fmt: skip
            assert value in html, (key, value)


def test_the_downloads_lie_beside_the_page(pages: dict[str, tuple[ScoreRecord, str]]) -> None:
    for key, (record, html) in pages.items():
        links = [attributes["href"] for attributes in Page(html).attributes("a") if "download" in attributes]
        assert links == [f"{key}.json", f"{record.suite.name}.csv"]


def test_no_name_does_harm(partial: ScoreRecord) -> None:
    spec = partial.model.model_copy(
        update={"family": HOSTILE, "architecture": HOSTILE, "training_data": HOSTILE, "code_digest": "0" * 64}
    )
    first = partial.columns[0]
    null = partial.scores[first].model_copy(update={"value": None, "interval": None, "reason": HOSTILE})
    noted = partial.scores[partial.columns[1]].model_copy(update={"note": HOSTILE})
    record = partial.model_copy(
        update={
            "display_name": HOSTILE,
            "model": spec,
            "partial_because": (HOSTILE,),
            "attack_warnings": {HOSTILE: (HOSTILE,)},
            "scores": partial.scores | {first: null, partial.columns[1]: noted},
            "verification": partial.verification.model_copy(update={"by": HOSTILE, "at": HOSTILE}),
            "environment": partial.environment.model_copy(
                update={"device_name": HOSTILE, "libraries": {HOSTILE: HOSTILE}, "machine": HOSTILE}
            ),
        }
    )
    html = html_of(record)
    page = check_page(html)
    assert len(page.attributes("script")) == 1  # our own
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert str(7919 * 7907) not in page.text  # no template inside a name
    assert len(html) < 120_000


def test_a_partial_row_says_what_is_missing_and_is_not_ranked(partial: ScoreRecord) -> None:
    text = Page(html_of(partial)).text
    assert "This row is partial and not ranked." in text
    assert partial.partial_because[0] in text
    assert "This row is not ranked." in text


def test_signs_of_masked_gradients_are_told(partial: ScoreRecord) -> None:
    text = Page(
        html_of(partial.model_copy(update={"attack_warnings": {"cifar-10/attack/x-0": ("odd",)}}))
    ).text
    assert "Signs of masked gradients: it may be less robust than measured. cifar-10/attack/x-0 : odd" in text


def test_a_chart_without_data_is_left_out_with_a_sentence(partial: ScoreRecord) -> None:
    bare = partial.model_copy(update={"curves": Curves(), "conditions": {}})
    text = check_page(html_of(bare)).text
    assert "No reliability diagram and no risk-coverage curve" in text
    assert "No histograms of OOD scores: the record does not keep them." in text
    assert "Error by corruption and severity" not in text
    clean = next((LEADERBOARD / "records" / "cifar10-clean").glob("*.json"))
    filed = file_of(clean)
    shelf = Shelf(board=None, field=None, suite=None, why_alone="it lies alone.")
    text = check_page(report_page(filed.record, filed.digest, None, shelf)).text
    assert "No comparison with other rows: it lies alone." in text


def test_a_record_without_intervals_has_a_page(partial: ScoreRecord) -> None:
    scores = {name: score.model_copy(update={"interval": None}) for name, score in partial.scores.items()}
    conditions = {
        name: tuple(one.model_copy(update={"interval": None}) for one in own)
        for name, own in partial.conditions.items()
    }
    check_page(html_of(partial.model_copy(update={"scores": scores, "conditions": conditions})))


def test_the_line_of_published_models_is_drawn_where_a_record_has_one(partial: ScoreRecord) -> None:
    name = partial.columns[0]
    curve = tuple((x / 20, x / 25, x / 26, x / 24) for x in range(8, 20))
    band = ScoreInterval(low=0.5, high=0.6, level=0.95, method="test")
    line = LineScore(
        intercept=-1.0,
        slope=1.0,
        axis="probit",
        n_models=204,
        clean=0.75,
        expected=0.55,
        band=band,
        curve=curve,
    )
    score = partial.scores[name].model_copy(update={"value": 0.034, "line": line, "direction": "higher"})
    record = partial.model_copy(update={"scores": partial.scores | {name: score}})
    text = check_page(html_of(record)).text
    assert "Accuracy on c error, against the line" in text
    said = "This row lies 3.40 points above it: its effective robustness."
    assert f"The line is that of 204 published models. {said}" in text


def test_rates_by_group_and_ratios_by_name_have_tables(partial: ScoreRecord) -> None:
    interval = ScoreInterval(low=0.1, high=0.3, level=0.95, method="wilson")
    group = GroupScore(value=0.2, n=50, interval=interval)
    name = partial.columns[0]
    ratio = partial.scores[name].model_copy(update={"by_name": {"fog": 0.815}})
    record = partial.model_copy(
        update={
            "groups": {name: {"style": {"<b>cartoon</b>": group}}},
            "scores": partial.scores | {name: ratio},
        }
    )
    text = check_page(html_of(record)).text
    assert "by style: 1 groups" in text
    assert "<b>cartoon</b> 20.00 10.00 – 30.00 50" in text
    assert "fog 81.50" in text


def test_a_row_of_another_version_is_compared_with_nothing(
    all_boards: dict[str, Board], tmp_path: Path
) -> None:
    board = all_boards["digits-safety"]
    filed = file_of(board.rows[0].path)
    old = filed.record.model_copy(
        update={"suite": filed.record.suite.model_copy(update={"digest": "0" * 64})}
    )
    companion = read_companion(filed.companion_path)
    for one in (old, file_of(board.rows[1].path).record):
        write_record(tmp_path, one, companion)
    (made,) = boards(tmp_path)
    row = next(one for one in made.rows if one.record.suite != made.suite)
    text = check_page(model_page(file_of(row.path), row, made)).text
    assert "those of the leaderboard are of another version of the suite" in text
    assert "it is not the one that this version ships" in text


def test_a_page_of_thousands_of_rows_stays_small(all_boards: dict[str, Board]) -> None:
    board = all_boards["digits-safety"]
    filed = file_of(board.rows[0].path)
    many = []
    for i in range(1500):
        scores = {
            name: score.model_copy(update={"value": (i * 37 % 1500) / 1501, "interval": None})
            for name, score in filed.record.scores.items()
        }
        record = filed.record.model_copy(
            update={"scores": scores, "display_name": f"row {i}", "conditions": {}, "curves": Curves()}
        )
        many.append(Filed(record=record, digest=f"{i:064x}", path=Path(f"row-{i}.json")))
    shown = board_of(many)
    html = model_page(many[3], next(row for row in shown.rows if row.digest == many[3].digest), shown)
    check_page(html)
    assert len(html) < 150_000


def test_the_style_sheet_asks_for_nothing_from_outside() -> None:
    style = (STATIC / "charts.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert "</" not in style


def test_a_condition_without_a_score_is_passed_over(partial: ScoreRecord) -> None:
    one: ConditionScore = next(iter(partial.conditions.values()))[0]
    record = partial.model_copy(update={"conditions": partial.conditions | {"unknown_cell": (one,)}})
    assert json.dumps("unknown cell") not in html_of(record)


@pytest.mark.parametrize("kind", ["predictions", "ensemble", "zero-shot", "probe", "self-reported"])
def test_every_kind_of_row_has_a_page_that_says_where_it_comes_from(kind: str, partial: ScoreRecord) -> None:
    text = ZeroShot(
        templates="openai-80",
        templates_digest="1" * 64,
        names="a list",
        names_digest="2" * 64,
        logit_scale=100.0,
    )
    info = CheckpointInfo(file="linear.npz", sha256="3" * 64, format="torch", unwrapped=("key:state_dict",))
    kinds: dict[str, tuple[dict[str, object], dict[str, object], list[str]]] = {
        "predictions": (
            {"family": "predictions", "architecture": "sent.csv", "network_known": False, "gradients": False,
             "checkpoint": None, "outputs": "top-1"},
            {"environment": partial.environment.model_copy(update={"known": False}),
             "without_images": ("a/clean/clean-0",)},
            ["not known: its predictions were handed in", "predictions:sent.csv", "a/clean/clean-0"],
        ),
        "ensemble": (
            {"family": "ensemble", "members": (partial.model, partial.model), "combine": "logits"},
            {"reduced_batches": {"a/clean/clean-0": 16}},
            ["members' mean of logits", "16 on a/clean/clean-0", "member-2.yaml"],
        ),
        "zero-shot": ({"zero_shot": text}, {}, ["openai-80", "1" * 64, "scale of the logits 100"]),
        "probe": ({"probe": info, "flops": None}, {}, ["linear.npz", "3" * 64]),
        "self-reported": (
            {"checkpoint": info, "trained_on": ("cifar-10",)},
            {"status": "complete", "partial_because": (), "supersedes": "4" * 64,
             "verification": Verification(kind="self-reported", by="<i>somebody</i>", at="")},
            ["self-reported, by <i>somebody</i>, at –", "4" * 64, "key:state_dict",
             "what the model was trained on"],
        ),
    }  # fmt: skip
    spec, changes, said = kinds[kind]
    record = partial.model_copy(update={"model": partial.model.model_copy(update=spec), **changes})
    shown = check_page(html_of(record)).text
    for words in said:
        assert words in shown, words
