"""A network as a program, .pt2 or TorchScript: never run unless it is trusted, and then run as it was."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim

from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.models import Model, load_model
from robustbench_safety.models.graphs.export import architectures
from robustbench_safety.models.weights.strict import weights_digest
from tests.models.graphs.exporting import export_program, model_file, trace_script


class Net(nn.Module):
    """A network with all that behaves otherwise in training."""

    def __init__(self, *, softmax: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(4 * 64, 10)
        self.softmax = softmax

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.bn(self.conv(images)))
        logits: torch.Tensor = self.linear(self.drop(maps.view(maps.shape[0], -1)))
        return logits.softmax(1) if self.softmax else logits


def net(*, softmax: bool = False) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Net(softmax=softmax)
        made.bn.running_mean = torch.rand(4)
    return made.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in all forms."""
    folder = tmp_path_factory.mktemp("programs")
    export_program(net(), folder / "any.pt2", size=8)
    export_program(net(), folder / "three.pt2", batch=3, size=8)
    trace_script(net(), folder / "net.pt", size=8)
    return folder


def load(path: Path, folder: Path, *, trust_code: bool = True, **fields: object) -> Model:
    file = model_file(folder, f"export:{path}", **fields)  # type: ignore[arg-type]
    return load_model(file, trust_code=trust_code)


FORMS = ["any.pt2", "three.pt2", "net.pt"]


@pytest.mark.parametrize("form", FORMS)
def test_the_logits_and_the_fingerprint_are_those_of_the_network(
    files: Path, tmp_path: Path, form: str
) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    model = load(files / form, tmp_path, mean=mean, std=std)
    # As the run does it: this network's view() fails on maps in channels_last.
    network = model.network.to(memory_format=torch.channels_last)
    x = torch.rand(7, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    normalised = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), net()(normalised.contiguous()), rtol=0, atol=1e-5)
        assert network(x[:1]).shape == (1, 10)
    spec = model.spec
    assert spec.weights_digest == weights_digest(net().state_dict())
    assert spec.parameters == sum(parameter.numel() for parameter in net().parameters())
    assert spec.checkpoint is not None
    assert spec.checkpoint.format == ("torchscript" if form == "net.pt" else "export")
    assert spec.trusted == ("code",)
    # Copies that fill a batch up are not counted as operations of one image.
    flops = 2 * 64 * 4 * 27 + 2 * 256 * 10
    assert spec.flops == (None if form == "three.pt2" else flops)
    assert architectures() == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_gradients_of_any_number_of_images_are_those_of_the_network(
    files: Path, tmp_path: Path, form: str, n: int
) -> None:
    model = load(files / form, tmp_path)
    assert model.spec.gradients
    x = torch.rand(n, 3, 8, 8, requires_grad=True)
    (ours,) = torch.autograd.grad(model.network(x).logsumexp(1).sum(), x)
    (theirs,) = torch.autograd.grad(net()(x).logsumexp(1).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_every_pass_gives_the_same_logits_to_the_bit(files: Path, tmp_path: Path, form: str) -> None:
    network = load(files / form, tmp_path).network
    x = torch.rand(3, 3, 8, 8)
    with torch.inference_mode():
        first = network(x)
        assert all(torch.equal(network(x), first) for _ in range(4))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            "any.pt2",
            "is a torch.export program: its loader unpickles what the file holds; none of it was run",
        ),
        ("net.pt", "is a TorchScript archive: it holds code of its own; none of it was run"),
    ],
)
def test_a_program_needs_trust_whoever_names_it(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, message: str
) -> None:
    with pytest.raises(UsageError, match=f"{message}; .*give --trust-code"):
        load(files / form, tmp_path, trust_code=False)
    monkeypatch.chdir(files)
    with pytest.raises(UsageError, match="give --trust-code"):
        load_model(f"export:{form}", label_space="cifar-10", trust_pickle=True)


