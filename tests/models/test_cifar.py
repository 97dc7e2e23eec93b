"""The networks for 32x32 images: structure, names, sizes, and published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError, UsageError
from robustbench_safety.models import load_model
from robustbench_safety.models.cifar import architectures, build
from robustbench_safety.models.cifar_nets.allconv import AllConvNet
from robustbench_safety.models.cifar_nets.resnet import CifarResNet
from robustbench_safety.models.cifar_nets.wideresnet import WideResNet
from tests.models.asking import asked


def resnet_parameters(depth: int, n_classes: int) -> int:
    n = (depth - 2) // 6
    total = 3 * 16 * 9 + 2 * 16  # first convolution and its batch normalisation
    for n_in, n_out in ((16, 16), (16, 32), (32, 64)):
        total += n_in * n_out * 9 + (2 * n - 1) * n_out * n_out * 9 + 2 * n * 2 * n_out
    return total + 64 * n_classes + n_classes


def wide_resnet_parameters(depth: int, widen: int, n_classes: int) -> int:
    n, total, n_in = (depth - 4) // 6, 3 * 16 * 9, 16
    for n_out in (16 * widen, 32 * widen, 64 * widen):
        total += n_in * n_out * 9 + (2 * n - 1) * n_out * n_out * 9 + n_in * n_out  # with the 1x1 shortcut
        total += 2 * n_in + (2 * n - 1) * 2 * n_out
        n_in = n_out
    return total + 2 * n_in + n_in * n_classes + n_classes


def resnext_parameters(n_classes: int) -> int:
    total, n_in = 3 * 64 * 9 + 2 * 64, 64
    for base in (64, 128, 256):
        inner, n_out = base // 2 * 4, base * 4  # 4 paths of base * 32 / 64 channels
        for block in range(3):
            n_from = n_in if block == 0 else n_out
            total += n_from * inner + inner * inner // 4 * 9 + inner * n_out + 2 * (2 * inner + n_out)
        total += n_in * n_out + 2 * n_out  # downsample
        n_in = n_out
    return total + n_in * n_classes + n_classes


def allconv_parameters(n_classes: int) -> int:
    kernels = [(3, 96, 9), (96, 96, 9), (96, 96, 9), (96, 192, 9), (192, 192, 9), (192, 192, 9)]
    kernels += [(192, 192, 9), (192, 192, 1), (192, 192, 1)]
    return sum(n_in * n_out * k + 3 * n_out for n_in, n_out, k in kernels) + 192 * n_classes + n_classes


PARAMETERS = {
    **{f"resnet{depth}": resnet_parameters(depth, 10) for depth in (20, 32, 44, 56, 110)},
    **{f"wrn_{d}_{w}": wide_resnet_parameters(d, w, 10) for d, w in ((40, 2), (40, 4), (28, 10))},
    "resnext29_32x4": resnext_parameters(10),
    "allconv": allconv_parameters(10),
}
#: Input channels of each classifier.
FEATURES = {"resnext29_32x4": 1024, "allconv": 192, "wrn_40_2": 128, "wrn_40_4": 256, "wrn_28_10": 640}


@pytest.mark.parametrize("name", architectures())
def test_every_network_has_the_parameters_counted_by_hand_and_both_class_counts(name: str) -> None:
    counts = {}
    for suffix, n_classes in (("", 10), ("/cifar-100", 100)):
        built = build(asked(name + suffix))
        counts[n_classes] = sum(parameter.numel() for parameter in built.network.parameters())
        with torch.inference_mode():
            assert built.network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, n_classes)
        assert built.label_space == (suffix[1:] or "cifar-10")
    assert counts[10] == PARAMETERS[name]
    assert counts[100] - counts[10] == 90 * (FEATURES.get(name, 64) + 1)


def test_the_sizes_are_those_of_the_papers() -> None:
    # In millions: He et al. 2016, table 6; Zagoruyko and Komodakis 2016, section 3.
    published = {"resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85, "resnet110": 1.7}
    published |= {"wrn_40_2": 2.2, "wrn_40_4": 8.9, "wrn_28_10": 36.5}
    for name, millions in published.items():
        assert PARAMETERS[name] / 1e6 == pytest.approx(millions, rel=0.02)
    assert PARAMETERS["resnet20"] == 269_722
    assert PARAMETERS["wrn_40_2"] == 2_243_546
    assert PARAMETERS["wrn_28_10"] == 36_479_194


@pytest.mark.parametrize(
    ("name", "n_tensors", "some"),
    [
        ("resnet20", 116, ["conv1.weight", "bn1.running_var", "layer3.2.conv2.weight", "linear.bias"]),
        (
            "wrn_40_2",
            227,
            ["block1.layer.0.conv_shortcut.weight", "block3.layer.5.bn2.bias", "bn1.bias", "fc.bias"],
        ),
        (
            "resnext29_32x4",
            188,
            [
                "conv_1_3x3.weight",
                "bn_1.bias",
                "stage_1.0.downsample.1.weight",
                "stage_3.2.conv_reduce.weight",
                "stage_3.2.bn_reduce.weight",
                "stage_3.2.conv_conv.weight",
                "stage_3.2.bn.weight",
                "stage_3.2.bn_expand.weight",
                "stage_3.2.conv_expand.weight",
                "classifier.bias",
            ],
        ),
        ("allconv", 65, ["features.0.bias", "features.11.weight", "features.22.weight", "features.29.bias"]),
    ],
)
def test_tensor_names_are_those_of_the_published_code_bases(
    name: str, n_tensors: int, some: list[str]
) -> None:
    state = build(asked(name)).network.state_dict()
    assert set(some) <= state.keys()
    assert len(state) == n_tensors


def test_the_shortcut_of_a_resnet_subsamples_and_pads_with_zeros() -> None:
    network = CifarResNet(depth=20, n_classes=10).eval()
    block = network.layer2[0]
    torch.nn.init.zeros_(
        block.get_parameter("bn2.weight")
    )  # the other branch gives 0 (running mean 0, shift 0)
    x = torch.rand(2, 16, 8, 8)
    out = block(x)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_the_first_shortcut_of_a_wide_resnet_sees_the_activated_input() -> None:
    block = WideResNet(depth=40, widen=2, n_classes=10).eval().block1.layer[0]
    torch.nn.init.zeros_(block.get_parameter("conv2.weight"))
    x = torch.randn(1, 16, 4, 4)
    activated = functional.relu(block.get_submodule("bn1")(x))
    expected = functional.conv2d(activated, block.get_parameter("conv_shortcut.weight"))
    torch.testing.assert_close(block(x), expected)


def test_allconv_pools_the_upper_left_part_of_a_10x10_map() -> None:
    network = AllConvNet(n_classes=10).eval()
    with torch.no_grad():
        maps = network.features[:-1](torch.rand(1, 3, 32, 32))
        assert maps.shape == (1, 192, 10, 10)
        pooled = network.features[-1](maps).flatten()
    torch.testing.assert_close(pooled, maps[0, :, :8, :8].mean(dim=(1, 2)))


def test_allconvs_activation_is_the_sigmoid_approximation_of_gelu() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0])
    activation = AllConvNet(n_classes=10).features[2]
    torch.testing.assert_close(activation(x), x / (1 + torch.exp(-1.702 * x)))


def test_an_unknown_architecture_shows_near_names() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown cifar architecture 'wrn40_2'; expected one like wrn_40_2"
    ):
        load_model("cifar:wrn40_2")


def test_an_unknown_label_space_shows_near_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown label space 'cifar100'; expected one like cifar-100"):
        build(asked("resnet20/cifar100"))


def test_a_cifar_network_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match="cifar:resnet20 needs a checkpoint; give it with --checkpoint FILE"
    ):
        load_model("cifar:resnet20")


def test_a_model_file_that_contradicts_the_name_is_refused() -> None:
    with pytest.raises(UsageError, match="expected cifar-100; found cifar-10;"):
        build(asked("resnet20/cifar-100", label_space="cifar-10"))


def test_a_label_space_in_the_model_file_sets_the_class_count() -> None:
    built = build(asked("resnet20", label_space="cifar-100"))
    assert built.network.linear.out_features == 100  # type: ignore[union-attr]


def test_the_older_spelling_of_the_wide_resnets_shortcut_loads(tmp_path: Path) -> None:
    state = build(asked("wrn_40_2")).network.state_dict()
    torch.save(state, tmp_path / "new.pth")
    torch.save(
        {k.replace("conv_shortcut", "convShortcut"): v for k, v in state.items()}, tmp_path / "old.pth"
    )
    new = load_model("cifar:wrn_40_2", checkpoint=tmp_path / "new.pth").spec
    old = load_model("cifar:wrn_40_2", checkpoint=tmp_path / "old.pth").spec
    assert new.checkpoint is not None
    assert old.checkpoint is not None
    assert (new.checkpoint.unwrapped, old.checkpoint.unwrapped) == ((), ("rename:convShortcut",))
    assert new.weights_digest == old.weights_digest


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "file"), [("resnet20", "resnet20-12fca82f.th"), ("resnet32", "resnet32-d509ac18.th")]
)
def test_published_weights_load_and_what_was_unwrapped_is_told(
    shared_data: Path, name: str, file: str
) -> None:
    # tests/test_realdata.py holds their error on the 10,000 test images against the published one.
    model = load_model(f"cifar:{name}", checkpoint=shared_data / "checkpoints" / file)
    assert model.spec.checkpoint is not None
    assert model.spec.checkpoint.unwrapped == (
        "key:state_dict",
        "prefix:module.",
        "absent:num_batches_tracked",
    )
    assert model.spec.checkpoint.sha256.startswith(file[9:17])  # the publisher put the digest into the name


@pytest.mark.realdata
def test_weights_of_a_deeper_network_are_refused_with_the_names(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "resnet32-d509ac18.th"
    with pytest.raises(CheckpointError, match=r"60 unexpected \(layer1.3.conv1.weight,") as caught:
        load_model("cifar:resnet20", checkpoint=path)
    assert "does not fit cifar:resnet20" in str(caught.value)


def test_weights_for_100_classes_are_refused_for_10(tmp_path: Path) -> None:
    path = tmp_path / "c100.pth"
    torch.save(build(asked("resnet20/cifar-100")).network.state_dict(), path)
    with pytest.raises(
        CheckpointError, match="its head has 100 classes, that of cifar:resnet20 10: name the"
    ) as e:
        load_model("cifar:resnet20", checkpoint=path)
    assert "2 of another shape (linear.weight [100, 64] instead of [10, 64], linear.bias [100]" in str(
        e.value
    )
    assert load_model("cifar:resnet20/cifar-100", checkpoint=path).n_classes == 100


def test_a_cifar_network_on_a_wrong_input_size_is_refused(tmp_path: Path) -> None:
    torch.save(build(asked("allconv")).network.state_dict(), tmp_path / "a.pth")
    (tmp_path / "m.yaml").write_text(
        "model: cifar:allconv\ncheckpoint: a.pth\npreprocessing: {input_size: [8, 8], resize: null, "
        "crop: null, interpolation: bilinear, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n"
    )
    with pytest.raises(ModelError, match="cannot be run on one float32 image of 8x8 pixels"):
        load_model(tmp_path / "m.yaml")
