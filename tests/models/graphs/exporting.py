"""Write networks as ONNX, .pt2 and TorchScript files, and model files that name them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper
from torch import nn
from torch.export import Dim

#: The opset that graphs made by hand are written for.
OPSET = 18
PREPROCESSING = "{input_size: [%d, %d], resize: null, crop: null, interpolation: bilinear, mean: %s, std: %s}"


def model_file(
    folder: Path,
    model: str,
    *,
    size: int | tuple[int, int] = 8,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    more: str = "label_space: cifar-10",
) -> Path:
    """Write a model file that declares preprocessing, and return its path."""
    height, width = (size, size) if isinstance(size, int) else size
    path = folder / "m.yaml"
    declared = PREPROCESSING % (height, width, list(mean), list(std))
    path.write_text(f"model: {model}\npreprocessing: {declared}\n{more}\n")
    return path


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    batch: int | None = None,
    size: int = 32,
    optimize: bool = False,
    external_data: bool = False,
) -> Path:
    """Export by torch's own exporter; a dynamic batch where ``batch`` is None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(batch or 2, 3, size, size),),
            path,
            dynamo=True,
            optimize=optimize,
            external_data=external_data,
            verbose=False,
            dynamic_shapes=({0: Dim.DYNAMIC},) if batch is None else None,
        )
    return path


def export_program(network: nn.Module, path: Path, *, batch: int | None = None, size: int = 32) -> Path:
    """Export as .pt2; a dynamic batch where ``batch`` is None."""
    dynamic = ({0: Dim.DYNAMIC},) if batch is None else None
    exported = torch.export.export(network, (torch.rand(batch or 2, 3, size, size),), dynamic_shapes=dynamic)
    torch.export.save(exported, path)
    return path


def trace_script(network: nn.Module, path: Path, *, size: int = 32) -> Path:
    """Export as TorchScript, by tracing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.rand(2, 3, size, size))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path))
    return path


def tensor(name: str, values: torch.Tensor) -> TensorProto:
    return onnx.numpy_helper.from_array(values.numpy(), name)


#: The nodes of a linear classifier of the mean colour, from ``images`` to ``logits``.
LINEAR = (
    helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
    helper.make_node("Flatten", ["pooled"], ["features"]),
    helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
)


def linear_weights() -> tuple[TensorProto, TensorProto]:
    generator = torch.Generator().manual_seed(0)
    return (
        tensor("weight", torch.randn(10, 3, generator=generator)),
        tensor("bias", torch.randn(10, generator=generator)),
    )


def graph(
    nodes: Sequence[NodeProto] = LINEAR,
    weights: Sequence[TensorProto] | None = None,
    *,
    shape: Sequence[int | str] = ("N", 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    output_kind: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("images",),
    outputs: Sequence[str] = ("logits",),
    functions: Sequence[FunctionProto] = (),
    domains: Sequence[str] = (),
) -> ModelProto:
    """Return a model of nodes made by hand."""
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in inputs],
        [helper.make_tensor_value_info(name, output_kind, None) for name in outputs],
        list(linear_weights() if weights is None else weights),
    )
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(made, functions=list(functions), opset_imports=opsets, ir_version=10)


def save(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
