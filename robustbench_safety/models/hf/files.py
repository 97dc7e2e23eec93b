"""Where the files of an ``hf`` model lie: a folder in the hub's layout, here or fetched from the hub.

    config.json                      architecture and label names
    preprocessor_config.json         preprocessing (newer folders: inside processor_config.json)
    model.safetensors                weights, or in several files:
    model.safetensors.index.json     which tensor lies in which file beside it

``pytorch_model.bin`` and its index go the same way, and only where the user trusts pickles.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from pydantic import ConfigDict, JsonValue, RootModel

from robustbench_safety.errors import CheckpointError
from robustbench_safety.files import file_digest, read_json
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.model import Asked
from robustbench_safety.models.weights.checkpoints import (
    TRUSTED_PICKLE,
    read_checkpoint,
    require_checkpoint_file,
)
from robustbench_safety.records import CheckpointInfo

__all__ = ["Source", "locate", "read_config", "read_preprocessor", "read_weights"]

_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
#: Names of shards as transformers writes them.
_SHARDS = {_SAFETENSORS: "model-*-of-*.safetensors", _PICKLES: "pytorch_model-*-of-*.bin"}
#: ``org/name`` or ``org/name@revision``; a revision is a branch, a tag or a commit.
_HUB_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_NEEDS_TRUST = "hf takes safetensors only unless --trust-pickle is given"


class _Object(RootModel[dict[str, JsonValue]]):
    """Any JSON object."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder that describes a network."""

    folder: Path
    hub: str | None = None
    """``org/name@commit``, where it was fetched; the commit is the one that the revision stood for."""


def locate(asked: Asked) -> Source:
    """Return the folder that stands behind ``hf:``, fetched first where that is a name on the hub.

    A folder of that name goes before the hub, as in transformers. In a model file it is relative to the file.

    Raises:
        CheckpointError: There is neither, or the hub cannot be reached and its cache does not hold it.
    """
    folder = asked.folder / asked.architecture
    if folder.is_dir():
        return Source(folder=folder)
    match = _HUB_NAME.fullmatch(asked.architecture)
    if match is None:
        raise CheckpointError(
            f"hf:{asked.architecture} names no model",
            expected="a folder with a config.json, or a name on the hub, org/name or org/name@revision",
            found=f"no folder {folder}",
            fix="correct the path",
        )
    return _fetch(asked, match["repo"], match["revision"])


def _fetch(asked: Asked, repo: str, revision: str | None) -> Source:
    wanted = [*_CONFIGS]
    if asked.pretrained:
        wanted += [*_SAFETENSORS, _SHARDS[_SAFETENSORS]]
    folder = _download(asked.architecture, repo, revision, wanted)
    hub = f"{repo}@{folder.name}"
    has_safetensors = any((folder / name).is_file() for name in _SAFETENSORS)
    if asked.pretrained and asked.trust.pickle and not has_safetensors:
        folder = _download(asked.architecture, repo, folder.name, [*_PICKLES, _SHARDS[_PICKLES]])
    return Source(folder=folder, hub=hub)


def _download(architecture: str, repo: str, revision: str | None, wanted: list[str]) -> Path:
    """Bring files into the hub's cache; the name of the folder that they are in is the commit."""
    address = huggingface_hub.constants.ENDPOINT  # HF_ENDPOINT, where that is set
    with foreign_code(
        f"hf:{architecture} could not be fetched from the hub",
        raising=CheckpointError,
        expected=f"a folder of that name, or access to {address} or its cache",
        fix="correct the name, try again, or fetch it elsewhere and name the folder",
    ):
        return Path(
            huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=wanted, etag_timeout=10)
        )


def read_config(source: Source) -> dict[str, JsonValue]:
    """Return ``config.json``.

    Raises:
        CheckpointError: There is none, or it asks for code of its own.
        FileFormatError: It is no JSON object, or too large.
    """
    path = _inside(source.folder, "config.json")
    if not path.is_file():
        raise CheckpointError(
            f"folder {source.folder} holds no config.json",
            expected="a folder as save_pretrained writes it",
            found=", ".join(sorted(entry.name for entry in source.folder.iterdir())[:8]) or "nothing",
        )
    return _without_code(path)


def read_preprocessor(source: Source) -> dict[str, JsonValue] | None:
    """Return how the folder's images are prepared; None where it does not say.

    Raises:
        CheckpointError: It asks for code of its own.
        FileFormatError: It is no JSON object, or too large.
    """
    nested = _inside(source.folder, "processor_config.json")
    if nested.is_file():
        inner = _without_code(nested).get("image_processor")
        if isinstance(inner, dict):
            return inner
    path = _inside(source.folder, "preprocessor_config.json")
    return _without_code(path) if path.is_file() else None


def _without_code(path: Path) -> dict[str, JsonValue]:
    fields = read_json(path, _Object).root
    inner = fields.get("image_processor")
    if "auto_map" in fields or (isinstance(inner, dict) and "auto_map" in inner):
        raise CheckpointError(
            f"{path} asks for code of its own (auto_map), which is never run",
            expected="an architecture that transformers itself has",
            fix="export the network (onnx), or load it with a function of yours (python:)",
        )
    return fields


