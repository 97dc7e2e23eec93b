"""The rules that find the weights inside a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.weights.checkpoints import read_checkpoint
from robustbench_safety.models.weights.strict import load_strictly
from robustbench_safety.models.weights.unwrapping import rename_parts, strip_prefixes, unwrap

WEIGHTS = {"conv.weight": torch.zeros(2), "fc.bias": torch.ones(3)}
AVERAGED = {"conv.weight": torch.full((2,), 5.0), "fc.bias": torch.full((3,), 6.0)}
FILE = Path("a.pth")


def prefixed(prefix: str, weights: dict[str, torch.Tensor] = WEIGHTS) -> dict[str, object]:
    return {prefix + key: value for key, value in weights.items()}


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        (WEIGHTS, []),
        ({"state_dict": WEIGHTS, "epoch": 3}, ["key:state_dict"]),
        ({"model": WEIGHTS, "optimizer": {"state": {}}}, ["key:model"]),
        ({"net": WEIGHTS, "acc": 95.0}, ["key:net"]),
        ({"model_state_dict": WEIGHTS}, ["key:model_state_dict"]),
        ({"acc": 0.6, "state_dict": [AVERAGED, WEIGHTS]}, ["key:state_dict", "list:last"]),
        ([WEIGHTS], ["list:last"]),
        ({"model": {"state_dict": WEIGHTS}}, ["key:model", "key:state_dict"]),
        ({"state_dict": WEIGHTS, "ema": None, "model_ema": {}}, ["key:state_dict"]),
    ],
)
def test_weights_are_found_under_each_wrapper(content: object, rules: list[str]) -> None:
    values, applied = unwrap(FILE, content)
    assert values == WEIGHTS
    assert applied == rules


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("plain", ["state_dict", "model"])
def test_averaged_weights_go_before_plain_ones(key: str, plain: str) -> None:
    values, applied = unwrap(FILE, {plain: WEIGHTS, key: AVERAGED})
    assert values == AVERAGED
    assert applied == [f"key:{key}"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "found an empty dict"),
        ({"epoch": 3, "loss": 0.5}, "found keys 'epoch', 'loss'"),
        ([], "found a list"),
        (torch.zeros(3), "found a Tensor"),
        ({"state_dict": {"epoch": 1}}, r"\(after key:state_dict\); .*found keys 'epoch'"),
        ({0: torch.zeros(1)}, "found keys 0"),
        ([[[[[WEIGHTS]]]]], r"after list:last, list:last, list:last, list:last\)"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(content: object, found: str) -> None:
    with pytest.raises(CheckpointError, match=f"a.pth holds no weights.*{found}"):
        unwrap(FILE, content)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_prefix_that_every_name_carries_is_taken_off(prefix: str) -> None:
    values = prefixed(prefix)
    assert strip_prefixes(values, set(WEIGHTS)) == [f"prefix:{prefix}"]
    assert values == WEIGHTS


def test_prefixes_within_prefixes_are_taken_off_one_by_one() -> None:
    values = prefixed("_orig_mod.module.")
    assert strip_prefixes(values, set(WEIGHTS)) == ["prefix:_orig_mod.", "prefix:module."]
    assert values == WEIGHTS


def test_a_prefix_that_only_some_names_carry_stays() -> None:
    values = prefixed("module.") | {"fc.weight": torch.zeros(1)}
    before = dict(values)
    assert strip_prefixes(values, set(WEIGHTS)) == []
    assert values == before


def test_a_prefix_that_the_networks_own_names_carry_stays() -> None:
    values = prefixed("module.model.")
    assert strip_prefixes(values, set(prefixed("model."))) == ["prefix:module."]
    assert values == prefixed("model.")


def test_the_counter_of_an_averaged_model_is_dropped() -> None:
    values = prefixed("module.module.") | {"n_averaged": torch.tensor(9)}
    applied = strip_prefixes(values, set(WEIGHTS))
    assert applied == ["drop:n_averaged", "prefix:module.", "prefix:module."]
    assert values == WEIGHTS


def test_torchs_own_averaged_model_loads(small_network: nn.Module, tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(small_network)
    torch.save({"model": small_network.state_dict(), "model_ema": averaged.state_dict()}, tmp_path / "a.pth")
    values, info = read_checkpoint(tmp_path / "a.pth", names=small_network.state_dict().keys())
    assert info.unwrapped == ("key:model_ema", "drop:n_averaged", "prefix:module.")
    load_strictly(small_network, values, source="a.pth", model="test:net")


def test_a_part_of_a_name_is_renamed_only_as_a_whole() -> None:
    values: dict[str, object] = {"a.old.weight": 1, "a.older.weight": 2}
    assert rename_parts(values, [("old", "new")]) == ["rename:old"]
    assert values == {"a.new.weight": 1, "a.older.weight": 2}


def test_renaming_never_lets_two_names_become_one() -> None:
    values: dict[str, object] = {"a.old": 1, "a.new": 2}
    assert rename_parts(values, [("old", "new")]) == []
    assert values == {"a.old": 1, "a.new": 2}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "rules", "n_tensors"),
    [
        ("resnet4b.pth", ("key:state_dict",), 26),
        ("cifar_conv_small_pgd.pth", ("key:state_dict", "list:last"), 8),
        ("cifar_wide.pth", ("key:state_dict", "list:last"), 8),
        ("cifar_marabou_medium.pth", (), 10),
        ("resnet20-12fca82f.th", ("key:state_dict", "prefix:module."), 97),
    ],
)
def test_published_files_unwrap(shared_data: Path, file: str, rules: tuple[str, ...], n_tensors: int) -> None:
    values, info = read_checkpoint(shared_data / "checkpoints" / file)
    assert info.unwrapped == rules
    assert len(values) == n_tensors


@pytest.mark.realdata
def test_an_npz_of_weights_is_refused(shared_data: Path) -> None:
    with pytest.raises(CheckpointError, match="is a zip file without weights"):
        read_checkpoint(shared_data / "checkpoints" / "resnet8_weights.npz")
