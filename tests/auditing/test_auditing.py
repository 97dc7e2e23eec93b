"""An audit bears out an honest record, and finds every number that the model does not give."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.auditing import Audit, audit_record, check_auditable, file_verified
from robustbench_safety.cli.app import run
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.data import DataRoot
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.errors import UsageError
from robustbench_safety.evaluation import score
from robustbench_safety.files import write_yaml
from robustbench_safety.models import Model, load_model
from robustbench_safety.records import ModelFile, ScoreRecord
from robustbench_safety.reporting.checking import Rules, rules_of
from robustbench_safety.reporting.filing import file_of, write_record
from robustbench_safety.reporting.submitting import Sent, add_record, read_sent
from tests.submissions import PLAIN, record_at

SUITE = Path(__file__).parent / "audited.yaml"
WEIGHTS, OTHERS = (model.checkpoint for model in DEMO_MODELS)
SEED = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the predictions of the audits lie: those of one seed are made once."""
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def sent(folder: Path) -> Sent:
    """An honest record of the demo's plain network, and its companion."""
    evaluation = score(
        "digits:cnn", suite=SUITE, checkpoint=WEIGHTS, predictions=folder, batch_size=64, device="cpu"
    )
    return read_sent(write_record(folder / "sent", evaluation.record, evaluation.companion))


@pytest.fixture(scope="module")
def rules(sent: Sent) -> Rules:
    return rules_of(sent.record, data=DataRoot.default(), suite=SUITE)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("digits:cnn", checkpoint=WEIGHTS, label_space="digits")


def audited(
    record: ScoreRecord,
    companion: Companion,
    model: Model,
    rules: Rules,
    folder: Path,
    *,
    images: int | None = 500,
) -> Audit:
    # Another batch size than the record's: the last bits of the logits are others.
    return audit_record(
        record,
        companion,
        model,
        rules,
        predictions=folder,
        images=images,
        seed=SEED,
        batch_size=100,
        device="cpu",
    )


@pytest.fixture(scope="module")
def honest(sent: Sent, model: Model, rules: Rules, folder: Path) -> Audit:
    return audited(sent.record, sent.companion, model, rules, folder)


def test_an_honest_record_is_borne_out(honest: Audit) -> None:
    assert honest.agrees
    assert honest.words == "500 images of each dataset, drawn by seed 11"
    compared = {(one.path.partition("/")[0], one.what): one.images for one in honest.compared}
    assert compared == {
        ("digits", "right or wrong"): 500,
        ("digits", "class"): 500,
        ("digits", "confidence"): 500,
        ("digits", "right on balance"): 500,
        ("digits", "wrong on balance"): 60,
        ("digits", "scores of msp"): 500,
        ("digits-c", "right or wrong"): 500,
        ("digits-p", "flips"): 500,
        ("blobs", "class"): 500,
        ("blobs", "confidence"): 500,
        ("blobs", "scores of msp"): 500,
        ("c_rms", "interval"): 500,
    }
    assert sum(one.disagreements for one in honest.compared) == 0


def forged(companion: Companion, dataset: str, change: Callable[[CompanionRows], CompanionRows]) -> Companion:
    return Companion({**companion.datasets, dataset: change(companion.datasets[dataset])})


def _all_right(rows: CompanionRows) -> CompanionRows:
    return replace(rows, correct={path: np.ones_like(bits) for path, bits in rows.correct.items()})


def _attack_survived(rows: CompanionRows) -> CompanionRows:
    right = {path: np.ones_like(bits) if "/attack/" in path else bits for path, bits in rows.correct.items()}
    return replace(rows, correct=right)


def _no_flips(rows: CompanionRows) -> CompanionRows:
    return replace(rows, flips={path: np.zeros_like(flips) for path, flips in rows.flips.items()})


def _sure(rows: CompanionRows) -> CompanionRows:
    assert rows.confidence is not None
    return replace(rows, confidence=np.minimum(rows.confidence + np.float32(0.01), np.float32(1)))


def _anomalous(rows: CompanionRows) -> CompanionRows:
    return replace(rows, scores={name: kept + np.float32(0.1) for name, kept in rows.scores.items()})


def _silent(rows: CompanionRows) -> CompanionRows:
    return replace(rows, correct={}, flips={})


