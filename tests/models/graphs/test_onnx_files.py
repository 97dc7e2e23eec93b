"""ONNX files as a stranger may make them: nothing outside the model's folder is read, no library loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.graphs import onnx_files
from robustbench_safety.models.graphs.onnx_files import messages, read_onnx
from tests.models.graphs.exporting import LINEAR, graph, linear_weights, save

WEIGHT = numpy_helper.to_array(linear_weights()[0]).tobytes()


def external(tensor: TensorProto, location: str, **entries: object) -> None:
    """Say that a tensor's values lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def with_external(location: str, **entries: object) -> ModelProto:
    model = graph()
    external(model.graph.initializer[0], location, **entries)
    return model


def values(model: ModelProto, name: str = "weight") -> bytes:
    (found,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    return bytes(found.raw_data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for models, with a secret beside it."""
    inside = tmp_path / "models"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT)
    return inside


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that have been read, in order."""
    files: list[Path] = []
    read_bytes = Path.read_bytes

    def watch(path: Path) -> bytes:
        files.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", watch)
    return files


def test_a_model_with_all_its_tensors_inside_is_read_as_it_is(folder: Path) -> None:
    path = save(graph(), folder / "net.onnx")
    model, info = read_onnx(path)
    assert model == graph()
    assert (info.file, info.format) == ("net.onnx", "onnx")
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_data_beside_the_model_are_put_in_and_are_part_of_its_sha256(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "b.data").write_bytes(b"...." + WEIGHT)
    (folder / "part" / "a.data").write_bytes(numpy_helper.to_array(linear_weights()[1]).tobytes())
    model = with_external("b.data", offset=4, length=len(WEIGHT))
    external(model.graph.initializer[1], "part/a.data")  # offset and length may be left out
    path = save(model, folder / "net.onnx")
    read, info = read_onnx(path)
    assert values(read) == WEIGHT
    assert not [m for m in messages(read) if isinstance(m, TensorProto) and m.external_data]
    stored = [folder / "net.onnx", folder / "b.data", folder / "part" / "a.data"]
    assert info.sha256 == hashlib.sha256(b"".join(one.read_bytes() for one in stored)).hexdigest()


def test_the_values_of_a_sparse_tensor_are_put_in(folder: Path) -> None:
    (folder / "w").write_bytes(WEIGHT)
    model = graph()
    sparse = model.graph.sparse_initializer.add(dims=[100])
    sparse.values.CopyFrom(linear_weights()[0])
    external(sparse.values, "w")
    assert (
        read_onnx(save(model, folder / "net.onnx"))[0].graph.sparse_initializer[0].values.raw_data == WEIGHT
    )
    external(sparse.values, "../secret")
    with pytest.raises(CheckpointError, match="from outside its folder"):
        read_onnx(save(model, folder / "net.onnx"))


def test_tensors_are_put_in_wherever_they_stand(folder: Path) -> None:
    (folder / "w").write_bytes(WEIGHT)
    weight, bias = linear_weights()
    external(weight, "w")
    constant = helper.make_node("Constant", [], ["weight"], value=weight)
    for at in ("node", "function", "branch"):
        nodes = [constant, *LINEAR]
        functions, domains = [], []
        if at == "function":
            opsets = [helper.make_opsetid("", 18)]
            functions = [helper.make_function("mine", "weigh", [], ["weight"], [constant], opsets)]
            nodes[0] = helper.make_node("weigh", [], ["weight"], domain="mine")
            domains = ["mine"]
        if at == "branch":
            output = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [10, 3])
            inner = helper.make_graph([constant], "then", [], [output])
            true = helper.make_tensor("true", TensorProto.BOOL, [], [1])
            nodes[0] = helper.make_node("If", ["true"], ["weight"], then_branch=inner, else_branch=inner)
            nodes.insert(0, helper.make_node("Constant", [], ["true"], value=true))
        made = graph(nodes, [bias], functions=functions, domains=domains)
        model, _ = read_onnx(save(made, folder / "net.onnx"))
        found = [m for m in messages(model) if isinstance(m, TensorProto) and m.raw_data == WEIGHT]
        assert len(found) == (2 if at == "branch" else 1)
        assert not any(one.external_data for one in found)


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "a/../../secret",
        "/etc/hostname",
        "..\\secret",
        "C:\\secret",
        "",
        ".",
        "link",
        "linked/secret",
    ],
)
def test_data_outside_the_models_folder_are_refused_and_not_read(
    folder: Path, location: str, opened: list[Path]
) -> None:
    (folder / "a").mkdir()
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "linked").symlink_to(folder.parent)
    path = save(with_external(location), folder / "net.onnx")
    with pytest.raises(CheckpointError, match="'weight' would be read from outside its folder; nothing was"):
        read_onnx(path)
    assert opened == [path]


