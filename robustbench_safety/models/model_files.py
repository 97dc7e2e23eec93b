"""Model files: what a loaded model is, written out in full, and the model that a checkpoint itself names."""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from robustbench_safety.errors import UsageError
from robustbench_safety.files import write_yaml
from robustbench_safety.models.loading import MODEL_FILE_ENDINGS, ask, load_asked
from robustbench_safety.models.model import Asked, Model, Trust
from robustbench_safety.models.weights.checkpoints import read_content, require_checkpoint_file
from robustbench_safety.records import ModelFile, Preprocessing, ZeroShotFile

__all__ = ["complete", "name_of_checkpoint", "path_from", "write_model_file"]

#: Families whose architecture is a path: the file or folder is the model.
_IS_A_PATH = ("export", "hf", "onnx")
#: timm's training options that change the preprocessing: where one was given, timm's default is not what the
#: network was trained with.
_CHANGES_PREPROCESSING = ("crop_pct", "img_size", "input_size", "interpolation", "mean", "std")
_EXAMPLE = "--model family:architecture, e.g. --model timm:resnet50"


def complete(model: Model, asked: Asked, *, checkpoint: str | None) -> ModelFile:
    """Return the model file of a loaded model, with everything that was left to the family written out.

    Args:
        model: As it was loaded.
        asked: What it was loaded from.
        checkpoint: Path as the file should have it; None where no checkpoint was handed in.
    """
    spec, file = model.spec, asked.file
    zero_shot = file.zero_shot
    if zero_shot is None and spec.zero_shot is not None:
        zero_shot = ZeroShotFile(templates=spec.zero_shot.templates)
    # Of a folder or a graph the family states the digest of what it read; without a file there is none.
    states_digest = spec.checkpoint is not None and (checkpoint is not None or spec.family in _IS_A_PATH)
    return file.model_copy(
        update={
            "checkpoint": checkpoint,
            "sha256": spec.checkpoint.sha256 if spec.checkpoint is not None and states_digest else None,
            "label_space": spec.label_space,
            "preprocessing": spec.preprocessing,
            "zero_shot": zero_shot,
            "combine": spec.combine,
            "training_data": spec.training_data,
            "trained_on": spec.trained_on,
            "augmentations": spec.augmentations,
            "published_accuracy": dict(model.published_accuracy),
        }
    )


def write_model_file(
    checkpoint: Path,
    out: Path,
    *,
    model: str | None = None,
    label_space: str | None = None,
    preprocessing: Preprocessing | None = None,
    name: str | None = None,
    trust: Trust | None = None,
) -> Model:
    """Load a checkpoint strictly and write the complete model file that loads it again.

    Args:
        checkpoint: File of weights; a graph or folder where these are the model.
        out: The file to write; paths in it are relative to its folder.
        model: ``family:architecture``; None where the checkpoint itself says it.
        label_space: What it speaks, where the family does not say it.
        preprocessing: Where it is not the family's; an exported graph has none.
        name: Shown on the leaderboard.
        trust: What the user lets run.

    Raises:
        UsageError: There is something at ``out`` already, or nothing says which model it is.
        RobustbenchSafetyError: The model cannot be loaded, as ``load_model`` says.
    """
    trust = trust or Trust()
    _require_new(out)
    model = model or name_of_checkpoint(checkpoint, trust=trust)
    family, _, architecture = model.partition(":")
    is_model = family in _IS_A_PATH and Path(architecture) == checkpoint
    asked_family, asked = ask(
        model, checkpoint=None if is_model else checkpoint, label_space=None, trust=trust
    )
    declared = asked.file.model_copy(
        update={"label_space": label_space, "preprocessing": preprocessing, "name": name}
    )
    asked = replace(asked, file=declared)
    loaded = load_asked(asked_family, asked)
    relative = path_from(out.parent, checkpoint)
    file = complete(loaded, asked, checkpoint=None if is_model else relative)
    if is_model:
        file = file.model_copy(update={"model": f"{family}:{relative}"})
    write_yaml(out, file)
    return loaded


def path_from(folder: Path, path: Path) -> str:
    """Return ``path`` as a file in ``folder`` has it; links in either are followed, as the system does."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()


def _require_new(out: Path) -> None:
    if out.suffix not in MODEL_FILE_ENDINGS:
        raise UsageError(
            f"{out} would not be read as a model file",
            expected="a name that ends in .yaml",
            fix="correct --out",
        )
    if os.path.lexists(out):
        raise UsageError(f"{out} exists already", fix="remove it, or name another file with --out")


def name_of_checkpoint(checkpoint: Path, *, trust: Trust) -> str:
    """Return the ``family:architecture`` that a file itself says it is.

    Raises:
        UsageError: It does not say it; lists what to give.
        CheckpointError: It cannot be read.
    """
    if checkpoint.is_dir():
        if (checkpoint / "config.json").is_file():
            return f"hf:{checkpoint}"
        raise _unnamed(checkpoint, "a folder without config.json", fix="name the file of weights in it")
    require_checkpoint_file(checkpoint)
    if checkpoint.suffix.lower() == ".onnx":
        return f"onnx:{checkpoint}"
    if checkpoint.suffix.lower() == ".pt2" or _is_program(checkpoint):
        return f"export:{checkpoint}"
    content = read_content(checkpoint, trust_pickle=trust.pickle)[0]
    return _named_by_timm(checkpoint, content if isinstance(content, Mapping) else {})


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {entry.rpartition("/")[2] for entry in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(inside & {"constants.pkl", "archive_format"})


def _named_by_timm(path: Path, content: Mapping[object, object]) -> str:
    """Return what timm's training script has written beside the weights.

    torchvision's and torch's own scripts write ``arch`` as well, of another library; timm's alone keeps its
    options beside it.
    """
    architecture, options = content.get("arch"), content.get("args")
    if not isinstance(architecture, str) or not architecture.isprintable() or "state_dict" not in content:
        raise _unnamed(path, "a file of weights that names no architecture")
    if not isinstance(options, argparse.Namespace) or vars(options).get("model") != architecture:
        raise _unnamed(path, f"arch {architecture[:80]!r}, which does not say whose")
    changed = [option for option in _CHANGES_PREPROCESSING if vars(options).get(option)]
    if changed:
        raise _unnamed(
            path,
            f"timm's {architecture[:80]!r}, trained with {', '.join(changed)} of its own",
            fix=f"give --model timm:{architecture[:80]}, and correct the preprocessing in what is written",
        )
    return f"timm:{architecture}"


def _unnamed(path: Path, found: str, *, fix: str = "") -> UsageError:
    return UsageError(
        f"{path} does not say which model it is",
        expected="an ONNX file, an exported program, a folder with config.json, or weights beside the "
        "options of timm's training script",
        found=found,
        fix=fix or f"give {_EXAMPLE}; `rbs models list` shows the families",
    )
