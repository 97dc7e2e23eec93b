"""From a name or a model file to a network that is ready to be scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustbench_safety.errors import (
    CheckpointError,
    FileFormatError,
    ModelError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.models import load_model
from robustbench_safety.models.cifar import build
from robustbench_safety.models.digits import build_network
from tests.models.asking import asked

PREPROCESSING = (
    "preprocessing: {input_size: [32, 32], resize: null, crop: null, interpolation: nearest, "
    "mean: [0.1, 0.2, 0.3], std: [1.0, 1.0, 1.0]}\n"
)


def write(folder: Path, text: str, *, name: str = "model.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_model_file_and_the_same_on_the_command_line_give_the_same_model(digits_checkpoint: Path) -> None:
    path = write(digits_checkpoint.parent, "model: digits:cnn\ncheckpoint: digits.pth\n")
    by_file, by_name = load_model(path), load_model("digits:cnn", checkpoint=digits_checkpoint)
    assert by_file.spec == by_name.spec == load_model(str(path)).spec
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(by_file.network(x), by_name.network(x))


def test_the_snapshot_says_what_was_loaded(digits_checkpoint: Path) -> None:
    spec = load_model("digits:cnn", checkpoint=digits_checkpoint).spec
    assert spec.checkpoint is not None
    assert spec.checkpoint.file == "digits.pth"
    assert spec.checkpoint.unwrapped == ()
    assert spec.parameters == 61_338
    assert spec.training_data is None
    assert spec.code_digest is None


def test_the_logits_are_those_of_the_bare_network_on_normalised_pixels(digits_checkpoint: Path) -> None:
    x = torch.rand(2, 3, 32, 32)
    expected = build_network(0).eval()((x - 0.5) / 0.5)
    assert torch.equal(load_model("digits:cnn", checkpoint=digits_checkpoint).network(x), expected)


def test_a_safetensors_copy_has_the_same_weights_digest_but_another_file_digest(
    digits_checkpoint: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "digits.safetensors"
    save_file(torch.load(digits_checkpoint, weights_only=True), copy)
    one = load_model("digits:cnn", checkpoint=digits_checkpoint).spec
    two = load_model("digits:cnn", checkpoint=copy).spec
    assert one.weights_digest == two.weights_digest
    assert one.checkpoint is not None
    assert two.checkpoint is not None
    assert one.checkpoint.sha256 != two.checkpoint.sha256


def test_fields_of_the_model_file_go_before_the_family(digits_checkpoint: Path) -> None:
    text = "model: digits:cnn\ncheckpoint: digits.pth\nlabel_space: cifar-10\ntraining_data: mine\n"
    text += PREPROCESSING
    spec = load_model(write(digits_checkpoint.parent, text)).spec
    assert spec.label_space == "cifar-10"
    assert spec.training_data == "mine"
    assert spec.preprocessing.mean == (0.1, 0.2, 0.3)


def test_a_checkpoint_on_the_command_line_goes_before_the_model_files(digits_checkpoint: Path) -> None:
    path = write(digits_checkpoint.parent, "model: digits:cnn\ncheckpoint: none.pth\n")
    assert load_model(path, checkpoint=digits_checkpoint).n_classes == 10
    with pytest.raises(CheckpointError, match=r"none\.pth does not exist"):
        load_model(path)


def test_the_suites_label_space_changes_nothing_where_the_family_declares_one(
    digits_checkpoint: Path,
) -> None:
    model = load_model("digits:cnn", checkpoint=digits_checkpoint, label_space="cifar-100")
    assert model.spec.label_space == "digits"


def test_a_checkpoint_of_another_architecture_is_refused(digits_checkpoint: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"digits\.pth does not fit cifar:resnet20; .*missing .*unexpected"
    ):
        load_model("cifar:resnet20", checkpoint=digits_checkpoint)


def test_a_label_space_of_another_size_than_the_network_is_refused(digits_checkpoint: Path) -> None:
    path = write(
        digits_checkpoint.parent, "model: digits:cnn\ncheckpoint: digits.pth\nlabel_space: cifar-100\n"
    )
    with pytest.raises(
        ModelError, match="label space cifar-100 has classes; expected 100; found 10; declare the"
    ):
        load_model(path)


def test_an_unknown_label_space_shows_near_names(digits_checkpoint: Path) -> None:
    path = write(
        digits_checkpoint.parent, "model: digits:cnn\ncheckpoint: digits.pth\nlabel_space: cifar10\n"
    )
    with pytest.raises(UnknownNameError, match="unknown label space 'cifar10'; expected one like cifar-10"):
        load_model(path)


def test_an_unknown_field_of_a_model_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "model: digits:cnn\nchekpoint: a.pth\n")
    with pytest.raises(
        FileFormatError, match="line 2: chekpoint is an unknown field; expected one like checkpoint"
    ):
        load_model(path)


def test_a_missing_model_file_is_named() -> None:
    with pytest.raises(StorageError, match=r"none\.yaml cannot be read; found No such file"):
        load_model("none.yaml")


@pytest.mark.parametrize("name", ["resnet20", "cifar:", ":resnet20", ""])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is malformed; expected family:architecture"):
        load_model(name)


def test_a_malformed_name_in_a_model_file_is_refused_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.yaml: model 'resnet20' is malformed"):
        load_model(write(tmp_path, "model: resnet20\n"))


def test_an_unknown_family_shows_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown model family 'tim'; expected one like timm"):
        load_model("tim:resnet18")


def test_code_named_in_a_model_file_runs_only_when_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "untrusted_code.py").write_text(
        "import pathlib\npathlib.Path('marker').touch()\n"
        "from robustbench_safety.models.digits import DigitsNet\n"
    )
    path = write(tmp_path, "model: python:untrusted_code:DigitsNet\nlabel_space: digits\n")
    with pytest.raises(UsageError, match="runs code of its own; read that code, then give --trust-code"):
        load_model(path)
    assert not (tmp_path / "marker").exists()
    model = load_model(path, trust_code=True)
    assert (tmp_path / "marker").exists()
    assert model.spec.label_space == "digits"
    assert model.spec.code_digest is not None


def test_wrappers_are_recorded_from_the_file_to_the_network(tmp_path: Path) -> None:
    state = build(asked("resnet20")).network.half().state_dict()
    wrapped = {f"module.{key}": value for key, value in state.items() if "num_batches" not in key}
    torch.save({"state_dict": wrapped, "state_dict_ema": dict(wrapped)}, tmp_path / "a.pth")
    spec = load_model("cifar:resnet20", checkpoint=tmp_path / "a.pth").spec
    assert spec.checkpoint is not None
    assert spec.checkpoint.unwrapped == (
        "key:state_dict_ema",
        "prefix:module.",
        "absent:num_batches_tracked",
        "dtype:float16",
    )


def test_torchs_generator_is_not_needed_to_score_a_loaded_model(digits_checkpoint: Path) -> None:
    model = load_model("digits:cnn", checkpoint=digits_checkpoint)
    before = torch.random.get_rng_state()
    model.network(torch.zeros(1, 3, 32, 32))
    assert torch.equal(torch.random.get_rng_state(), before)
