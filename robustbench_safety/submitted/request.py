"""What is handed in: ``predictions:FILE``, or a model file that names one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.errors import CheckpointError, DataError, FileFormatError, ModelError, UsageError
from robustbench_safety.files import file_digest, read_yaml
from robustbench_safety.models.loading import ask, names_a_model_file
from robustbench_safety.models.model import Trust
from robustbench_safety.records import ModelFile, ModelSpec, Preprocessing
from robustbench_safety.submitted.columns import Content

__all__ = ["ENDINGS", "Submission", "find_submission", "refuse_settings"]

FAMILY = "predictions"
#: Endings of the files that are read.
ENDINGS = (".parquet", ".csv", ".npz")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A file of predictions, and what its model file says of it."""

    path: Path
    """A file; or a folder with one file a condition, ``<dataset>/<kind>/<name>-<level>.parquet``."""
    file: ModelFile
    label_space: str
    digest: str
    """sha256 of the file; of a folder over the names and digests of its files."""

    @property
    def name(self) -> str:
        """What the leaderboard shows."""
        return self.file.name or f"{FAMILY}:{self.path.name}"

    def spec(self, content: Content) -> ModelSpec:
        """Return what a record keeps of it.

        Raises:
            FileFormatError: The model file states other outputs than the file has.
        """
        stated = self.file.outputs if "outputs" in self.file.model_fields_set else None
        if stated not in (None, content):
            raise FileFormatError(
                f"{self.path} does not hold what the model file states as its outputs",
                expected=str(stated),
                found=content,
                fix="correct outputs, or the name of the columns",
            )
        nothing = Preprocessing(
            input_size=None,
            resize=None,
            crop=None,
            interpolation="bilinear",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )
        return ModelSpec(
            family=FAMILY,
            architecture=self.path.name,
            checkpoint=None,
            weights_digest=self.digest,
            parameters=0,
            gradients=False,
            label_space=self.label_space,
            outputs="top-1" if content == "top1" else content,
            preprocessing=self.file.preprocessing or nothing,
            network_known=False,
            training_data=self.file.training_data,
            trained_on=self.file.trained_on,
            augmentations=self.file.augmentations,
        )


def find_submission(model: object, *, label_space: str) -> Submission | None:
    """Return the file of predictions that is asked for; None where a network is.

    Args:
        model: What was handed to ``rbs score``.
        label_space: Of the suite; a model file's own goes before it, and must then be the same.

    Raises:
        StorageError: There is no such file.
        UsageError: It has another ending, or the model file states what only a network has.
        ModelError: It speaks another label space than the suite.
        CheckpointError: It is not the file that the model file states.
    """
    if not isinstance(model, str | Path) or not _asks_for_predictions(model):
        return None
    _, asked = ask(model, checkpoint=None, label_space=label_space, trust=Trust())
    path = asked.folder / asked.architecture
    for field in ("checkpoint", "head_classes"):
        if getattr(asked.file, field) is not None:
            raise UsageError(
                f"{model}: {field} is for a network",
                expected="predictions over all classes of the label space",
                fix="leave the field out",
            )
    space = asked.file.label_space or label_space
    if space != label_space:
        raise ModelError(
            f"{path} does not speak the label space of the suite",
            expected=label_space,
            found=space,
            fix="choose another suite, or a model file with the right label_space",
        )
    digest = _digest(path)
    if asked.file.sha256 not in (None, digest):
        raise CheckpointError(
            f"{path} is not the file that the model file states",
            expected=f"sha256 {asked.file.sha256}",
            found=digest,
            fix="fetch it again, or correct the digest if the file was changed on purpose",
        )
    return Submission(path=path, file=asked.file, label_space=space, digest=digest)


def refuse_settings(settings: Mapping[str, object]) -> None:
    """Refuse options that say how a network runs: none does.

    Args:
        settings: By option; None for one that was not given.

    Raises:
        UsageError: One was given.
    """
    for option, value in settings.items():
        if value is not None:
            raise UsageError(
                f"{option} says how a network runs, and a file of predictions has none",
                fix="leave the option out",
            )


def _asks_for_predictions(model: str | Path) -> bool:
    if names_a_model_file(model):
        return read_yaml(Path(model), ModelFile).model.startswith(f"{FAMILY}:")
    return str(model).startswith(f"{FAMILY}:")


def _digest(path: Path) -> str:
    if path.is_dir():
        if (path / "run.json").exists():
            raise UsageError(f"{path} is a run folder of ours", fix="score it with `rbs rescore`")
        files = sorted(file for file in path.rglob("*") if file.suffix in ENDINGS)
        if not files:
            raise DataError(
                f"{path} holds no predictions",
                expected="<dataset>/<kind>/<name>-<level> with one of the endings " + ", ".join(ENDINGS),
            )
        lines = (f"{file.relative_to(path).as_posix()}\t{file_digest(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    if path.suffix not in ENDINGS:
        raise UsageError(
            f"{path} has an ending that is not read", expected=f"one of {', '.join(ENDINGS)}, or a folder"
        )
    return file_digest(path)
