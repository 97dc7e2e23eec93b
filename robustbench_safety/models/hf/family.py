"""The ``hf`` family: image classifiers of transformers, by hub name (``@revision``) or folder.

transformers builds the network from what ``config.json`` says, without weights, and never opens a file of the
folder: ours reads the tensors and loads them strictly. Code that a folder brings along is never run.

Rules that the record keeps, beside those of ``unwrapping.py``:

    hub:ORG/NAME@COMMIT    fetched from the hub; the commit that the revision stood for
    shards:N               in N files, as their index lists them
    rename:transformers    names in the published spelling, which transformers itself respells on loading
    drop:NAME              buffers that older files hold and the network computes (``position_ids``)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import transformers
from pydantic import JsonValue
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError
from robustbench_safety.files import digest_of
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.hf.files import Source, locate, read_config, read_preprocessor, read_weights
from robustbench_safety.models.hf.preprocessing import written_out
from robustbench_safety.models.hf.written_labels import Selection, select_by_name
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.models.weights.strict import load_strictly
from robustbench_safety.records import CheckpointInfo, Preprocessing

__all__ = ["architectures", "build"]

#: Settings that choose code or number formats, not the network: attention kernels can be named on the hub.
_NOT_THE_NETWORKS = re.compile(
    r"_?(attn|experts)_implementation.*|(torch_)?dtype|quantization_config|use_kernels|return_dict|"
    r"use_return_dict|output_(attentions|hidden_states)|_name_or_path|transformers_version"
)


class _Logits(nn.Module):
    """A classifier of transformers that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, outputs] of normalised images [N, 3, H, W]."""
        logits: torch.Tensor = self.model(pixel_values=images).logits
        return logits


def architectures() -> list[str]:
    """Return no names: every folder and every name on the hub is one."""
    return []


def build(asked: Asked) -> Built:
    """Build the network that a folder describes, with its weights or those that were handed in.

    Raises:
        CheckpointError: There is no such folder or name, it cannot be fetched, it asks for code of its own,
            or its weights cannot be read safely or do not fit.
        FileFormatError: A file of it is no JSON.
        ModelError: It is no image classifier, its preprocessing cannot be written out, or its outputs are not
            the classes of the label space.
        UsageError: Its outputs have no names.
    """
    name = f"hf:{asked.architecture}"
    source = locate(asked)
    fields = read_config(source)
    model_type = _model_type(name, fields)
    preprocessing = asked.file.preprocessing or _preprocessing(name, source, model_type)
    network = _network(name, fields, model_type)
    label_space, selection = _head(name, asked, network)
    info, state = _load(network, asked, source)
    return Built(
        network=_Logits(network),
        architecture=source.hub or source.folder.absolute().name,
        preprocessing=preprocessing,
        label_space=label_space,
        # Beside the weights the configuration makes the network: its activations, its norms' epsilon.
        code_digest=digest_of(_of_the_network(fields)),
        loaded=info,
        state=state,
        head_classes=selection.head,
        columns=selection.columns,
    )


def _model_type(name: str, fields: Mapping[str, JsonValue]) -> str:
    if "pretrained_cfg" in fields or fields.get("model_type") == "timm_wrapper":
        timms = fields.get("architecture")
        raise ModelError(
            f"{name} is one of timm's networks",
            found=f"architecture {timms}",
            fix=f"score timm:{timms}, with the folder's model.safetensors as --checkpoint",
        )
    model_type = str(fields.get("model_type"))
    if model_type not in transformers.CONFIG_MAPPING:
        raise UnknownNameError.among(
            "model type",
            model_type,
            MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
            fix=f"config.json of {name}",
        )
    stated = fields.get("architectures")
    classes = [str(one) for one in stated] if isinstance(stated, list) else []
    if model_type not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES or (
        classes and not any("ForImageClassification" in one for one in classes)
    ):
        raise ModelError(
            f"{name} is no image classifier",
            expected="an architecture ...ForImageClassification of transformers",
            found=f"{', '.join(classes) or 'none'} of model type {model_type}",
        )
    return model_type


def _preprocessing(name: str, source: Source, model_type: str) -> Preprocessing:
    fields = read_preprocessor(source)
    if fields is None:
        raise ModelError(
            f"{name} does not say how images are prepared",
            expected="a preprocessor_config.json beside its config.json",
            fix="state preprocessing in a model file",
        )
    return written_out(name, fields, model_type=model_type)


def _of_the_network(fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in fields.items() if not _NOT_THE_NETWORKS.fullmatch(key)}


def _network(name: str, fields: Mapping[str, JsonValue], model_type: str) -> transformers.PreTrainedModel:
    """Build it in float32, without weights and without looking at any other file."""
    kept = _of_the_network(fields)
    classes = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[model_type]
    if not kept.get("architectures"):
        kept["architectures"] = [classes if isinstance(classes, str) else classes[0]]
    with foreign_code(
        f"{name}: transformers {transformers.__version__} cannot build what its config.json describes",
        fix="correct the file, or install what the message names",
    ):
        config = transformers.CONFIG_MAPPING[model_type].from_dict(kept)
        network: transformers.PreTrainedModel = transformers.AutoModelForImageClassification.from_config(  # type: ignore[no-untyped-call]
            config, trust_remote_code=False, dtype=torch.float32
        )
    return network


def _head(name: str, asked: Asked, network: transformers.PreTrainedModel) -> tuple[str | None, Selection]:
    if asked.file.head_classes is not None:
        return asked.label_space or asked.suite_label_space, Selection(head=None, columns=None)
    id2label = {int(output): label for output, label in (network.config.id2label or {}).items()}
    written = [id2label.get(i, "") for i in range(len(id2label))]
    if not all(isinstance(label, str) for label in written):
        raise ModelError(
            f"hf:{asked.architecture}: a label in id2label of its config.json is no text", expected="names"
        )
    return select_by_name(written, model=name, declared=asked.label_space, suite=asked.suite_label_space)


def _load(
    network: transformers.PreTrainedModel, asked: Asked, source: Source
) -> tuple[CheckpointInfo, dict[str, torch.Tensor]]:
    """Load the weights; return where they came from, and the tensors by the names that the file has.

    The fingerprint goes by those: the network's own names change from one version of transformers to another.
    """
    wanted = network.state_dict()
    values, info, path = read_weights(asked, source, names=set(wanted))
    new_names = _renamed(network, values, path)
    dropped = _dropped(network, set(new_names.values()) - set(wanted))
    kept = {old: new for old, new in new_names.items() if new not in dropped}
    loaded = {new: values[old] for old, new in kept.items()}
    rules = load_strictly(network, loaded, source=f"checkpoint {path}", model=asked.file.model)
    if any(old != new for old, new in kept.items()):
        rules = ["rename:transformers", *rules]
    rules = sorted({f"drop:{one.rpartition('.')[2]}" for one in dropped}) + rules
    state = network.state_dict()
    return (
        info.model_copy(update={"unwrapped": (*info.unwrapped, *rules)}),
        {old: state[new] for old, new in kept.items()},
    )


def _renamed(
    network: transformers.PreTrainedModel, values: Mapping[str, object], path: str
) -> dict[str, str]:
    """Return the network's name of each of the file's, by transformers' own table of published spellings."""
    conversions = get_model_conversion_mapping(network)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    names: dict[str, str] = {}
    for old in sorted(values):
        new, converter = rename_source_key(old, renamings, converters)
        if converter is not None or new in names.values():
            raise CheckpointError(
                f"checkpoint {path}: {old} is stored in an older layout",
                expected="tensors that need at most another name",
                found=f"{converter or new}",
                fix="save it again with from_pretrained and save_pretrained",
            )
        names[old] = new
    return names


def _dropped(network: transformers.PreTrainedModel, unexpected: set[str]) -> set[str]:
    """Return the unexpected names that transformers passes over: constants that it computes itself."""
    patterns = [*(network._keys_to_ignore_on_load_unexpected or ()), r"(^|\.)position_ids$"]
    return {name for name in unexpected if any(re.search(pattern, name) for pattern in patterns)}
