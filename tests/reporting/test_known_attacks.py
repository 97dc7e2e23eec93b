"""The best-known rule: the strongest attack counts, of whatever record or paper, within the same reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from robustbench_safety.files import read_json, write_json
from robustbench_safety.records import Condition, ConditionScore, Score, ScoreInterval, ScoreRecord
from robustbench_safety.reporting.filing import record_path
from robustbench_safety.reporting.known_attacks import (
    BestKnown,
    FoundError,
    best_known,
    errors_found,
    strongest_found,
)
from robustbench_safety.reporting.rows import Row, boards
from robustbench_safety.suites import load_suite
from tests.conftest import REPOSITORY

SUITE = load_suite("adversarial-cifar10-linf")
IMAGES = "ab" * 32
ATTACKED = ("autoattack_error", "pgd_error")


@pytest.fixture(scope="module")
def template() -> ScoreRecord:
    folder = REPOSITORY / "leaderboard" / "records" / "cifar10-safety-generated"
    return read_json(next(folder.glob("conv-small*.json")), ScoreRecord)


def attacked(template: ScoreRecord, name: str, *, kind: str = "verified", **errors: float) -> ScoreRecord:
    """Return a record on the suite of attacks that says nothing else."""
    scores, conditions, digests = {}, {}, {}
    for cell in SUITE.cells:
        if cell.id not in ATTACKED or cell.attack is None:
            continue
        value = errors[cell.id]
        interval = ScoreInterval(low=value - 0.01, high=value + 0.01, level=0.95, method="wilson")
        condition = Condition(
            dataset=cell.dataset, kind="attack", name=cell.attack.condition_name(SUITE.seed), level=0
        )
        scores[cell.id] = Score(value=value, n=10_000, interval=interval, unit="fraction", direction="lower")
        conditions[cell.id] = (ConditionScore(condition=condition, value=value, n=10_000, interval=interval),)
        digests[condition.path] = IMAGES
    suite = template.suite.model_copy(
        update={"name": SUITE.name, "version": SUITE.version, "digest": "0" * 64}
    )
    return template.model_copy(
        update={
            "display_name": name, "slug": name, "suite": suite, "columns": SUITE.columns,
            "beside": ("pgd_error",), "scores": scores, "conditions": conditions, "data_digests": digests,
            "verification": template.verification.model_copy(update={"kind": kind}),
        }
    )  # fmt: skip


def rows_of(folder: Path, *records: ScoreRecord) -> dict[str, Row]:
    for record in records:
        write_json(record_path(folder, record), record)
    (board,) = boards(folder)
    return {row.record.display_name: row for row in board.rows}


def test_a_weaker_attack_that_found_more_counts(tmp_path: Path, template: ScoreRecord) -> None:
    fooled = attacked(template, "fooled", autoattack_error=0.5, pgd_error=0.6)
    other = template.model.model_copy(update={"weights_digest": "1" * 64})
    honest = attacked(template, "honest", autoattack_error=0.55, pgd_error=0.5)
    rows = rows_of(tmp_path, fooled, honest.model_copy(update={"model": other}))
    best = rows["fooled"].best_known["autoattack_error"]
    assert (best.value, best.low, best.high) == (0.6, 0.59, 0.61)
    assert best.source.startswith("pgd-linf-eps8_255")
    assert rows["honest"].best_known == {"pgd_error": BestKnown(
        value=0.55, low=0.54, high=0.56,
        source="autoattack-linf-eps8_255-seed0 in adversarial-cifar10-linf")}  # fmt: skip
    # By AutoAttack alone the first would lead.
    assert str(rows["honest"].ranks["autoattack_error"]) == "1"
    assert str(rows["fooled"].ranks["autoattack_error"]) == "2"
    assert list(rows) == ["honest", "fooled"]


def test_what_a_stranger_says_of_another_s_network_does_not_count(
    tmp_path: Path, template: ScoreRecord
) -> None:
    mine = attacked(template, "mine", autoattack_error=0.5, pgd_error=0.4)
    theirs = attacked(template, "theirs", kind="self-reported", autoattack_error=0.9, pgd_error=0.9)
    rows = rows_of(tmp_path, mine, theirs)
    assert set(rows["mine"].best_known) == {"pgd_error"}
    assert rows["theirs"].ranks == {}


def reported(
    folder: Path, weights: str, eps: str, error: float, n: int = 10_000, certainty: str = "verified"
) -> None:
    (folder / "reported").mkdir(exist_ok=True)
    (folder / "reported" / "others.yaml").write_text(
        f"name: others\ntitle: T\nsuite: {SUITE.name}\nsource: S\nattacks:\n"
        f'  - {{weights_digest: "{weights}", dataset: cifar-10, norm: linf, eps: {eps}, error: {error},\n'
        f"     n: {n}, source: an adaptive attack, certainty: {certainty}}}\n"
    )


@pytest.mark.parametrize(
    ("eps", "known"), [("8/255", 0.7), ("4/255", 0.7), ("16/255", 0.5)], ids=["same", "smaller", "larger"]
)
def test_somebody_else_s_attack_counts_within_the_reach(
    tmp_path: Path, template: ScoreRecord, eps: str, known: float
) -> None:
    reported(tmp_path, template.model.weights_digest, eps, 0.7)
    rows = rows_of(tmp_path, attacked(template, "mine", autoattack_error=0.5, pgd_error=0.5))
    assert rows["mine"].value("autoattack_error") == known
    if known == 0.7:
        best = rows["mine"].best_known["autoattack_error"]
        assert best.source == "an adaptive attack (verified)"
        assert best.low < 0.7 < best.high


@pytest.mark.parametrize(("n", "certainty"), [(100, "verified"), (10_000, "recalled")])
def test_an_attack_on_fewer_images_or_one_that_is_recalled_does_not_count(
    tmp_path: Path, template: ScoreRecord, n: int, certainty: str
) -> None:
    reported(tmp_path, template.model.weights_digest, "8/255", 0.7, n, certainty)
    rows = rows_of(tmp_path, attacked(template, "mine", autoattack_error=0.5, pgd_error=0.5))
    assert rows["mine"].best_known == {}


def test_an_attack_on_another_network_says_nothing(tmp_path: Path, template: ScoreRecord) -> None:
    reported(tmp_path, "2" * 64, "8/255", 0.7)
    rows = rows_of(tmp_path, attacked(template, "mine", autoattack_error=0.5, pgd_error=0.5))
    assert rows["mine"].best_known == {}


def test_attacks_on_other_images_fewer_or_in_another_norm_are_not_compared(template: ScoreRecord) -> None:
    record = attacked(template, "mine", autoattack_error=0.5, pgd_error=0.4)
    own = errors_found(record, SUITE)
    assert set(own) == set(ATTACKED)
    stronger = BestKnown(value=0.9, low=0.8, high=1.0, source="S")
    mine = own["autoattack_error"]
    fields = {name: getattr(mine, name) for name in ("network", "dataset", "images", "n", "norm", "reach")}
    for change in ({"images": "cd" * 32}, {"n": 50}, {"norm": "l2"}, {"network": "x"}, {"reach": 0.9}):
        other = FoundError(**{**fields, **change}, best=stronger)
        assert "autoattack_error" not in best_known(own, [other], [], record)
    assert best_known(own, [FoundError(**fields, best=stronger)], [], record)["autoattack_error"] == stronger


def test_of_attacks_alike_the_strongest_alone_is_held_against_a_network(template: ScoreRecord) -> None:
    own = errors_found(attacked(template, "mine", autoattack_error=0.5, pgd_error=0.4), SUITE)
    mine = own["autoattack_error"]

    def found(value: float, source: str, **change: object) -> FoundError:
        best = BestKnown(value=value, low=value - 0.1, high=value + 0.1, source=source)
        return replace(mine, best=best, **change)  # type: ignore[arg-type]  # a field of it

    weaker, strong, equal = found(0.6, "weaker"), found(0.7, "strong"), found(0.7, "equal")
    nearer, other = found(0.65, "nearer", reach=mine.reach / 2), found(0.9, "other", network="x")
    kept = strongest_found([weaker, strong, equal, nearer, other])
    assert kept == {mine.network: [strong, nearer], "x": [other]}
