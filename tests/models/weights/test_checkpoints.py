"""Checkpoints: what is read, what is refused, and that nothing is run or half loaded."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError
from robustbench_safety.models.weights.checkpoints import read_checkpoint, require_checkpoint_file
from robustbench_safety.models.weights.strict import load_strictly, weights_digest


def load(network: nn.Module, path: Path) -> list[str]:
    values, info = read_checkpoint(path, names=network.state_dict().keys())
    return [*info.unwrapped, *load_strictly(network, values, source=str(path), model="test:net")]


class RunsCode:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.marker, "run")


# ------------------------------------------------------------------------------------------ files that load


def test_a_torch_file_and_its_safetensors_copy_give_the_same_network(
    small_network: nn.Module, tmp_path: Path
) -> None:
    state = small_network.state_dict()
    torch.save(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "no_ending")
    digests, formats = set(), []
    for name in ("a.pth", "old.pth", "a.safetensors", "no_ending"):
        values, info = read_checkpoint(tmp_path / name)
        load_strictly(small_network, values, source=name, model="test:net")
        digests.add(weights_digest(small_network.state_dict()))
        formats.append(info.format)
        assert info.file == name
        assert info.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert len(digests) == 1
    assert formats == ["torch", "torch", "safetensors", "safetensors"]


def test_the_digest_is_that_of_names_types_shapes_and_bytes() -> None:
    state = {
        "b.weight": torch.tensor([[1.0, 2.0]]).t(),  # not contiguous
        "a": torch.tensor(3, dtype=torch.int64),
        "bn.num_batches_tracked": torch.tensor(7),  # left out
    }
    by_hand = hashlib.sha256(
        b'["a", "int64", []]\n' + bytes([3, 0, 0, 0, 0, 0, 0, 0])
        # 1.0 and 2.0 are 0x3f800000 and 0x40000000
        + b'["b.weight", "float32", [2, 1]]\n' + bytes([0, 0, 0x80, 0x3F, 0, 0, 0, 0x40])
    )  # fmt: skip
    assert weights_digest(state) == by_hand.hexdigest()


@pytest.mark.parametrize("change", ["value", "name", "shape", "type"])
def test_the_digest_sees_every_change(change: str) -> None:
    tensor = torch.arange(4, dtype=torch.float32)
    changed = {
        "value": {"w": tensor + 1},
        "name": {"v": tensor},
        "shape": {"w": tensor.view(2, 2)},
        "type": {"w": tensor.to(torch.int32)},
    }[change]
    assert weights_digest(changed) != weights_digest({"w": tensor})


def test_half_precision_and_empty_tensors_have_a_digest() -> None:
    assert weights_digest({"w": torch.ones(2, dtype=torch.bfloat16), "e": torch.zeros(0, 3)})


def test_a_state_that_is_not_all_tensors_has_no_digest() -> None:
    with pytest.raises(ModelError, match="extra in the network's state is no tensor; found a dict"):
        weights_digest({"extra": {}})  # type: ignore[dict-item]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted_and_recorded(
    small_network: nn.Module, tmp_path: Path, dtype: torch.dtype
) -> None:
    state = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in small_network.state_dict().items()
    }
    torch.save(state, tmp_path / "a.pth")
    assert load(small_network, tmp_path / "a.pth") == [f"dtype:{str(dtype).removeprefix('torch.')}"]
    assert all(parameter.dtype == torch.float32 for parameter in small_network.parameters())
    assert torch.equal(small_network.state_dict()["3.bias"], state["3.bias"].to(torch.float32))


def test_a_file_of_before_num_batches_tracked_loads_and_has_the_same_digest(
    small_network: nn.Module, tmp_path: Path
) -> None:
    state = small_network.state_dict()
    expected = weights_digest(state)
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "a.pth")
    assert load(small_network, tmp_path / "a.pth") == ["absent:num_batches_tracked"]
    assert weights_digest(small_network.state_dict()) == expected


def test_timms_training_options_beside_the_weights_do_no_harm(
    small_network: nn.Module, tmp_path: Path
) -> None:
    content = {"state_dict": small_network.state_dict(), "args": argparse.Namespace(lr=0.1, model="x")}
    torch.save(content, tmp_path / "a.pth")
    assert load(small_network, tmp_path / "a.pth") == ["key:state_dict"]


# ------------------------------------------------------------------------------------- files that are refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .*none\.pth does not exist; correct the path"):
        read_checkpoint(tmp_path / "none.pth")


def test_a_path_through_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="cannot be read; found Not a directory"):
        require_checkpoint_file(tmp_path / "file" / "a.pth")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; expected a file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match="is empty; expected a safetensors file, or a file of tensors"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_cut_short_anywhere_is_refused(small_network: nn.Module, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        save_file(small_network.state_dict(), path)
    else:
        torch.save(small_network.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for length in (1, 2, 8, 9, 64, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"truncated|damaged|holds text"):
            read_checkpoint(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_bytes_never_raise_anything_but_a_checkpoint_error(
    small_network: nn.Module, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a"
    if kind == "safetensors":
        save_file(small_network.state_dict(), path)
    else:
        torch.save(small_network.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    generator = random.Random(0)  # noqa: S311  a seeded test
    n_refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(generator.choice((1, 4, 32))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            load(small_network, path)
        except CheckpointError:
            n_refused += 1
    assert n_refused > 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1 oid", "holds text; .*found 'version https://git-lfs"),
        (b"<!DOCTYPE html><html>", "holds text; .*found '<!DOCTYPE"),
        (bytes(range(256)) * 4, "is damaged, or holds what torch.save does not write"),
        (pickle.dumps({"a": 1}), "is damaged, or not a checkpoint in"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "a.pth")


def test_a_pickle_protocol_that_torch_cannot_read_safely_is_refused_without_torchs_advice(
    small_network: nn.Module, tmp_path: Path
) -> None:
    torch.save(small_network.state_dict(), tmp_path / "a.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="found Unsupported operand 149; fetch it again, or save the"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    small_network: nn.Module, tmp_path: Path, kind: str
) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "marker"
    content = {"state_dict": small_network.state_dict(), "evil": RunsCode(marker)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match="needs code to be run and is refused; none of it") as caught:
        read_checkpoint(path)
    assert not marker.exists()
    assert caught.value.found.startswith("calls to ")
    assert "save the weights alone" in caught.value.fix
    # The file does what it is said to do, for whoever loads it without care.
    if kind == "zip":
        torch.load(path, weights_only=False)
        assert marker.read_text() == "run"


def test_a_whole_pickled_network_is_refused_by_name(small_network: nn.Module, tmp_path: Path) -> None:
    torch.save(small_network, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"found calls to torch\.nn\.modules"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_zip_without_weights_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"is a zip file without weights; .* entries 'readme\.txt'"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"a/{name}", "")
    with pytest.raises(CheckpointError, match="is a TorchScript archive, which holds code"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_zip_that_unpacks_to_more_than_itself_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100_000)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
    with pytest.raises(CheckpointError, match="would unpack to more than its own size"):
        read_checkpoint(tmp_path / "bomb.pth")


# -------------------------------------------------------------------------------------------- strict loading


def assert_refused(network: nn.Module, values: dict[str, object], message: str) -> CheckpointError:
    """Assert that the values are refused and that the network is left as it was."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_strictly(network, values, source="a.pth", model="test:net")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    return caught.value


