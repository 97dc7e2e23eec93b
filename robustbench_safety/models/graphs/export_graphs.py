"""What can be read from an exported program: what it takes, its weights, and how it was exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.jit import ScriptModule

from robustbench_safety.errors import ModelError
from robustbench_safety.models.graphs.fixed_batch import ANY_BATCH, BatchSizes

__all__ = ["Operation", "Program", "read_program", "read_script", "softmax_ending", "training_mode"]

#: Arguments that say whether an operation behaves as in training.
_TRAINING = ("training", "train", "dropout_p")
#: Without running statistics: instance normalisation taken apart, by each image's own in training or not.
_OF_ONE_IMAGE = "aten::_native_batch_norm_legit"
#: Random where dropout is asked for, which it is not where that argument is left out.
_RANDOM_BY_REQUEST = (
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
)
#: Operations that hand the values of their first input on.
_UNCHANGING = ("aten::clone", "aten::flatten", "aten::reshape", "aten::squeeze", "aten::to", "aten::view")
_SOFTMAX = ("aten::softmax", "aten::_softmax")
_ONE_IMAGE = "one input float32 [N, 3, H, W]"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call in a program."""

    name: str
    """As torch spells it, ``aten::dropout``."""
    arguments: Mapping[str, object]
    """By name; those alone that are known without running it."""
    random: bool = False
    """Whether torch says that it draws random numbers."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program and what is known of it."""

    module: nn.Module
    state: Mapping[str, torch.Tensor]
    operations: Sequence[Operation]
    last: str
    """Name of the operation that makes the output, those that hand values on left out."""
    size: tuple[int, int] | None
    """Height and width; None where it takes any, or does not say."""
    batch: BatchSizes


def read_program(name: str, exported: ExportedProgram) -> Program:
    """Return what torch.export has kept.

    Raises:
        ModelError: It does not take images alone.
    """
    image = _image(name, exported)
    n, channels, height, width = image.shape
    if image.dtype != torch.float32 or (isinstance(channels, int) and channels != 3):
        found = f"{str(image.dtype).removeprefix('torch.')} {_shown(image.shape)}"
        raise _wrong(name, _ONE_IMAGE, found)
    return Program(
        module=exported.module(),
        state=dict(exported.state_dict),
        operations=list(_of_graph(exported.graph_module)),
        last=_last_of_graph(exported.graph),
        size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
        batch=BatchSizes(fewest=n, most=n) if isinstance(n, int) else _range(exported, n),
    )


def _image(name: str, exported: ExportedProgram) -> torch.Tensor:
    """Return the placeholder of the one input: a tensor without values."""
    signature = exported.graph_signature
    inputs, outputs = signature.user_inputs, signature.user_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise _wrong(
            name,
            f"{_ONE_IMAGE} and one output",
            f"inputs {', '.join(map(str, inputs))}; outputs {', '.join(map(str, outputs))}",
        )
    values = [node.meta.get("val") for node in exported.graph.nodes if node.name == inputs[0]]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != 4:
        value = values[0] if values else None
        raise _wrong(
            name, _ONE_IMAGE, _shown(value.shape) if isinstance(value, torch.Tensor) else repr(value)
        )
    return values[0]


def _shown(shape: torch.Size) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _wrong(name: str, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{name} is not a program from images to logits",
        expected=expected,
        found=found,
        fix="export a network that takes the images alone and returns the logits alone",
    )


def _range(exported: ExportedProgram, batch: torch.SymInt) -> BatchSizes:
    """Return the range of a dynamic batch: from 2, unless the program was exported for 1 as well."""
    found = exported.range_constraints.get(batch.node.expr)
    if found is None:
        return ANY_BATCH
    return BatchSizes(
        fewest=max(1, int(found.lower)), most=int(found.upper) if found.upper.is_Integer else None
    )


def _of_graph(module: fx.GraphModule) -> Iterator[Operation]:
    """Yield the operations of a graph and of those within it, of branches and loops."""
    for graph in (child.graph for child in module.modules() if isinstance(child, fx.GraphModule)):
        for node in graph.nodes:
            if isinstance(node.target, OpOverload):
                schema = node.target._schema
                given = zip(schema.arguments, node.args, strict=False)  # the rest keep their defaults
                named = {argument.name: value for argument, value in given}
                yield Operation(
                    name=_name(node.target),
                    arguments={**named, **node.kwargs},
                    random=torch.Tag.nondeterministic_seeded in node.target.tags,
                )


def _name(operator: OpOverload) -> str:
    return str(operator._schema.name)


def _last_of_graph(graph: fx.Graph) -> str:
    """Return the name of the operation that makes the output."""
    node: object = graph.output_node().args[0]
    while isinstance(node, list | tuple):
        node = node[0]
    while isinstance(node, fx.Node) and isinstance(node.target, OpOverload):
        name = _name(node.target)
        if name not in _UNCHANGING:
            return name
        node = node.args[0]
    return str(node)


def read_script(script: ScriptModule) -> Program:
    """Return what TorchScript has kept: neither sizes nor types of its input.

    Args:
        script: In evaluation mode, which reaches the parts that were scripted; those that were traced behave
            as they did then. Operations in branches are left out: whether they run depends on that mode.
    """
    graph = script.inlined_graph
    return Program(
        module=script,
        state=dict(script.state_dict()),
        operations=[_of_node(node) for node in graph.nodes() if node.kind().startswith("aten::")],
        last=_last_of_script(graph),
        size=None,
        batch=ANY_BATCH,
    )


def _of_node(node: torch.Node) -> Operation:
    schema = torch._C.parse_schema(node.schema())
    values = {
        argument.name: value.toIValue()
        for argument, value in zip(schema.arguments, node.inputs(), strict=False)
        if value.node().kind() == "prim::Constant"
    }
    return Operation(name=node.kind(), arguments=values)


def _last_of_script(graph: torch.Graph) -> str:
    node = next(iter(graph.outputs())).node()
    while node.kind() in _UNCHANGING:
        node = next(iter(node.inputs())).node()
    return str(node.kind())


def softmax_ending(program: Program) -> bool:
    """Return whether the last operation that computes anything is a softmax."""
    return program.last in _SOFTMAX


def training_mode(program: Program) -> str | None:
    """Return the first operation that behaves as in training; None where there is none."""
    for operation in program.operations:
        states = [operation.arguments[key] for key in _TRAINING if key in operation.arguments]
        alone = operation.name == _OF_ONE_IMAGE and "running_mean" not in operation.arguments
        if any(states) and not alone:
            return f"{operation.name} in training mode"
        if operation.random and not states and operation.name not in _RANDOM_BY_REQUEST:
            return f"{operation.name}, which draws random numbers"
    return None