def test_one_file_outside_is_enough_for_nothing_to_be_read(folder: Path, opened: list[Path]) -> None:
    (folder / "w").write_bytes(WEIGHT)
    model = with_external("w")
    external(model.graph.initializer[1], "../secret")
    path = save(model, folder / "net.onnx")
    with pytest.raises(CheckpointError, match="'bias' would be read from outside"):
        read_onnx(path)
    assert opened == [path]


def test_a_symlink_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "w").write_bytes(WEIGHT)
    (folder / "link").symlink_to("w")
    model, _ = read_onnx(save(with_external("link"), folder / "net.onnx"))
    assert values(model) == WEIGHT


def test_a_pipe_is_no_data_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(CheckpointError, match="'pipe, which is no file'"):
        read_onnx(save(with_external("pipe"), folder / "net.onnx"))


def test_missing_data_are_named(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"data of tensor 'weight' are missing; expected a file 'net.dat'"
    ):
        read_onnx(save(with_external("net.dat"), folder / "net.onnx"))


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"offset": 4}, r"w has 120 bytes, 124 are needed"),
        ({"offset": -4}, r"offset '-4' and length '120'"),
        ({"length": -120}, r"offset '0' and length '-120'"),
        ({"length": 119}, r"a length of 119 bytes for shape \[10, 3\]"),
        ({"offset": 10**17}, "w has 120 bytes, 100000000000000120 are needed"),
        ({"offset": "9" * 5000}, r"offset '9{40}' and"),
        ({"offset": "0x4"}, "offset '0x4' and"),
    ],
)
def test_data_that_are_too_short_or_lie_at_odd_places_are_refused(
    folder: Path, entries: dict[str, object], found: str
) -> None:
    (folder / "w").write_bytes(WEIGHT)
    with pytest.raises(CheckpointError, match=f"tensor 'weight' is damaged; .*found {found}"):
        read_onnx(save(with_external("w", **entries), folder / "net.onnx"))


def _huge(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def _negative(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -10


def _unknown_type(model: ModelProto) -> None:
    model.graph.initializer[0].data_type = 999


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_huge, r"120 bytes for shape \[1099511627776, 3\]"),
        (_negative, r"type FLOAT and shape \[-10, 3\]"),
        (_unknown_type, "type 999 and shape"),
    ],
)
def test_a_tensor_whose_shape_is_not_that_of_its_values_is_refused(
    folder: Path, damage: Callable[[ModelProto], None], found: str
) -> None:
    model = graph()
    damage(model)
    with pytest.raises(CheckpointError, match=f"'weight' is damaged; .*found {found}"):
        read_onnx(save(model, folder / "net.onnx"))


def test_a_huge_tensor_outside_is_refused_before_memory_is_taken(folder: Path) -> None:
    (folder / "w").write_bytes(WEIGHT)
    model = with_external("w")
    _huge(model)
    with pytest.raises(CheckpointError, match="too large with its data; expected at most 2130706432 bytes"):
        read_onnx(save(model, folder / "net.onnx"))


def test_many_tensors_that_share_one_small_file_cannot_fill_the_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "MOST_BYTES", 20_000)
    (folder / "w").write_bytes(WEIGHT)
    model = with_external("w")
    assert values(read_onnx(save(model, folder / "net.onnx"))[0]) == WEIGHT
    for n in range(200):
        copy = model.graph.initializer.add()
        copy.CopyFrom(model.graph.initializer[0])
        copy.name = f"w{n}"
    with pytest.raises(CheckpointError, match="too large with its data"):
        read_onnx(save(model, folder / "net.onnx"))


def test_a_file_larger_than_a_protobuf_can_be_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "net.onnx"
    with path.open("wb") as handle:
        handle.truncate(onnx_files.MOST_BYTES + 1)  # a hole: it takes no space
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(CheckpointError, match=r"too large with its data; .*found 2130706433 bytes; hand the"):
        read_onnx(path)


def test_operators_of_other_domains_are_refused_by_name(folder: Path) -> None:
    nodes = [helper.make_node("Hack", ["images"], ["logits"], domain="evil.ops")]
    with pytest.raises(
        CheckpointError, match=r"no custom-op libraries are loaded; .*found evil\.ops:Hack; export"
    ):
        read_onnx(save(graph(nodes, domains=["evil.ops"]), folder / "net.onnx"))


def test_onnxruntimes_own_operators_which_can_open_files_are_refused(folder: Path) -> None:
    nodes = [
        helper.make_node("EPContext", [], ["logits"], domain="com.microsoft", ep_cache_context="../secret")
    ]
    with pytest.raises(CheckpointError, match=r"found com\.microsoft:EPContext"):
        read_onnx(save(graph(nodes, domains=["com.microsoft"]), folder / "net.onnx"))


