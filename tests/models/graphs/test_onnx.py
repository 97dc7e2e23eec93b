"""A network as an ONNX file: what it must declare, what it must take and return, how it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.models import load_model
from robustbench_safety.models.graphs.onnx import OnnxNetwork, architectures
from robustbench_safety.models.weights.strict import weights_digest
from tests.models.graphs.exporting import LINEAR, export_onnx, graph, linear_weights, model_file, save, tensor

#: What a model file without a preprocessing is made of.
SOFTMAX = (*LINEAR[:2], helper.make_node("Gemm", ["features", "weight", "bias"], ["z"], transB=1))


def load(folder: Path, model: ModelProto, **fields: object) -> nn.Module:
    """Load a model through a model file and return its classifier."""
    save(model, folder / "net.onnx")
    return load_model(model_file(folder, "onnx:net.onnx", **fields)).network  # type: ignore[arg-type]


def expected(images: torch.Tensor) -> torch.Tensor:
    weight, bias = (
        torch.from_numpy(np.frombuffer(one.raw_data, np.float32).copy()) for one in linear_weights()
    )
    return images.mean(dim=(2, 3)) @ weight.view(10, 3).T + bias


def test_the_logits_are_those_of_the_graph_on_normalised_images(tmp_path: Path) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    network = load(tmp_path, graph(), mean=mean, std=std)
    x = torch.rand(5, 3, 8, 8).to(memory_format=torch.channels_last)
    normalised = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    with torch.inference_mode():
        logits = network(x)
    assert (logits.dtype, logits.device) == (torch.float32, x.device)
    torch.testing.assert_close(logits, expected(normalised), rtol=0, atol=1e-5)


def test_the_snapshot_says_what_was_loaded(tmp_path: Path) -> None:
    save(graph(), tmp_path / "net.onnx")
    spec = load_model(model_file(tmp_path, "onnx:net.onnx")).spec
    assert (spec.family, spec.architecture, spec.label_space) == ("onnx", "net.onnx", "cifar-10")
    assert spec.checkpoint is not None
    assert (spec.checkpoint.format, spec.checkpoint.file) == ("onnx", "net.onnx")
    assert (spec.parameters, spec.gradients, spec.features, spec.flops) == (40, False, None, None)
    assert spec.trusted == ()
    weight, bias = (
        torch.from_numpy(np.frombuffer(one.raw_data, np.float32).copy()) for one in linear_weights()
    )
    assert spec.weights_digest == weights_digest({"weight": weight.view(10, 3), "bias": bias})


def test_the_file_is_looked_for_beside_the_model_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save(graph(), inside / "net.onnx")
    assert load_model(model_file(inside, "onnx:net.onnx")).n_classes == 10
    monkeypatch.chdir(inside)
    with pytest.raises(CheckpointError, match=r"nowhere.onnx does not exist"):
        load_model("onnx:nowhere.onnx")
    with pytest.raises(CheckpointError, match="is a folder; name the file in it"):
        load_model("onnx:../inside")
    assert architectures() == []


def test_a_file_without_declared_preprocessing_is_refused_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(graph(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"declares no preprocessing; .*input_size: .8, 8., resize"
    ) as caught:
        load_model("onnx:net.onnx", label_space="cifar-10")
    written = str(caught.value).split("`")
    (tmp_path / "m.yaml").write_text(f"{written[1]}\n{written[3]}\n")  # the advice, taken at its word
    assert load_model(tmp_path / "m.yaml", label_space="cifar-10").n_classes == 10


def with_metadata(**entries: object) -> ModelProto:
    model = graph()
    for key, value in entries.items():
        helper.set_model_props(model, {f"robustbench_safety.{key}": value})  # type: ignore[dict-item]
    return model


CARRIED = {
    "input_size": [8, 8],
    "resize": None,
    "crop": None,
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


def test_a_file_can_carry_its_preprocessing_and_label_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graph()
    helper.set_model_props(
        model,
        {
            "robustbench_safety.preprocessing": json.dumps(CARRIED),
            "robustbench_safety.label_space": "cifar-10",
        },
    )
    save(model, tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    spec = load_model("onnx:net.onnx").spec
    assert (spec.preprocessing.mean, spec.preprocessing.std) == ((0.5,) * 3, (0.25,) * 3)
    assert spec.label_space == "cifar-10"
    declared = load_model(model_file(tmp_path, "onnx:net.onnx", mean=(0.1, 0.1, 0.1))).spec
    assert declared.preprocessing.mean == (0.1,) * 3  # the model file goes before


def test_preprocessing_that_a_file_carries_wrongly_is_refused(tmp_path: Path) -> None:
    save(with_metadata(preprocessing=json.dumps(CARRIED | {"mean": [2, 0, 0]})), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"robustbench_safety.preprocessing .* is wrong; expected mean.0: "):
        load_model(model_file(tmp_path, "onnx:net.onnx"))
    save(with_metadata(preprocessing="{"), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"robustbench_safety.preprocessing in the file's metadata is wrong"):
        load_model(model_file(tmp_path, "onnx:net.onnx"))


def test_another_size_than_the_graphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"another size than the graph takes; expected input_size: \[8, 8\]; fou"
    ):
        load(tmp_path, graph(), size=32)
    assert load(tmp_path, graph(shape=["N", 3, "H", "W"]), size=32)(torch.rand(1, 3, 32, 32)).shape == (1, 10)


def test_a_checkpoint_beside_the_file_is_refused(tmp_path: Path) -> None:
    save(graph(), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"takes no checkpoint; .*it holds its own weights"):
        load_model(model_file(tmp_path, "onnx:net.onnx"), checkpoint=tmp_path / "net.onnx")


def test_a_stated_sha256_is_held_against_the_file(tmp_path: Path) -> None:
    save(graph(), tmp_path / "net.onnx")
    more = f"label_space: cifar-10\nsha256: {'0' * 64}"
    with pytest.raises(CheckpointError, match="is not the one that the model file states"):
        load_model(model_file(tmp_path, "onnx:net.onnx", more=more))


def node(kind: str, *inputs: str, output: str = "logits", **attributes: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [output], **attributes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            graph(shape=["N", 8, 8, 3]),
            r"found images: float32 \[\?, 8, 8, 3\]; export it with channels first",
        ),
        (graph(shape=["N", 1, 8, 8]), r"\[\?, 1, 8, 8\]; export it for RGB images, channels first"),
        (graph(shape=["N", 192]), r"found images: float32 \[\?, 192\]"),
        (graph(kind=TensorProto.UINT8), "found images: uint8 .*; export the network in float32"),
        (graph(kind=TensorProto.FLOAT16), "found images: float16"),
        (
            graph(inputs=["images", "mask"]),
            "expected one input .*found 2 inputs: images, mask; export it with",
        ),
        (graph(outputs=["logits", "pooled"]), "found 2 outputs: logits, pooled; export the network so"),
        (
            graph(output_kind=TensorProto.INT64),
            r"expected one output float32 \[N, classes\]; found logits: int64",
        ),
        (graph(shape=["N", 3, 10**6, 10**6]), "expected sides of 1 to 4096 pixels; found .*1000000, 1000000"),
        (graph(shape=["N", 3, 0, 8]), "expected sides of 1 to 4096 pixels"),
    ],
)
def test_a_graph_that_is_not_one_from_images_to_logits_is_refused(
    tmp_path: Path, model: ModelProto, message: str
) -> None:
    with pytest.raises(ModelError, match=f"is not a graph from images to logits; .*{message}"):
        load(tmp_path, model)


def test_weights_listed_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = graph()
    for one in linear_weights():
        model.graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)))
    assert load(tmp_path, model)(torch.rand(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_any_number_of_images_goes_through_a_graph_of_a_fixed_batch(
    tmp_path: Path, batch: int, n: int
) -> None:
    network = load(tmp_path, graph(shape=[batch, 3, 8, 8]))
    x = torch.rand(n, 3, 8, 8)
    torch.testing.assert_close(network(x), expected(x), rtol=0, atol=1e-5)


def test_a_graph_that_mixes_its_images_up_is_refused(tmp_path: Path) -> None:
    nodes = [*SOFTMAX, node("ReduceMean", "z", "axes", keepdims=1)]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
    model = graph(nodes, [*linear_weights(), axes], shape=[2, 3, 8, 8])
    with pytest.raises(
        ModelError, match=r"not return one row for each image; expected 2 rows; found a tensor"
    ):
        load(tmp_path, model)


@pytest.mark.parametrize("behind", [None, "Identity", "Flatten"])
def test_a_softmax_at_the_end_is_refused_until_it_is_declared(tmp_path: Path, behind: str | None) -> None:
    nodes = [*SOFTMAX, node("Softmax", "z", output="p" if behind else "logits")]
    nodes += [node(behind, "p")] if behind else []
    with pytest.raises(ModelError, match=r"a softmax; .* write `outputs: probabilities` in a model file"):
        load(tmp_path, graph(nodes))
    network = load(tmp_path, graph(nodes), more="label_space: cifar-10\noutputs: probabilities")
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(network(x), expected(x).log_softmax(1), rtol=0, atol=1e-5)


def test_a_softmax_within_the_graph_is_none_at_its_end(tmp_path: Path) -> None:
    nodes = [*SOFTMAX, node("Softmax", "z", output="p"), node("Log", "p")]
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(load(tmp_path, graph(nodes))(x), expected(x).log_softmax(1), rtol=0, atol=1e-5)


def dropout() -> ModelProto:
    true = helper.make_tensor("true", TensorProto.BOOL, [], [1])
    ratio = helper.make_tensor("ratio", TensorProto.FLOAT, [], [0.5])
    return graph([*SOFTMAX, node("Dropout", "z", "ratio", "true")], [*linear_weights(), ratio, true])


def batch_normalisation() -> ModelProto:
    ones = [tensor(name, torch.ones(3)) for name in ("scale", "shift", "mean", "var")]
    inputs = ["images", "scale", "shift", "mean", "var"]
    first = helper.make_node("BatchNormalization", inputs, ["n", "m", "v"], training_mode=1)
    rest = [node("GlobalAveragePool", "n", output="pooled"), *LINEAR[1:]]
    return graph([first, *rest], [*linear_weights(), *ones])


def noise() -> ModelProto:
    return graph([*SOFTMAX, node("RandomNormalLike", "z", output="noise"), node("Add", "z", "noise")])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (dropout, "Dropout with training_mode"),
        (batch_normalisation, "BatchNormalization with training_mode"),
        (noise, "RandomNormalLike, which draws random numbers"),
    ],
)
def test_a_graph_exported_in_training_mode_is_refused(
    tmp_path: Path, make: Callable[[], ModelProto], found: str
) -> None:
    with pytest.raises(ModelError, match=rf"in training mode; .*found {found}; call network.eval\(\)"):
        load(tmp_path, make())


@pytest.mark.parametrize(
    ("value", "refused"), [("nan", True), ("inf", True), ("-inf", True), ("mask", False)]
)
def test_weights_that_are_not_finite_are_refused_and_attention_masks_are_not(
    tmp_path: Path, value: str, *, refused: bool
) -> None:
    weight, bias = linear_weights()
    hidden = torch.tensor([0.0, -torch.inf] * 5) if value == "mask" else torch.tensor([1.0, float(value)] * 5)
    model = graph([*SOFTMAX, node("Add", "z", "more")], [weight, bias, tensor("more", hidden)])
    if not refused:
        assert load(tmp_path, model)(torch.rand(1, 3, 8, 8)).isinf().sum() == 5
        return
    with pytest.raises(CheckpointError, match=r"more is not finite; .*NaN or infinity in 5 of 10 values"):
        load(tmp_path, model)


def test_an_operator_set_that_onnxruntime_does_not_know_is_a_clear_error(tmp_path: Path) -> None:
    model = graph()
    model.opset_import[0].version = 10_000
    with pytest.raises(CheckpointError, match=r"onnxruntime [\d.]+ cannot load it; found Fail: .*Opset"):
        load(tmp_path, model)


def test_a_graph_that_would_fill_the_memory_is_a_clear_error(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2**20, 2**20])
    nodes = [*SOFTMAX, node("ConstantOfShape", "shape", output="huge")]
    nodes += [node("ReduceMax", "huge", output="most", keepdims=0), node("Add", "z", "most")]
    with pytest.raises(
        ModelError, match=r"onnxruntime fails on images \[1, 3, 8, 8\]; found .*allocate memory"
    ):
        load(tmp_path, graph(nodes, [*linear_weights(), shape]))


def test_another_number_of_outputs_than_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected 100; found 10"):
        load(tmp_path, graph(), more="label_space: cifar-100")


def test_gradients_and_other_precisions_are_refused_rather_than_wrong(tmp_path: Path) -> None:
    network = load(tmp_path, graph())
    with pytest.raises(ModelError, match=r"onnx:net.onnx gives no gradients"):
        network(torch.rand(1, 3, 8, 8, requires_grad=True))
    with (
        pytest.raises(ModelError, match="precision of its graph; expected float32; found bfloat16; leave"),
        torch.autocast("cpu", torch.bfloat16),
    ):
        network(torch.rand(1, 3, 8, 8))


def test_a_device_that_onnxruntime_lacks_is_a_clear_error_and_never_another_device(tmp_path: Path) -> None:
    network = load(tmp_path, graph())
    inner = network.get_submodule("network")
    assert isinstance(inner, OnnxNetwork)
    with pytest.raises(ModelError, match=r"cannot be run on mps; expected cpu, or cuda .*; give --device"):
        inner._session_for(torch.device("mps"))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ModelError, match=r"cannot be run on cuda:0; .* or install onnxruntime-gpu"):
            inner._session_for(torch.device("cuda:0"))


def test_onnxruntime_runs_with_torchs_threads_and_is_given_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, onnxruntime.SessionOptions]] = []
    session = onnxruntime.InferenceSession

    def watch(model: object, *, sess_options: onnxruntime.SessionOptions, providers: list[object]) -> object:
        made.append((model, sess_options))
        return session(model, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watch)
    torch.set_num_threads(2)
    network = load(tmp_path, graph())
    network(torch.rand(1, 3, 8, 8))
    torch.set_num_threads(1)
    network(torch.rand(1, 3, 8, 8))
    assert [options.intra_op_num_threads for _, options in made] == [2, 1]
    assert all(type(model) is bytes for model, _ in made)


def test_the_same_images_give_the_same_logits_to_the_bit(tmp_path: Path) -> None:
    network = load(tmp_path, graph())
    x = torch.rand(16, 3, 8, 8)
    assert torch.equal(network(x), network(x))


def test_what_torch_exports_keeps_the_fingerprint_and_the_count_of_parameters(
    small_network: nn.Module, tmp_path: Path
) -> None:
    plain = export_onnx(small_network.eval(), tmp_path / "plain.onnx", size=3)
    fused = export_onnx(small_network.eval(), tmp_path / "fused.onnx", size=3, optimize=True)
    specs = [load_model(model_file(tmp_path, f"onnx:{path.name}", size=3)).spec for path in (plain, fused)]
    assert specs[0].weights_digest == weights_digest(small_network.state_dict())
    assert specs[0].parameters == sum(parameter.numel() for parameter in small_network.parameters())
    # Batch normalisation is put into the convolution: other tensors, and whole-number shapes, which are none.
    assert specs[1].weights_digest != specs[0].weights_digest
    assert specs[1].parameters == specs[0].parameters - 8
