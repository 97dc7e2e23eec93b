"""Writing a complete model file from a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_safety.errors import CheckpointError, FileFormatError, ModelError, UsageError
from robustbench_safety.files import read_yaml
from robustbench_safety.models import load_model
from robustbench_safety.models.cifar import build
from robustbench_safety.models.digits import build_network
from robustbench_safety.models.model import Trust
from robustbench_safety.models.model_files import name_of_checkpoint, write_model_file
from robustbench_safety.records import ModelFile, Preprocessing
from tests.models.asking import asked
from tests.models.weights import hostile


@pytest.fixture
def cifar_checkpoint(tmp_path: Path) -> Path:
    """Random weights of a ResNet-20 for CIFAR-100, wrapped and in half precision."""
    network = build(asked("resnet20/cifar-100")).network.half()
    path = tmp_path / "weights" / "r20.pth"
    path.parent.mkdir()
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return path


def test_the_written_file_loads_to_the_same_spec(cifar_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "files" / "r20.yaml"
    loaded = write_model_file(
        cifar_checkpoint, out, model="cifar:resnet20", label_space="cifar-100", name="Mine: 1"
    )
    again = load_model(out)
    assert again.spec == loaded.spec
    assert again.name == "Mine: 1"
    assert again.spec.checkpoint is not None
    assert again.spec.checkpoint.unwrapped == ("key:state_dict", "prefix:module.", "dtype:float16")


def test_the_file_says_all_that_was_left_to_the_family(cifar_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "r20.yaml"
    loaded = write_model_file(cifar_checkpoint, out, model="cifar:resnet20/cifar-100")
    file = read_yaml(out, ModelFile)
    assert file.checkpoint == "weights/r20.pth"
    assert loaded.spec.checkpoint is not None
    assert file.sha256 == loaded.spec.checkpoint.sha256
    assert file.label_space == "cifar-100"
    assert file.preprocessing == loaded.spec.preprocessing
    for field in ("input_size", "resize", "crop", "interpolation", "mean", "std"):
        assert f"  {field}:" in out.read_text()


def test_the_written_file_refuses_another_checkpoint_at_its_path(
    cifar_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r20.yaml"
    write_model_file(cifar_checkpoint, out, model="cifar:resnet20/cifar-100")
    network = build(asked("resnet20/cifar-100")).network
    torch.save(network.state_dict(), cifar_checkpoint)
    with pytest.raises(CheckpointError, match="is not the one that the model file states"):
        load_model(out)


def test_trust_in_a_pickle_is_for_the_stated_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the mark is left there
    marker, path = tmp_path / hostile.MARKER, tmp_path / "model.yaml"
    file = hostile.saved(tmp_path, {"state_dict": {"a": torch.zeros(1)}, "x": hostile.RunsCommand()})
    text = f"model: digits:cnn\ncheckpoint: {file.name}\n"
    path.write_text(f"{text}sha256: {'0' * 64}\n")
    with pytest.raises(CheckpointError, match="not the one that the model file states"):
        load_model(path, trust_pickle=True)
    assert not marker.exists()
    path.write_text(text)
    with pytest.raises(CheckpointError):
        load_model(path, trust_pickle=True)
    assert marker.exists()  # it would have run


def test_the_path_holds_through_links(digits_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    out = tmp_path / "link" / "m.yaml"
    spec = write_model_file(digits_checkpoint, out, model="digits:cnn").spec
    assert load_model(out).spec == spec


def test_what_was_trusted_has_to_be_trusted_again(tmp_path: Path) -> None:
    path, out = hostile.saved(tmp_path, build_network(0)), tmp_path / "m.yaml"
    write_model_file(path, out, model="digits:cnn", trust=Trust(pickle=True))
    with pytest.raises(CheckpointError, match="--trust-pickle"):
        load_model(out)
    assert load_model(out, trust_pickle=True).spec.trusted == ("pickle",)


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_nothing_is_overwritten(digits_checkpoint: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "m.yaml"
    if kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"m\.yaml exists already; remove it, or name another"):
        write_model_file(digits_checkpoint, out, model="digits:cnn")
    assert out.is_symlink() or out.read_text() == "mine"


@pytest.mark.parametrize(
    ("model", "label_space", "error"),
    [("cifar:resnet20", None, CheckpointError), ("digits:cnn", "cifar-100", ModelError)],
)
def test_nothing_is_written_where_the_model_does_not_load(
    digits_checkpoint: Path, tmp_path: Path, model: str, label_space: str | None, error: type[Exception]
) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(error):
        write_model_file(digits_checkpoint, tmp_path / "m.yaml", model=model, label_space=label_space)
    assert set(tmp_path.rglob("*")) == before


def test_a_name_that_is_none_of_a_model_file_is_refused(digits_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name that ends in \.yaml"):
        write_model_file(digits_checkpoint, digits_checkpoint.with_suffix(".txt"), model="digits:cnn")


# ------------------------------------------------------------------------- the model that a file itself names


def timm_checkpoint(folder: Path, **options: object) -> Path:
    """What timm's training script writes."""
    import timm

    network = timm.create_model("test_resnet", num_classes=10)
    content = {
        "epoch": 3,
        "arch": "test_resnet",
        "state_dict": network.state_dict(),
        "args": argparse.Namespace(
            **({"model": "test_resnet", "crop_pct": None, "interpolation": ""} | options)
        ),
    }
    path = folder / "last.pth.tar"
    torch.save(content, path)
    return path


