"""Bad input on the command line: exit code 2, one clear message, no traceback, nothing half-written."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from robustbench_safety.cli.app import run
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.models.digits import build_network

PLAIN = str(DEMO_MODELS[0].checkpoint)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBS_DATA", str(tmp_path / "no-data"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused; return its one message."""
    code = run(list(arguments))
    said = capsys.readouterr()
    assert code == 2, said
    assert "Traceback" not in said.err
    assert said.err.startswith(("rbs: ", "Usage: ")) or "\nrbs: " in said.err
    assert not list(Path().rglob("*.json")) or not list(Path("leaderboard").rglob("*"))
    assert not list(Path().rglob("*.parquet"))
    assert not list(Path().rglob("*.part"))
    return said.err


def score(
    checkpoint: str = PLAIN, suite: str = "digits-safety", model: str = "digits:cnn", *more: str
) -> list[str]:
    return [
        "score",
        model,
        "--checkpoint",
        checkpoint,
        "--suite",
        suite,
        "--limit",
        "8",
        "--batch-size",
        "8",
        *more,
    ]


# -------------------------------------------------------------------------------------------- checkpoints


def test_a_missing_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.pth" in refused(capsys, *score("gone.pth"))


def test_an_empty_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    assert "empty.pth" in refused(capsys, *score("empty.pth"))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_checkpoint(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str, share: float
) -> None:
    path = tmp_path / f"cut.{ending}"
    if ending == "pth":
        torch.save(build_network(0).state_dict(), path)
    else:
        path.write_bytes(Path(PLAIN).read_bytes())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert f"cut.{ending}" in refused(capsys, *score(str(path)))


def test_a_checkpoint_of_another_architecture_lists_the_keys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_file({"conv1.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "other.safetensors")
    said = refused(capsys, *score("other.safetensors"))
    assert "missing" in said
    assert "unexpected" in said
    assert "conv1.weight" in said


def test_a_checkpoint_of_another_class_count_names_the_tensor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tensors = load_file(PLAIN)
    tensors["classifier.weight"] = torch.zeros(100, 64)
    tensors["classifier.bias"] = torch.zeros(100)
    save_file(tensors, tmp_path / "hundred.safetensors")
    said = refused(capsys, *score("hundred.safetensors"))
    assert "classifier.weight" in said
    assert "100" in said


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_that_would_run_code_does_not_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save({"state_dict": Bomb()}, tmp_path / "bomb-zip.pth")
    for name in ("bomb.pth", "bomb-zip.pth"):
        assert name in refused(capsys, *score(name))
        assert not (tmp_path / "exploded").exists()


def test_weights_that_are_not_finite(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tensors = load_file(PLAIN)
    tensors["classifier.bias"] = torch.full((10,), torch.nan)
    save_file(tensors, tmp_path / "nan.safetensors")
    assert "classifier.bias" in refused(capsys, *score("nan.safetensors"))


# -------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (score(model="digit:cnn"), "digits"),
        (score(model="digits:cn"), "cnn"),
        (score(model="cifar:resnet21", suite="cifar10-clean"), "resnet20"),
        (score(suite="digits-safty"), "digits-safety"),
        (["models", "list", "tim"], "timm"),
        (["suites", "show", "cifar10-claen"], "cifar10-clean"),
    ],
)
def test_an_unknown_name_shows_near_ones(
    capsys: pytest.CaptureFixture[str], arguments: list[str], near: str
) -> None:
    said = refused(capsys, *arguments)
    assert "unknown" in said
    assert near in said


def test_an_unknown_dataset_in_a_suite_shows_near_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\n"
        "cells: [{id: e, dataset: digit, metric: error_rate}]\ncolumns: [e]\n"
    )
    said = refused(capsys, *score(suite="own.yaml"))
    assert "unknown dataset 'digit'" in said
    assert "digits" in said


def test_an_unknown_key_in_a_suite_or_manifest_is_named_with_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\n"
        "cells:\n  - id: e\n    dataset: mine\n    metrics: error_rate\n    metric: error_rate\n"
        "columns: [e]\n"
    )
    said = refused(capsys, *score(suite="own.yaml"))
    assert "own.yaml, line 9" in said
    assert "metrics" in said
    assert "metric" in said
    (tmp_path / "own.yaml").write_text(
        (tmp_path / "own.yaml").read_text().replace("    metrics: error_rate\n", "")
    )
    (tmp_path / "mine.yaml").write_text("name: mine\nverson: 1\n")
    said = refused(capsys, *score(suite="own.yaml"))
    assert "mine.yaml, line 2: verson" in said


