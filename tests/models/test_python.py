"""A user's own network, named on the command line."""

from __future__ import annotations

import hashlib
import sys
import uuid
from pathlib import Path

import pytest
import torch

from robustbench_safety.errors import ModelError, RobustbenchSafetyError, UnknownNameError, UsageError
from robustbench_safety.models import load_model
from robustbench_safety.models.python import build
from tests.models.asking import asked

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 10)
    def forward(self, images):
        return self.linear(images.mean(dim=(2, 3)))
"""


class Folder:
    """The current folder, with a module of a name that no other test uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module = f"mine_{uuid.uuid4().hex}"

    def write(self, text: str) -> str:
        (self.path / f"{self.module}.py").write_text(text)
        return self.module


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def test_a_network_in_the_current_folder_loads_as_it_was_built(here: Folder) -> None:
    text = NETWORK + (
        "def make():\n"
        "    net = Net()\n"
        "    nn.init.ones_(net.linear.weight); nn.init.zeros_(net.linear.bias)\n"
        "    return net\n"
    )
    module = here.write(text)
    before = list(sys.path)
    model = load_model(f"python:{module}:make", label_space="cifar-10")
    assert sys.path == before
    assert (model.spec.family, model.spec.architecture) == ("python", f"{module}:make")
    assert model.spec.label_space == "cifar-10"
    assert model.spec.parameters == 40
    assert model.spec.checkpoint is None
    assert model.spec.code_digest == hashlib.sha256(text.encode()).hexdigest()
    assert model.spec.preprocessing.input_size is None
    # Ones over the three channel means of an image of 0.25: 0.75 in every logit, so pixels arrive unchanged.
    assert torch.equal(model.network(torch.full((2, 3, 9, 9), 0.25)), torch.full((2, 10), 0.75))
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


def test_a_class_is_a_callable_too_and_packages_work(here: Folder) -> None:
    package = here.path / here.module
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(NETWORK)
    model = load_model(f"python:{here.module}.nets:Net", label_space="digits")
    assert model.spec.code_digest == hashlib.sha256(NETWORK.encode()).hexdigest()


def test_label_space_and_preprocessing_of_the_network_are_honoured(here: Folder) -> None:
    module = here.write(
        NETWORK + "class Told(Net):\n"
        "    label_space = 'cifar-10'\n"
        "    preprocessing = {'input_size': [16, 24], 'resize': None, 'crop': None,\n"
        "        'interpolation': 'bicubic', 'mean': [0.5, 0.5, 0.5], 'std': [0.25, 0.25, 0.25]}\n"
    )
    spec = load_model(f"python:{module}:Told", label_space="digits").spec
    assert spec.label_space == "cifar-10"
    assert spec.preprocessing.input_size == (16, 24)
    assert spec.preprocessing.std == (0.25, 0.25, 0.25)


def test_a_preprocessing_record_is_honoured(here: Folder) -> None:
    module = here.write(
        NETWORK + "from robustbench_safety.records import Preprocessing\n"
        "class Told(Net):\n"
        "    preprocessing = Preprocessing(input_size=(8, 8), resize=None, crop=None,\n"
        "        interpolation='nearest', mean=(0., 0., 0.), std=(1., 1., 1.))\n"
    )
    assert load_model(f"python:{module}:Told", label_space="digits").spec.preprocessing.input_size == (8, 8)


def test_a_checkpoint_goes_into_the_users_network(here: Folder) -> None:
    module = here.write(NETWORK)
    torch.save(
        {"linear.weight": torch.zeros(10, 3), "linear.bias": torch.arange(10.0)}, here.path / "weights.pth"
    )
    model = load_model(f"python:{module}:Net", checkpoint=here.path / "weights.pth", label_space="digits")
    assert torch.equal(model.network(torch.rand(1, 3, 4, 4)), torch.arange(10.0)[None])


