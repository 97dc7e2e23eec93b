"""Files that somebody hands in to do harm: refused with the reason, with nothing run and nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.cli.app import run
from robustbench_safety.errors import CheckpointError, RobustbenchSafetyError
from robustbench_safety.models.digits import build_network
from tests.models.weights import hostile


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refused(path: Path, message: str, model: str = "digits:cnn") -> RobustbenchSafetyError:
    """Assert that the file is refused with the message, by all four parts, and that nothing happened."""
    before = everything(path.parent)
    with pytest.raises(CheckpointError, match=message) as caught:
        rbs.load_model(model, checkpoint=path)
    assert everything(path.parent) == before
    assert caught.value.fix, caught.value
    said = str(caught.value)
    assert path.name in said
    assert len(said) < 1500
    assert said.isprintable()
    return caught.value


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", hostile.ALL)
def test_a_hostile_file_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    write, message = hostile.ALL[name]
    refused(write(tmp_path), message)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", hostile.ALL)
def test_on_the_command_line_a_hostile_file_ends_with_2_and_leaves_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, _ = hostile.ALL[name]
    path = write(tmp_path)
    before = everything(tmp_path)
    assert run(["score", "digits:cnn", "--checkpoint", str(path), "--suite", "digits-safety"]) == 2
    said = capfd.readouterr().err
    assert path.name in said
    assert "Traceback" not in said
    assert everything(tmp_path) == before


def test_a_pickle_bomb_takes_no_memory_and_no_time(tmp_path: Path) -> None:
    """In a process that may have 512 MB of addresses more than it has after a file without harm."""
    code = (
        "import resource, sys\nimport robustbench_safety as rbs\n"
        "from pathlib import Path\n"
        "rbs.load_model('digits:cnn', checkpoint=Path(sys.argv[1]))\n"  # everything that is imported is
        "space = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (space + 2**29,) * 2)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in sys.argv[2:]:\n"
        "    try:\n        rbs.load_model('digits:cnn', checkpoint=Path(file))\n"
        "    except rbs.errors.CheckpointError as error:\n        print(str(error)[:100])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)\n"
    )
    files = []
    for i, name in enumerate(
        (
            "2 GB out of thirty bytes",
            "a constructor that allocates",
            "a storage of one element said to have a billion",
            "one element shown as a billion",
            "an old file that claims 4 GB",
            "text that says it is 4 GB long",
            "lists within lists, doubled",
            "a tuple nested too deep to be hashed",
            "a zip bomb",
            "a hundred thousand entries",
            "a header of 2 ** 63 bytes",
            "a header nested for ever",
        )
    ):
        folder = tmp_path / str(i)
        folder.mkdir()
        files.append(str(hostile.ALL[name][0](folder)))
    good = tmp_path / "good.pth"
    torch.save(hostile.state(), good)
    done = subprocess.run(
        [sys.executable, "-c", code, str(good), *files],
        capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(files) + 1, done.stdout
    assert int(lines[-1]) < 64 * 1024, "kilobytes more than before"
    assert max(Path(file).stat().st_size for file in files) > 2**22


# -------------------------------------------------------------------------------------- what is no plain file


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    refused(tmp_path / "pipe.pth", "is a pipe, a socket or a device; expected a file; save it to one")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(CheckpointError, match=f"{device} is a pipe, a socket or a device"):
        rbs.load_model("digits:cnn", checkpoint=Path(device))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth", "is a folder; expected a file; name a file in it")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = hostile.saved(tmp_path, hostile.state())
    path.chmod(0)
    refused(path, "cannot be read; found Permission denied")


def test_a_link_that_goes_round_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pth").symlink_to(tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "cannot be read; found Too many levels of symbolic links")


def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read; found .*null"):
        rbs.load_model("digits:cnn", checkpoint=tmp_path / "a\0.pth")


# ---------------------------------------------------------------------------------------------- trusted files


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_a_class_loads_when_trusted_and_the_record_says_so(
    old: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    path = hostile.saved(tmp_path, {"state_dict": hostile.state(), "x": hostile.RunsCommand()}, old=old)
    refused(path, "or, where you trust whoever made the file, give --trust-pickle")
    spec = rbs.load_model("digits:cnn", checkpoint=path, trust_pickle=True).spec
    assert (tmp_path / hostile.MARKER).exists()  # it does what it is said to do
    assert spec.trusted == ("pickle",)
    assert spec.checkpoint is not None
    assert spec.checkpoint.unwrapped == ("trusted:pickle", "key:state_dict")
    assert spec.model_dump(mode="json")["trusted"] == ["pickle"]


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_saved_network_gives_its_weights_when_trusted(
    old: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    path = hostile.saved(tmp_path, build_network(0), old=old)
    trusted = rbs.load_model("digits:cnn", checkpoint=path, trust_pickle=True).spec
    assert trusted.trusted == ("pickle",)
    assert trusted.checkpoint is not None
    assert trusted.checkpoint.unwrapped == ("trusted:pickle", "module")
    plain = tmp_path / "plain.safetensors"
    save_file(hostile.state(), plain)
    assert rbs.load_model("digits:cnn", checkpoint=plain).spec.weights_digest == trusted.weights_digest


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_that_needs_no_trust_is_not_marked_where_trust_is_given(kind: str, tmp_path: Path) -> None:
    if kind == "safetensors":
        path = tmp_path / "a.safetensors"
        save_file(hostile.state(), path)
    else:
        path = hostile.saved(tmp_path, hostile.state(), old=kind == "legacy")
    trusted = rbs.load_model("digits:cnn", checkpoint=path, trust_pickle=True, trust_code=True).spec
    assert trusted == rbs.load_model("digits:cnn", checkpoint=path).spec
    assert trusted.trusted == ()
    assert "trusted" not in trusted.model_dump(mode="json")


def test_trust_does_not_excuse_what_does_not_fit(tmp_path: Path) -> None:
    path = hostile.saved(tmp_path, nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="does not fit digits:cnn"):
        rbs.load_model("digits:cnn", checkpoint=path, trust_pickle=True)


def test_a_trusted_pickle_that_fails_is_one_clear_error(tmp_path: Path) -> None:
    path = hostile.with_content("a.pth", b"\x80\x02cno_such_module\nname\n)R.")(tmp_path)
    with pytest.raises(CheckpointError, match=r"is damaged or not a checkpoint; .*found ModuleNotFoundError"):
        rbs.load_model("digits:cnn", checkpoint=path, trust_pickle=True)


def test_trust_is_given_on_the_command_line_and_kept_in_the_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = hostile.saved(tmp_path, build_network(0))
    command = ["score", "digits:cnn", "--checkpoint", str(path), "--suite", "digits", "--limit", "20",
               "--batch-size", "20"]  # fmt: skip
    assert run(command) == 2
    assert "--trust-pickle" in capfd.readouterr().err
    assert run([*command, "--trust-pickle"]) == 0
    (record,) = tmp_path.glob("leaderboard/records/digits/*.json")
    assert '"trusted": [\n   "pickle"\n  ]' in record.read_text()


# --------------------------------------------------------------------------------------- what the weights are


@pytest.mark.parametrize(
    ("dtype", "found"), [(torch.int64, "int64"), (torch.complex64, "complex64"), (torch.bool, "bool")]
)
def test_weights_of_another_kind_are_refused_by_name(dtype: torch.dtype, found: str, tmp_path: Path) -> None:
    changed = hostile.state() | {"classifier.bias": torch.zeros(10, dtype=dtype)}
    with pytest.raises(CheckpointError, match=f"classifier.bias is of another kind; .*found {found}"):
        rbs.load_model("digits:cnn", checkpoint=hostile.saved(tmp_path, changed))


def test_weights_of_eight_bits_are_converted_and_recorded(tmp_path: Path) -> None:
    exact = torch.tensor([1.0, -0.5, 0.25, 2.0, 0.0, 1.5, -1.0, 4.0, 0.125, -2.0])
    one = hostile.saved(tmp_path, hostile.state() | {"classifier.bias": exact.to(torch.float8_e4m3fn)})
    model = rbs.load_model("digits:cnn", checkpoint=one)
    assert model.spec.checkpoint is not None
    assert model.spec.checkpoint.unwrapped == ("dtype:float8_e4m3fn",)
    assert torch.equal(model.network.state_dict()["network.classifier.bias"], exact)


def test_one_element_shown_as_many_is_as_good_as_these(tmp_path: Path) -> None:
    path = hostile.saved(tmp_path, hostile.state() | {"classifier.bias": torch.ones(1).expand(10)})
    model = rbs.load_model("digits:cnn", checkpoint=path)
    bias = model.network.state_dict()["network.classifier.bias"]
    assert torch.equal(bias, torch.ones(10))
    assert bias.is_contiguous()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(ending: str, bad: float, tmp_path: Path) -> None:
    changed = hostile.state() | {"classifier.bias": torch.full((10,), bad)}
    path = tmp_path / f"a.{ending}"
    if ending == "pth":
        torch.save(changed, path)
    else:
        save_file(changed, path)
    refused(path, "classifier.bias is not finite; .*10 of 10 values; .*take an earlier checkpoint")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda s: {f"backbone.{key}": value for key, value in s.items()},
            "its names are those of digits:cnn behind 'backbone.': take that off and save it again",
        ),
        (
            lambda s: s | {"classifier.weight": torch.zeros(100, 64), "classifier.bias": torch.zeros(100)},
            "its head has 100 classes, that of digits:cnn 10: name the label space",
        ),
        (
            lambda s: {key.replace("classifier", "fc"): value for key, value in s.items()},
            r"found 2 missing \(classifier.weight, near fc.weight, classifier.bias\); 2 unexpected \(fc",
        ),
        (
            lambda s: {key: value for key, value in s.items() if key != "features.3.weight"},
            r"found 1 missing \(features.3.weight\)",
        ),
        (
            lambda s: s | {"features.99.weight": torch.zeros(1)},
            r"found 1 unexpected \(features.99.weight\)",
        ),
    ],
    ids=["prefix", "class count", "head's name", "one layer less", "one layer more"],
)
def test_keys_that_differ_are_named_with_what_to_do(
    change: Callable[[hostile.State], hostile.State], found: str, tmp_path: Path
) -> None:
    error = refused(hostile.saved(tmp_path, change(hostile.state())), found)
    assert "name the" in error.fix or "save it again" in error.fix


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod."])
def test_a_known_prefix_is_taken_off_and_recorded(prefix: str, tmp_path: Path) -> None:
    path = hostile.saved(tmp_path, {f"{prefix}{key}": value for key, value in hostile.state().items()})
    spec = rbs.load_model("digits:cnn", checkpoint=path).spec
    assert spec.checkpoint is not None
    assert spec.checkpoint.unwrapped == (f"prefix:{prefix}",)
