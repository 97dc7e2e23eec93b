"""What can be read from an ONNX graph: what it takes and returns, its weights, how it was exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from robustbench_safety.errors import ModelError
from robustbench_safety.models.graphs.fixed_batch import BatchSizes
from robustbench_safety.models.graphs.onnx_files import messages

__all__ = ["Signature", "parameter_count", "read_signature", "softmax_ending", "training_mode", "weights"]

_FLOATING = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: Operations that hand the values of their first input on.
_UNCHANGING = ("Identity", "Cast", "Flatten", "Reshape", "Squeeze")
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
_LARGEST_SIDE = 4096
_ONE_IMAGE = "one input float32 [N, 3, H, W]"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The one input and the one output of a graph."""

    input: str
    output: str
    size: tuple[int, int] | None
    """Height and width; None where the graph takes any."""
    batch: BatchSizes


def read_signature(name: str, graph: GraphProto) -> Signature:
    """Return what a graph takes and returns.

    Args:
        name: The model's name, for errors.
        graph: Of the model.

    Raises:
        ModelError: It does not take images alone, as float32 [N, 3, H, W], or does not return logits alone.
    """
    constant = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constant]
    if len(inputs) != 1:
        raise _wrong(
            name, _ONE_IMAGE, f"{len(inputs)} inputs: {_listed(inputs)}", "export it with the image alone"
        )
    if len(graph.output) != 1:
        fix = "export the network so that it returns the logits alone"
        found = f"{len(graph.output)} outputs: {_listed(graph.output)}"
        raise _wrong(name, "one output float32 [N, classes]", found, fix)
    image, logits = inputs[0], graph.output[0]
    shape = _shape(image)
    found = f"{image.name}: {_kind(image)} {_shown(shape)}"
    if _kind(image) != "float32":
        fix = "export the network in float32; it is given pixel/255, less the mean, over the std"
        raise _wrong(name, _ONE_IMAGE, found, fix)
    if len(shape) == 4 and shape[1] != 3 and shape[3] == 3:
        fix = "export it with channels first (tf2onnx: --inputs-as-nchw), or put a Transpose before it"
        raise _wrong(name, _ONE_IMAGE, found, fix)
    if len(shape) != 4 or shape[1] not in (3, None):
        raise _wrong(name, _ONE_IMAGE, found, "export it for RGB images, channels first")
    if any(side is not None and not 0 < side <= _LARGEST_SIDE for side in shape[2:]):
        raise _wrong(
            name, f"sides of 1 to {_LARGEST_SIDE} pixels", found, "export it for images of a usual size"
        )
    if _kind(logits) != "float32":
        found = f"{logits.name}: {_kind(logits)} {_shown(_shape(logits))}"
        raise _wrong(name, "one output float32 [N, classes]", found, "export the network in float32")
    n, _, height, width = shape
    return Signature(
        input=image.name,
        output=logits.name,
        size=None if height is None or width is None else (height, width),
        batch=BatchSizes() if n is None else BatchSizes(fewest=n, most=n),
    )


def _wrong(name: str, expected: str, found: str, fix: str) -> ModelError:
    return ModelError(f"{name} is not a graph from images to logits", expected=expected, found=found, fix=fix)


def _kind(value: ValueInfoProto) -> str:
    """Return numpy's name of the type of a tensor; the field's name where it is no tensor."""
    if not value.type.HasField("tensor_type"):
        return str(value.type.WhichOneof("value"))
    kind = value.type.tensor_type.elem_type
    names = TensorProto.DataType
    spelt = names.Name(kind).lower() if kind in names.values() else str(kind)
    return {"float": "float32", "double": "float64"}.get(spelt, spelt)


def _shape(value: ValueInfoProto) -> list[int | None]:
    """Return the sides of a tensor, None for each that is not fixed."""
    sides = value.type.tensor_type.shape.dim
    # Some exporters write a dynamic batch as 0 or -1.
    return [
        side.dim_value if side.HasField("dim_value") and (side.dim_value > 0 or at > 0) else None
        for at, side in enumerate(sides)
    ]


def _shown(shape: list[int | None]) -> str:
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _listed(values: object) -> str:
    names = [value.name for value in values]  # type: ignore[attr-defined]  # a container that protobuf types
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def weights(model: ModelProto) -> dict[str, torch.Tensor]:
    """Return the tensors of the fingerprint: the floating-point initialisers of the graph, by name.

    ``torch.onnx.export(..., optimize=False)`` writes a network's parameters and buffers as initialisers under
    their own names, and everything else (shapes, constants of the arithmetic) as nodes: the fingerprint is
    that of the checkpoint. With ``optimize=True``, its default, whole-number shapes become initialisers too,
    ``val_12``, which are no weights, and batch normalisation is put into the convolution before it, so that
    the tensors, and rightly the fingerprint, are others. Where a graph has no such initialiser, its weights
    are those of its Constant nodes, by the name of their output.
    """
    found = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type in _FLOATING}
    if not found:
        for node in _all_nodes(model):
            if node.op_type == "Constant":
                values = [attribute.t for attribute in node.attribute if attribute.t.data_type in _FLOATING]
                found.update(zip(node.output, values, strict=False))
    return {name: _as_torch(tensor) for name, tensor in found.items()}


def _as_torch(tensor: TensorProto) -> torch.Tensor:
    values = numpy_helper.to_array(tensor)
    if (
        tensor.data_type == TensorProto.BFLOAT16
    ):  # a type that numpy has from elsewhere, and torch cannot take
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(values.copy())


def parameter_count(model: ModelProto, tensors: dict[str, torch.Tensor]) -> int:
    """Return the number of weights, as torch counts parameters: running means and variances are none."""
    running = {
        name
        for node in _all_nodes(model)
        if node.op_type == "BatchNormalization"
        for name in list(node.input)[3:5]
    }
    return sum(tensor.numel() for name, tensor in tensors.items() if name not in running)


def _all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    return (message for message in messages(model) if isinstance(message, NodeProto))


def softmax_ending(graph: GraphProto) -> bool:
    """Return whether the last operation that computes anything is a softmax."""
    made_by = {output: node for node in graph.node for output in node.output}
    name = graph.output[0].name
    for _ in range(len(graph.node)):
        node = made_by.get(name)
        if node is None or node.op_type not in _UNCHANGING or not node.input:
            return node is not None and node.op_type == "Softmax"
        name = node.input[0]
    return False


def training_mode(model: ModelProto) -> str | None:
    """Return the first operation that behaves as in training; None where there is none."""
    true = {tensor.name for tensor in model.graph.initializer if _is_true(tensor)}
    nodes = list(_all_nodes(model))
    for node in nodes:
        if node.op_type == "Constant":
            true.update(node.output[0] for attribute in node.attribute if _is_true(attribute.t))
    for node in nodes:
        if node.op_type in _RANDOM:
            return f"{node.op_type}, which draws random numbers"
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true:
            return "Dropout with training_mode"
        if node.op_type == "BatchNormalization" and any(
            attribute.name == "training_mode" and attribute.i for attribute in node.attribute
        ):
            return "BatchNormalization with training_mode"
    return None


def _is_true(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.BOOL and bool(numpy_helper.to_array(tensor).any())
