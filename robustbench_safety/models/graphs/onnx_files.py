"""ONNX files: read one, with the data beside it, into a model that refers to nothing outside itself.

An ONNX file can name other files to take its tensors from, operators of libraries that are to be loaded, and
functions that call each other. The protobuf is parsed here; every tensor that lies outside is looked for in
the file's own folder and put in; and only what is then left, one self-contained model, is given to
onnxruntime, which has nothing to open any more. Models above 2 GiB, the limit of a protobuf, are refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import Message
from onnx import ModelProto, NodeProto, TensorProto

from robustbench_safety.errors import CheckpointError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.records import CheckpointInfo

__all__ = ["MOST_BYTES", "messages", "read_onnx"]

#: Bytes of a model with its data: 2 GiB is protobuf's limit, and names and shapes take some of it.
MOST_BYTES = 2**31 - 2**24
#: Of the standard alone: onnxruntime's own domain com.microsoft has operators that open files.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
#: onnxruntime copies a function's nodes to where it is called: functions that call functions grow as powers.
_DEEPEST_CALL = 32
_MOST_NODES = 1_000_000
_AGAIN = "fetch or export it again"

#: Domain, name and overload.
_Key = tuple[str, str, str]


def read_onnx(path: Path) -> tuple[ModelProto, CheckpointInfo]:
    """Read an ONNX file and the data that it names beside itself.

    Returns:
        The model, every tensor in it, and where it came from. The sha256 is that of the file followed by its
        data files in the order of their names, as ``cat net.onnx net.onnx.data | sha256sum`` gives it.

    Raises:
        CheckpointError: It is no ONNX model, is damaged or too large, takes data from outside its folder, or
            needs operators that are not of the ONNX standard.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise _too_large(path, size)
    content = path.read_bytes()
    model = _parse(path, content)
    _refuse_foreign_operators(path, model)
    _refuse_endless_functions(path, model)
    digest = hashlib.sha256(content)
    for stored in _put_in(path, model, already=len(content)):
        digest.update(stored)
    return model, CheckpointInfo(file=path.name, sha256=digest.hexdigest(), format="onnx")


def messages(root: Message) -> Iterator[Message]:
    """Yield a protobuf message and all within it: nodes in functions, graphs and tensors in attributes."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if isinstance(value, Message) else value)


def _parse(path: Path, content: bytes) -> ModelProto:
    with foreign_code(
        f"{path} is damaged or not an ONNX model",
        raising=CheckpointError,
        expected="the protobuf of an ONNX model",
        fix=_AGAIN,
    ):
        model = onnx.load_model_from_string(content)
    if not model.graph.node or not model.graph.output:
        raise CheckpointError(f"{path} holds no ONNX graph", expected="a graph of operations", fix=_AGAIN)
    # A field that this version of onnx does not know could be one that onnxruntime does.
    model.DiscardUnknownFields()
    return model


def _refuse_foreign_operators(path: Path, model: ModelProto) -> None:
    own = {_key(function) for function in model.functions}
    foreign = {
        f"{node.domain}:{node.op_type}"
        for node in messages(model)
        if isinstance(node, NodeProto) and node.domain not in _DOMAINS and _called(node) not in own
    }
    if foreign:
        raise CheckpointError(
            f"{path} needs operators that are not of the ONNX standard; no custom-op libraries are loaded",
            expected="operators of the ONNX standard, and functions that the file itself defines",
            found=", ".join(sorted(foreign)[:5]) + (", ..." if len(foreign) > 5 else ""),
            fix="export the network with standard operators alone",
        )


def _key(function: onnx.FunctionProto) -> _Key:
    return function.domain, function.name, function.overload


def _called(node: NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


def _refuse_endless_functions(path: Path, model: ModelProto) -> None:
    """Refuse functions that call themselves, and those that would unfold into more nodes than any network."""
    nodes_of = {_key(function): _nodes(function) for function in model.functions}
    unfolded: dict[_Key, int] = {}

    def count(nodes: list[NodeProto], trail: tuple[_Key, ...]) -> int:
        total = 0
        for node in nodes:
            key = _called(node)
            if key not in nodes_of:
                total += 1
                continue
            if key in trail or len(trail) == _DEEPEST_CALL:
                raise _endless(path, f"{key[0]}:{key[1]} calls itself, or calls lie too deep")
            if key not in unfolded:
                unfolded[key] = count(nodes_of[key], (*trail, key))
            total += unfolded[key]
        if total > _MOST_NODES:
            raise _endless(path, f"more than {_MOST_NODES} operations")
        return total

    count(_nodes(model.graph), ())


def _nodes(root: Message) -> list[NodeProto]:
    return [message for message in messages(root) if isinstance(message, NodeProto)]


def _endless(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: its functions unfold without end",
        expected=f"at most {_MOST_NODES} operations and {_DEEPEST_CALL} functions within each other",
        found=found,
        fix="export the network again, without functions",
    )


def _put_in(path: Path, model: ModelProto, *, already: int) -> list[bytes]:
    """Put tensors that lie in other files into the model; return those files' contents by sorted name.

    All of them are checked before anything of one is read.
    """
    tensors = [message for message in messages(model) if isinstance(message, TensorProto)]
    outside: list[tuple[TensorProto, str, int, int]] = []
    files: dict[str, Path] = {}
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            location, offset, length = _place(path, tensor)
            if location not in files:
                files[location] = _beside(path, tensor, location)
            outside.append((tensor, location, offset, length))
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != _n_bytes(path, tensor):
            raise _bad(path, tensor, f"{len(tensor.raw_data)} bytes for shape {list(tensor.dims)}")
    sizes = {location: file.stat().st_size for location, file in files.items()}
    total = already + max(sum(sizes.values()), sum(length for *_, length in outside))
    if total > MOST_BYTES:
        raise _too_large(path, total)
    for tensor, location, offset, length in outside:
        if offset + length > sizes[location]:
            raise _bad(path, tensor, f"{location} has {sizes[location]} bytes, {offset + length} are needed")
    contents = {location: files[location].read_bytes() for location in sorted(files)}
    for tensor, location, offset, length in outside:
        tensor.raw_data = contents[location][offset : offset + length]
    for tensor in tensors:
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return list(contents.values())


def _place(path: Path, tensor: TensorProto) -> tuple[str, int, int]:
    """Return where a tensor lies: the file as it is spelt, the offset and the length in bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    needed = _n_bytes(path, tensor)
    offset, length = entries.get("offset") or "0", entries.get("length") or str(needed)
    # isdecimal() refuses signs, points and blanks; int() takes the digits of any script.
    if not (offset.isdecimal() and length.isdecimal()) or max(len(offset), len(length)) > 18:
        raise _bad(path, tensor, f"offset {offset[:40]!r} and length {length[:40]!r}")
    if int(length) != needed:
        raise _bad(path, tensor, f"a length of {length} bytes for shape {list(tensor.dims)}")
    return entries.get("location", ""), int(offset), needed