def read_weights(
    asked: Asked, source: Source, *, names: set[str]
) -> tuple[dict[str, object], CheckpointInfo, str]:
    """Read the tensors of the checkpoint that was handed in, or else of the folder itself.

    Args:
        asked: Names the checkpoint (a file or a folder), and what the user trusts.
        source: The folder.
        names: The network's own tensor names.

    Returns:
        Values by name, where they came from, and the path for errors.

    Raises:
        CheckpointError: There are none, they are pickles that nobody trusts, or a file is missing or damaged.
    """
    path = source.folder if asked.checkpoint is None else asked.checkpoint
    if path.is_dir():
        path = _weights_of(path, trust_pickle=asked.trust.pickle)
    require_checkpoint_file(path)
    if path.name.endswith(".index.json"):
        values, info = _read_shards(path, trust_pickle=asked.trust.pickle)
    else:
        values, info = _read_one(path, names=names, trust_pickle=asked.trust.pickle)
    if source.hub is not None:
        info = info.model_copy(update={"unwrapped": (f"hub:{source.hub}", *info.unwrapped)})
    return values, info, str(path)


def _weights_of(folder: Path, *, trust_pickle: bool) -> Path:
    paths = {name: _inside(folder, name) for name in (*_SAFETENSORS, *_PICKLES)}
    found = [name for name, path in paths.items() if path.is_file()]
    if not found or (found[0] in _PICKLES and not trust_pickle):
        raise CheckpointError(
            f"folder {folder} holds no weights that can be read",
            expected=" or ".join(_SAFETENSORS),
            found=", ".join(found) or "none",
            fix=f"save them as safetensors; {_NEEDS_TRUST}",
        )
    return paths[found[0]]


def _read_one(path: Path, *, names: set[str], trust_pickle: bool) -> tuple[dict[str, object], CheckpointInfo]:
    values, info = read_checkpoint(path, names=names, trust_pickle=trust_pickle)
    if info.format == "safetensors":
        return values, info
    if not trust_pickle:
        raise CheckpointError(
            f"checkpoint {path} is a pickle", expected="safetensors", fix=f"save it again; {_NEEDS_TRUST}"
        )
    # Also where its tensors could be read without running anything: that it was taken is the user's word.
    rules = (TRUSTED_PICKLE, *(rule for rule in info.unwrapped if rule != TRUSTED_PICKLE))
    return values, info.model_copy(update={"unwrapped": rules})


def _read_shards(index: Path, *, trust_pickle: bool) -> tuple[dict[str, object], CheckpointInfo]:
    """Read a checkpoint in several files: each tensor from the file that the index names, and no other."""
    weight_map = read_json(index, _Object).root.get("weight_map")
    listed: dict[str, set[str]] = {}
    for name, shard in weight_map.items() if isinstance(weight_map, dict) else ():
        listed.setdefault(str(shard), set()).add(name)
    if not listed:
        raise CheckpointError(f"{index} lists no tensors", expected="weight_map, from names to files")
    paths = {shard: _shard(index, shard) for shard in sorted(listed)}
    values: dict[str, object] = {}
    rules: list[str] = []
    for shard, path in paths.items():
        # Names of the shard for names of the network: a shard of one block alone has a common prefix, too.
        part, info = _read_one(path, names=listed[shard], trust_pickle=trust_pickle)
        if part.keys() != listed[shard]:
            raise CheckpointError(
                f"{path} does not hold the tensors that {index.name} lists",
                expected=f"{len(listed[shard])} tensors",
                found=_difference(listed[shard], part),
                fix="fetch or save the folder again",
            )
        values |= part
        rules += [rule for rule in info.unwrapped if rule not in rules]
    digests = [(path.name, file_digest(path)) for path in (index, *paths.values())]
    whole = hashlib.sha256("".join(f"{name}\t{digest}\n" for name, digest in digests).encode()).hexdigest()
    return values, CheckpointInfo(
        file=index.name, sha256=whole, format=info.format, unwrapped=(*rules, f"shards:{len(paths)}")
    )


def _difference(listed: set[str], part: Mapping[str, object]) -> str:
    missing, more = sorted(listed - part.keys()), sorted(part.keys() - listed)
    found = [f"{len(missing)} missing, e.g. {missing[0]}"] if missing else []
    return "; ".join(found + ([f"{len(more)} more, e.g. {more[0]}"] if more else []))


def _shard(index: Path, name: str) -> Path:
    if not re.fullmatch(r"[\w-][\w.-]*\.(safetensors|bin)", name):
        raise CheckpointError(
            f"{index}: {name!r} is no file beside it",
            expected="a plain file name that ends in .safetensors or .bin",
        )
    path = _inside(index.parent, name)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing", expected=f"it, as {index.name} lists it")
    return path


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a folder; a link may lead to another file there, or into the hub's own cache."""
    path = folder / name
    target, home = path.resolve(), folder.resolve()
    # The hub's cache keeps REPO/snapshots/COMMIT/NAME as links to REPO/blobs/DIGEST.
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if target.parent not in (home, blobs):
        raise CheckpointError(
            f"{path} leads out of its folder",
            expected=f"a file in {home}",
            found=str(target),
            fix="copy the file into the folder",
        )
    return path