def test_a_foreign_operator_hides_neither_in_a_function_nor_in_a_branch(folder: Path) -> None:
    hack = helper.make_node("Hack", ["x"], ["y"], domain="evil")
    opsets = [helper.make_opsetid("evil", 1)]
    function = helper.make_function("mine", "f", ["x"], ["y"], [hack], opsets)
    call = helper.make_node("f", ["images"], ["logits"], domain="mine")
    with pytest.raises(CheckpointError, match="found evil:Hack"):
        read_onnx(save(graph([call], functions=[function], domains=["mine"]), folder / "net.onnx"))
    branch = helper.make_graph([hack], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    choose = helper.make_node("If", ["c"], ["logits"], then_branch=branch, else_branch=branch)
    with pytest.raises(CheckpointError, match="found evil:Hack"):
        read_onnx(save(graph([choose]), folder / "net.onnx"))


def test_functions_that_the_file_defines_are_taken(folder: Path) -> None:
    opsets = [helper.make_opsetid("", 18)]
    function = helper.make_function(
        "mine", "f", ["images", "weight", "bias"], ["logits"], list(LINEAR), opsets
    )
    call = helper.make_node("f", ["images", "weight", "bias"], ["logits"], domain="mine")
    path = save(graph([call], functions=[function], domains=["mine"]), folder / "net.onnx")
    assert read_onnx(path)[0].functions[0].name == "f"


def calls(names: list[tuple[str, list[str]]]) -> ModelProto:
    """Return a model whose functions call each other; the first is called by the graph."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    functions = []
    for name, called in names:
        nodes = [
            helper.make_node(other, ["x"], ["y"], domain="" if other == "Relu" else "mine")
            for other in called
        ]
        functions.append(helper.make_function("mine", name, ["x"], ["y"], nodes, opsets))
    call = helper.make_node(names[0][0], ["images"], ["logits"], domain="mine")
    return graph([call], functions=functions, domains=["mine"])


@pytest.mark.parametrize(
    "names",
    [
        [("f", ["f"])],
        [("f", ["g"]), ("g", ["f"])],
        [(f"f{n}", [f"f{n + 1}"] * 10) for n in range(9)] + [("f9", ["Relu"])],  # ten to the nine operations
        [(f"f{n}", [f"f{n + 1}"]) for n in range(5000)] + [("f5000", ["Relu"])],
    ],
    ids=["itself", "in a circle", "as powers", "deep"],
)
def test_functions_that_unfold_without_end_are_refused(
    folder: Path, names: list[tuple[str, list[str]]]
) -> None:
    with pytest.raises(CheckpointError, match="its functions unfold without end"):
        read_onnx(save(calls(names), folder / "net.onnx"))


def test_functions_that_call_functions_are_taken(folder: Path) -> None:
    names = [("f", ["g"]), ("g", ["Relu", "h"]), ("h", ["Relu"])]
    assert len(read_onnx(save(calls(names), folder / "net.onnx"))[0].functions) == 3


def test_a_graph_nested_deeper_than_any_network_is_refused(folder: Path) -> None:
    # Written by hand, since protobuf refuses to write it, too: an If within an If, 200 times.
    inner = b""
    for _ in range(200):
        attribute = _field(6, inner) + _field(1, b"then_branch")  # AttributeProto.g, .name
        node = _field(4, b"If") + _field(5, attribute)  # NodeProto.op_type, .attribute
        inner = _field(1, node)  # GraphProto.node
    path = folder / "net.onnx"
    path.write_bytes(_field(7, inner))  # ModelProto.graph
    with pytest.raises(CheckpointError, match="damaged or not an ONNX model"):
        read_onnx(path)


def _field(number: int, content: bytes) -> bytes:
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\xff garbage that is no protobuf", "damaged or not an ONNX model; expected the protobuf"),
        (torch.rand(1000, generator=torch.Generator().manual_seed(0)).numpy().tobytes(), "not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an ONNX model"),
        (b"\x08\x0a", "holds no ONNX graph"),  # only ir_version: 10
        (onnx.ModelProto(graph=onnx.GraphProto(name="empty")).SerializeToString(), "holds no ONNX graph"),
    ],
)
def test_what_is_no_model_is_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "net.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_onnx(folder / "net.onnx")


def test_a_truncated_file_is_refused_wherever_it_ends(folder: Path) -> None:
    whole = graph().SerializeToString()
    for end in range(1, len(whole), 7):
        (folder / "net.onnx").write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=r"damaged or not an ONNX model|holds no ONNX graph"):
            read_onnx(folder / "net.onnx")


def test_fields_that_our_onnx_does_not_know_are_not_handed_on(folder: Path) -> None:
    path = folder / "net.onnx"
    path.write_bytes(graph().SerializeToString() + b"\xaa\x3f\x06secret")  # field 1013
    assert b"secret" not in read_onnx(path)[0].SerializeToString()
