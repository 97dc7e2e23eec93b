"""Linear probes: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.clip.linear_probe import read_probe

WEIGHT = torch.arange(12.0).reshape(3, 4)
BIAS = torch.tensor([1.0, 2.0, 3.0])


def read(path: Path, outputs: int = 3, width: int = 4) -> torch.nn.Linear:
    return read_probe(path, outputs=outputs, width=width, model="clip:tiny")[0]


@pytest.mark.parametrize(
    ("prefix", "rules"),
    [
        ("", ()),
        ("fc.", ("prefix:fc.",)),
        ("head.linear.", ("prefix:head.linear.",)),
        ("module.", ("prefix:module.",)),
        ("module.fc.", ("prefix:module.", "prefix:fc.")),
    ],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weight_and_bias_are_found_bare_or_under_one_prefix(
    tmp_path: Path, prefix: str, rules: tuple[str, ...], ending: str
) -> None:
    path = tmp_path / f"probe.{ending}"
    tensors = {f"{prefix}weight": WEIGHT, f"{prefix}bias": BIAS}
    if ending == "pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    head, info = read_probe(path, outputs=3, width=4, model="clip:tiny")
    assert torch.equal(head.weight, WEIGHT)
    assert torch.equal(head.bias, BIAS)
    assert (info.file, info.unwrapped) == (path.name, rules)


def test_a_probe_without_a_bias_has_none(tmp_path: Path) -> None:
    save_file({"weight": WEIGHT}, tmp_path / "a.safetensors")
    head = read(tmp_path / "a.safetensors")
    # By hand: the row sums of WEIGHT.
    assert torch.equal(head(torch.ones(1, 4)), torch.tensor([[6.0, 22.0, 38.0]]))


@pytest.mark.parametrize(
    ("outputs", "width", "found"),
    [(4, 4, r"weight \[4, 4\]"), (3, 5, r"weight \[3, 5\]")],
)
def test_another_class_count_or_width_is_refused(
    tmp_path: Path, outputs: int, width: int, found: str
) -> None:
    save_file({"weight": WEIGHT, "bias": BIAS}, tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match=rf"does not fit clip:tiny; expected {found}.*found weight \[3, 4\], bias \[3\]"
    ):
        read(tmp_path / "a.safetensors", outputs, width)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.weight": WEIGHT, "b.bias": BIAS},
        {"weight": WEIGHT, "scale": BIAS},
        {"bias": BIAS},
        {"fc1.weight": WEIGHT, "fc1.bias": BIAS, "fc2.weight": WEIGHT},
    ],
)
def test_what_is_no_linear_classifier_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({key: value.clone() for key, value in tensors.items()}, tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match="is no linear classifier; expected a weight and perhaps a bias"
    ):
        read(tmp_path / "a.safetensors")


def test_values_that_are_not_finite_or_no_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": WEIGHT * torch.nan, "bias": BIAS}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match="weight is not finite"):
        read(tmp_path / "nan.pth")
    torch.save({"weight": WEIGHT, "bias": [1, 2, 3]}, tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="probe"):
        read(tmp_path / "list.pth")


def test_a_probe_that_needs_code_is_refused_unless_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"weight": WEIGHT, "bias": BIAS, "_": Path("x")}, path)
    with pytest.raises(CheckpointError, match="needs code to be run"):
        read(path)
    torch.save({"state_dict": {"weight": WEIGHT, "bias": BIAS}, "from": Path("x")}, path)
    head, info = read_probe(path, outputs=3, width=4, model="clip:tiny", trust_pickle=True)
    assert torch.equal(head.weight, WEIGHT)
    assert info.unwrapped == ("trusted:pickle", "key:state_dict")


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone.pth does not exist; correct the path"):
        read(tmp_path / "gone.pth")
