"""Several models as one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.models import load_model
from robustbench_safety.models.digits import build_network
from robustbench_safety.models.ensemble import Ensemble


class Fixed(nn.Module):
    """Returns the same logits for every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


IMAGE = torch.zeros(1, 3, 2, 2)
#: Probabilities (0.8, 0.2) and (0.4, 0.6).
MEMBERS = [Fixed([math.log(0.8), math.log(0.2)]), Fixed([math.log(0.4), math.log(0.6)])]


def member(folder: Path, seed: int, *, extra: str = "") -> str:
    """Write a model file of the digits network with the weights of a seed; return its name."""
    save_file(build_network(seed).state_dict(), folder / f"{seed}.safetensors")
    (folder / f"{seed}.yaml").write_text(f"model: digits:cnn\ncheckpoint: {seed}.safetensors\n{extra}")
    return f"{seed}.yaml"


def ensemble_file(folder: Path, *lines: str) -> Path:
    path = folder / "ensemble.yaml"
    path.write_text("\n".join(("model: ensemble:deep", *lines)) + "\n")
    return path


def test_the_mean_of_probabilities_is_that_worked_by_hand() -> None:
    # (0.8 + 0.4) / 2 = 0.6, (0.2 + 0.6) / 2 = 0.4
    logits = Ensemble(MEMBERS, "probabilities")(IMAGE)
    torch.testing.assert_close(logits.softmax(dim=1), torch.tensor([[0.6, 0.4]]))
    torch.testing.assert_close(logits.exp(), torch.tensor([[0.6, 0.4]]))


def test_the_mean_of_logits_is_that_worked_by_hand() -> None:
    # geometric means sqrt(0.8 * 0.4) and sqrt(0.2 * 0.6)
    logits = Ensemble(MEMBERS, "logits")(IMAGE)
    torch.testing.assert_close(logits.exp(), torch.tensor([[math.sqrt(0.32), math.sqrt(0.12)]]))


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_the_mutual_information_is_the_entropy_of_the_mean_less_the_mean_entropy(combine: str) -> None:
    def entropy(*shares: float) -> float:
        return -sum(share * math.log(share) for share in shares)

    expected = entropy(0.6, 0.4) - (entropy(0.8, 0.2) + entropy(0.4, 0.6)) / 2
    network = Ensemble(MEMBERS, combine)  # type: ignore[arg-type]  # one of the two
    logits, information = network.disagreement(IMAGE)
    torch.testing.assert_close(information, torch.tensor([expected]))
    assert torch.equal(logits, network(IMAGE))


def test_members_that_agree_have_no_mutual_information_and_their_own_logits() -> None:
    logits, information = Ensemble([MEMBERS[0]] * 3, "probabilities").disagreement(IMAGE)
    torch.testing.assert_close(logits, MEMBERS[0](IMAGE))
    assert information.item() == pytest.approx(0, abs=1e-6)
    assert information.item() >= 0


def test_members_that_are_sure_of_different_classes_share_log_two() -> None:
    _, information = Ensemble([Fixed([90.0, -90.0]), Fixed([-90.0, 90.0])], "logits").disagreement(IMAGE)
    torch.testing.assert_close(information, torch.tensor([math.log(2)]))


def test_an_ensemble_of_model_files_averages_what_each_of_them_says(tmp_path: Path) -> None:
    normalised = (
        "preprocessing: {input_size: [32, 32], resize: null, crop: null, interpolation: bilinear, "
        "mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}\n"
    )
    files = [member(tmp_path, 0), member(tmp_path, 1, extra=normalised)]
    model = load_model(ensemble_file(tmp_path, f"members: [{', '.join(files)}]"))
    alone = [load_model(tmp_path / name) for name in files]
    x = torch.rand(4, 3, 32, 32)
    expected = torch.stack([one.network(x).softmax(dim=1) for one in alone]).mean(dim=0)
    torch.testing.assert_close(model.network(x).softmax(dim=1), expected)
    logits, information = model.network.with_disagreement(x)
    assert torch.equal(logits, model.network(x))
    assert information is not None
    assert information.shape == (4,)


def test_the_snapshot_holds_the_members_and_what_is_averaged(tmp_path: Path) -> None:
    files = [member(tmp_path, 0), member(tmp_path, 1)]
    spec = load_model(ensemble_file(tmp_path, f"members: [{', '.join(files)}]", "combine: logits")).spec
    alone = [load_model(tmp_path / name).spec for name in files]
    assert spec.members == tuple(alone)
    assert spec.combine == spec.outputs == "logits"
    assert spec.parameters == 2 * alone[0].parameters
    assert spec.flops is not None
    assert spec.flops == 2 * (alone[0].flops or 0)
    assert spec.features is None


def test_the_fingerprint_does_not_depend_on_the_order_of_the_members(tmp_path: Path) -> None:
    first, second, third = (str(tmp_path / member(tmp_path, seed)) for seed in range(3))
    one = load_model(f"ensemble:{first},{second}").spec
    assert load_model(f"ensemble:{second},{first}").spec.weights_digest == one.weights_digest
    assert load_model(f"ensemble:{first},{third}").spec.weights_digest != one.weights_digest
    assert one.combine == one.outputs == "probabilities"