FORGERIES: list[tuple[str, str, str, Callable[[CompanionRows], CompanionRows]]] = [
    ("digits-c", "digits-c/corruption/contrast-3", "right or wrong", _all_right),
    ("digits", "digits/attack/", "right on balance", _attack_survived),
    ("digits-p", "digits-p/sequence/rotate-1", "flips", _no_flips),
    ("digits", "digits/clean/clean-0", "confidence", _sure),
    ("blobs", "blobs", "scores of msp", _anomalous),
    ("digits-c", "digits-c/corruption/contrast-3", "right or wrong", _silent),
]


@pytest.mark.parametrize(
    ("dataset", "path", "what", "change"), FORGERIES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_companion_that_the_model_does_not_give_is_found(
    dataset: str, path: str, what: str, change: Callable[[CompanionRows], CompanionRows],
    sent: Sent, model: Model, rules: Rules, folder: Path, honest: Audit,
) -> None:  # fmt: skip
    audit = audited(sent.record, forged(sent.companion, dataset, change), model, rules, folder)
    assert not audit.agrees
    wrong = [one for one in audit.compared if not one.agrees]
    assert any(one.path.startswith(path) and one.what == what for one in wrong)


def test_a_calibration_error_that_the_model_does_not_give_is_found(
    sent: Sent, model: Model, rules: Rules, folder: Path, honest: Audit
) -> None:
    score_now = sent.record.scores["c_rms"]
    assert score_now.value is not None and score_now.value > 0.05  # noqa: PT018  # the type, then the value
    interval = sent.record.scores["clean_error"].interval
    better = score_now.model_copy(update={"value": 0.015, "interval": interval})
    record = sent.record.model_copy(update={"scores": {**sent.record.scores, "c_rms": better}})
    audit = audited(record, sent.companion, model, rules, folder)
    assert [(one.path, one.what) for one in audit.compared if not one.agrees] == [("c_rms", "interval")]


def test_an_attack_on_some_images_is_held_against_its_rate(
    sent: Sent, model: Model, rules: Rules, folder: Path, honest: Audit
) -> None:
    (one,) = sent.record.conditions["some_pgd_error"]
    better = (one.model_copy(update={"value": 0.0}),)
    conditions = {**sent.record.conditions, "some_pgd_error": better}
    record = sent.record.model_copy(update={"conditions": conditions})
    audit = audited(record, sent.companion, model, rules, folder)
    assert [one.what for one in audit.compared if not one.agrees] == ["wrong on balance"]


def test_other_weights_are_told_before_anything_is_predicted(
    sent: Sent, rules: Rules, tmp_path: Path
) -> None:
    other = load_model("digits:cnn", checkpoint=OTHERS, label_space="digits")
    audit = audited(sent.record, sent.companion, other, rules, tmp_path)
    assert not audit.agrees
    assert audit.differences[0].startswith("model: weights_digest: recorded ")
    assert not list(tmp_path.iterdir())


def test_images_that_the_companion_does_not_name_are_told(
    sent: Sent, model: Model, rules: Rules, tmp_path: Path
) -> None:
    def renamed(rows: CompanionRows) -> CompanionRows:
        return replace(rows, source_ids=["x", *rows.source_ids[1:]])

    audit = audited(sent.record, forged(sent.companion, "digits", renamed), model, rules, tmp_path)
    assert audit.differences == ("images of digits: recorded 850, now 850 of other ids",)


def test_with_all_images_data_digests_and_scores_are_compared_too(
    sent: Sent, model: Model, rules: Rules, folder: Path
) -> None:
    # The whole run is at hand already: an audit of all images goes on from it.
    (whole,) = (path for path in folder.glob("digits-cnn--*") if "--audit" not in path.name)
    shutil.copytree(whole, whole.with_name(f"{whole.name}--audit"))

    def again(record: ScoreRecord) -> Audit:
        return audit_record(
            record, sent.companion, model, rules, predictions=folder, images=None, seed=SEED, device="cpu"
        )

    audit = again(sent.record)
    assert audit.agrees
    assert audit.words == "all images"
    assert ("c_rms", "score") in {(one.path, one.what) for one in audit.compared}
    path = "digits/clean/clean-0"
    other = sent.record.model_copy(update={"data_digests": {**sent.record.data_digests, path: "0" * 64}})
    audit = again(other)
    assert not audit.agrees
    assert audit.differences[0].startswith(f"data of {path}: recorded 000")


# --------------------------------------------------------------------------------------- the command


@pytest.fixture
def board(sent: Sent, tmp_path: Path) -> Path:
    add_record(tmp_path / "board", sent.path, suite=SUITE)
    return tmp_path / "board"


def command(board: Path, *arguments: str) -> list[str]:
    (record,) = board.rglob("*.json")
    own = ["--leaderboard", str(board), "--suite", str(SUITE), "--device", "cpu", "--batch-size", "100"]
    return ["leaderboard", "audit", str(record), *arguments, *own]


def test_the_command_files_what_is_borne_out_as_verified(
    board: Path, folder: Path, honest: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    (old,) = board.rglob("*.json")
    audit = command(board, "digits:cnn", "--checkpoint", str(WEIGHTS), "--seed", str(SEED), "--by", "Ada",
                    "--predictions", str(folder))  # fmt: skip
    assert run(audit) == 0
    out = capsys.readouterr().out
    (new,) = (path for path in board.rglob("*.json") if path != old)
    assert f"verified     {new}" in out
    record, sent = record_at(new), file_of(old)
    assert record.kind == "verified"
    assert record.verification.by == "Ada: 500 images of each dataset, drawn by seed 11"
    assert record.supersedes == sent.digest
    assert record.scores == sent.record.scores
    assert record.companion_digest == sent.record.companion_digest
    line = next(line for line in out.splitlines() if line.startswith("digits-c/corruption/contrast-3"))
    assert line.split()[1:] == ["right", "or", "wrong", "500", "0", "0"]
    assert run(["leaderboard", "build", "--leaderboard", str(board)]) == 0
    assert run(["leaderboard", "verify", "--leaderboard", str(board)]) == 0
    assert run(audit) == 2
    assert "is superseded" in capsys.readouterr().err


def test_the_command_files_nothing_where_the_model_is_another(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(board, "digits:cnn", "--checkpoint", str(OTHERS))) == 1
    assert "weights_digest: recorded" in capsys.readouterr().out
    assert len(list(board.rglob("*.json"))) == 1


def test_another_preprocessing_is_no_agreement(
    board: Path, tmp_path: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = model.spec.preprocessing.model_copy(update={"mean": (0.4, 0.4, 0.4)})
    file = ModelFile(model="digits:cnn", checkpoint=str(WEIGHTS), preprocessing=shown)
    write_yaml(tmp_path / "other.yaml", file)
    assert run(command(board, str(tmp_path / "other.yaml"))) == 1
    assert "model: preprocessing: recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--images", "499"], "--images; expected at least 500, or all; found 499"),
        (["--images", "some"], "--images; expected a whole number or all; found some"),
        (["--seed", "-1"], "--seed; expected a whole number, at least 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    board: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(board, "digits:cnn", *arguments)) == 2
    assert said in capsys.readouterr().err


def test_a_record_that_is_not_on_the_board_is_refused(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["leaderboard", "audit", str(PLAIN), "digits:cnn", "--leaderboard", str(board)]) == 2
    assert "file it first with `rbs leaderboard add`" in capsys.readouterr().err


def test_what_no_audit_can_verify_is_refused_before_the_model_is_loaded(sent: Sent) -> None:
    partial = sent.record.model_copy(update={"status": "partial", "partial_because": ("limit: 9",)})
    with pytest.raises(UsageError, match="is partial: limit: 9"):
        check_auditable(partial, images=500)
    blind = sent.record.model_copy(update={"without_images": ("digits/clean/clean-0",)})
    with pytest.raises(UsageError, match="without the images of digits/clean"):
        check_auditable(blind, images=500)
    unknown = sent.record.model.model_copy(update={"network_known": False})
    with pytest.raises(UsageError, match="made from a file of predictions"):
        check_auditable(sent.record.model_copy(update={"model": unknown}), images=500)


def test_what_was_not_borne_out_is_not_filed(board: Path, sent: Sent, honest: Audit) -> None:
    failed = Audit(images=500, seed=0, differences=("model: x",), compared=honest.compared)
    (path,) = board.rglob("*.json")
    with pytest.raises(UsageError, match="was not borne out"):
        file_verified(board, file_of(path), sent.companion, failed, by="Ada")
