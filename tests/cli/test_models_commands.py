"""``rbs models list``, ``show`` and ``new``."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch

from robustbench_safety.cli.app import run
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.models import family_facts, load_model
from robustbench_safety.models.families import FAMILIES

PLAIN = DEMO_MODELS[0].checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = set(Path().rglob("*"))
    assert run(list(arguments)) == 2
    assert set(Path().rglob("*")) == before
    return capsys.readouterr().err


def test_the_list_imports_no_familys_library() -> None:
    code = (
        "import sys\nfrom robustbench_safety.cli.app import run\ncode = run(['models', 'list'])\n"
        "heavy = {'timm', 'torchvision', 'open_clip', 'transformers', 'onnxruntime'} & set(sys.modules)\n"
        "print(code, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    for name in FAMILIES:
        assert f"│ {name} " in done.stdout


def test_every_family_says_in_a_line_what_it_is() -> None:
    facts = {fact.name: fact for fact in family_facts.all_families()}
    assert facts.keys() >= FAMILIES.keys()
    for name in FAMILIES:
        assert len(facts[name].summary) > 20, name
        assert "``" not in facts[name].summary


def test_a_missing_extra_is_marked_with_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_transformers(name: str) -> object:
        if name == "transformers":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(family_facts, "distribution", without_transformers)
    out = " ".join(said(capsys, "models", "list").replace("│", " ").split())
    assert "lacks transformers" in out
    assert "robustbench-safety[hf]" in out
    assert "robustbench-safety[onnx]" not in out


def test_the_architectures_of_one_family_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cifar:resnet20" in said(capsys, "models", "list", "cifar")


def test_what_show_prints_can_be_fed_back(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "models", "show", "digits:cnn", "--checkpoint", str(PLAIN))
    Path("fed.yaml").write_text(out)
    assert load_model("fed.yaml").spec == load_model("digits:cnn", checkpoint=PLAIN).spec
    assert said(capsys, "models", "show", "fed.yaml") == out


def test_show_says_everything_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    spec = load_model("digits:cnn", checkpoint=PLAIN).spec
    out = said(capsys, "models", "show", "digits:cnn", "--checkpoint", str(PLAIN))
    assert spec.checkpoint is not None
    for known in (
        spec.weights_digest, spec.checkpoint.sha256, "safetensors", "61,338", f"{spec.flops:,}",
        "features           64", "gradients          yes", "trusted            nothing", "rules   none were",
        "outputs: logits", "precision: float32", "label_space: digits", "interpolation: bilinear",
        "resize: null",
    ):  # fmt: skip
        assert known in out


def test_show_names_the_rules_and_what_was_trusted(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.models.weights import hostile

    torch.save({"model": hostile.state(), "x": hostile.RunsCommand()}, "a.pth")
    assert "--trust-pickle" in refused(capsys, "models", "show", "digits:cnn", "--checkpoint", "a.pth")
    out = said(capsys, "models", "show", "digits:cnn", "--checkpoint", "a.pth", "--trust-pickle")
    assert "rules   trusted:pickle, key:model" in out
    assert "trusted            pickle" in out


def test_show_of_a_model_file_keeps_its_paths_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sub").mkdir()
    Path("sub/weights.safetensors").write_bytes(PLAIN.read_bytes())
    Path("sub/m.yaml").write_text(
        "model: digits:cnn\ncheckpoint: weights.safetensors\ntraining_data: digits, 1,797\n"
        "trained_on: [digits]\npublished_accuracy: {digits: 0.98}\nprecision: bfloat16\n"
    )
    out = said(capsys, "models", "show", "sub/m.yaml")
    for line in ("checkpoint: weights.safetensors", "training_data: digits, 1,797", "- digits",
                 "  digits: 0.98", "precision: bfloat16"):  # fmt: skip
        assert line in out.splitlines()
    over = said(capsys, "models", "show", "sub/m.yaml", "--checkpoint", str(PLAIN.resolve()))
    Path("sub/over.yaml").write_text(over)
    assert (
        load_model("sub/over.yaml").spec.checkpoint
        == load_model("digits:cnn", checkpoint=PLAIN).spec.checkpoint
    )


def test_show_and_errors_write_out_what_would_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("w.pth").write_bytes(b"")
    torch.save(load_model("digits:cnn", checkpoint=PLAIN).network.network.state_dict(), "w\x1b[31m.pth")
    Path("m.yaml").write_text(
        'model: digits:cnn\ncheckpoint: "w\\e[31m.pth"\nname: "\\e]0;owned\\a :smile:"\n'
    )
    out = said(capsys, "models", "show", "m.yaml")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert ":smile:" in out
    Path("again.yaml").write_text(out)
    assert load_model("again.yaml").name == "\x1b]0;owned\x07 :smile:"
    said_err = refused(capsys, "models", "show", "digits:cnn", "--checkpoint", "gone\x1b[31m.pth")
    assert "\x1b" not in said_err
    assert "gone\\x1b[31m.pth does not exist" in said_err


def test_new_writes_a_file_that_scores_and_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "models", "new", str(PLAIN), "--model", "digits:cnn", "--name", "Mine")
    path = Path(f"{PLAIN.stem}.yaml")
    assert str(path) in out
    assert f"rbs score {path} --suite SUITE" in out
    assert load_model(path).spec == load_model("digits:cnn", checkpoint=PLAIN).spec
    command = ["--suite", "digits", "--limit", "20", "--batch-size", "20"]
    assert "Mine on digits" in said(capsys, "score", str(path), *command)
    assert "exists already" in refused(capsys, "models", "new", str(PLAIN), "--model", "digits:cnn")


def test_new_without_a_model_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "models", "new", str(PLAIN))
    assert "names no architecture" in message
    assert "--model family:architecture" in message


@pytest.mark.parametrize("arguments", [["gone.pth"], ["gone.pth", "--model", "digits:cnn"], ["gone.onnx"]])
def test_new_of_nothing_writes_nothing(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "does not exist" in refused(capsys, "models", "new", *arguments)


def test_new_of_a_file_that_cannot_be_written_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    command = ["models", "new", str(PLAIN), "--model", "digits:cnn", "--out", "file/m.yaml"]
    assert "cannot be written" in refused(capsys, *command)