def test_an_ensemble_that_says_what_its_members_return_is_refused(tmp_path: Path) -> None:
    files = [member(tmp_path, 0), member(tmp_path, 1)]
    with pytest.raises(UsageError, match="says outputs; say it in the model file of each member"):
        load_model(ensemble_file(tmp_path, f"members: [{', '.join(files)}]", "outputs: probabilities"))


def test_too_few_members_and_a_checkpoint_for_all_are_refused(tmp_path: Path) -> None:
    name = member(tmp_path, 0)
    with pytest.raises(UsageError, match="too few members; expected two or more"):
        load_model(f"ensemble:{tmp_path / name}")
    with pytest.raises(UsageError, match="takes no checkpoint"):
        load_model(f"ensemble:{tmp_path / name},{tmp_path / name}", checkpoint=tmp_path / "0.safetensors")


def test_members_that_see_other_pixels_or_speak_another_label_space_are_refused(tmp_path: Path) -> None:
    other = (
        "preprocessing: {input_size: [28, 28], resize: 28, crop: center, interpolation: bilinear, "
        "mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n"
    )
    files = [member(tmp_path, 0), member(tmp_path, 1, extra=other)]
    with pytest.raises(ModelError, match=r"see different pixels; expected input_size \(32, 32\)"):
        load_model(ensemble_file(tmp_path, f"members: [{', '.join(files)}]"))
    files = [member(tmp_path, 0), member(tmp_path, 1, extra="label_space: cifar-10\n")]
    with pytest.raises(ModelError, match="different label spaces; expected digits"):
        load_model(ensemble_file(tmp_path, f"members: [{', '.join(files)}]"))


def test_a_member_of_a_model_file_that_runs_code_needs_trust(tmp_path: Path) -> None:
    path = ensemble_file(tmp_path, "members: ['python:tests.golden.tiny:build', 'python:a:b']")
    with pytest.raises(UsageError, match="runs code of its own; read that code, then give --trust-code"):
        load_model(path)
    (tmp_path / "code.yaml").write_text("model: python:tests.golden.tiny:build\n")
    with pytest.raises(UsageError, match="runs code of its own"):
        load_model(f"ensemble:{tmp_path / 'code.yaml'},{tmp_path / 'code.yaml'}")


def test_no_ensemble_within_a_model_file_hides_a_member_that_runs_code(tmp_path: Path) -> None:
    code = "python:tests.golden.tiny:build"
    path = ensemble_file(tmp_path, f"members: ['ensemble:{code},{code}', {member(tmp_path, 0)}]")
    with pytest.raises(UsageError, match="runs code of its own; read that code, then give --trust-code"):
        load_model(path)


def test_that_a_member_of_a_model_file_ran_code_is_kept(tmp_path: Path) -> None:
    code = "python:tests.golden.tiny:build"
    path = ensemble_file(tmp_path, f"members: ['{code}', '{code}']", "label_space: digits")
    assert load_model(path, trust_code=True).spec.trusted == ("code",)


def test_paths_in_the_members_of_a_model_file_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    first, second = member(tmp_path, 0), member(tmp_path, 1)
    path = ensemble_file(tmp_path, f"members: ['ensemble:{first},{second}', {first}]")
    assert [len(one.members) for one in load_model(path).spec.members] == [2, 0]


def test_an_ensemble_that_names_itself_is_refused(tmp_path: Path) -> None:
    path = ensemble_file(tmp_path, "members: [other.yaml, other.yaml]")
    (tmp_path / "other.yaml").write_text("model: ensemble:ensemble.yaml,ensemble.yaml\n")
    with pytest.raises(UsageError, match=r"ensemble.yaml is a member of itself"):
        load_model(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("label_space: cifar-10", "another label space than it states; expected cifar-10; found digits"),
        ("head_classes: list.txt", "says head_classes"),
        (
            "preprocessing: {input_size: [32, 32], resize: null, crop: null, interpolation: bilinear, "
            "mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}",
            "states a preprocessing that is not its members'",
        ),
    ],
)
def test_an_ensemble_cannot_state_what_its_members_contradict(tmp_path: Path, line: str, said: str) -> None:
    files = ", ".join(member(tmp_path, seed) for seed in range(2))
    with pytest.raises((ModelError, UsageError), match=said):
        load_model(ensemble_file(tmp_path, f"members: [{files}]", line))


def test_fields_of_an_ensemble_are_refused_for_another_family(tmp_path: Path) -> None:
    name = member(tmp_path, 0, extra="combine: logits\n")
    with pytest.raises(UsageError, match="combine is for the family ensemble"):
        load_model(tmp_path / name)


def test_gradients_reach_the_pixels_through_every_member(tmp_path: Path) -> None:
    first, second = (str(tmp_path / member(tmp_path, seed)) for seed in range(2))
    model = load_model(f"ensemble:{first},{second}")
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    model.network(x)[0, 0].backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    assert model.spec.gradients
