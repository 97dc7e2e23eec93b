"""A family of an outside package, built, installed beside ours and used by nothing but its entry point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from robustbench_safety.cli.app import run

SOURCE = Path(__file__).parent.parent / "outside_family"
SCORE = ["score", "constant:ten", "--suite", "digits", "--limit", "20", "--batch-size", "10", "--checkpoint"]

#: Every command in one process, since each new one imports torch again.
COMMANDS = {
    "list": ["models", "list"],
    "architectures": ["models", "list", "constant"],
    "score": [*SCORE, "three.pth"],
    "new": ["models", "new", "three.pth", "--model", "constant:ten"],
    "show": ["models", "show", "three.yaml"],
    "more": [*SCORE, "more.safetensors"],
    "nan": [*SCORE, "nan.safetensors"],
    "code": [*SCORE, "code.pth"],
}
RUN = """
import contextlib, io, json, sys
from robustbench_safety.cli.app import run
done = {}
for name, command in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(command)
    imported = "constant_family" in sys.modules
    done[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue(), "imported": imported}
print(json.dumps(done))
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one command returned and printed."""

    code: int
    out: str
    err: str
    imported: bool
    """Whether the package's module was imported by then."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A folder in which every command was run with the package installed."""

    folder: Path
    said: dict[str, Said]


class RunsCommand:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch it-ran",)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in: its wheel, built by its own backend, unpacked."""
    folder = tmp_path_factory.mktemp("outside")
    source = shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source, check=True, capture_output=True)  # fmt: skip
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def session(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """All commands, in a process that finds the package."""
    folder = tmp_path_factory.mktemp("session")
    three = torch.zeros(10, dtype=torch.float16)
    three[3] = 2.0
    torch.save({"state_dict": {"module.bias": three}}, folder / "three.pth")
    save_file({"bias": torch.zeros(10), "extra": torch.zeros(1)}, folder / "more.safetensors")
    save_file({"bias": torch.full((10,), torch.nan)}, folder / "nan.safetensors")
    torch.save({"bias": torch.zeros(10), "x": RunsCommand()}, folder / "code.pth")
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(COMMANDS)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    return Session(folder=folder, said={name: Said(**fields) for name, fields in said.items()})


def test_the_list_shows_the_family_with_its_package_and_does_not_import_it(session: Session) -> None:
    listed = session.said["list"]
    assert listed.code == 0
    assert not listed.imported
    (line,) = (line for line in listed.out.splitlines() if "│ constant " in line)
    assert "networks that say the same of every image" in line
    assert "of constant-family 1.2" in line


def test_its_architectures_are_listed(session: Session) -> None:
    assert session.said["architectures"].code == 0
    assert session.said["architectures"].imported
    assert "constant:ten" in session.said["architectures"].out


def test_its_models_are_scored(session: Session) -> None:
    assert session.said["score"].code == 0, session.said["score"].err
    (path,) = session.folder.glob("leaderboard/records/digits/*.json")
    (stored,) = session.folder.glob("predictions/*/digits/clean/*.parquet")
    labels = pd.read_parquet(stored)["label"]
    assert len(labels) == 20
    assert 0 < (labels == 3).sum() < 20
    record = json.loads(path.read_text())
    values = [score["value"] for score in record["scores"].values()]
    assert values[0] == pytest.approx((labels != 3).mean())  # it says 3 of every image
    assert record["model"]["family"] == "constant"
    assert record["model"]["checkpoint"]["unwrapped"] == ["key:state_dict", "prefix:module.", "dtype:float16"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("more", "does not fit constant:ten; expected its 1 tensors; found 1 unexpected (extra)"),
        ("nan", "bias is not finite"),
        ("code", "needs code to be run and is refused"),
    ],
)
def test_its_checkpoints_are_read_by_our_loader_strictly(name: str, message: str, session: Session) -> None:
    assert session.said[name].code == 2
    assert message in session.said[name].err
    assert not (session.folder / "it-ran").exists()
    assert len(list(session.folder.glob("leaderboard/records/digits/*.json"))) == 1  # of three.pth alone


def test_a_model_file_of_it_is_written_and_loads(session: Session) -> None:
    assert session.said["new"].code == 0, session.said["new"].err
    assert session.said["show"].code == 0, session.said["show"].err
    assert "model: constant:ten\ncheckpoint: three.pth\n" in session.said["show"].out


def test_without_the_package_there_is_no_such_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "constant"]) == 2
    assert "unknown model family 'constant'" in capsys.readouterr().err
