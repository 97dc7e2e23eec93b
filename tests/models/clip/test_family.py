"""CLIP's image towers: weights, preprocessing, the classifier made of text. No test needs the network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

import robustbench_safety as rbs
from robustbench_safety.data.transforms import Transform
from robustbench_safety.errors import (
    CheckpointError,
    ModelError,
    RobustbenchSafetyError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.labels import load_class_names, load_label_space
from robustbench_safety.models import Model, hub, load_model
from robustbench_safety.models.clip import family, towers
from robustbench_safety.models.weights.strict import weights_digest
from tests.models.asking import asked
from tests.models.clip.tiny_clip import SIDE, WIDTH, TinyClip, config, known_to_open_clip, make

OPENAI = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
#: What open_clip would say of published weights of the tiny architecture.
TAGS: dict[str, dict[str, object]] = {
    "plain": {**OPENAI, "interpolation": "bicubic", "resize_mode": "shortest"},
    "quick": {**OPENAI, "interpolation": "bicubic", "resize_mode": "shortest", "quick_gelu": True},
    "squashed": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "resize_mode": "squash"},
    "longest": {**OPENAI, "interpolation": "bicubic", "resize_mode": "longest"},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBS_CACHE", str(tmp_path / "cache"))


def captioning() -> dict[str, Any]:
    """A CoCa: its image tower gives tokens beside the embedding."""
    decoder = {"context_length": 20, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}
    content = config(multimodal_cfg=decoder, custom_text=True)
    content["text_cfg"] = {**content["text_cfg"], "embed_cls": True, "output_tokens": True}
    content["vision_cfg"] = {**content["vision_cfg"], "output_tokens": True, "attentional_pool": True}
    return content


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyClip]:
    folder = tmp_path_factory.mktemp("clip")
    with known_to_open_clip(
        folder,
        tiny=config(),
        many=config(),
        biased=config(init_logit_bias=-10.0),
        hubbed=config(text_cfg={"hf_model_name": "nobody/text", "hf_tokenizer_name": "nobody/text"}),
        captioned=captioning(),
    ):
        yield make("tiny", folder)


@pytest.fixture
def tags(tiny: TinyClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open_clip have published weights of the tiny architecture, in a file of this machine."""
    published = {tag: {"file": str(tiny.checkpoint), **said} for tag, said in TAGS.items()}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "many", published)
    agreeing = {tag: published[tag] for tag in ("plain", "quick")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", agreeing)


def load(tiny: TinyClip, name: str = "tiny", *, label_space: str = "cifar-10") -> Model:
    return load_model(f"clip:{name}", checkpoint=tiny.checkpoint, label_space=label_space)


def classifier(network: torch.nn.Module, names: list[str], templates: list[str]) -> torch.Tensor:
    """The zero-shot classifier [D, K] of the CLIP paper, computed on its own: one text at a time."""
    columns, tokenize = [], open_clip.get_tokenizer("tiny")
    for name in names:
        texts = [tokenize([template.replace("{}", name)]) for template in templates]
        with torch.no_grad():
            rows = torch.cat([network.encode_text(text) for text in texts])  # type: ignore[operator]
        mean = (rows / (rows * rows).sum(dim=1, keepdim=True).sqrt()).mean(dim=0)
        columns.append(mean / mean.norm())
    return torch.stack(columns, dim=1)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_logits_are_scaled_cosines_with_an_independent_text_classifier(
    tiny: TinyClip, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    state = tiny.network.state_dict()
    if ending == "pth":
        torch.save({"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        save_file(state, path)
    model = load_model("clip:tiny", checkpoint=path, label_space="cifar-10")
    names = list(load_class_names(load_label_space("cifar-10")).prompts.values())
    x = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(OPENAI[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        features = tiny.network.encode_image((x - mean) / std, normalize=True)  # type: ignore[operator]
        expected = 100 * features @ classifier(tiny.network, names, ["a photo of a {}."])
        found = model.network(x)
        assert (expected.max(dim=1).values - expected.min(dim=1).values).min() > 1  # they are not all alike
        close(found, expected)
    assert model.spec.zero_shot is not None
    assert model.spec.zero_shot.logit_scale == pytest.approx(100, abs=1e-4)
    assert (model.spec.zero_shot.templates, model.spec.training_data) == ("plain", None)
    assert model.spec.weights_digest == weights_digest(state)  # both towers, the same for both endings
    assert model.spec.parameters == sum(parameter.numel() for parameter in tiny.network.parameters())


def test_the_classifier_equals_open_clips_own_builder(tiny: TinyClip, tmp_path: Path) -> None:
    names = [f"kind of thing {i}" for i in range(10)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    path = tmp_path / "m.yaml"
    path.write_text(
        f"model: clip:tiny\ncheckpoint: {tiny.checkpoint}\nlabel_space: cifar-10\n"
        "zero_shot: {templates: openai-7, names: names.txt}\n"
    )
    model = load_model(path)
    templates = open_clip.SIMPLE_IMAGENET_TEMPLATES
    theirs = open_clip.build_zero_shot_classifier_legacy(
        tiny.network, open_clip.get_tokenizer("tiny"), names, templates
    )
    assert model.last_layer is not None
    close(model.last_layer.weight / 100, theirs.T)
    texts = [write("{}") for write in templates]
    close(model.last_layer.weight / 100, classifier(tiny.network, names, texts).T)


def test_the_features_are_embeddings_of_length_1_and_the_last_layer_makes_the_logits(tiny: TinyClip) -> None:
    model = load(tiny)
    features, logits = model.features(torch.rand(3, 3, SIDE, SIDE))
    assert model.last_layer is not None
    close(features.norm(dim=1), torch.ones(3))
    close(features @ model.last_layer.weight.T + model.last_layer.bias, logits)
    assert (model.spec.features, features.shape) == (WIDTH, (3, WIDTH))
    assert "transformer" not in dict(model.network.network.named_children())  # the text tower is gone


def test_a_logit_bias_is_applied_and_recorded(tiny: TinyClip, tmp_path: Path) -> None:
    torch.save({**tiny.network.state_dict(), "logit_bias": torch.tensor(-12.5)}, tmp_path / "a.pth")
    model = load_model("clip:biased", checkpoint=tmp_path / "a.pth", label_space="cifar-10")
    x = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        close(model.network(x), load(tiny).network(x) - 12.5)
    assert model.spec.zero_shot is not None
    assert model.spec.zero_shot.logit_bias == -12.5


def test_the_second_load_does_not_run_the_text_tower_and_gives_the_same_bits(
    tiny: TinyClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        first = load(tiny).network(x)

        def refuse(*args: object, **kwargs: object) -> None:
            raise AssertionError("the text tower ran")

        monkeypatch.setattr(open_clip, "build_zero_shot_classifier", refuse)
        assert torch.equal(load(tiny).network(x), first)
        with pytest.raises(ModelError, match="the text tower ran"):
            load(tiny, label_space="digits")


def test_the_same_weights_with_quick_gelu_are_another_entry_of_the_cache(tiny: TinyClip, tags: None) -> None:
    plain, quick = (load(tiny, f"tiny/{tag}").last_layer for tag in ("plain", "quick"))
    assert plain is not None
    assert quick is not None
    assert not torch.allclose(plain.weight, quick.weight, atol=1e-3)


def test_a_tag_with_quick_gelu_is_put_into_effect_for_a_submitted_file(tiny: TinyClip, tags: None) -> None:
    x = torch.rand(2, 3, SIDE, SIDE)
    theirs = open_clip.create_model("tiny", pretrained=str(tiny.checkpoint), force_quick_gelu=True).eval()
    found = {tag: load(tiny, f"tiny/{tag}") for tag in ("plain", "quick")}
    kinds = {
        tag: sum(isinstance(layer, QuickGELU) for layer in model.network.modules())
        for tag, model in found.items()
    }
    assert kinds == {"plain": 0, "quick": 2}
    mean, std = (torch.tensor(OPENAI[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        features = {tag: model.features(x)[0] for tag, model in found.items()}
        close(features["quick"], theirs.encode_image((x - mean) / std, normalize=True))
    assert not torch.allclose(features["quick"], features["plain"], atol=1e-3)


def test_fetched_weights_have_their_tags_quick_gelu_preprocessing_and_training_data(
    tiny: TinyClip, tags: None
) -> None:
    x = torch.rand(2, 3, SIDE, SIDE)
    fetched = load_model("clip:tiny/quick", label_space="cifar-10")
    submitted = load(tiny, "tiny/quick")
    with torch.inference_mode():
        assert torch.equal(fetched.network(x), submitted.network(x))
    assert (fetched.spec.training_data, submitted.spec.training_data) == ("quick", None)
    assert (fetched.spec.checkpoint is None, submitted.spec.checkpoint is None) == (True, False)
    assert fetched.spec.weights_digest == submitted.spec.weights_digest
    assert fetched.spec.preprocessing == submitted.spec.preprocessing


def test_every_tag_of_open_clip_gets_its_own_preprocessing_and_quick_gelu() -> None:
    seen = set()
    for architecture, tag in open_clip.list_pretrained():
        if architecture not in open_clip.list_models():
            continue
        named = towers.named(asked(f"{architecture}/{tag}", family="clip"))
        said = open_clip.get_pretrained_cfg(architecture, tag)
        theirs = open_clip.transform.merge_preprocess_dict(open_clip.transform.PreprocessCfg(), said)
        ours = open_clip.transform.merge_preprocess_dict(
            open_clip.transform.PreprocessCfg(), dict(named.published)
        )
        assert ours == theirs
        network = SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=ours))
        written = towers.preprocessing(network, named.name)  # type: ignore[arg-type]
        assert written.mean == tuple(said["mean"])
        if said.get("quick_gelu") or architecture.endswith("-quickgelu"):
            assert named.quick_gelu
        seen.add((named.quick_gelu, written.crop, written.interpolation))
    assert len(seen) >= 5


def test_without_a_tag_the_preprocessing_is_the_one_that_all_tags_share(tiny: TinyClip, tags: None) -> None:
    assert load(tiny).spec.preprocessing.mean == OPENAI["mean"]
    siglip = towers.named(asked("ViT-B-16-SigLIP", family="clip"))
    assert siglip.published["resize_mode"] == "squash"
    with pytest.raises(
        ModelError, match=r"clip:many: its preprocessing is not known; expected a tag .*quick"
    ):
        load(tiny, "many")
    declared = load(tiny).spec.preprocessing
    assert towers.named(asked("many", family="clip", preprocessing=declared)).tag is None


def test_preprocessing_that_cannot_be_written_out_is_refused_unless_it_is_declared(
    tiny: TinyClip, tags: None, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"cannot be written out; .*resize mode longest"):
        load(tiny, "many/longest")
    path = tmp_path / "m.yaml"
    path.write_text(
        f"model: clip:many/longest\ncheckpoint: {tiny.checkpoint}\nlabel_space: cifar-10\npreprocessing:\n"
        "  {input_size: [64, 64], resize: [64, 64], crop: null, interpolation: bicubic, mean: [0, 0, 0],"
        " std: [1, 1, 1]}\n"
    )
    assert load_model(path).spec.preprocessing.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("broken", ["load_checkpoint", "load_state_dict", "download_pretrained"])
def test_open_clip_never_opens_a_submitted_file(
    tiny: TinyClip, tags: None, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("open_clip opened a file")

    monkeypatch.setattr(open_clip.factory, broken, refuse)
    assert load(tiny, "tiny/quick").n_classes == 10


def test_openais_extra_entries_are_dropped_and_demand_quick_gelu(
    tiny: TinyClip, tags: None, tmp_path: Path
) -> None:
    extra = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    state = {
        key: value.half() if value.ndim > 1 else value for key, value in tiny.network.state_dict().items()
    }
    torch.save({**state, **{key: torch.tensor(value) for key, value in extra.items()}}, tmp_path / "a.pth")
    model = load_model("clip:tiny/quick", checkpoint=tmp_path / "a.pth", label_space="cifar-10")
    assert model.spec.checkpoint is not None
    assert model.spec.checkpoint.unwrapped == ("drop:openai", "dtype:float16")
    with pytest.raises(CheckpointError, match=r"whose networks compute QuickGELU; .*name clip:tiny/openai"):
        load_model("clip:tiny/plain", checkpoint=tmp_path / "a.pth", label_space="cifar-10")


def test_a_checkpoint_that_does_not_fit_is_refused(tiny: TinyClip, tmp_path: Path) -> None:
    state = dict(tiny.network.state_dict())
    del state["ln_final.weight"]
    torch.save({**state, "visual.extra": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"1 missing \(ln_final.weight.*1 unexpected \(visual.extra\)"):
        load_model("clip:tiny", checkpoint=tmp_path / "a.pth", label_space="cifar-10")
    torch.save({**tiny.network.state_dict(), "logit_scale": torch.tensor(1000.0)}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match=r"logit scale is not finite; .*found 1000"):
        load_model("clip:tiny", checkpoint=tmp_path / "b.pth", label_space="cifar-10")


def test_unknown_names_and_tags_show_near_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown clip architecture 'ViT-B-33'; expected one like ViT-B-32"
    ):
        load_model("clip:ViT-B-33/openai")
    with pytest.raises(
        UnknownNameError, match="unknown weights of clip:ViT-B-32 'opena1'; expected one like openai"
    ):
        load_model("clip:ViT-B-32/opena1")
    for name in ("clip:ViT-B-32/", "clip:hf-hub:someone/net", "clip:local-dir:/tmp"):
        with pytest.raises(UnknownNameError):
            load_model(name)


def test_neither_tag_nor_checkpoint_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"clip:ViT-B-32 names no weights; expected .*TAG one of openai, "
    ):
        load_model("clip:ViT-B-32", label_space="cifar-10")
    with pytest.raises(CheckpointError, match=r"clip:ViT-S-32 names no weights; expected a checkpoint"):
        load_model("clip:ViT-S-32", label_space="cifar-10")


def test_without_a_label_space_nothing_is_guessed(tiny: TinyClip) -> None:
    with pytest.raises(UsageError, match=r"clip:tiny can speak any label space, and none is declared"):
        load_model("clip:tiny", checkpoint=tiny.checkpoint)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("clip:ViT-B-32/openai", CheckpointError, "weights could not be fetched; .*--checkpoint FILE"),
        ("clip:hubbed", ModelError, "open_clip cannot build it; .*hub's cache has it"),
    ],
)
def test_without_a_network_the_error_is_quick_and_clear(
    tiny: TinyClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, error: type[RobustbenchSafetyError], message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(hub, "_in_reach", lambda address: False)
    checkpoint = tiny.checkpoint if name == "clip:hubbed" else None
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(error, match=message):
        load_model(name, checkpoint=checkpoint, label_space="cifar-10")
    assert logging.getLogger().handlers == handlers
    assert logging.root.manager.disable == 0


def test_a_tokenizer_that_cannot_be_had_is_a_clear_error(
    tiny: TinyClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(open_clip, "get_tokenizer", fail)
    with pytest.raises(ModelError, match=r"tokenizer could not be had; .*couldn't connect.*; run this once"):
        load(tiny)


def test_a_captioning_tower_gives_its_embedding_alone(tiny: TinyClip, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = open_clip.create_model("captioned").eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    model = load_model("clip:captioned", checkpoint=tmp_path / "a.pth", label_space="cifar-10")
    x = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        features = network.encode_image(model.network._normalised(x))
        close(model.features(x)[0], features)


def probe_file(folder: Path, tiny: TinyClip, *, normalised: bool, more: str = "") -> Path:
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(10, WIDTH, generator=generator), torch.randn(10, generator=generator)
    save_file({"fc.weight": weight, "fc.bias": bias}, folder / "probe.safetensors")
    path = folder / "m.yaml"
    path.write_text(
        f"model: clip:tiny\ncheckpoint: {tiny.checkpoint}\nlabel_space: cifar-10\n"
        f"probe: {{checkpoint: probe.safetensors, normalised: {str(normalised).lower()}}}\n{more}"
    )
    return path


@pytest.mark.parametrize("normalised", [True, False])
def test_a_linear_probe_sits_on_the_image_tower(tiny: TinyClip, tmp_path: Path, *, normalised: bool) -> None:
    model = load_model(probe_file(tmp_path, tiny, normalised=normalised))
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(10, WIDTH, generator=generator), torch.randn(10, generator=generator)
    x = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        embedding = tiny.network.visual(model.network._normalised(x))  # type: ignore[operator]
        used = embedding / embedding.norm(dim=1, keepdim=True) if normalised else embedding
        close(model.network(x), used @ weight.T + bias)
    assert model.spec.probe is not None
    assert (model.spec.probe.file, model.spec.probe.unwrapped) == ("probe.safetensors", ("prefix:fc.",))
    assert (model.spec.zero_shot, model.spec.features) == (None, WIDTH)
    own = sum(parameter.numel() for parameter in tiny.network.parameters())
    assert model.spec.parameters == own + 10 * WIDTH + 10
    assert model.spec.weights_digest != load(tiny).spec.weights_digest  # the probe's weights are in it


def test_what_does_not_go_together_is_refused(tiny: TinyClip, tmp_path: Path) -> None:
    both = probe_file(tmp_path, tiny, normalised=True, more="zero_shot: {templates: plain}\n")
    with pytest.raises(UsageError, match=r"asks for two classifiers; .*leave one out"):
        load_model(both)
    path = tmp_path / "head.yaml"
    path.write_text(
        f"model: clip:tiny\ncheckpoint: {tiny.checkpoint}\nlabel_space: imagenet-1k\n"
        "head_classes: imagenet-12k\n"
    )
    with pytest.raises(UsageError, match="head_classes is not for clip:tiny"):
        load_model(path)


def test_the_names_can_stand_behind_the_family() -> None:
    names = family.architectures()
    assert names == sorted(names)
    assert "ViT-B-32" in names
    assert not [name for name in names if "/" in name or ":" in name]


def test_the_template_sets_are_those_that_open_clip_carries() -> None:
    assert [len(family._TEMPLATES[key]) for key in ("openai-80", "openai-7")] == [80, 7]
    assert all(template.count("{}") == 1 for texts in family._TEMPLATES.values() for template in texts)


@pytest.mark.realdata
@pytest.mark.parametrize("tag", ["plain", "quick", "squashed"])
def test_logits_on_real_photographs_equal_those_of_open_clips_own_pipeline(
    tiny: TinyClip, tags: None, shared_data: Path, tag: str
) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(
        "many", pretrained=tag, force_quick_gelu=bool(TAGS[tag].get("quick_gelu"))
    )
    tokenizer = open_clip.get_tokenizer("many")
    names = list(load_class_names(load_label_space("imagenet-1k")).prompts.values())[:10]
    weights = open_clip.build_zero_shot_classifier(
        theirs.eval(), tokenizer, names, open_clip.SIMPLE_IMAGENET_TEMPLATES
    )
    model = with_names(tiny, f"many/{tag}", names)
    ours = Transform(model.spec.preprocessing, pre_cropped=False)
    photographs = sorted((shared_data / "imagenet_sample").glob("**/*.JPEG"))[::50][:8]
    assert len(photographs) == 8
    for path in photographs:
        with Image.open(path) as photograph:
            image = photograph.convert("RGB")
        pixels = torch.from_numpy(ours(np.asarray(image)).astype(np.float32)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            features = theirs.encode_image(transform(image)[None], normalize=True)
            close(model.network(pixels), 100 * features @ weights)


def with_names(tiny: TinyClip, name: str, names: list[str]) -> Model:
    """Load a network for 10 classes that are called as said."""
    folder = tiny.checkpoint.parent
    (folder / "names.txt").write_text("\n".join(names))
    path = folder / "named.yaml"
    path.write_text(
        f"model: clip:{name}\ncheckpoint: {tiny.checkpoint}\nlabel_space: cifar-10\n"
        "zero_shot: {templates: openai-7, names: names.txt}\n"
    )
    return load_model(path)


@pytest.mark.realdata
def test_a_zero_shot_network_is_scored_on_real_images_in_the_suites_label_space(
    tiny: TinyClip, real_data: Path, tmp_path: Path
) -> None:
    done = rbs.score(
        "clip:tiny", suite="cifar10-clean", checkpoint=tiny.checkpoint, data=real_data,
        predictions=tmp_path / "predictions", device="cpu", limit=40, batch_size=20,
    )  # fmt: skip
    model = done.record.model
    assert (model.label_space, model.zero_shot and model.zero_shot.templates) == ("cifar-10", "plain")
    error = done.record.scores["clean_error"].value
    assert error is not None
    assert 0 < error <= 1
