"""torchvision's classifiers: which weights, which preprocessing, which label space. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models._meta import _IMAGENET_CATEGORIES

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError, UsageError
from robustbench_safety.labels import load_class_names, load_label_space
from robustbench_safety.models import load_model
from robustbench_safety.models import torchvision as family
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.model import Built
from robustbench_safety.models.probe import examine
from robustbench_safety.models.torchvision import architectures, build
from robustbench_safety.records import Preprocessing
from tests.models.asking import asked

#: 1.2 M parameters, one entry.
SMALL = "squeezenet1_1"
#: 2 M parameters, two entries with different preprocessing.
TWO = "mobilenet_v2"


def network_of(name: str, **options: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = models.get_model(name, weights=None, **options)
        return network.eval()


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return network_of(SMALL)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights for torchvision, and no way to the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def put_in_cache(cache: Path, architecture: str, entry: str, network: nn.Module) -> None:
    saved(network, cache / models.get_model_weights(architecture)[entry].url.rpartition("/")[2])


def test_the_names_are_those_of_classifiers_and_of_no_other_task() -> None:
    names = architectures()
    assert names == sorted(names)
    assert {"resnet50", "vit_b_16", "swin_v2_t", "googlenet", "maxvit_t"} <= set(names)
    assert not [
        name for name in names if any(part in name for part in ("rcnn", "deeplab", "quantized", "raft"))
    ]
    for name in ("fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "quantized_resnet18"):
        with pytest.raises(UnknownNameError, match=f"unknown torchvision architecture '{name}'"):
            build(asked(name))


def test_unknown_names_and_entries_show_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="architecture 'resnet5o'; expected one like resnet50"):
        load_model("torchvision:resnet5o")
    with pytest.raises(UnknownNameError, match=r"'IMAGENET1K_V3'; expected one like IMAGENET1K_V\d"):
        load_model("torchvision:resnet50/IMAGENET1K_V3")


def test_torchvisions_default_is_no_name_since_it_moves() -> None:
    with pytest.raises(UnknownNameError, match="weights of torchvision:resnet50 'DEFAULT'"):
        load_model("torchvision:resnet50/DEFAULT")


def test_of_several_weights_none_is_chosen_for_the_user() -> None:
    with pytest.raises(
        UsageError,
        match=r"has several weights; .*found IMAGENET1K_V1, IMAGENET1K_V2; name one, e\.g\. torchvision:res",
    ):
        load_model("torchvision:resnet50")


def test_the_only_weights_are_taken_with_all_that_their_entry_says(small: nn.Module, cache: Path) -> None:
    put_in_cache(cache, SMALL, "IMAGENET1K_V1", small)
    for name in (SMALL, f"{SMALL}/IMAGENET1K_V1"):
        model = load_model(f"torchvision:{name}")
        spec = model.spec
        assert (spec.architecture, spec.label_space, spec.training_data) == (
            name,
            "imagenet-1k",
            "IMAGENET1K_V1",
        )
        assert (spec.trained_on, spec.checkpoint) == (("imagenet-1k",), None)
        # acc@1 of 58.178 in torchvision's table.
        assert model.published_accuracy == pytest.approx({"imagenet-1k": 0.58178})


def test_named_weights_are_the_ones_that_are_loaded(cache: Path) -> None:
    first, second = network_of(TWO), network_of(TWO).requires_grad_(requires_grad=False)
    for parameter in second.parameters():
        parameter.add_(0.01)
    put_in_cache(cache, TWO, "IMAGENET1K_V1", first)
    put_in_cache(cache, TWO, "IMAGENET1K_V2", second)
    builts = [build(asked(f"{TWO}/IMAGENET1K_V{version}", pretrained=True)) for version in (1, 2)]
    for built, network in zip(builts, (first, second), strict=True):
        name = "classifier.1.bias"
        assert torch.equal(built.network.get_parameter(name), network.get_parameter(name))
    assert [built.preprocessing.resize for built in builts] == [256, 232]
    found = [built.published_accuracy["imagenet-1k"] for built in builts]
    assert found == pytest.approx([0.71878, 0.72154])


def test_a_published_accuracy_holds_for_its_own_preprocessing_alone(small: nn.Module, cache: Path) -> None:
    put_in_cache(cache, SMALL, "IMAGENET1K_V1", small)
    own = build(asked(SMALL)).preprocessing
    other = own.model_copy(update={"resize": 232})
    assert build(asked(SMALL, pretrained=True, preprocessing=own)).published_accuracy
    assert not build(asked(SMALL, pretrained=True, preprocessing=other)).published_accuracy


def test_weights_that_cannot_be_fetched_are_a_clear_error(cache: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"weights could not be fetched; .*Name or service.*--checkpoint FILE"
    ):
        load_model(f"torchvision:{SMALL}")


def test_weights_of_no_classifier_are_refused() -> None:
    # Its last layers hold NaN.
    with pytest.raises(CheckpointError, match="these weights are of no classifier"):
        load_model("torchvision:vgg16/IMAGENET1K_FEATURES")


def test_a_checkpoint_brings_neither_accuracy_nor_training_data(small: nn.Module, tmp_path: Path) -> None:
    model = load_model(f"torchvision:{SMALL}", checkpoint=saved(small, tmp_path / "a.pth"))
    assert (model.spec.training_data, model.spec.trained_on, model.published_accuracy) == (None, (), {})
    assert model.spec.label_space == "imagenet-1k"


def test_torchvision_never_opens_a_submitted_file(
    small: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(small, tmp_path / "a.pth")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("torchvision fetched weights")

    monkeypatch.setattr(models._api.WeightsEnum, "get_state_dict", refuse)
    assert load_model(f"torchvision:{SMALL}", checkpoint=path).n_classes == 1000


def test_the_head_is_as_large_as_the_label_space_that_a_model_file_declares(tmp_path: Path) -> None:
    saved(network_of(SMALL, num_classes=10), tmp_path / "a.pth")
    path = tmp_path / "m.yaml"
    path.write_text(f"model: torchvision:{SMALL}\ncheckpoint: a.pth\nlabel_space: cifar-10\n")
    assert load_model(path).n_classes == 10
    with pytest.raises(
        CheckpointError, match="its head has 10 classes, that of torchvision:squeezenet1_1 1000"
    ):
        load_model(f"torchvision:{SMALL}", checkpoint=tmp_path / "a.pth")


def test_a_larger_head_is_built_where_a_model_file_declares_its_classes(tmp_path: Path) -> None:
    saved(network_of(SMALL, num_classes=12), tmp_path / "a.pth")
    names = load_label_space("cifar-10").classes
    (tmp_path / "classes.txt").write_text("\n".join(["boat", *names, "pram"]))
    path = tmp_path / "m.yaml"
    path.write_text(
        f"model: torchvision:{SMALL}\ncheckpoint: a.pth\nlabel_space: cifar-10\nhead_classes: classes.txt\n"
    )
    model = load_model(path)
    assert model.spec.head_classes is not None
    assert (model.n_classes, model.spec.head_classes.outputs) == (10, 12)


def test_preprocessing_that_the_entries_agree_on_needs_no_name(tmp_path: Path) -> None:
    assert build(asked(SMALL)).preprocessing.resize == 256
    with pytest.raises(
        UsageError,
        match=r"preprocessing is not known: .*IMAGENET1K_V1 \(.*256.*IMAGENET1K_V2 \(.*232.*declare prep",
    ):
        build(asked(TWO))
    assert build(asked(f"{TWO}/IMAGENET1K_V2")).preprocessing.resize == 232


def test_a_declared_preprocessing_goes_before_entries_that_differ() -> None:
    declared = build(asked(SMALL)).preprocessing.model_copy(update={"resize": 300})
    assert build(asked(TWO, preprocessing=declared)).preprocessing == declared


def test_vgg_weights_without_a_name_are_refused_for_their_mean_alone() -> None:
    with pytest.raises(UsageError, match=r"IMAGENET1K_FEATURES \(.*0.48235"):
        build(asked("vgg16"))


def test_every_entry_of_every_classifier_is_written_out_as_torchvision_transforms() -> None:
    seen = 0
    for name in architectures():
        for entry in models.get_model_weights(name):
            ours, theirs = family._preprocessing(name, entry), entry.transforms()
            assert ours.input_size == (theirs.crop_size[0],) * 2
            assert [ours.resize] == theirs.resize_size
            assert (list(ours.mean), list(ours.std)) == (theirs.mean, theirs.std)
            assert ours.interpolation == theirs.interpolation.value
            assert theirs.antialias  # Pillow always does
            seen += 1
    assert seen >= 115


def test_a_transform_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = models.get_model_weights(SMALL)["IMAGENET1K_V1"]
    monkeypatch.setattr(entry.value, "transforms", lambda: nn.Identity())
    with pytest.raises(
        ModelError, match=r"preprocessing of IMAGENET1K_V1 cannot be written out; .*found Identity"
    ):
        family._preprocessing("torchvision:x", entry)


def test_the_label_space_comes_from_the_categories_and_never_from_their_count() -> None:
    entry = models.get_model_weights(SMALL)["IMAGENET1K_V1"]
    assert family._label_space("torchvision:x", [entry]) == "imagenet-1k"

    class Other:
        meta = {"categories": [f"kind {number}" for number in range(1000)]}  # noqa: RUF012

    with pytest.raises(
        ModelError, match=r"label space is not known; .*\[1000\] categories; .*declares label_space"
    ):
        family._label_space("torchvision:x", [Other()])
    with pytest.raises(ModelError, match="label space is not known"):
        family._label_space("torchvision:x", [entry, Other()])


def test_torchvisions_categories_stand_in_the_order_of_our_label_space() -> None:
    names = load_class_names(load_label_space("imagenet-1k"))
    lemmas = [words.split(", ") for words in names.lemmas.values()]
    assert sum(name in words for name, words in zip(_IMAGENET_CATEGORIES, lemmas, strict=True)) >= 950


@pytest.fixture(scope="module", params=["googlenet", "inception_v3"])
def inception(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, nn.Module, Path]:
    """One of the two networks with heads for training alone, and its file in torchvision's own layout."""
    name: str = request.param
    network = network_of(name, transform_input=True, aux_logits=True, init_weights=False)
    return name, network, saved(network, tmp_path_factory.mktemp(name) / "a.pth")