def _n_bytes(path: Path, tensor: TensorProto) -> int:
    """Return the bytes that a tensor's shape takes."""
    kind = TensorProto.DataType
    name = kind.Name(tensor.data_type) if tensor.data_type in kind.values() else str(tensor.data_type)
    bits = _BITS.get(name)
    if bits is None or any(side < 0 for side in tensor.dims):
        raise _bad(path, tensor, f"type {name} and shape {list(tensor.dims)}")
    return (math.prod(map(int, tensor.dims)) * bits + 7) // 8


_BITS = {
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    "COMPLEX128": 128,
}


def _beside(path: Path, tensor: TensorProto, location: str) -> Path:
    """Return the file that a tensor lies in, which must be in the model's own folder."""
    parts = PurePosixPath(location).parts
    if not location or location.startswith("/") or ".." in parts or set(location) & set("\\:\0"):
        raise _outside(path, tensor, location)
    try:
        folder = path.parent.resolve(strict=True)
        file = (folder / location).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: the data of tensor {tensor.name!r} are missing",
            expected=f"a file {location!r} beside it",
            found=str(error),
            fix="put the data file into the model's own folder, under the name that it was exported with",
        ) from error
    if not file.is_relative_to(folder):
        raise _outside(path, tensor, f"{location} -> {file}")
    if not file.is_file():
        raise _outside(path, tensor, f"{location}, which is no file")
    return file


def _outside(path: Path, tensor: TensorProto, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: the data of tensor {tensor.name!r} would be read from outside its folder; nothing was read",
        expected="the name of a file in the model's own folder",
        found=repr(found[:200]),
        fix="save the model and its data in one folder",
    )


def _bad(path: Path, tensor: TensorProto, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: tensor {tensor.name!r} is damaged",
        expected="as many bytes as its shape takes",
        found=found,
        fix=_AGAIN,
    )


def _too_large(path: Path, size: int) -> CheckpointError:
    return CheckpointError(
        f"{path} is too large with its data",
        expected=f"at most {MOST_BYTES} bytes, since a protobuf holds no more",
        found=f"{size} bytes",
        fix="hand the weights in as safetensors, with a family that has the architecture",
    )
