"""The command that remakes a row: our own parser reads it as the record says, and it remakes the row."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.demo import DEMO_MODELS, DEMO_SUITE
from robustbench_safety.files import read_json, read_yaml
from robustbench_safety.models import load_model
from robustbench_safety.records import (
    CheckpointInfo,
    HeadClasses,
    ModelFile,
    ScoreRecord,
    ZeroShot,
)
from robustbench_safety.reporting.filing import file_of
from robustbench_safety.reporting.reproduce import Reproduction, reproduction
from robustbench_safety.reporting.shipped import shipped_suite

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
HOSTILE = "$(touch owned) `id` \"x\" 'y' ; rm -rf / # <script> =1+1 | & \\ é"


def one(suite: str, slug: str) -> ScoreRecord:
    (path,) = (RECORDS / suite).glob(f"{slug}--*.json")
    return read_json(path, ScoreRecord)


@pytest.fixture(scope="module")
def digits() -> ScoreRecord:
    return one("digits-safety", "digits-cnn-plain")


@pytest.fixture(scope="module")
def python_row() -> ScoreRecord:
    return one("cifar10-safety-generated", "conv-marabou")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reproduction], dict[str, Any]]:
    """What `rbs score` understands of a command."""

    def read(made: Reproduction) -> dict[str, Any]:
        assert made.command is not None
        program, *arguments = shlex.split(made.command)
        assert program == "rbs"
        got: dict[str, Any] = {}

        def run_score(leaderboard: Path, model: str, **options: object) -> None:
            got.update(options, model=model)

        monkeypatch.setattr("robustbench_safety.cli.commands.run_score", run_score)
        assert run(arguments) == 0
        return got

    return read


def with_spec(record: ScoreRecord, **changes: object) -> ScoreRecord:
    return record.model_copy(update={"model": record.model.model_copy(update=changes)})


def test_a_row_of_a_name_and_a_checkpoint_is_one_command(
    digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    made = reproduction(digits, shipped_suite(digits.suite))
    got = parsed(made)
    assert not made.needs_file
    assert (got["model"], got["suite"], got["checkpoint"]) == (
        "digits:cnn", "digits-safety", Path("digits_plain.safetensors"),
    )  # fmt: skip
    assert (got["name"], got["device"], got["precision"]) == ("digits CNN, plain", "cpu", "float32")
    assert got["batch_size"] == digits.environment.batch_size
    assert (got["seed"], got["limit"], got["skip_missing"]) == (None, None, False)
    assert [got[flag] for flag in ("tf32", "compiled", "trust_pickle", "trust_code")] == [False] * 4


def test_what_a_record_says_of_seed_limit_machine_and_trust_stands_in_the_command(
    digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    environment = digits.environment.model_copy(
        update={"tf32": True, "compiled": True, "precision": "bfloat16", "batch_size": 7, "device": "cuda:1"}
    )
    other = with_spec(digits, trusted=("pickle",)).model_copy(
        update={
            "seed": 5, "limit": 40, "environment": environment, "status": "partial",
            "partial_because": ("limit: 40 source images of each dataset", "seed: 5, the suite's is 0"),
        }
    )  # fmt: skip
    got = parsed(reproduction(other, shipped_suite(other.suite)))
    assert (got["seed"], got["limit"], got["device"]) == (5, 40, "cuda:1")
    assert (got["precision"], got["batch_size"]) == ("bfloat16", 7)
    assert (got["tf32"], got["compiled"], got["trust_pickle"]) == (True, True, True)
    assert not got["skip_missing"]


def test_cells_without_data_are_left_out_again(
    digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    name = digits.columns[0]
    null = digits.scores[name].model_copy(update={"value": None, "interval": None, "reason": "no data"})
    partial = digits.model_copy(
        update={
            "scores": digits.scores | {name: null}, "status": "partial",
            "partial_because": (f"{name}: no data",),
        }
    )  # fmt: skip
    assert parsed(reproduction(partial, shipped_suite(digits.suite)))["skip_missing"]


def test_a_suite_that_is_not_shipped_is_said_to_be_needed_with_its_seed(
    digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    changed = digits.model_copy(update={"suite": digits.suite.model_copy(update={"digest": "0" * 64})})
    assert shipped_suite(changed.suite) is None
    assert shipped_suite(changed.suite.model_copy(update={"name": "nobodys-suite"})) is None
    assert shipped_suite(changed.suite.model_copy(update={"version": 99})) is None
    made = reproduction(changed, None)
    assert parsed(made)["seed"] == digits.seed
    assert any("not the one that this version ships" in need for need in made.needs)


@pytest.mark.parametrize("name", [HOSTILE, "-rf", "--help", "x" * 5000, "a'b"])
def test_no_name_becomes_another_command(
    name: str, digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    got = parsed(reproduction(digits.model_copy(update={"display_name": name}), None))
    assert got["name"] == name
    got = parsed(reproduction(with_spec(digits, family=name.replace(":", ""), architecture=name), None))
    assert got["model"].endswith(name)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a\u202eb", "a\U000e0001b"])
def test_a_name_that_cannot_be_typed_has_no_command(name: str, digits: ScoreRecord, tmp_path: Path) -> None:
    made = reproduction(digits.model_copy(update={"display_name": name}), None)
    assert made.command is None
    assert "cannot be typed" in made.why_not
    content = made.files[0].content
    assert all(character.isprintable() or character == "\n" for character in content)
    (tmp_path / "model.yaml").write_text(content, encoding="utf-8")
    assert read_yaml(tmp_path / "model.yaml", ModelFile).name == name


def test_code_that_a_model_file_named_needs_that_file_and_trust(
    python_row: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]], tmp_path: Path
) -> None:
    made = reproduction(python_row, shipped_suite(python_row.suite))
    got = parsed(made)
    assert made.needs_file
    assert (got["model"], got["trust_code"], got["checkpoint"]) == ("model.yaml", True, None)
    assert python_row.model.checkpoint is not None
    (tmp_path / "model.yaml").write_text(made.files[0].content, encoding="utf-8")
    file = read_yaml(tmp_path / "model.yaml", ModelFile)
    assert file.model == "python:published_cifar_nets:marabou"
    assert file.sha256 == python_row.model.checkpoint.sha256
    assert file.preprocessing == python_row.model.preprocessing
    assert file.name == "conv-marabou"
    assert any("the code of python:published_cifar_nets:marabou, sha256" in need for need in made.needs)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"outputs": "probabilities"}, "the network returns probabilities"),
        ({"trained_on": ("cifar-10",)}, "what the model was trained on"),
        ({"training_data": "everything"}, "what the model was trained on"),
        ({"augmentations": ("pixmix",)}, "the augmentations of its training"),
        (
            {"head_classes": HeadClasses(source="imagenet-22k", digest="0" * 64, outputs=21_843)},
            "the classes of the head",
        ),
        (
            {"probe": CheckpointInfo(file="probe.npz", sha256="0" * 64, format="torch")},
            "a linear classifier on the features",
        ),
        (
            {
                "zero_shot": ZeroShot(
                    templates="mine.txt", templates_digest="1" * 64, names="n.txt", names_digest="2" * 64,
                    logit_scale=100.0,
                )
            },
            "the templates of the prompts",
        ),
    ],
    ids=["probabilities", "trained on", "training data", "augmentations", "head", "probe", "templates"],
)  # fmt: skip
def test_what_a_name_cannot_say_stands_in_a_model_file(
    changes: dict[str, object], because: str, digits: ScoreRecord, tmp_path: Path
) -> None:
    made = reproduction(with_spec(digits, **changes), shipped_suite(digits.suite))
    assert made.because == (because,)
    assert made.command is not None
    assert made.command.startswith("rbs score model.yaml --suite digits-safety")
    (tmp_path / "model.yaml").write_text(made.files[0].content, encoding="utf-8")
    file = read_yaml(tmp_path / "model.yaml", ModelFile)
    assert file.label_space == digits.model.label_space
    for field in ("trained_on", "training_data", "augmentations"):
        assert getattr(file, field) == changes.get(field, getattr(digits.model, field))


def test_a_familys_own_weights_say_themselves_what_they_were_trained_on(digits: ScoreRecord) -> None:
    own = with_spec(
        digits, family="timm", architecture="resnet50.a1_in1k", checkpoint=None, training_data="a1_in1k"
    )
    made = reproduction(own, None)
    assert made.because == ()
    assert made.command is not None
    assert "--checkpoint" not in made.command


def test_a_graph_is_named_by_its_file_alone(digits: ScoreRecord) -> None:
    info = CheckpointInfo(file="net.onnx", sha256="3" * 64, format="onnx")
    made = reproduction(with_spec(digits, family="onnx", architecture="net.onnx", checkpoint=info), None)
    assert made.command is not None
    assert made.command.startswith("rbs score onnx:net.onnx --suite")
    assert "--checkpoint" not in made.command
    assert f"the file net.onnx, sha256 {'3' * 64}" in made.needs


def test_predictions_that_were_handed_in_are_read_without_a_machine(
    digits: ScoreRecord, parsed: Callable[[Reproduction], dict[str, Any]]
) -> None:
    handed = with_spec(
        digits, family="predictions", architecture="sent.parquet", checkpoint=None, network_known=False,
        outputs="probabilities",
    )  # fmt: skip
    handed = handed.model_copy(update={"environment": handed.environment.model_copy(update={"known": False})})
    made = reproduction(handed, shipped_suite(handed.suite))
    got = parsed(made)
    assert got["model"] == "predictions:sent.parquet"
    assert (got["device"], got["precision"], got["batch_size"]) == (None, None, None)
    assert made.files == ()
    assert f"the predictions sent.parquet, sha256 {handed.model.weights_digest}" in made.needs


def test_an_ensemble_is_a_file_and_one_for_each_member(digits: ScoreRecord, tmp_path: Path) -> None:
    paths = []
    for i, model in enumerate(DEMO_MODELS):
        path = tmp_path / f"{i}.yaml"
        path.write_text(f"model: digits:cnn\ncheckpoint: {model.checkpoint}\n", encoding="utf-8")
        paths.append(path.name)
    (tmp_path / "both.yaml").write_text(
        f"model: ensemble:both\nmembers: [{', '.join(paths)}]\ncombine: logits\n", encoding="utf-8"
    )
    spec = load_model(tmp_path / "both.yaml").spec
    made = reproduction(digits.model_copy(update={"model": spec}), shipped_suite(digits.suite))
    assert [file.name for file in made.files] == ["model.yaml", "member-1.yaml", "member-2.yaml"]
    again = tmp_path / "again"
    again.mkdir()
    for file in made.files:
        (again / file.name).write_text(file.content, encoding="utf-8")
    for model in DEMO_MODELS:
        shutil.copy(model.checkpoint, again)
    assert load_model(again / "model.yaml").spec == spec


def test_an_ensemble_in_an_ensemble_has_files_of_its_own(digits: ScoreRecord) -> None:
    inner = digits.model.model_copy(
        update={"family": "ensemble", "members": (digits.model, digits.model), "checkpoint": None}
    )
    outer = inner.model_copy(update={"members": (inner, digits.model)})
    made = reproduction(digits.model_copy(update={"model": outer}), None)
    assert [file.name for file in made.files] == [
        "model.yaml", "member-1.yaml", "member-1-1.yaml", "member-1-2.yaml", "member-2.yaml",
    ]  # fmt: skip
    assert "- member-1-2.yaml" in made.files[1].content


def test_the_command_makes_the_same_record_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = DEMO_MODELS[0]
    shutil.copy(model.checkpoint, tmp_path)
    first = ["score", "digits:cnn", "--suite", DEMO_SUITE, "--checkpoint", model.checkpoint.name]
    first += ["--limit", "10", "--batch-size", "10", "--device", "cpu", "--name", "mine, again"]
    assert run([*first, "--leaderboard", "first", "--predictions", "one"]) == 0
    (path,) = (tmp_path / "first" / "records" / DEMO_SUITE).glob("*.json")
    filed = file_of(path)
    made = reproduction(filed.record, shipped_suite(filed.record.suite))
    assert made.command is not None
    arguments = shlex.split(made.command)[1:]
    assert run([*arguments, "--leaderboard", "second", "--predictions", "two"]) == 0
    assert digests(tmp_path / "second") == [filed.digest]
    # The model file pins the same model: it goes on from the predictions that the name has left.
    (tmp_path / "model.yaml").write_text(made.files[0].content, encoding="utf-8")
    at = arguments.index("--checkpoint")
    pinned = ["score", "model.yaml", *arguments[2:at], *arguments[at + 2 :]]
    assert run([*pinned, "--leaderboard", "third", "--predictions", "two"]) == 0
    assert digests(tmp_path / "third") == [filed.digest]
    assert len(list((tmp_path / "two").iterdir())) == 1


def digests(leaderboard: Path) -> list[str]:
    return [file_of(path).digest for path in (leaderboard / "records" / DEMO_SUITE).glob("*.json")]
