"""open_clip's side of the ``clip`` family: names, preprocessing, and the network of both towers.

A network with GELU takes weights that were trained with QuickGELU without complaint and is then some points
worse. open_clip's ``create_model`` only warns of it; here what the published weights say is put into effect.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

import open_clip
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.hub import quiet_hub
from robustbench_safety.models.model import Asked
from robustbench_safety.models.weights.checkpoints import read_checkpoint
from robustbench_safety.models.weights.strict import load_strictly
from robustbench_safety.records import CheckpointInfo, Preprocessing
from robustbench_safety.records.model import Interpolation

__all__ = ["Towers", "architectures", "create", "load_submitted", "named", "preprocessing"]

#: What open_clip says of weights beside where they lie.
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "size", "fill_color")
#: What OpenAI's own code keeps beside the weights of its archives; open_clip leaves them out, too.
_OF_OPENAI = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True, kw_only=True)
class Towers:
    """What a name stands for."""

    name: str
    """``clip:architecture`` or ``clip:architecture/tag``, for errors."""
    architecture: str
    tag: str | None
    """Published weights; None where the name has no second part."""
    config: Mapping[str, object]
    """open_clip's description of the architecture, with what the tag says of QuickGELU."""
    published: Mapping[str, object]
    """Preprocessing of the tag; without one that of all tags; empty for open_clip's default."""

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return cast(int, self.config["embed_dim"])

    @property
    def quick_gelu(self) -> bool:
        """Whether the network computes QuickGELU."""
        return bool(self.config.get("quick_gelu"))


def architectures() -> list[str]:
    """Return open_clip's names of architectures, sorted, each of which may carry a tag, ``name/tag``."""
    return sorted(cast(list[str], open_clip.list_models()))


def named(asked: Asked) -> Towers:
    """Return what ``architecture`` or ``architecture/tag`` stands for.

    Raises:
        UnknownNameError: open_clip has no such architecture or tag; near names are shown.
        CheckpointError: Neither a tag nor a checkpoint says which weights.
        ModelError: There is no tag, the tags differ in preprocessing, and the model file declares none.
    """
    architecture, slash, tag = asked.architecture.partition("/")
    name = f"clip:{asked.architecture}"
    if architecture not in architectures():
        raise UnknownNameError.among(
            "clip architecture", architecture, architectures(), fix="`rbs models list` shows all"
        )
    tags = cast(list[str], open_clip.list_pretrained_tags_by_model(architecture))
    if slash and tag not in tags:
        raise UnknownNameError.among(f"weights of clip:{architecture}", tag, tags)
    if not tag and asked.pretrained:
        raise CheckpointError(
            f"{name} names no weights",
            expected=f"{name}/TAG, with TAG one of {', '.join(tags)}" if tags else "a checkpoint",
            fix="name one, or give a checkpoint with --checkpoint FILE",
        )
    configs = {key: open_clip.get_pretrained_cfg(architecture, key) for key in tags}
    config = open_clip.get_model_config(architecture)
    # As open_clip's force_quick_gelu: a tag can ask for it, and none asks for GELU where it is built in.
    config["quick_gelu"] = bool(config.get("quick_gelu") or configs.get(tag, {}).get("quick_gelu"))
    said = [_preprocessing_of(configs[key]) for key in ([tag] if tag else tags)]
    if any(one != said[0] for one in said) and asked.file.preprocessing is None:
        raise ModelError(
            f"{name}: its preprocessing is not known",
            expected=f"a tag that tells how the network was trained, one of {', '.join(tags)}",
            found="none, and they differ in preprocessing",
            fix=f"write {name}/TAG, or a model file that declares preprocessing",
        )
    published = said[0] if said else {}
    return Towers(name=name, architecture=architecture, tag=tag or None, config=config, published=published)


def _preprocessing_of(config: Mapping[str, object]) -> dict[str, object]:
    return {key: config[key] for key in _PREPROCESSING if config.get(key) is not None}


