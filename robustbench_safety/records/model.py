"""What a model is: the file somebody writes, and the snapshot that a record keeps."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record, is_empty

__all__ = [
    "CheckpointInfo",
    "Combine",
    "HeadClasses",
    "Interpolation",
    "ModelFile",
    "ModelOutputs",
    "ModelSpec",
    "Precision",
    "Preprocessing",
    "ProbeFile",
    "Trusted",
    "ZeroShot",
    "ZeroShotFile",
]

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Precision = Literal["float32", "bfloat16", "float16"]
#: What a network returns. Never guessed from the values: probabilities are said to be so in the model file.
ModelOutputs = Literal["logits", "probabilities"]
#: What is averaged over the members of an ensemble.
Combine = Literal["probabilities", "logits"]
#: What the user has let run: an old pickle, or a program (``python:`` in a model file, .pt2, TorchScript).
Trusted = Literal["pickle", "code"]
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
    crop: Literal["center", "border"] | None
    """Crop to the input size after the resize; None for no crop. With ``border`` the resize keeps the aspect
    ratio and fits the image into (height, width), and where it is then smaller than the input it is set in
    the middle of a border of the colour round(255 * mean)."""
    interpolation: Interpolation
    mean: tuple[Unit, Unit, Unit]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _reaches_the_input_size(self) -> Self:
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be above 0")
        if self.input_size is None and (self.crop is not None or self.resize is not None):
            raise ValueError("a resize or crop needs an input_size")
        if self.crop == "border" and not isinstance(self.resize, tuple):
            raise ValueError("crop border needs a resize of (height, width)")
        return self


class CheckpointInfo(Record):
    """The file that the weights came from, and how they were found inside it."""

    file: str
    """Name without folders."""
    sha256: Digest
    """Of the file; of a checkpoint in several files, of their index and theirs together."""
    format: Literal["safetensors", "torch", "onnx", "export", "torchscript"]
    unwrapped: tuple[str, ...] = ()
    """Rules applied in order, e.g. ``key:state_dict``, ``prefix:module.``."""


class ZeroShotFile(Record):
    """How a model file asks for a classifier made of text."""

    templates: str
    """``openai-80``, ``openai-7``, ``plain``, or the path of a text file with one template a line and ``{}``
    where the class goes; relative to the model file."""
    names: str | None = None
    """Path of a text file with one class name a line, in the label space's order; None for the published
    prompt names of the label space, else its keys."""


class ProbeFile(Record):
    """How a model file names a linear classifier on image features."""

    checkpoint: str
    """File with a weight [K, D] and a bias [K]; relative to the model file."""
    normalised: bool
    """Whether the features were scaled to length 1 when the classifier was trained. Papers differ."""


class ModelFile(Record):
    """A model file in YAML: what somebody asks to be scored. A field left out falls back to the family."""

    model: str
    """``family:architecture``."""
    checkpoint: str | None = None
    """Path, relative to the model file."""
    sha256: Digest | None = None
    """Of the checkpoint; another file is refused."""
    label_space: Name | None = None
    head_classes: str | None = None
    """Classes of the head's outputs where they are not those of the label space: the name of a list that the
    family knows, or the path of a text file with one class key a line. The label space's are selected."""
    outputs: ModelOutputs = "logits"
    preprocessing: Preprocessing | None = None
    precision: Precision | None = None
    """Of the forward pass; None for float32. ``--precision`` goes before it."""
    zero_shot: ZeroShotFile | None = None
    """clip: a classifier made of class names and prompt templates."""
    probe: ProbeFile | None = None
    """clip: a linear classifier on the image tower."""
    members: tuple[str, ...] = ()
    """ensemble: model files, relative to this one, or ``family:architecture``."""
    combine: Combine | None = None
    """ensemble: what is averaged."""
    training_data: str | None = None
    """In words, for readers."""
    trained_on: tuple[Name, ...] = ()
    """Names of the data sets that it was trained on, as `rbs data list` spells them: a row that was trained
    on a shift it is tested on is marked."""
    augmentations: tuple[Name, ...] = ()
    """What was done to its training images, by the names of ``docs/models.md``: a row trained with
    corruptions that it is tested on is marked."""
    published_accuracy: dict[Name, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """By data set, over all its classes, as its authors state it: the difference is shown after scoring."""
    name: str | None = None
    """Name shown on the leaderboard."""


class HeadClasses(Record):
    """Which outputs of a larger head were selected."""

    source: str
    """Name of the list."""
    digest: Digest
    """sha256 of its class keys, each followed by a line feed."""
    outputs: int = Field(gt=0)
    """Of the head before the selection."""


class ZeroShot(Record):
    """The text that a zero-shot classifier is made of, and the scale of its logits."""

    templates: str
    """Name of the set, or of its file."""
    templates_digest: Digest
    names: str
    """Where the class names come from."""
    names_digest: Digest
    logit_scale: float
    """Factor of the cosine; the logits are this times cosine (plus ``logit_bias``)."""
    logit_bias: float = Field(default=0.0, exclude_if=is_empty)


class ModelSpec(Record):
    """What was scored: the snapshot that goes into the predictions' header and into the record."""

    family: str
    architecture: str
    checkpoint: CheckpointInfo | None
    weights_digest: Digest
    """The fingerprint, sha256 over the tensors in canonical order: the same for a ``.pth`` and its
    safetensors copy."""
    code_digest: Digest | None = None
    """sha256 of what makes the network beside its weights: the source file of a user's own code, or the part
    of a configuration (hf) that describes it."""
    parameters: int = Field(ge=0)
    flops: int | None = Field(default=None, ge=0, exclude_if=lambda value: value is None)
    """Of one image: two for each multiply-add of convolutions, matrix products and attention, as torch's
    FlopCounterMode counts them; None where the operations cannot be seen."""
    features: int | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)
    """D, the length of the penultimate features; None where the family cannot give them."""
    gradients: bool = Field(default=True, exclude_if=lambda value: value is True)
    """Whether it can be attacked: a gradient with respect to the pixels can be had."""
    label_space: Name
    head_classes: HeadClasses | None = Field(default=None, exclude_if=is_empty)
    outputs: ModelOutputs | Literal["top-1"] = Field(
        default="logits", exclude_if=lambda value: value == "logits"
    )
    """What the network returned, before anything was done with it."""
    preprocessing: Preprocessing
    network_known: bool = Field(default=True, exclude_if=lambda value: value is True)
    """False for a file of predictions: ``parameters`` is then 0, and ``preprocessing`` what the model file
    states, or else one that does nothing."""
    zero_shot: ZeroShot | None = Field(default=None, exclude_if=is_empty)
    probe: CheckpointInfo | None = Field(default=None, exclude_if=is_empty)
    """Of the linear classifier on the features."""
    members: tuple[ModelSpec, ...] = Field(default=(), exclude_if=is_empty)
    combine: Combine | None = Field(default=None, exclude_if=is_empty)
    trusted: tuple[Trusted, ...] = Field(default=(), exclude_if=is_empty)
    """What the user had to let run for this model to be loaded."""
    training_data: str | None = None
    trained_on: tuple[Name, ...] = Field(default=(), exclude_if=is_empty)
    augmentations: tuple[Name, ...] = Field(default=(), exclude_if=is_empty)

    @property
    def name(self) -> str:
        """``family:architecture``."""
        return f"{self.family}:{self.architecture}"
