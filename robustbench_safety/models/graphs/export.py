"""The ``export`` family: a network as a program, ``export:net.pt2`` or, in TorchScript, ``export:net.pt``.

Both hold code: torch's loader of ``.pt2`` unpickles whatever stands for the sample inputs, and TorchScript is
a program by itself. So both need --trust-code, whoever names them. Their tensors keep their names, so that
the fingerprint is that of the checkpoint, and gradients can be had. Preprocessing comes from the model file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.jit import ScriptModule
from torch.jit._fuser import optimized_execution

from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.files import file_digest
from robustbench_safety.models.foreign import describe_failure, foreign_code
from robustbench_safety.models.graphs.export_graphs import (
    Program,
    read_program,
    read_script,
    softmax_ending,
    training_mode,
)
from robustbench_safety.models.graphs.exported_graph import (
    ends_in_probabilities,
    graph_path,
    not_in_evaluation_mode,
    require_finite,
    require_preprocessing,
)
from robustbench_safety.models.graphs.fixed_batch import BatchSizes, in_batches
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import CheckpointInfo

__all__ = ["ProgramNetwork", "architectures", "build"]

_Layout = Literal["export", "torchscript"]
_NAMES = {"export": "a torch.export program", "torchscript": "a TorchScript archive"}
_WHY = {"export": "its loader unpickles what the file holds", "torchscript": "it holds code of its own"}


def architectures() -> list[str]:
    """Return no names: every exported program is one."""
    return []


def build(asked: Asked) -> Built:
    """Load a program: one image input float32 [N, 3, H, W], one output of logits or probabilities.

    A program that was exported for a fixed batch is run as often as it takes, the last batch filled up.

    Raises:
        UsageError: The user does not trust code, a checkpoint was handed in beside it, or no preprocessing is
            declared.
        CheckpointError: The file is damaged or holds no program, or a weight is not finite.
        ModelError: The program does not take images alone, or is not in evaluation mode.
    """
    path = graph_path(asked, family="export")
    layout = _layout(path)
    if not asked.trust.code:
        raise UsageError(
            f"{asked.file.model} is {_NAMES[layout]}: {_WHY[layout]}; none of it was run",
            expected="a file that holds numbers alone",
            fix="hand the weights in as safetensors, or the network as ONNX; or, where you trust whoever "
            "made the file, give --trust-code",
        )
    info = CheckpointInfo(file=path.name, sha256=file_digest(path), format=layout)
    program = _load(asked, path, layout)
    preprocessing = require_preprocessing(asked, size=program.size)
    in_training = training_mode(program)
    if in_training is not None:
        raise not_in_evaluation_mode(asked, in_training)
    if asked.file.outputs == "logits" and softmax_ending(program):
        raise ends_in_probabilities(asked)
    require_finite(path, program.state)
    network, gradients = _network(program, preprocessing.input_size)
    return Built(
        architecture=path.name,
        network=network,
        preprocessing=preprocessing,
        label_space=None,
        loaded=info,
        state=program.state,
        gradients=gradients,
        trusted_code=True,
    )


def _network(program: Program, size: tuple[int, int] | None) -> tuple[ProgramNetwork, bool]:
    """Return the program's network, and whether it lets gradients through: not one exported under no_grad.

    torch writes every dynamic batch as "2 or more", since it does not know what 1 would do. One image is
    tried: where it gives what it gives beside another, single images need not be filled up.
    """
    network = ProgramNetwork(program.module, program.batch)
    if size is None:
        return network, True
    image = torch.full((1, 3, *size), 0.5, requires_grad=True)
    try:
        with foreign_code("the program fails on one image"), torch.enable_grad():
            outputs = network(image)
            if program.batch.fewest == 2 and program.batch.most != 2:
                alone = ProgramNetwork(program.module, replace(program.batch, fewest=1))
                same = alone(image)
                if same.shape == outputs.shape and torch.allclose(same, outputs, rtol=1e-4, atol=1e-4):
                    network = alone
    except ModelError:
        return network, True  # a program that fails is examined, and refused, elsewhere
    return network, bool(outputs.requires_grad)


def _layout(path: Path) -> _Layout:
    """Tell the two formats by the names in the archive, whatever the file is called. Nothing is unpacked."""
    expected = "an archive that torch.export.save or torch.jit.save wrote"
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is damaged or no exported program", expected=expected, fix="fetch or export it again"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is damaged", expected=expected, found=describe_failure(error), fix="fetch it again"
        ) from error
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return "torchscript"
    if "serialized_exported_program.json" in last or any(
        name.endswith(".json") and name.split("/")[-2:-1] == ["models"] for name in names
    ):
        return "export"
    if "data.pkl" in last:
        raise CheckpointError(
            f"{path} holds weights and no program",
            expected=expected,
            fix="name the architecture, e.g. timm:resnet50, and give the file with --checkpoint",
        )
    raise CheckpointError(
        f"{path} holds no exported program", expected=expected, found=", ".join(sorted(last)[:5])
    )


def _load(asked: Asked, path: Path, layout: _Layout) -> Program:
    with (
        foreign_code(
            f"{path} cannot be loaded as {_NAMES[layout]}",
            raising=CheckpointError,
            expected=f"one that torch {torch.__version__} reads",
            fix="export it again, with a version that is not newer",
        ),
        warnings.catch_warnings(),
    ):
        # What a stranger's program warns of, and that torch gives TorchScript up, is not the user's to mend.
        warnings.simplefilter("ignore")
        if layout == "export":
            return read_program(asked.file.model, torch.export.load(path))
        # torch leaves it untyped.
        script: ScriptModule = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return read_script(script.eval())


class ProgramNetwork(nn.Module):
    """An exported program behind torch's interface: images [N, 3, H, W] in, whatever it returns [N, ...] out.

    A program is what it was exported as: it has no other mode, and its operations may rely on how their
    inputs lie in memory, which is row by row. So images and weights stay contiguous where other networks are
    given channels_last.

    Args:
        program: An exported program's module, or a TorchScript module in evaluation mode.
        batch: The batches that it takes.
    """

    def __init__(self, program: nn.Module, batch: BatchSizes) -> None:
        super().__init__()
        self.program = program
        self._batch = batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs of normalised images."""
        # TorchScript's optimiser rewrites a program after its first runs: without it all runs are equal.
        with _unoptimised() if isinstance(self.program, ScriptModule) else nullcontext():
            return in_batches(self.program, images.contiguous(), self._batch)

    def train(self, mode: bool = True) -> ProgramNetwork:  # noqa: FBT001, FBT002  # as in torch
        """Set the wrapper's own flag alone: the program's is fixed, and it refuses to be asked."""
        self.training = mode
        return self

    def _apply(
        self,
        fn: Callable[[torch.Tensor], torch.Tensor],
        recurse: bool = True,  # noqa: FBT001, FBT002
    ) -> ProgramNetwork:
        """Move the weights, and keep them contiguous."""
        super()._apply(lambda tensor: fn(tensor).contiguous(), recurse)  # type: ignore[no-untyped-call]
        return self


def _unoptimised() -> AbstractContextManager[None]:
    return optimized_execution(should_optimize=False)