def other_weights(network: nn.Module) -> dict[str, object]:
    """Return weights that fit but differ from the network's in every value."""
    return {key: value + 1 for key, value in network.state_dict().items()}


def test_missing_unexpected_and_misshapen_names_are_listed_with_near_ones(small_network: nn.Module) -> None:
    values = other_weights(small_network)
    values["3.wieght"] = values.pop("3.weight")
    values["1.running_mean"] = torch.zeros(5)
    error = assert_refused(small_network, values, "a.pth does not fit test:net; expected its 8 tensors")
    assert error.found == (
        "1 missing (3.weight, near 3.wieght); 1 unexpected (3.wieght); "
        "1 of another shape (1.running_mean [5] instead of [4])"
    )


def test_long_lists_are_cut_with_their_count(small_network: nn.Module) -> None:
    error = assert_refused(small_network, {f"x{i}": torch.zeros(1) for i in range(30)}, "does not fit")
    assert "7 missing (" in error.found  # all but num_batches_tracked
    assert "30 unexpected (x0, x1, x2, x3, ...)" in error.found


def test_another_class_count_is_called_by_its_name(small_network: nn.Module) -> None:
    values = other_weights(small_network) | {"3.weight": torch.zeros(100, 4), "3.bias": torch.zeros(100)}
    assert_refused(
        small_network, values, "its head has 100 classes, that of test:net 10: name the label space"
    )


def test_a_scalar_in_place_of_a_vector_is_refused(small_network: nn.Module) -> None:
    values = other_weights(small_network) | {"3.bias": torch.tensor(1.0)}
    assert_refused(small_network, values, r"3.bias \[\] instead of \[10\]")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_named(small_network: nn.Module, bad: float) -> None:
    weight = torch.zeros(10, 4)
    weight[2, 1] = bad
    values = other_weights(small_network) | {"3.weight": weight}
    assert_refused(small_network, values, "3.weight is not finite; .*found NaN or infinity in 1 of 40 values")


def test_a_value_too_large_for_the_networks_precision_is_refused(small_network: nn.Module) -> None:
    values = other_weights(small_network) | {"3.bias": torch.full((10,), 1e300, dtype=torch.float64)}
    assert_refused(small_network, values, "3.bias is not finite; .*found NaN or infinity in 10 of 10 values")


def test_integers_in_place_of_weights_are_refused(small_network: nn.Module) -> None:
    values = other_weights(small_network) | {"3.bias": torch.zeros(10, dtype=torch.int64)}
    assert_refused(small_network, values, "3.bias is of another kind; expected float32; found int64")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "'epoch' is no tensor; expected tensors alone; found a int"),
        (torch.zeros(3).to_sparse(), "'epoch' is no plain tensor; .*layout torch.sparse_coo"),
        (torch.zeros(3, device="meta"), "'epoch' is no plain tensor; .*device meta"),
    ],
)
def test_anything_but_plain_tensors_is_refused(small_network: nn.Module, value: object, message: str) -> None:
    assert_refused(small_network, other_weights(small_network) | {"epoch": value}, message)


def test_a_parameter_is_as_good_as_a_tensor(small_network: nn.Module) -> None:
    values = other_weights(small_network) | {"3.bias": nn.Parameter(torch.ones(10))}
    load_strictly(small_network, values, source="a.pth", model="test:net")
    assert torch.equal(small_network.state_dict()["3.bias"], torch.ones(10))