def loaded(name: str, path: Path, preprocessing: Preprocessing | None = None) -> Built:
    return build(replace(asked(name, preprocessing=preprocessing), checkpoint=path))


def test_files_of_the_inceptions_load_with_and_without_the_heads_of_training(
    inception: tuple[str, nn.Module, Path], tmp_path: Path
) -> None:
    name, theirs, path = inception
    state = theirs.state_dict()
    bare = {key: value for key, value in state.items() if not key.startswith(("aux", "Aux"))}
    assert len(bare) < len(state)
    torch.save(bare, tmp_path / "bare.pth")
    x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(x)
        for file in (path, tmp_path / "bare.pth"):
            built = loaded(f"{name}/IMAGENET1K_V1", file)
            assert built.loaded is not None
            assert built.loaded.file == file.name
            found = built.network.eval()(x)
            assert isinstance(found, torch.Tensor)  # logits alone, and not those of three heads
            assert torch.equal(found, expected)
            if file == path:
                n_parameters = sum(parameter.numel() for parameter in built.network.parameters())
                assert n_parameters == models.get_model_weights(name)["IMAGENET1K_V1"].meta["num_params"]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_whether_the_inceptions_rescale_their_input_is_never_guessed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=f"its input is rescaled is not known; .*torchvision:{name}/IMAGE"):
        build(asked(name))
    monkeypatch.setattr(family, "_load", lambda *_: None)  # as if a file had been read
    declared = build(asked(SMALL)).preprocessing
    for built, rescales in (
        (build(asked(f"{name}/IMAGENET1K_V1")), True),
        (build(asked(f"{name}/IMAGENET1K_V1", preprocessing=declared)), True),
        (build(asked(name, preprocessing=declared)), False),
    ):
        assert vars(built.network)["transform_input"] == rescales