def test_a_checkpoint_of_timms_training_script_names_its_architecture(tmp_path: Path) -> None:
    path = timm_checkpoint(tmp_path)
    assert name_of_checkpoint(path, trust=Trust()) == "timm:test_resnet"
    out = tmp_path / "m.yaml"
    spec = write_model_file(path, out, label_space="cifar-10").spec
    assert spec.name == "timm:test_resnet"
    assert load_model(out).spec == spec


def test_an_architecture_without_timms_options_may_be_another_librarys(tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth.tar"
    torch.save({"arch": "resnet18", "state_dict": {"w": torch.zeros(1)}}, path)
    with pytest.raises(UsageError, match="found arch 'resnet18', which does not say whose; give --model"):
        name_of_checkpoint(path, trust=Trust())


def test_a_network_trained_with_another_preprocessing_than_timms_is_not_taken_for_timms(
    tmp_path: Path,
) -> None:
    path = timm_checkpoint(tmp_path, crop_pct=0.9)
    with pytest.raises(
        UsageError, match="trained with crop_pct of its own; give --model timm:test_resnet, and"
    ):
        name_of_checkpoint(path, trust=Trust())


@pytest.mark.parametrize(
    ("name", "family"), [("net.onnx", "onnx"), ("net.pt2", "export"), ("net.pt", "export"), ("folder", "hf")]
)
def test_files_that_are_models_name_their_family(name: str, family: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        (path / "config.json").write_text("{}")
    elif name == "net.pt":
        hostile.torchscript(tmp_path).rename(path)
    else:
        path.write_bytes(b"x")
    assert name_of_checkpoint(path, trust=Trust()) == f"{family}:{path}"


def test_a_file_that_says_nothing_gets_a_list_of_what_to_give(
    digits_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="found a file of weights that names no architecture; give --model"):
        name_of_checkpoint(digits_checkpoint, trust=Trust())
    with pytest.raises(UsageError, match=r"found a folder without config\.json; name the file of weights"):
        name_of_checkpoint(tmp_path, trust=Trust())


def test_a_file_that_would_run_code_runs_none_when_it_is_asked_its_name(tmp_path: Path) -> None:
    path = hostile.saved(tmp_path, {"arch": "resnet18", "x": hostile.RunsCommand()})
    with pytest.raises(CheckpointError, match="needs code to be run"):
        name_of_checkpoint(path, trust=Trust())
    assert not Path(hostile.MARKER).exists()


# ----------------------------------------------------------------------------------------- fields of the file


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("labelspace: digits", "line 3: labelspace is an unknown field; expected one like label_space"),
        ("sha256: abc", r"line 3: sha256 is wrong; .*found \"abc\""),
        ("precision: float8", r"line 3: precision is wrong; expected .*'float32', 'bfloat16' or 'float16'"),
        ("name: 3", "line 3: name is wrong; expected a valid string; found 3"),
        ("preprocessing: {input_size: [32, 32]}", r"line 3: preprocessing\.resize is missing; .*input_size"),
        (
            "published_accuracy: {cifar-10: 95.2}",
            r"line 3: published_accuracy\.cifar-10 is wrong; .*equal to 1",
        ),
        ("trained_on: imagenet-1k", "line 3: trained_on is wrong; expected a valid array"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_and_what_was_expected(
    line: str, message: str, digits_checkpoint: Path
) -> None:
    path = digits_checkpoint.with_name("m.yaml")
    path.write_text(f"model: digits:cnn\ncheckpoint: digits.pth\n{line}\n")
    with pytest.raises(FileFormatError, match=message):
        load_model(path)


def test_an_exported_graph_gets_the_preprocessing_that_is_given(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    path = tmp_path / "net.onnx"
    batch = {0: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        network, (torch.zeros(2, 3, 32, 32),), path, optimize=False, dynamic_shapes=(batch,), verbose=False
    )
    out = tmp_path / "net.yaml"
    with pytest.raises(UsageError, match="declares no preprocessing"):
        write_model_file(path, out, label_space="cifar-10")
    assert not out.exists()
    pixels = Preprocessing(
        input_size=(32, 32),
        resize=None,
        crop=None,
        interpolation="bilinear",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    written = write_model_file(path, out, label_space="cifar-10", preprocessing=pixels)
    assert written.spec.preprocessing == pixels
    assert load_model(out).spec == written.spec