def create(towers: Towers, *, weights: bool) -> nn.Module:
    """Return both towers on the CPU in float32, with open_clip's published weights or with random ones.

    Raises:
        CheckpointError: The published weights cannot be fetched.
        ModelError: The network cannot be built.
    """
    if weights:
        failed = foreign_code(
            f"{towers.name}: its weights could not be fetched",
            raising=CheckpointError,
            expected="access to the network, or the weights in the hub's cache",
            fix="try again, or give a local file with --checkpoint FILE",
        )
    else:
        failed = foreign_code(
            f"{towers.name}: open_clip cannot build it",
            fix="where the Hugging Face hub describes its text tower, run this once with a network, and the "
            "hub's cache has it",
        )
    with failed, quiet_hub(), warnings.catch_warnings():
        # Left is the case of an architecture that has QuickGELU and a tag that forgets to say so.
        warnings.filterwarnings("ignore", message="QuickGELU mismatch", category=UserWarning)
        network: nn.Module = open_clip.create_model(
            towers.architecture,
            pretrained=towers.tag if weights else None,
            load_weights=weights,
            require_pretrained=weights,
            pretrained_text=False,  # else a text tower of the hub's fetches weights of its own
            force_quick_gelu=towers.quick_gelu,
            force_preprocess_cfg=dict(towers.published),
        )
    return network.eval()


def load_submitted(network: nn.Module, towers: Towers, asked: Asked) -> CheckpointInfo:
    """Read the checkpoint that was handed in and load it strictly.

    Entries that OpenAI's code keeps beside its weights are dropped (rule ``drop:openai``), as open_clip does,
    and so are the position numbers that ``transformers`` before 4.31 kept (``drop:position_ids``).

    Raises:
        CheckpointError: It cannot be read safely, or does not fit; or it is OpenAI's, whose networks compute
            QuickGELU, and this one does not.
    """
    path = asked.checkpoint
    assert path is not None  # noqa: S101  # the caller asked
    state = network.state_dict()
    values, info = read_checkpoint(path, names=state.keys(), trust_pickle=asked.trust.pickle)
    rules: list[str] = []
    of_openai = [key for key in _OF_OPENAI if key in values]
    if of_openai and not towers.quick_gelu:
        raise CheckpointError(
            f"checkpoint {path} was written by OpenAI's code, whose networks compute QuickGELU",
            expected="a network with QuickGELU",
            found=f"{towers.name}, which computes GELU: it would take the weights and score them wrong",
            fix=f"name clip:{towers.architecture}/openai or clip:{towers.architecture}-quickgelu",
        )
    positions = "text.transformer.embeddings.position_ids"
    for rule, keys in (("drop:openai", of_openai), ("drop:position_ids", [positions])):
        dropped = [key for key in keys if key in values and key not in state]
        for key in dropped:
            del values[key]
        rules += [rule] if dropped else []
    rules += load_strictly(network, values, source=f"checkpoint {path}", model=towers.name)
    return info.model_copy(update={"unwrapped": (*info.unwrapped, *rules)})


def preprocessing(network: nn.Module, name: str) -> Preprocessing:
    """Write out the preprocessing that open_clip has attached to a network, as its own transform reads it.

    Raises:
        ModelError: It cannot be written out.
    """
    said: dict[str, object] = open_clip.get_model_preprocess_cfg(network)
    size, mode, interpolation = said["size"], said["resize_mode"], said["interpolation"]
    height, width = (size, size) if isinstance(size, int) else cast(tuple[int, int], size)
    if (
        mode not in ("shortest", "squash")
        or (mode == "shortest" and height != width)
        or interpolation not in get_args(Interpolation)
    ):
        raise ModelError(
            f"{name}: open_clip's preprocessing cannot be written out",
            expected="resize mode shortest (square) or squash, and a named interpolation",
            found=f"input {height}x{width}, resize mode {mode}, interpolation {interpolation}",
            fix="give a model file that declares preprocessing",
        )
    return Preprocessing(
        input_size=(height, width),
        resize=height if mode == "shortest" else (height, width),
        crop="center" if mode == "shortest" else None,
        interpolation=cast(Interpolation, interpolation),
        mean=_per_channel(said["mean"]),
        std=_per_channel(said["std"]),
    )


def _per_channel(values: object) -> tuple[float, float, float]:
    red, green, blue = cast(tuple[float, float, float], values)
    return float(red), float(green), float(blue)