# ------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "options",
    [
        ["--batch-size", "0"],
        ["--batch-size", "-1"],
        ["--batch-size", "many"],
        ["--limit", "0"],
        ["--workers", "0"],
        ["--seed", "-1"],
        ["--device", "toaster"],
        ["--precision", "float8"],
        ["--data", "no-such-folder"],
        ["--no-such-option"],
    ],
)
def test_an_option_that_cannot_be_used(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    command = ["score", "digits:cnn", "--checkpoint", PLAIN, "--suite", "digits-safety", *options]
    assert options[0] in refused(capsys, *command)


def test_a_command_without_its_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--suite" in refused(capsys, "score", "digits:cnn")


def test_a_model_for_another_label_space(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *score(suite="cifar10-clean"))
    assert "expected cifar-10" in said
    assert "found digits" in said


def test_rescoring_what_is_no_run_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is not a run folder" in refused(capsys, "rescore", str(tmp_path), "--suite", "digits-safety")


def test_showing_what_is_no_leaderboard(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "build", "verify"):
        assert "is not a leaderboard" in refused(capsys, "leaderboard", command)


# ---------------------------------------------------------------------------------------------------- data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A suite on an image folder of ten classes with two pictures each."""
    draws = np.random.default_rng(0)
    for label in range(10):
        folder = tmp_path / "root" / "photos" / str(label)
        folder.mkdir(parents=True)
        for name in ("a", "b"):
            pixels = draws.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    (tmp_path / "photos.yaml").write_text(
        "name: photos\nversion: 1\ntitle: T\nrole: clean\nlayout: {type: image_folder}\nfolder: photos\n"
        "conditions: [{kind: clean, names: [clean], levels: [0]}]\nlabel_space: digits\nsamples: 20\n"
        "licence: own\ncitation: own\narchives: [{file: photos.tar, md5: 0123456789abcdef0123456789abcdef}]\n"
    )
    (tmp_path / "suite.yaml").write_text(
        "name: suite\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\n"
        "cells: [{id: e, dataset: photos, metric: error_rate}]\ncolumns: [e]\n"
    )
    return tmp_path / "root" / "photos"


def score_photos(*more: str) -> list[str]:
    options = ["--suite", "suite.yaml", "--data", "root", "--batch-size", "8", *more]
    return ["score", "digits:cnn", "--checkpoint", PLAIN, *options]


@pytest.mark.usefixtures("photos")
def test_the_folder_is_scored_when_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(score_photos()) == 0
    assert "digits:cnn on suite" in capsys.readouterr().out


@pytest.mark.usefixtures("photos")
def test_a_missing_data_folder_says_what_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere").mkdir()
    said = refused(capsys, *score_photos("--data", "photos=elsewhere"))
    assert "an empty folder" in said or "0" in said
    said = refused(capsys, "score", "digits:cnn", "--checkpoint", PLAIN, "--suite", "suite.yaml")
    assert "no-data" in said
    assert "photos.tar" in said
    assert "0123456789abcdef0123456789abcdef" in said


def test_a_folder_short_of_one_image(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    (photos / "3" / "a.png").unlink()
    said = refused(capsys, *score_photos())
    assert "expected 20 images" in said
    assert "found 19" in said


def test_a_missing_class_folder(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    (photos / "3").rename(photos / "three")
    said = refused(capsys, *score_photos())
    assert "'3'" in said
    assert "'three'" in said


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_corrupt_image_is_named(capsys: pytest.CaptureFixture[str], photos: Path, damage: str) -> None:
    path = photos / "7" / "b.png"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"no picture"}[damage])
    assert str(Path("7") / "b.png") in refused(capsys, *score_photos())


def test_a_cifar_batch_that_is_not_the_published_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    checkpoint = ["--checkpoint", PLAIN]
    command = ["score", "cifar:resnet20", *checkpoint, "--suite", "cifar10-clean", "--data", str(tmp_path)]
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Bomb()}, protocol=2))
    torch.save({}, tmp_path / "none.pth")
    refused(capsys, *command)
    assert not (tmp_path / "exploded").exists()


# ------------------------------------------------------------------------------------------------- storage


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(capsys, *score(), "--predictions", "file/below")
    assert "cannot be written" in said
    assert "file/below" in said


def test_a_leaderboard_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run([*score(), "--leaderboard", "file/below"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    # No file may grow beyond 4 kB: the kernel refuses the write as it does on a full disk.
    limit = 4096
    code = "import sys; from robustbench_safety.cli.app import run; sys.exit(run(sys.argv[1:]))"

    def small_files() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = ["score", "digits:cnn", "--checkpoint", PLAIN, "--suite", "digits-safety", "--batch-size", "64"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path, preexec_fn=small_files, capture_output=True, text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip  # Python 3.11 keeps a file cut short
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.part"))
