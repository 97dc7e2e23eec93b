"""What a zero-shot classifier is made of: class names, prompt templates, and a cache of the text features.

The text tower is run once for the classes of the whole label space. It is the costly part of loading (80
templates of 1,000 classes are 80,000 texts), so its result is kept on disk: in the folder ``RBS_CACHE``, else
in ``robustbench-safety/text-features`` in the user's cache, beside the data.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from robustbench_safety.errors import CheckpointError, FileFormatError, ModelError, StorageError, UsageError
from robustbench_safety.files import digest_of, read_lines, write_bytes
from robustbench_safety.labels import class_digest, load_class_names
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.weights.strict import weights_digest
from robustbench_safety.records import LabelSpace, ZeroShot, ZeroShotFile

__all__ = ["PLAIN", "Prompts", "cache_folder", "choose_prompts", "text_features"]

#: The templates called ``plain``: the one of the CLIP paper (Radford et al., 2021, section 3.1.4).
PLAIN = ("a photo of a {}.",)

_PLACE = "{}"


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The text of a zero-shot classifier."""

    names: tuple[str, ...]
    """K, one a class, in the label space's order."""
    templates: tuple[str, ...]
    """With ``{}`` where the name goes."""
    names_source: str
    """Where the names come from."""
    templates_source: str
    """Name of the set, or of its file."""

    @property
    def names_digest(self) -> str:
        """sha256 of the names, each followed by a line feed."""
        return class_digest(self.names)

    @property
    def templates_digest(self) -> str:
        """sha256 of the templates, each followed by a line feed."""
        return class_digest(self.templates)

    def writers(self) -> list[Callable[[str], str]]:
        """Return for each template the function that writes a name into it; other braces stay as they are."""
        return [partial(template.replace, _PLACE) for template in self.templates]

    def recorded(self, *, logit_scale: float, logit_bias: float) -> ZeroShot:
        """Return what a record says of the classifier."""
        return ZeroShot(
            templates=self.templates_source,
            templates_digest=self.templates_digest,
            names=self.names_source,
            names_digest=self.names_digest,
            logit_scale=logit_scale,
            logit_bias=logit_bias,
        )


def choose_prompts(
    wanted: ZeroShotFile | None,
    space: LabelSpace,
    *,
    folder: Path,
    published: Mapping[str, tuple[str, ...]],
) -> Prompts:
    """Return the class names and templates that a model file asks for.

    Where it asks for nothing: ``openai-80`` for imagenet-1k, for whose classes these were written, and with
    which CLIP's figures are published; ``plain`` for every other label space. The spec says which it was.

    Args:
        wanted: What the model file says, None where it says nothing.
        space: The label space to be spoken.
        folder: That the paths are relative to.
        published: Sets of templates by name, beside ``plain``.

    Raises:
        UsageError: There is no such set or file.
        FileFormatError: A file does not hold what it should.
    """
    if wanted is None:
        wanted = ZeroShotFile(templates="openai-80" if space.name == "imagenet-1k" else "plain")
    known = {**published, "plain": PLAIN}
    if wanted.templates in known:
        templates, source = known[wanted.templates], wanted.templates
    else:
        templates, source = _read_templates(folder / wanted.templates, known), Path(wanted.templates).name
    if wanted.names is None:
        listed = load_class_names(space)
        names, names_source = tuple(listed.prompts.values()), listed.source
    else:
        names, names_source = _read_names(folder / wanted.names, space), Path(wanted.names).name
    return Prompts(names=names, templates=templates, names_source=names_source, templates_source=source)


def _read_templates(path: Path, known: Mapping[str, object]) -> tuple[str, ...]:
    if not path.is_file():
        raise UsageError(
            f"zero_shot.templates: there is no set {path.name!r}",
            expected=f"one of {', '.join(sorted(known))}, or the path of a file with one template a line",
            found=f"no file {path}",
        )
    templates = tuple(read_lines(path))
    wrong = next((template for template in templates if _PLACE not in template), None)
    if wrong is not None or not templates:
        raise FileFormatError(
            f"{path} does not hold prompt templates",
            expected="one a line, with {} where the name of the class goes",
            found="an empty file" if wrong is None else repr(wrong[:200]),
        )
    return templates


def _read_names(path: Path, space: LabelSpace) -> tuple[str, ...]:
    if not path.is_file():
        raise UsageError(
            f"zero_shot.names: there is no file {path}",
            expected="a text file with one class name a line",
            fix=f"correct the path, or leave it out for the names that {space.name} comes with",
        )
    names = tuple(read_lines(path))
    if len(names) != len(space.classes):
        raise FileFormatError(
            f"{path} does not name the classes of {space.name}",
            expected=f"{len(space.classes)} names, one a line, in the order of its classes",
            found=str(len(names)),
        )
    return names


def cache_folder() -> Path:
    """Return ``RBS_CACHE``, else a folder in the user's cache; it need not exist."""
    if named := os.environ.get("RBS_CACHE"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "robustbench-safety" / "text-features"


def text_features(
    key: Mapping[str, object], *, shape: tuple[int, int], make: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """Return text features from the cache; where it has none, or not exactly these, make them and keep them.

    Args:
        key: All that they depend on: weights, architecture, names, templates, versions, threads.
        shape: [K, D] that they must have.
        make: Runs the text tower.

    Returns:
        float32 [K, D]; the second call gives the first one's, bit for bit.

    Raises:
        ModelError: What ``make`` returns has another shape, or is not finite.
    """
    digest = digest_of(key)
    path = cache_folder() / f"{digest}.safetensors"
    kept = _kept(path, digest, shape)
    if kept is not None:
        return kept
    made = make().detach().to(torch.float32).contiguous()
    if tuple(made.shape) != shape or not bool(torch.isfinite(made).all()):
        raise ModelError(
            "the text tower does not give text features",
            expected=f"finite numbers {list(shape)}",
            found=f"{'finite' if bool(torch.isfinite(made).all()) else 'not finite'} {list(made.shape)}",
            fix="check that the weights belong to this architecture",
        )
    tensors = {"text": made}
    content = safetensors.torch.save(tensors, metadata={"key": digest, "values": weights_digest(tensors)})
    # Where nothing can be kept (a home that is read-only, say) the next call makes them again, the same.
    with contextlib.suppress(StorageError):
        write_bytes(path, content)
    return made


def _kept(path: Path, digest: str, shape: tuple[int, int]) -> torch.Tensor | None:
    """Return what a cache file holds, None where it is missing, damaged or not what was asked for."""
    if not path.is_file():
        return None
    try:
        with (
            foreign_code(f"{path} is damaged", raising=CheckpointError),
            safetensors.safe_open(path, framework="pt") as file,
        ):
            metadata = file.metadata() or {}
            if metadata.get("key") != digest or list(file.keys()) != ["text"]:
                return None
            if tuple(file.get_slice("text").get_shape()) != shape:
                return None
            text: torch.Tensor = file.get_tensor("text")
    except CheckpointError:
        return None
    sound = text.dtype == torch.float32 and bool(torch.isfinite(text).all())
    return text if sound and metadata.get("values") == weights_digest({"text": text}) else None
