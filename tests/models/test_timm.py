"""timm's networks: label space, preprocessing, weights. No test needs the network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_data_config, resolve_model_data_config
from timm.data.transforms_factory import create_transform

from robustbench_safety.data.transforms import Transform
from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError
from robustbench_safety.models import load_model
from robustbench_safety.models import timm as family
from robustbench_safety.models.timm import build
from robustbench_safety.records import Preprocessing
from tests.models.asking import asked

#: timm's own test network: 0.5 M parameters, 160 px.
SMALL = "test_resnet"


@pytest.fixture(scope="module")
def small_timm() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: torch.nn.Module = timm.create_model(SMALL, pretrained=False)
        return network.eval()


def no_network(*args: object, pretrained: bool, **kwargs: object) -> torch.nn.Module:
    assert pretrained
    raise ConnectionError("Name or service not known")


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_local_checkpoint_gives_the_logits_of_the_network_it_came_from(
    small_timm: torch.nn.Module, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "pth":
        torch.save({"state_dict": small_timm.state_dict(), "arch": SMALL}, path)
    else:
        save_file(small_timm.state_dict(), path)
    model = load_model(f"timm:{SMALL}", checkpoint=path)
    assert (model.n_classes, model.spec.label_space, model.spec.training_data) == (1000, "imagenet-1k", None)
    assert (model.spec.trained_on, model.published_accuracy) == ((), {})
    x = torch.rand(2, 3, 160, 160)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1)
        for v in (model.spec.preprocessing.mean, model.spec.preprocessing.std)
    )
    with torch.inference_mode():
        assert torch.equal(model.network(x), small_timm((x - mean) / std))


def test_timms_loaders_never_open_a_submitted_file(
    small_timm: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(small_timm.state_dict(), tmp_path / "a.pth")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("timm opened a file")

    for name in ("load_checkpoint", "load_state_dict"):
        monkeypatch.setattr(timm.models._helpers, name, refuse)
        monkeypatch.setattr(timm.models, name, refuse)
    monkeypatch.setattr(timm.models._factory, "load_checkpoint", refuse)
    assert load_model(f"timm:{SMALL}", checkpoint=tmp_path / "a.pth").n_classes == 1000


def test_a_head_for_another_label_space_is_built_where_a_model_file_declares_it(tmp_path: Path) -> None:
    network = timm.create_model(SMALL, pretrained=False, num_classes=10)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    path = tmp_path / "m.yaml"
    path.write_text(f"model: timm:{SMALL}\ncheckpoint: a.pth\nlabel_space: cifar-10\n")
    assert load_model(path).n_classes == 10
    with pytest.raises(CheckpointError, match=rf"its head has 10 classes, that of timm:{SMALL} 1000"):
        load_model(f"timm:{SMALL}", checkpoint=tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("tag", "n_classes", "known"),
    [
        ("a1_in1k", 1000, True),
        ("sw_in12k_ft_in1k", 1000, True),
        ("sail_in1k_384", 1000, True),
        ("", 1000, True),  # no published weights: timm's default head
        ("untrained", 1000, True),
        ("augreg_in21k", 21843, False),
        ("in1k_ft_in22k", 21841, False),
        ("in12k", 1000, False),
        ("fb_dino", 1000, False),  # 1000 outputs that are not ImageNet's classes
        ("fb_inw21k", 19168, False),
        ("in1k_ijepa", 0, False),
        ("a1_in1k", 1001, False),
        ("coin1k", 1000, False),
    ],
)
def test_the_label_space_comes_from_timms_tag_and_never_from_a_count_alone(
    tag: str, n_classes: int, *, known: bool
) -> None:
    config = timm.models.PretrainedCfg(
        tag=tag, num_classes=n_classes, url="" if tag in ("", "untrained") else "x"
    )
    if known:
        assert family._label_space("timm:x", config) == "imagenet-1k"
    else:
        with pytest.raises(ModelError, match=r"its label space is not known; .*declares label_space"):
            family._label_space("timm:x", config)


def test_a_head_of_21k_classes_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ModelError, match=r"found tag 'augreg_in21k' with 21843 classes; name another tag, or give"
    ):
        build(asked("vit_tiny_patch16_224.augreg_in21k", pretrained=True))


def test_unknown_names_and_tags_show_near_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown timm architecture 'resnet5o'; expected one like resnet5"
    ):
        load_model("timm:resnet5o")
    with pytest.raises(
        UnknownNameError, match="unknown weights of timm:resnet50 'a1_in2k'; expected one like a1_in1k"
    ):
        load_model("timm:resnet50.a1_in2k")
    with pytest.raises(UnknownNameError, match="unknown timm architecture 'hf-hub:someone/net'"):
        load_model("timm:hf-hub:someone/net")


def test_weights_that_cannot_be_fetched_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(
        CheckpointError, match=r"weights could not be fetched; .*Name or service.*--checkpoint FILE"
    ):
        load_model(f"timm:{SMALL}")


def test_an_architecture_without_published_weights_asks_for_a_checkpoint() -> None:
    with pytest.raises(
        CheckpointError, match="timm has no weights for it; give a checkpoint with --checkpoint"
    ):
        load_model("timm:coatnet_0_224")


def test_fetched_weights_carry_timms_tag_as_training_data(
    small_timm: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm, "create_model", lambda name, *, pretrained: small_timm)
    model = load_model(f"timm:{SMALL}")
    assert (model.spec.training_data, model.spec.trained_on) == ("r160_in1k", ("imagenet-1k",))
    assert model.published_accuracy == {"imagenet-1k": 0.416}


def data_of(name: str) -> dict[str, object]:
    config = timm.models.get_pretrained_cfg(name)
    assert config is not None
    data: dict[str, object] = resolve_data_config(pretrained_cfg=config.to_dict())  # type: ignore[no-untyped-call]
    return data


def measured_with(name: str, **change: object) -> Preprocessing:
    """Return timm's preprocessing of a tag, with some of its data configuration changed."""
    return family._preprocessing(name, data_of(name) | change)


