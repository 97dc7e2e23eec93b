"""The ``onnx`` family: a network as an ONNX file, ``onnx:net.onnx``, run by onnxruntime.

A way to hand a network in without its architecture and without code. Its preprocessing comes from the model
file, or from the ONNX file's own metadata: the key ``robustbench_safety.preprocessing``, a JSON object of the
same fields, and ``robustbench_safety.label_space``, a name. Gradients and penultimate features cannot be had.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto
from pydantic import ValidationError
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.graphs.exported_graph import (
    ends_in_probabilities,
    graph_path,
    not_in_evaluation_mode,
    require_finite,
    require_preprocessing,
)
from robustbench_safety.models.graphs.fixed_batch import in_batches
from robustbench_safety.models.graphs.onnx_files import read_onnx
from robustbench_safety.models.graphs.onnx_graphs import (
    Signature,
    parameter_count,
    read_signature,
    softmax_ending,
    training_mode,
    weights,
)
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import Preprocessing

__all__ = ["OnnxNetwork", "architectures", "build"]

_PREPROCESSING_KEY = "robustbench_safety.preprocessing"
_LABEL_SPACE_KEY = "robustbench_safety.label_space"
#: onnxruntime's level for what ends the process. All that is less comes as an exception, too.
_FATAL = 4


def architectures() -> list[str]:
    """Return no names: every ONNX file is one."""
    return []


def build(asked: Asked) -> Built:
    """Read an ONNX file: one image input float32 [N, 3, H, W], one output of logits or probabilities.

    A graph that was exported for a fixed batch is run as often as it takes, the last batch filled up.

    Raises:
        UsageError: A checkpoint was handed in beside it, or no preprocessing is declared.
        CheckpointError: The file cannot be read safely; see ``onnx_files``.
        ModelError: The graph is not one from images to logits, or not in evaluation mode.
    """
    name = f"onnx:{asked.architecture}"
    path = graph_path(asked, family="onnx")
    model, info = read_onnx(path)
    signature = read_signature(name, model.graph)
    carried = {entry.key: entry.value for entry in model.metadata_props}
    preprocessing = require_preprocessing(
        asked, size=signature.size, carried=_preprocessing(name, carried.get(_PREPROCESSING_KEY))
    )
    with foreign_code(f"{path}: its tensors are damaged", raising=CheckpointError, fix="export it again"):
        state = weights(model)
        in_training = training_mode(model)
    if in_training is not None:
        raise not_in_evaluation_mode(asked, in_training)
    if asked.file.outputs == "logits" and softmax_ending(model.graph):
        raise ends_in_probabilities(asked)
    require_finite(path, state)
    return Built(
        architecture=path.name,
        network=OnnxNetwork(name, model, signature),
        preprocessing=preprocessing,
        label_space=carried.get(_LABEL_SPACE_KEY),
        loaded=info,
        state=state,
        parameters=parameter_count(model, state),
        gradients=False,
    )


def _preprocessing(name: str, carried: str | None) -> Preprocessing | None:
    if carried is None:
        return None
    try:
        return Preprocessing.model_validate_json(carried)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelError(
            f"{name}: {_PREPROCESSING_KEY} in the file's metadata is wrong",
            expected=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            found=repr(first["input"])[:200],
            fix="correct it, or declare the preprocessing in a model file",
        ) from error


class OnnxNetwork(nn.Module):
    """An ONNX model behind torch's interface: float32 images [N, 3, H, W] in, float32 [N, outputs] out.

    It runs where the images are: on a CPU with as many threads as torch has, on a CUDA device by the
    CUDA provider, TF32 off. There is one session at a time; moving it makes another.

    Args:
        name: The model's, for errors.
        model: Self-contained: no file is opened for it.
        signature: Of its graph.
    """

    def __init__(self, name: str, model: ModelProto, signature: Signature) -> None:
        super().__init__()
        self._name, self._signature = name, signature
        bare = ModelProto()
        bare.CopyFrom(model)
        for field in ("metadata_props", "training_info", "doc_string"):
            bare.ClearField(field)
        self._model = bare.SerializeToString()
        self._session: onnxruntime.InferenceSession | None = None
        self._made_for: tuple[torch.device, int] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs of normalised images, on their device.

        Raises:
            ModelError: onnxruntime fails or lacks the device; or gradients, or another precision, are wanted.
        """
        if torch.is_grad_enabled() and images.requires_grad:
            raise ModelError(f"{self._name} gives no gradients", expected="a network that torch runs")
        if torch.is_autocast_enabled(images.device.type):
            raise ModelError(
                f"{self._name} runs in the precision of its graph",
                expected="float32",
                found=str(torch.get_autocast_dtype(images.device.type)).removeprefix("torch."),
                fix="leave the precision out",
            )
        session = self._session_for(images.device)
        return in_batches(lambda batch: self._run(session, batch), images, self._signature.batch)

    def _run(self, session: onnxruntime.InferenceSession, images: torch.Tensor) -> torch.Tensor:
        values = np.ascontiguousarray(images.detach().cpu().numpy())
        with foreign_code(f"{self._name}: onnxruntime fails on images {list(images.shape)}"):
            (outputs,) = session.run([self._signature.output], {self._signature.input: values})
        return torch.from_numpy(outputs).to(images.device)

    def _session_for(self, device: torch.device) -> onnxruntime.InferenceSession:
        wanted = (device, torch.get_num_threads())
        if self._session is None or self._made_for != wanted:
            self._session = None  # the old one's memory goes before the new one takes its own
            self._session = self._make_session(device)
            self._made_for = wanted
        return self._session

    def _make_session(self, device: torch.device) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _FATAL
        providers: list[tuple[str, dict[str, str]]] = [("CPUExecutionProvider", {})]
        if device.type == "cuda":
            chosen = {"device_id": str(device.index or 0), "use_tf32": "0"}
            providers.insert(0, ("CUDAExecutionProvider", chosen))
        if device.type not in ("cpu", "cuda") or providers[0][0] not in onnxruntime.get_available_providers():
            raise ModelError(
                f"{self._name} cannot be run on {device}",
                expected="cpu, or cuda where onnxruntime has its CUDA provider",
                found=f"providers {', '.join(onnxruntime.get_available_providers())}",
                fix="give --device cpu, or install onnxruntime-gpu in place of onnxruntime",
            )
        with foreign_code(
            f"{self._name}: onnxruntime {onnxruntime.__version__} cannot load it",
            raising=CheckpointError,
            fix="export it again, for an opset that this version runs",
        ):
            session = onnxruntime.InferenceSession(self._model, sess_options=options, providers=providers)
        if session.get_providers()[0] != providers[0][0]:
            raise ModelError(
                f"{self._name} cannot be run on {device}",
                expected=f"onnxruntime's {providers[0][0]}",
                found=f"it fell back to {session.get_providers()[0]}",
                fix="install the CUDA libraries that it needs, or give --device cpu",
            )
        return session
