"""Heads that know more classes than the label space: the declared list, and what is selected from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from robustbench_safety.errors import (
    CheckpointError,
    FileFormatError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.labels import load_label_space
from robustbench_safety.models import Model, load_model
from robustbench_safety.models.head import KNOWN_HEADS, head_size, read_head, select_columns, select_head
from tests.models.asking import asked

IMAGENET = load_label_space("imagenet-1k")
CIFAR = load_label_space("cifar-10")
#: timm's test network: 0.5 M parameters, 160 px.
SMALL = "test_resnet"
#: Outputs of the lists that timm carries, and how many of ImageNet-1k's classes each lacks. The teddy bear
#: (n04399382) is in none but Microsoft's.
KNOWN = {
    "imagenet-12k": (11821, 7),
    "imagenet-21k-goog": (21843, 1),
    "imagenet-21k-miil": (11221, 9),
    "imagenet-22k": (21841, 1),
    "imagenet-22k-ms": (21842, 0),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A random network with a head of 21,842 classes, and the folder of its checkpoint ``a.pth``."""
    folder = tmp_path_factory.mktemp("large")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: torch.nn.Module = timm.create_model(SMALL, pretrained=False, num_classes=21842).eval()
    torch.save(network.state_dict(), folder / "a.pth")
    return network, folder


def model_file(folder: Path, *lines: str) -> Path:
    path = folder / "m.yaml"
    path.write_text("\n".join([f"model: timm:{SMALL}", "checkpoint: a.pth", *lines]))
    return path