@pytest.mark.parametrize(
    ("name", "declared", "top1"),
    [
        ("resnet50.a1_in1k", None, 0.8038),
        ("resnet50.a1_in1k", {}, 0.8038),
        # timm's use_test_size
        ("resnet50.a1_in1k", {"input_size": (3, 288, 288), "crop_pct": 1.0}, 0.8124),
        ("resnet50.a1_in1k", {"input_size": (3, 256, 256)}, None),
        ("resnet50.a1_in1k", {"crop_pct": 0.875}, None),
        ("resnet50.a1_in1k", {"interpolation": "bilinear"}, None),
        ("resnet50.a1_in1k", {"crop_mode": "squash"}, None),
        ("resnet50.a1_in1k", {"crop_mode": "border"}, None),
        ("resnet50.a1_in1k", {"mean": (0.5, 0.5, 0.5)}, None),
        ("resnet50.a1_in1k", {"std": (0.5, 0.5, 0.5)}, None),
        ("resnet50.nobody_in1k", {}, None),
    ],
)
def test_a_published_accuracy_holds_for_the_preprocessing_it_was_measured_with(
    name: str, declared: dict[str, object] | None, top1: float | None
) -> None:
    own = measured_with("resnet50.a1_in1k")
    used = None if declared is None else measured_with("resnet50.a1_in1k", **declared)
    architecture, _, tag = name.partition(".")
    config = timm.models.PretrainedCfg(architecture=architecture, tag=tag)
    found = family._published_accuracy(config, own, used)
    assert found == ({} if top1 is None else {"imagenet-1k": top1})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"crop_mode": "tile"}, "crop mode tile"),
        ({"interpolation": "random"}, "interpolation random"),
        ({"input_size": (1, 160, 160)}, "input 1x160x160"),
        ({"input_size": (3, 160, 192)}, "input 3x160x192"),
    ],
)
def test_preprocessing_that_cannot_be_written_out_is_refused(change: dict[str, object], found: str) -> None:
    data: dict[str, object] = {
        "input_size": (3, 160, 160),
        "crop_pct": 0.95,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    assert family._preprocessing("timm:x", data).resize == 168
    with pytest.raises(ModelError, match=f"preprocessing cannot be written out; .*{found}"):
        family._preprocessing("timm:x", data | change)


#: Bicubic center at 0.95 and 0.875, bilinear, squash at 1.0, squash below 1.
CONFIGURATIONS = [
    "test_resnet.r160_in1k",
    "resnet18.tv_in1k",
    "mobilenetv3_small_100.lamb_in1k",
    "vit_tiny_patch16_384.augreg_in21k_ft_in1k",
]


@pytest.mark.parametrize("crop_pct", [1.0, 0.9, 0.875])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(37, 50), (50, 37), (41, 333), (90, 11), (64, 64), (5, 6), (63, 64)])
def test_pixels_equal_those_of_timms_own_transform(
    crop_mode: str, crop_pct: float, shape: tuple[int, int]
) -> None:
    data: dict[str, Any] = {
        "input_size": (3, 64, 64),
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "interpolation": "bicubic",
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
    }
    preprocessing = family._preprocessing("timm:x", data)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = create_transform(**data, is_training=False)(Image.fromarray(image))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    ours = Transform(preprocessing, pre_cropped=False)(image)
    pixels = torch.from_numpy(ours.astype(np.float32)).permute(2, 0, 1) / 255
    torch.testing.assert_close((pixels - mean) / std, theirs, rtol=0, atol=1e-6)


def test_the_preprocessing_of_every_published_tag_can_be_written_out() -> None:
    modes: Counter[str] = Counter()
    for name in timm.list_pretrained():
        data = data_of(name)
        family._preprocessing(f"timm:{name}", data)
        modes[str(data["crop_mode"])] += 1
    assert set(modes) == {"center", "squash", "border"}
    assert modes.total() > 1000


@pytest.mark.realdata
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_pixels_equal_those_of_timms_own_transform_on_real_photographs(
    shared_data: Path, name: str, crop_mode: str
) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, pretrained_cfg_overlay={"crop_mode": crop_mode})
    data = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    preprocessing = family._preprocessing(name, data)
    theirs = create_transform(**data, is_training=False)
    ours = Transform(preprocessing, pre_cropped=False)
    photographs = sorted((shared_data / "imagenet_sample").glob("**/*.JPEG"))[::60]
    assert len(photographs) >= 5
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    for path in photographs:
        with Image.open(path) as photograph:
            image = photograph.convert("RGB")
        pixels = torch.from_numpy(ours(np.asarray(image)).astype(np.float32)).permute(2, 0, 1) / 255
        torch.testing.assert_close((pixels - mean) / std, theirs(image), rtol=0, atol=1e-6)
