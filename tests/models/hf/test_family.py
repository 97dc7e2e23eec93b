"""Networks of transformers: the logits of its own pipeline, strict loading, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

import robustbench_safety as rbs
from robustbench_safety.data.transforms import Transform
from robustbench_safety.devices import to_pixels
from robustbench_safety.errors import (
    CheckpointError,
    FileFormatError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.models import Model, load_model
from robustbench_safety.models.hf.family import architectures
from robustbench_safety.models.weights.strict import weights_digest
from tests.models.hf.loopback_hub import COMMIT, loopback_hub
from tests.models.hf.test_preprocessing import picture, side
from tests.models.hf.tiny_hf import CIFAR, CONFIGS, SQUASH, change, save


def load(folder: Path, **options: object) -> Model:
    return load_model(f"hf:{folder}", **({"label_space": "cifar-10"} | options))  # type: ignore[arg-type]


def with_model_file(folder: Path, text: str) -> Path:
    path = folder / "m.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny ViT for CIFAR-10."""
    folder = tmp_path_factory.mktemp("vit")
    save(folder)
    return folder


@pytest.fixture
def own_vit(vit: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    folder = tmp_path / "vit"
    folder.mkdir()
    for path in vit.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("model_type", CONFIGS)
def test_what_transformers_saves_gives_its_logits_and_features(model_type: str, tmp_path: Path) -> None:
    theirs = save(tmp_path, model_type)
    model = load(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs(pixel_values=(images - 0.5) / 0.5).logits
        features, logits = model.features(images)
    assert torch.equal(logits, expected)
    assert model.last_layer is not None
    assert features.shape == (2, model.last_layer.weight.shape[1])
    assert (model.spec.label_space, model.spec.head_classes, model.spec.trained_on) == ("cifar-10", None, ())
    assert model.spec.parameters == sum(parameter.numel() for parameter in theirs.parameters())


#: Model type, processor, its settings: squashed, cropped by crop_pct, cropped by crop_size.
PIPELINES = [
    ("vit", "ViT", {"size": side(32)}),
    ("convnext", "ConvNext", {"size": {"shortest_edge": 28}, "image_mean": [0.485, 0.456, 0.406]}),
    ("mobilenet_v2", "MobileNetV2", {"size": {"shortest_edge": 40}, "crop_size": side(32)}),
    ("siglip", "Siglip", {"size": side(32), "image_std": [0.2, 0.3, 0.4]}),
]


@pytest.mark.parametrize(("model_type", "kind", "fields"), PIPELINES, ids=[p[0] for p in PIPELINES])
@pytest.mark.parametrize("photographs", [False, pytest.param(True, marks=pytest.mark.realdata)])
def test_logits_equal_those_of_transformers_own_processor_and_model(
    model_type: str,
    kind: str,
    fields: dict[str, object],
    *,
    photographs: bool,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    save(tmp_path, model_type, preprocessor=None)
    getattr(transformers, f"{kind}ImageProcessorPil")(**fields).save_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        tmp_path, backend="pil"
    )
    assert type(processor).__name__ == f"{kind}ImageProcessorPil"
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    model = load(tmp_path)
    transform = Transform(model.spec.preprocessing, pre_cropped=False)
    if photographs:
        folder = request.getfixturevalue("shared_data") / "imagenet_sample"
        files = sorted(folder.glob("**/*.JPEG"))[::60]
        assert len(files) >= 5
        images = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    else:
        images = [picture(*size) for size in ((64, 64), (80, 96), (96, 72))]
    compared = 0
    for image in images:
        pixels = to_pixels(torch.from_numpy(np.array(transform(image)))[None], torch.device("cpu"))
        with torch.inference_mode():
            expected = theirs(**processor(Image.fromarray(image), return_tensors="pt")).logits
            found = model.network(pixels)
        if _rounds_alike(image, model):
            compared += 1
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert compared >= 3


def _rounds_alike(image: np.ndarray, model: Model) -> bool:
    """Whether transformers and torchvision put the crop at the same place; see test_hf_preprocessing."""
    resize, target = model.spec.preprocessing.resize, model.spec.preprocessing.input_size
    assert target is not None
    if not isinstance(resize, int):
        return True
    height, width = image.shape[:2]
    long = int(resize * max(height, width) / min(height, width))
    margin = long - target[0]
    return round(margin / 2) == margin // 2


def test_the_fast_processors_resize_is_another_one_than_pillows(vit: Path) -> None:
    image = picture(80, 96)
    fast = transformers.ViTImageProcessor(size=side(32))(Image.fromarray(image), return_tensors="pt")
    slow = transformers.ViTImageProcessorPil(size=side(32))(Image.fromarray(image), return_tensors="pt")
    levels = (fast["pixel_values"] - slow["pixel_values"]).abs() * 127.5
    assert 0.5 < levels.max() < 10


def test_a_distilled_deit_averages_two_heads_and_gives_no_features(tmp_path: Path) -> None:
    theirs = save(tmp_path, "deit", architecture="DeiTForImageClassificationWithTeacher")
    assert type(theirs).__name__ == "DeiTForImageClassificationWithTeacher"
    model = load(tmp_path)
    assert (model.last_layer, model.spec.features) == (None, None)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.network(images), theirs(pixel_values=(images - 0.5) / 0.5).logits)


def test_transformers_never_opens_a_submitted_file(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("transformers opened a file")

    for owner in (transformers.PreTrainedModel, transformers.AutoConfig, transformers.PreTrainedConfig):
        monkeypatch.setattr(owner, "from_pretrained", refuse)
    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", refuse)
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", refuse)
    monkeypatch.setattr(transformers.modeling_utils, "load_state_dict", refuse)
    assert load(vit).n_classes == 10


def test_published_names_are_kept_in_the_fingerprint_and_renamed_in_the_network(
    vit: Path, tmp_path: Path
) -> None:
    model = load(vit)
    assert model.spec.checkpoint is not None
    assert model.spec.checkpoint.unwrapped == ("rename:transformers",)
    published = load_file(vit / "model.safetensors")
    assert "vit.encoder.layer.0.attention.attention.query.weight" in published
    assert model.spec.weights_digest == weights_digest(published)
    # In several files and as a pickle: the same tensors, the same fingerprint.
    network = transformers.AutoModelForImageClassification.from_pretrained(vit)
    network.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    (tmp_path / "shards" / "preprocessor_config.json").write_text(json.dumps(SQUASH))
    shards = load(tmp_path / "shards").spec
    assert shards.checkpoint is not None
    assert shards.checkpoint.unwrapped[0].startswith("shards:")
    assert shards.weights_digest == model.spec.weights_digest
    torch.save(load_file(vit / "model.safetensors"), tmp_path / "a.bin")
    pickled = load(vit, checkpoint=tmp_path / "a.bin", trust_pickle=True).spec
    assert pickled.weights_digest == model.spec.weights_digest
    assert (pickled.trusted, model.spec.trusted) == (("pickle",), ())


def test_the_snapshot_tells_two_configurations_of_the_same_weights_apart(own_vit: Path) -> None:
    before = load(own_vit).spec
    change(own_vit / "config.json", transformers_version="1.2.3", dtype="float16", _name_or_path="x")
    assert load(own_vit).spec == before
    change(own_vit / "config.json", hidden_act="relu")
    after = load(own_vit).spec
    assert after.weights_digest == before.weights_digest
    assert after.code_digest != before.code_digest


def test_half_precision_is_converted_and_buffers_of_older_files_are_dropped_both_recorded(
    own_vit: Path, tmp_path: Path
) -> None:
    path = own_vit / "model.safetensors"
    tensors = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(tensors | {"vit.embeddings.position_ids": torch.arange(17)[None]}, path)
    change(own_vit / "config.json", dtype="float16", return_dict=False, output_hidden_states=True)
    spec = load(own_vit).spec
    assert spec.checkpoint is not None
    assert spec.checkpoint.unwrapped == ("drop:position_ids", "rename:transformers", "dtype:float16")


def test_attention_code_that_a_configuration_names_is_not_taken(own_vit: Path) -> None:
    change(
        own_vit / "config.json", _attn_implementation="someone/kernel", attn_implementation="someone/kernel"
    )
    assert load(own_vit).n_classes == 10


def test_old_names_of_layer_normalisation_are_read(own_vit: Path, tmp_path: Path) -> None:
    save(tmp_path / "beit", "beit")
    path = tmp_path / "beit" / "model.safetensors"
    assert load(tmp_path / "beit").n_classes == 10
    tensors = load_file(path)
    tensors["beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"] = (
        torch.zeros(17, 17, dtype=torch.long)
    )
    save_file(tensors, path)
    spec = load(tmp_path / "beit").spec
    assert spec.checkpoint is not None
    assert "drop:relative_position_index" in spec.checkpoint.unwrapped


def test_outputs_in_another_order_are_selected_by_their_names(tmp_path: Path) -> None:
    theirs = save(tmp_path, labels=("background", *reversed(CIFAR)))
    model = load(tmp_path)
    assert model.n_classes == 10
    assert model.spec.head_classes is not None
    assert (model.spec.head_classes.source, model.spec.head_classes.outputs) == ("id2label", 11)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        logits = theirs(pixel_values=(images - 0.5) / 0.5).logits
        assert torch.equal(model.network(images), logits[:, 1:].flip(1))
    assert model.last_layer is not None


def test_numbered_outputs_need_a_declaration(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    save(folder, labels=[f"LABEL_{i}" for i in range(10)])
    with pytest.raises(UsageError, match="does not say what its outputs are"):
        load(folder)
    (tmp_path / "keys.txt").write_text("\n".join(reversed(CIFAR)))
    declared = load_model(with_model_file(tmp_path, "model: hf:net\nlabel_space: cifar-10\n"))
    assert declared.spec.head_classes is None
    listed = load_model(
        with_model_file(tmp_path, "model: hf:net\nhead_classes: keys.txt\nlabel_space: cifar-10\n")
    )
    assert listed.spec.head_classes is not None
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(listed.network(images), declared.network(images).flip(1))


def test_a_model_file_names_a_folder_beside_it_and_its_own_preprocessing(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "net").symlink_to(vit)
    path = with_model_file(
        tmp_path,
        "model: hf:net\nlabel_space: cifar-10\npreprocessing: {input_size: [32, 32], resize: 36, "
        "crop: center, interpolation: box, mean: [0.1, 0.1, 0.1], std: [0.2, 0.2, 0.2]}\n",
    )
    model = load_model(path)
    assert model.spec.name == "hf:net"
    assert model.spec.preprocessing.resize == 36


def test_a_missing_preprocessor_is_refused_unless_preprocessing_is_declared(own_vit: Path) -> None:
    (own_vit / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"does not say how images are prepared.*; state preprocessing in a"):
        load(own_vit)
    path = with_model_file(
        own_vit.parent,
        "model: hf:vit\nlabel_space: cifar-10\npreprocessing: {input_size: [32, 32], resize: null, "
        "crop: null, interpolation: bilinear, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n",
    )
    assert load_model(path).n_classes == 10


def test_a_checkpoint_goes_on_the_architecture_of_a_folder(own_vit: Path, tmp_path: Path) -> None:
    tensors = load_file(own_vit / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "mine.safetensors")
    plain = load(own_vit)
    (own_vit / "model.safetensors").unlink()
    model = load(own_vit, checkpoint=tmp_path / "mine.safetensors")
    assert model.spec.checkpoint is not None
    assert model.spec.checkpoint.unwrapped == ("prefix:module.", "rename:transformers")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.network(images), plain.network(images) + 1)


def test_a_stated_digest_is_compared(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "net").symlink_to(vit)
    path = with_model_file(tmp_path, f"model: hf:net\nlabel_space: cifar-10\nsha256: {'0' * 64}\n")
    with pytest.raises(CheckpointError, match="not the one that the model file states"):
        load_model(path)


@pytest.mark.parametrize(
    ("change_tensors", "found"),
    [
        (lambda t: t.pop("classifier.weight"), r"1 missing \(classifier.weight\)"),
        (lambda t: t.pop("vit.encoder.layer.1.output.dense.bias"), "1 missing"),
        (lambda t: t.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (lambda t: t.update({"classifier.weight": torch.ones(7, 32), "classifier.bias": torch.ones(7)}),
         "its head has 7 classes"),
        (lambda t: t.update({"classifier.bias": torch.full((10,), torch.nan)}), "bias is not finite"),
        (lambda t: t.update({"classifier.bias": torch.ones(10, dtype=torch.int32)}), "is of another kind"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(own_vit: Path, change_tensors: object, found: str) -> None:
    assert callable(change_tensors)
    path = own_vit / "model.safetensors"
    tensors = load_file(path)
    change_tensors(tensors)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=found):
        load(own_vit)


def test_a_truncated_file_is_refused(own_vit: Path) -> None:
    path = own_vit / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged or not a safetensors file"):
        load(own_vit)


def test_names_that_meet_in_one_are_refused(own_vit: Path) -> None:
    path = own_vit / "model.safetensors"
    tensors = load_file(path)
    network = transformers.AutoModelForImageClassification.from_pretrained(own_vit).state_dict()
    one = next(name for name in network if "q_proj" in name)
    save_file(tensors | {one: network[one]}, path)
    with pytest.raises(CheckpointError, match="is stored in an older layout"):
        load(own_vit)


@pytest.mark.parametrize(
    ("fields", "error", "found"),
    [
        ({"model_type": "vitt"}, UnknownNameError, "unknown model type 'vitt'; expected one like vit"),
        ({"model_type": None}, UnknownNameError, "unknown model type 'None'"),
        ({"model_type": "bert"}, ModelError, "is no image classifier; .*of model type bert"),
        ({"architectures": ["ViTModel"]}, ModelError, "no image classifier; .*found ViTModel of model type"),
        ({"hidden_size": "big"}, ModelError, "cannot build what its config.json describes"),
        ({"num_attention_heads": 0}, ModelError, "cannot build what its config.json describes"),
        ({"hidden_act": "os.system"}, ModelError, "cannot build what its config.json describes"),
        ({"hidden_size": 64}, CheckpointError, "does not fit hf:.* of another shape"),
        ({"num_channels": 1}, CheckpointError, "does not fit"),
        ({"auto_map": {"AutoConfig": "code.Config"}}, CheckpointError, "asks for code of its own"),
        ({"model_type": "timm_wrapper", "architecture": "resnet18"}, ModelError,
         "is one of timm's networks; found architecture resnet18; score timm:resnet18"),
        ({"id2label": None}, UsageError, "does not say what its outputs are; .*2 outputs, LABEL_0, LABEL_1"),
        ({"id2label": {"0": "cat", "7": "dog"}}, ModelError, "not the classes of cifar-10 by their names"),
        ({"id2label": 5}, ModelError, "cannot build what"),
        ({"id2label": {"0": None, "1": ["b"]}}, ModelError, "a label in id2label .* is no text"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_wrong_is_refused(
    own_vit: Path, fields: dict[str, object], error: type[Exception], found: str
) -> None:
    change(own_vit / "config.json", **fields)
    with pytest.raises(error, match=found):
        load(own_vit)


def test_a_configuration_that_is_no_json_is_refused(own_vit: Path) -> None:
    (own_vit / "config.json").write_text("{not json")
    with pytest.raises(FileFormatError, match=r"config.json is not valid JSON"):
        load(own_vit)


def test_a_hub_name_is_fetched_pinned_and_read_again_without_the_network(
    own_vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_vit / "code.py").write_text("raise SystemExit")
    torch.save({}, own_vit / "pytorch_model.bin")
    with loopback_hub(own_vit) as (address, fetched):
        # What HF_ENDPOINT and HF_HUB_CACHE do when they are set before the first import.
        here = partial(huggingface_hub.snapshot_download, endpoint=address, cache_dir=tmp_path / "cache")
        monkeypatch.setattr(huggingface_hub, "snapshot_download", here)
        spec = load_model("hf:org/name@main", label_space="cifar-10").spec
        with pytest.raises(
            CheckpointError, match=r"hf:org/none could not be .* found RepositoryNotFoundError"
        ):
            load_model("hf:org/none", label_space="cifar-10")
    assert sorted(fetched) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert spec.checkpoint is not None
    assert spec.checkpoint.unwrapped == (f"hub:org/name@{COMMIT}", "rename:transformers")
    assert spec.weights_digest == load(own_vit).spec.weights_digest
    # The server is gone: the cache has that revision, and nothing of another.
    assert load_model("hf:org/name@main", label_space="cifar-10").spec == spec
    with pytest.raises(
        CheckpointError, match=r"hf:org/name@v2 could not be fetched from the hub; .*ConnectError"
    ):
        load_model("hf:org/name@v2", label_space="cifar-10")


def test_any_folder_is_an_architecture() -> None:
    assert architectures() == []


def test_a_folder_is_scored_from_its_pictures_to_the_record(tmp_path: Path) -> None:
    save(tmp_path / "net", labels=[str(digit) for digit in range(10)])
    suite = tmp_path / "clean.yaml"
    suite.write_text(
        "name: clean\nversion: 1\ntitle: Clean\nlabel_space: digits\nseed: 0\n"
        "cells:\n  - {id: clean_error, dataset: digits, metric: error_rate}\ncolumns: [clean_error]\n"
    )
    evaluation = rbs.score(
        f"hf:{tmp_path / 'net'}",
        suite=suite,
        predictions=tmp_path / "p",
        limit=40,
        batch_size=16,
        device="cpu",
        name="tiny",
    )
    value = evaluation.record.scores["clean_error"].value
    assert value is not None
    assert 0.5 < value <= 1
    assert evaluation.record.model.family == "hf"
    assert evaluation.record.model.preprocessing.resize == (32, 32)


def test_a_record_names_a_folder_by_its_name_and_not_by_its_path(vit: Path) -> None:
    spec = load_model(f"hf:{vit}", label_space="cifar-10").spec
    assert spec.architecture == vit.name
