"""What a model is: the file somebody writes, and the snapshot that a record keeps."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record

__all__ = ["CheckpointInfo", "Interpolation", "ModelFile", "ModelSpec", "Precision", "Preprocessing"]

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["float32", "bfloat16", "float16"]
Side = Annotated[int, Field(gt=0, le=4096)]
Unit = Annotated[float, Field(ge=0, le=1)]


class Preprocessing(Record):
    """From a stored image to the network's input, written out in full.

    The image is resized and cropped as 8-bit RGB by Pillow (antialiased), divided by 255 to [0, 1], and then,
    inside the model, normalised as (x - mean) / std for each channel.
    """

    input_size: tuple[Side, Side] | None
    """Height and width that the network takes; None for a network that takes images as they are stored."""
    resize: Side | tuple[Side, Side] | None
    """Length of the shorter side, or (height, width); None for no resize."""
    crop: Literal["center"] | None
    """Crop to the input size after the resize; None for no crop."""
    interpolation: Interpolation
    mean: tuple[Unit, Unit, Unit]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _reaches_the_input_size(self) -> Self:
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be above 0")
        if self.input_size is None and (self.crop is not None or self.resize is not None):
            raise ValueError("a resize or crop needs an input_size")
        return self


class CheckpointInfo(Record):
    """The file that the weights came from, and how they were found inside it."""

    file: str
    """Name without folders."""
    sha256: Digest
    format: Literal["safetensors", "torch"]
    unwrapped: tuple[str, ...] = ()
    """Rules applied in order, e.g. ``key:state_dict``, ``prefix:module.``."""


class ModelFile(Record):
    """A model file in YAML: what somebody asks to be scored. A field left out falls back to the family."""

    model: str
    """``family:architecture``."""
    checkpoint: str | None = None
    """Path, relative to the model file."""
    label_space: Name | None = None
    preprocessing: Preprocessing | None = None
    training_data: str | None = None
    name: str | None = None
    """Name shown on the leaderboard."""


class ModelSpec(Record):
    """What was scored: the snapshot that goes into the predictions' header and into the record."""

    family: str
    architecture: str
    checkpoint: CheckpointInfo | None
    weights_digest: Digest
    """sha256 over the tensors in canonical order: the same for a ``.pth`` and its safetensors copy."""
    code_digest: Digest | None = None
    """sha256 of the source file of a network that a user's own code builds."""
    parameters: int = Field(ge=0)
    label_space: Name
    preprocessing: Preprocessing
    training_data: str | None = None

    @property
    def name(self) -> str:
        """``family:architecture``."""
        return f"{self.family}:{self.architecture}"