class Marks:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def hostile(source: Path, path: Path, marker: Path) -> Path:
    """Write a .pt2 whose sample inputs, a pickle, leave a mark when they are loaded."""
    inputs = io.BytesIO()
    torch.save(Marks(marker), inputs)
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as crafted:
        for name in archive.namelist():
            at_inputs = "/sample_inputs/" in name
            crafted.writestr(name, inputs.getvalue() if at_inputs else archive.read(name))
    return path


def test_a_hostile_program_runs_nothing_without_trust(files: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = hostile(files / "any.pt2", tmp_path / "bad.pt2", marker)
    with pytest.raises(UsageError, match="none of it was run"):
        load(path, tmp_path, trust_code=False)
    assert not marker.exists()
    with pytest.raises(CheckpointError, match=r"cannot be loaded as a torch.export program"):
        load(path, tmp_path)
    assert marker.exists()  # the craft was good: torch's loader does run it


def test_a_hostile_script_runs_nothing_without_trust(files: Path, tmp_path: Path) -> None:
    path, marker = tmp_path / "bad.pt", tmp_path / "ran"
    with zipfile.ZipFile(files / "net.pt") as archive, zipfile.ZipFile(path, "w") as crafted:
        for name in archive.namelist():
            content = pickle.dumps(Marks(marker)) if name.endswith(".pkl") else archive.read(name)
            crafted.writestr(name, content)
    with pytest.raises(UsageError, match="is a TorchScript archive"):
        load(path, tmp_path, trust_code=False)
    assert not marker.exists()


def test_the_format_is_told_by_the_content_and_not_by_the_name(files: Path, tmp_path: Path) -> None:
    for form, other in (("any.pt2", "a.pt"), ("net.pt", "b.pt2")):
        (tmp_path / other).write_bytes((files / form).read_bytes())
    found = [load(tmp_path / name, tmp_path).spec.checkpoint for name in ("a.pt", "b.pt2")]
    assert [info.format for info in found if info] == ["export", "torchscript"]


def test_what_holds_no_program_is_refused(files: Path, tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"holds weights and no program; .*with --checkpoint"):
        load(tmp_path / "weights.pt", tmp_path)
    (tmp_path / "garbage.pt2").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="is damaged or no exported program; expected an archive"):
        load(tmp_path / "garbage.pt2", tmp_path)
    whole = (files / "any.pt2").read_bytes()
    (tmp_path / "short.pt2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "short.pt2", tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "no program")
    with pytest.raises(CheckpointError, match=r"holds no exported program; .*found readme.txt"):
        load(tmp_path / "other.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "odd.pt2", "w") as archive:
        archive.writestr("odd/models/model.json", json.dumps({}))
    with pytest.raises(
        CheckpointError, match=r"cannot be loaded as a torch.export program; expected one that"
    ):
        load(tmp_path / "odd.pt2", tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "nowhere.pt2", tmp_path)


def test_preprocessing_must_be_declared_and_checkpoints_are_refused(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"model: export:{files / 'any.pt2'}\nlabel_space: cifar-10\n")
    with pytest.raises(UsageError, match=r"declares no preprocessing; .*input_size: \[8, 8\]"):
        load_model(path, trust_code=True)
    with pytest.raises(ModelError, match=r"another size than the graph takes; expected input_size: \[8, 8\]"):
        load(files / "any.pt2", tmp_path, size=32)
    with pytest.raises(UsageError, match="takes no checkpoint"):
        load_model(model_file(tmp_path, "export:a.pt2"), checkpoint=files / "any.pt2", trust_code=True)


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    network = net().train()
    path = export_program(network, tmp_path / "a.pt2", size=8)
    with pytest.raises(ModelError, match=r"found aten::batch_norm in training mode; call network.eval"):
        load(path, tmp_path)
    network.bn.eval()
    path = export_program(network, tmp_path / "b.pt2", size=8)
    with pytest.raises(ModelError, match="found aten::dropout in training mode"):
        load(path, tmp_path)
    path = trace_script(network, tmp_path / "c.pt", size=8)
    with pytest.raises(ModelError, match="found aten::dropout in training mode"):
        load(path, tmp_path)


class Noisy(nn.Module):
    """Adds noise in evaluation mode, too."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10] + torch.rand_like(images.flatten(1)[:, :10])


def test_a_program_that_draws_random_numbers_is_refused(tmp_path: Path) -> None:
    path = export_program(Noisy(), tmp_path / "a.pt2", size=8)
    with pytest.raises(ModelError, match="found aten::rand_like, which draws random numbers"):
        load(path, tmp_path)


class Attention(nn.Module):
    """Attention and instance normalisation, which torch lists among what may be random or in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3, affine=True)
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.norm(images).flatten(2)
        mixed = torch.nn.functional.scaled_dot_product_attention(maps, maps, maps)
        logits: torch.Tensor = self.linear(mixed.mean(dim=1))
        return logits


@pytest.mark.parametrize("decomposed", [False, True])
def test_attention_and_instance_normalisation_are_not_taken_for_training(
    tmp_path: Path, *, decomposed: bool
) -> None:
    exported = torch.export.export(
        Attention().eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: Dim.DYNAMIC},)
    )
    torch.export.save(exported.run_decompositions({}) if decomposed else exported, tmp_path / "a.pt2")
    assert load(tmp_path / "a.pt2", tmp_path).network(torch.rand(3, 3, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize("ending", ["pt2", "pt"])
def test_a_softmax_at_the_end_is_refused_until_it_is_declared(tmp_path: Path, ending: str) -> None:
    export = export_program if ending == "pt2" else trace_script
    path = export(net(softmax=True), tmp_path / f"a.{ending}", size=8)
    with pytest.raises(ModelError, match=r"a softmax; .* write `outputs: probabilities`"):
        load(path, tmp_path)
    network = load(path, tmp_path, more="label_space: cifar-10\noutputs: probabilities").network
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(network(x), net()(x).log_softmax(1), rtol=0, atol=1e-5)


class Other(nn.Module):
    """Takes or returns what is not wanted."""

    def __init__(self, *, outputs: int = 1, channels: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 10)
        self.outputs = outputs

    def forward(self, images: torch.Tensor) -> object:
        logits = self.linear(images.mean(dim=(2, 3)))
        return logits if self.outputs == 1 else (logits, logits + 1)


def test_a_program_that_is_not_one_from_images_to_logits_is_refused(tmp_path: Path) -> None:
    path = export_program(Other(outputs=2), tmp_path / "a.pt2", size=8)
    with pytest.raises(ModelError, match=r"expected one input float32 \[N, 3, H, W\] and one output; found"):
        load(path, tmp_path)
    grey = torch.export.export(Other(channels=1), (torch.rand(2, 1, 8, 8),))
    torch.export.save(grey, tmp_path / "b.pt2")
    with pytest.raises(ModelError, match=r"found float32 \[2, 1, 8, 8\]"):
        load(tmp_path / "b.pt2", tmp_path)
    half = torch.export.export(Other().half(), (torch.rand(2, 3, 8, 8).half(),))
    torch.export.save(half, tmp_path / "c.pt2")
    with pytest.raises(ModelError, match=r"found float16 \[2, 3, 8, 8\]"):
        load(tmp_path / "c.pt2", tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = net()
    nn.init.constant_(network.conv.weight[:1], torch.nan)
    path = export_program(network, tmp_path / "a.pt2", size=8)
    with pytest.raises(CheckpointError, match=r"conv\.weight is not finite; .*infinity in 27 of 108 values"):
        load(path, tmp_path)


def test_a_program_exported_without_gradients_says_that_it_has_none(tmp_path: Path) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                logits: torch.Tensor = self.inner(images)
            return logits

    path = export_program(Frozen(), tmp_path / "a.pt2", size=8)
    assert not load(path, tmp_path).spec.gradients