def logits(network: torch.nn.Module, model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all logits of the bare network and the selected ones of the model, for two random images."""
    x = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    norm = model.spec.preprocessing
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (norm.mean, norm.std))
    with torch.inference_mode():
        return network((x - mean) / std), model.network(x)


@pytest.mark.parametrize("name", KNOWN_HEADS)
def test_known_lists_are_counted_and_say_which_classes_they_lack(name: str) -> None:
    outputs, lacking = KNOWN[name]
    keys = read_head(name, folder=Path("/nowhere"))
    assert len(keys) == len(set(keys)) == outputs
    if lacking:
        with pytest.raises(
            ModelError, match=f"does not know every class of imagenet-1k; .*{lacking} missing"
        ):
            select_head(name, IMAGENET, folder=Path(), outputs=outputs)
        return
    head, columns = select_head(name, IMAGENET, folder=Path(), outputs=outputs)
    assert (head.source, head.outputs) == (name, outputs)
    assert tuple(keys[column] for column in columns) == IMAGENET.classes


def test_every_known_list_stands_in_this_test() -> None:
    assert set(KNOWN) == set(KNOWN_HEADS)


def test_the_digest_is_that_of_the_lines_of_the_list(tmp_path: Path) -> None:
    keys = [*reversed(CIFAR.classes), "boat"]
    (tmp_path / "list.txt").write_text("\n".join(keys) + "\n")
    head, columns = select_head("list.txt", CIFAR, folder=tmp_path, outputs=11)
    assert columns == (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
    assert head.digest == hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()
    assert head.source == "list.txt"


def test_a_list_in_a_folder_is_recorded_without_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "mine.txt").write_text("\n".join(CIFAR.classes))
    assert select_head("lists/mine.txt", CIFAR, folder=tmp_path, outputs=10)[0].source == "mine.txt"


def test_a_list_that_is_not_there_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"there is no list 'imagenet-21k'; expected one of imagenet-12k, .*found no file .*/imagen",
    ):
        read_head("imagenet-21k", folder=tmp_path)
    with pytest.raises(UsageError, match=r"there is no list '\.'"):
        read_head(".", folder=tmp_path)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match=r"list\.txt is not a text file"):
        read_head("list.txt", folder=tmp_path)


@pytest.mark.parametrize(
    ("keys", "outputs", "message"),
    [
        (CIFAR.classes, 12, "not that of the head's classes; expected 12 classes, one an output; found 10"),
        ((*CIFAR.classes, "cat"), 11, "names 'cat' twice; expected each class once"),
        (
            (*CIFAR.classes[1:], "boat", "pram"),
            11,
            r"every class of cifar-10; .*1 missing, e\.g\. 'airplane'",
        ),
        ((), 0, r"every class of cifar-10; .*10 missing"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(keys: tuple[str, ...], outputs: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        select_columns("mine", keys, CIFAR, outputs=outputs)


def test_a_network_is_built_with_the_outputs_of_the_list_else_of_the_label_space(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\nb\nc\n")
    assert head_size(asked("x", head_classes="list.txt", folder=tmp_path), "cifar-10") == 3
    assert head_size(asked("x", head_classes="imagenet-12k"), "imagenet-1k") == 11821
    assert head_size(asked("x"), "cifar-10") == 10
    with pytest.raises(UnknownNameError, match="unknown label space 'cifar-11'"):
        head_size(asked("x"), "cifar-11")


@pytest.mark.parametrize("declared", [[], ["label_space: imagenet-1k"]])
def test_the_thousand_logits_of_a_large_head_are_those_of_the_right_classes(
    large: tuple[torch.nn.Module, Path], declared: list[str]
) -> None:
    network, folder = large
    model = load_model(model_file(folder, "head_classes: imagenet-22k-ms", *declared))
    every, selected = logits(network, model)
    assert (tuple(every.shape), tuple(selected.shape)) == ((2, 21842), (2, 1000))
    keys = read_head("imagenet-22k-ms", folder=folder)
    for index in (0, 1, 850, 999):  # 850 is the teddy bear
        assert torch.equal(selected[:, index], every[:, keys.index(IMAGENET.classes[index])])
    assert (model.n_classes, model.spec.label_space) == (1000, "imagenet-1k")
    assert model.spec.head_classes is not None
    assert (model.spec.head_classes.source, model.spec.head_classes.outputs) == ("imagenet-22k-ms", 21842)
    assert model.last_layer is not None
    assert tuple(model.last_layer.weight.shape) == (1000, network.get_parameter("fc.weight").shape[1])


def test_a_list_of_ones_own_in_another_order_selects_by_class_and_not_by_place(
    large: tuple[torch.nn.Module, Path],
) -> None:
    network, folder = large
    keys = [*IMAGENET.classes, *(f"other-{number}" for number in range(20842))]
    keys = [keys[index] for index in np.random.default_rng(0).permutation(len(keys))]
    (folder / "mine.txt").write_text("\n".join(keys))
    model = load_model(model_file(folder, "head_classes: mine.txt"))
    every, selected = logits(network, model)
    expected = torch.stack([every[:, keys.index(key)] for key in IMAGENET.classes], dim=1)
    assert torch.equal(selected, expected)
    assert model.spec.head_classes is not None
    assert model.spec.head_classes.source == "mine.txt"


def test_a_label_space_alone_does_not_let_a_large_head_pass(large: tuple[torch.nn.Module, Path]) -> None:
    _, folder = large
    with pytest.raises(CheckpointError, match="its head has 21842 classes, that of timm:test_resnet 1000"):
        load_model(model_file(folder, "label_space: imagenet-1k"))


def test_a_label_space_alone_does_not_let_timms_own_large_heads_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, *, pretrained: create(SMALL, pretrained=False, num_classes=21843)
    )
    path = tmp_path / "m.yaml"
    path.write_text("model: timm:vit_tiny_patch16_224.augreg_in21k\nlabel_space: imagenet-1k\n")
    with pytest.raises(ModelError, match=r"another number of outputs than .* expected 1000; found 21843"):
        load_model(path)


def test_the_list_of_another_head_does_not_fit_the_checkpoint(large: tuple[torch.nn.Module, Path]) -> None:
    _, folder = large
    with pytest.raises(CheckpointError, match="its head has 21842 classes, that of timm:test_resnet 21843"):
        load_model(model_file(folder, "head_classes: imagenet-21k-goog"))


def test_a_known_list_without_the_teddy_bear_is_refused_by_name(
    large: tuple[torch.nn.Module, Path], tmp_path: Path
) -> None:
    network = timm.create_model(SMALL, pretrained=False, num_classes=21843)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"imagenet-21k-goog does not know .*1 missing, e\.g\. 'n04399382'"):
        load_model(model_file(tmp_path, "head_classes: imagenet-21k-goog"))