def test_one_of_two_heads_of_training_is_no_file_of_googlenet(tmp_path: Path) -> None:
    state = network_of("googlenet", aux_logits=True, init_weights=False).state_dict()
    torch.save({key: value for key, value in state.items() if not key.startswith("aux2")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"missing \(aux2"):
        loaded("googlenet/IMAGENET1K_V1", tmp_path / "a.pth")


#: torch's own attention layer, shifted windows, grouped and depthwise convolutions.
KINDS = ["vit_b_16", "swin_t", "regnet_y_400mf", "efficientnet_b0"]


@pytest.mark.parametrize("name", KINDS)
def test_parameters_and_operations_are_those_that_torchvision_states(name: str) -> None:
    built = build(asked(f"{name}/IMAGENET1K_V1"))
    meta = models.get_model_weights(name)["IMAGENET1K_V1"].meta
    assert sum(parameter.numel() for parameter in built.network.parameters()) == meta["num_params"]
    network = Classifier(built.network, built.preprocessing).eval().requires_grad_(requires_grad=False)
    seen = examine(network, input_size=built.preprocessing.input_size, name=name)
    assert seen.outputs == 1000
    # torchvision counts a multiply-add as one operation.
    assert seen.flops == pytest.approx(2e9 * meta["_ops"], rel=0.01)