def test_a_network_that_speaks_no_label_space_is_refused(here: Folder) -> None:
    with pytest.raises(UsageError, match=r"speaks no label space; expected the name of one, e.g. cifar-10"):
        load_model(f"python:{here.write(NETWORK)}:Net")


def test_another_number_of_outputs_than_classes_is_refused(here: Folder) -> None:
    with pytest.raises(ModelError, match="label space cifar-100 has classes; expected 100; found 10"):
        load_model(f"python:{here.write(NETWORK)}:Net", label_space="cifar-100")


@pytest.mark.parametrize("name", ["module", "module:", ":make", ".module:make"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"names no callable; expected python:package.module:callable"):
        load_model(f"python:{name}")


def test_a_module_that_is_not_there_is_named_with_the_folder(here: Folder) -> None:
    with pytest.raises(UsageError, match="there is no module nowhere_at_all; expected it in") as caught:
        load_model("python:nowhere_at_all.nets:make")
    assert str(here.path) in str(caught.value)


def test_a_module_that_the_users_module_needs_is_named(here: Folder) -> None:
    module = here.write("import nowhere_at_all\n")
    with pytest.raises(ModelError, match=r"importing .* failed; found ModuleNotFoundError: .*nowhere_at_all"):
        load_model(f"python:{module}:make")


def test_an_unknown_callable_shows_near_names(here: Folder) -> None:
    module = here.write("def make_net(): ...\n")
    with pytest.raises(UnknownNameError, match="'make_nut'; expected one like make_net"):
        load_model(f"python:{module}:make_nut")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("make = 3\n", ModelError, "cannot be called; expected a function without arguments"),
        (
            "def make(): return 3\n",
            ModelError,
            "returned no network; expected a torch.nn.Module; found a int",
        ),
        ("def make(a): ...\n", ModelError, "calling it without arguments failed; found TypeError"),
        ("def make():\n    1 / 0\n", ModelError, r"found ZeroDivisionError: .*\(mine_\w+\.py, line 2\)"),
        (
            "raise ValueError('broken')\n",
            ModelError,
            r"importing .* failed; found ValueError: broken \(mine_",
        ),
        ("import sys\nsys.exit(3)\n", ModelError, "importing .* failed; found SystemExit: 3"),
        ("def make(:\n", ModelError, "importing .* failed; found SyntaxError"),
    ],
)
def test_failing_code_becomes_one_clear_error(
    here: Folder, text: str, error: type[RobustbenchSafetyError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        load_model(f"python:{here.write(text)}:make", label_space="digits")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("label_space = 3", "label_space is wrong; expected the name of a label space; found a int"),
        ("preprocessing = 3", "preprocessing is wrong; .*found 3"),
        ("preprocessing = {'input_size': None}", r"preprocessing\.resize is wrong; expected Field required"),
        ("preprocessing = object()", "preprocessing is wrong; expected a Preprocessing or a dict"),
    ],
)
def test_attributes_of_a_wrong_kind_are_refused(here: Folder, line: str, message: str) -> None:
    module = here.write(f"{NETWORK}class Bad(Net):\n    {line}\n")
    with pytest.raises(ModelError, match=message):
        load_model(f"python:{module}:Bad", label_space="digits")


def test_a_network_whose_forward_fails_is_refused(here: Folder) -> None:
    module = here.write(f"{NETWORK}class Bad(Net):\n    def forward(self, x): raise KeyError('x')\n")
    with pytest.raises(ModelError, match=r"cannot be run on one float32 image of 224x224 .*KeyError"):
        load_model(f"python:{module}:Bad", label_space="digits")


def test_a_callable_without_a_file_of_its_own_is_digested_by_its_module(here: Folder) -> None:
    text = f"{NETWORK}import functools\nmake = functools.partial(Net)\n"
    built = build(asked(f"{here.write(text)}:make", pretrained=True))
    assert built.code_digest == hashlib.sha256(text.encode()).hexdigest()
