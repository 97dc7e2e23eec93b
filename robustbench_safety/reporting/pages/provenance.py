"""Where a row comes from: model, preprocessing, machine, verification and digests, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from robustbench_safety.records import ModelSpec, Preprocessing, ScoreRecord
from robustbench_safety.reporting.charts.from_record import words
from robustbench_safety.reporting.pages.environment import one_line

__all__ = ["Fact", "Facts", "preprocessing_words", "provenance"]

#: Characters of a text that somebody handed in.
_LONGEST = 400


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of provenance."""

    name: str
    values: tuple[str, ...]
    code: bool = False
    """Whether the values are digests or names of files."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What belongs together."""

    title: str
    facts: tuple[Fact, ...]


def provenance(record: ScoreRecord, digest: str) -> list[Facts]:
    """Return everything that a record says of how its numbers came to be.

    Args:
        record: The record.
        digest: Of its digested fields.
    """
    return [
        Facts(title="Model", facts=tuple(_model(record.model))),
        Facts(title="Preprocessing", facts=tuple(_preprocessing(record))),
        Facts(title="Run", facts=tuple(_run(record))),
        Facts(title="Record", facts=tuple(_record(record, digest))),
    ]


def _fact(name: str, *values: object, code: bool = False) -> Fact:
    shown = tuple(one_line(str(value), _LONGEST) for value in values if value is not None and value != "")
    return Fact(name=name, values=shown or ("not stated",), code=code)


def _model(spec: ModelSpec) -> Iterable[Fact]:
    yield _fact("model", spec.name)
    if spec.network_known:
        yield _fact("parameters", f"{spec.parameters:,}")
        yield _fact("operations of one image", f"{spec.flops:,} FLOPs" if spec.flops is not None else None)
    else:
        yield _fact("network", "not known: its predictions were handed in")
    yield _fact("label space", spec.label_space)
    yield _fact("outputs", spec.outputs)
    if spec.head_classes is not None:
        head = spec.head_classes
        yield _fact("classes of the head", f"{head.source}, {head.outputs:,} outputs", head.digest)
    if not spec.gradients:
        yield _fact("gradients", "cannot be had: it is not attacked")
    if spec.zero_shot is not None:
        text = spec.zero_shot
        yield _fact("prompt templates", text.templates, text.templates_digest)
        yield _fact("class names", text.names, text.names_digest)
        yield _fact("scale of the logits", f"{text.logit_scale:g}")
    yield from _weights(spec)
    yield _fact("training data", spec.training_data)
    yield _fact("trained on", ", ".join(spec.trained_on))
    yield _fact("augmentations", ", ".join(spec.augmentations))
    for i, member in enumerate(spec.members):
        file = member.checkpoint.file if member.checkpoint is not None else "its family's own weights"
        yield _fact(f"member {i + 1}", f"{member.name}, {file}", member.weights_digest)
    if spec.combine is not None:
        yield _fact("members' mean of", spec.combine)
    if spec.trusted:
        yield _fact("was let run", ", ".join(spec.trusted))


def _weights(spec: ModelSpec) -> Iterable[Fact]:
    if spec.checkpoint is not None:
        yield _fact("checkpoint", f"{spec.checkpoint.file} ({spec.checkpoint.format})", code=True)
        yield _fact("its sha256", spec.checkpoint.sha256, code=True)
        if spec.checkpoint.unwrapped:
            yield _fact("found inside it by", *spec.checkpoint.unwrapped, code=True)
    elif spec.network_known and not spec.members:
        yield _fact("checkpoint", "the family's own weights")
    yield _fact("digest of the weights", spec.weights_digest, code=True)
    if spec.probe is not None:
        yield _fact("linear classifier", spec.probe.file, spec.probe.sha256, code=True)
    if spec.code_digest is not None:
        yield _fact("digest of the code", spec.code_digest, code=True)


def preprocessing_words(preprocessing: Preprocessing) -> list[str]:
    """Return the way from a stored image to the network's input, step by step."""
    steps = []
    if preprocessing.resize is None:
        steps.append("no resize")
    elif isinstance(preprocessing.resize, int):
        steps.append(f"shorter side resized to {preprocessing.resize}, {preprocessing.interpolation}")
    else:
        height, width = preprocessing.resize
        steps.append(f"resized to {height} x {width}, {preprocessing.interpolation}")
    crop = {None: "no crop", "center": "crop of the centre", "border": "crop, or a border of the mean colour"}
    steps.append(crop[preprocessing.crop])
    size = preprocessing.input_size
    steps.append(f"input {size[0]} x {size[1]}" if size is not None else "input of the stored size")
    stated = (preprocessing.mean, preprocessing.std)
    mean, std = (", ".join(f"{value:g}" for value in three) for three in stated)
    steps.append(f"pixels in [0, 1], less the mean ({mean}), over the std ({std})")
    return steps


def _preprocessing(record: ScoreRecord) -> Iterable[Fact]:
    spec = record.model
    if not spec.network_known:
        yield _fact("stated by the sender", *preprocessing_words(spec.preprocessing))
        return
    yield _fact("from image to input", *preprocessing_words(spec.preprocessing))
    for i, member in enumerate(spec.members):
        yield _fact(f"of member {i + 1}", *preprocessing_words(member.preprocessing))


def _run(record: ScoreRecord) -> Iterable[Fact]:
    environment, timings = record.environment, record.timings
    yield _fact("seed", record.seed)
    yield _fact("images of each data set", "all" if record.limit is None else f"the first {record.limit:,}")
    if not environment.known:
        yield _fact("machine", "not known: the predictions were handed in")
        yield _fact("read by", f"robustbench_safety {environment.package}")
        return
    yield _fact("device", f"{environment.device} ({environment.device_name})")
    yield _fact("precision", environment.precision + (", TF32 products" if environment.tf32 else ""))
    if environment.compiled:
        yield _fact("compiled", "by torch.compile")
    yield _fact("batch size", environment.batch_size)
    if record.reduced_batches:
        smaller = (f"{n} on {condition}" for condition, n in sorted(record.reduced_batches.items()))
        yield _fact("smaller batches", *smaller)
    yield _fact("threads", environment.threads)
    yield _fact("forward passes", f"{record.forward_passes:,}")
    yield _fact("time", f"{timings.seconds:,.0f} s, {timings.images_per_second:,.1f} images/s")
    yield _fact("finished", timings.finished)
    yield _fact("machine", f"{environment.machine}, Python {environment.python}")
    commit = f", commit {environment.commit}" if environment.commit else ""
    yield _fact("package", f"robustbench_safety {environment.package}{commit}")
    libraries = (f"{name} {version}" for name, version in sorted(environment.libraries.items()))
    yield _fact("libraries", ", ".join(libraries))
    yield _fact("decoder", environment.decoder)


def _record(record: ScoreRecord, digest: str) -> Iterable[Fact]:
    verification = record.verification
    yield _fact("verification", f"{verification.kind}, by {verification.by}, at {verification.at or '–'}")
    if record.partial_because:
        yield _fact("partial", *record.partial_because)
    yield _fact("suite", f"{record.suite.name}, version {record.suite.version}")
    yield _fact("digest of the suite", record.suite.digest, code=True)
    yield _fact("digest of the record", digest, code=True)
    yield _fact("digest of its companion", record.companion_digest, code=True)
    for name, value in sorted(record.baselines.items()):
        yield _fact(f"baseline {name}", value, code=True)
    for name, value in sorted(record.accuracies.items()):
        yield _fact(f"published models {name}", value, code=True)
    if record.temperatures:
        by_value: dict[tuple[float, ...], list[str]] = {}
        for cell, temperatures in sorted(record.temperatures.items()):
            by_value.setdefault(temperatures, []).append(words(cell))
        yield _fact(
            "temperatures",
            *(
                f"{' and '.join(f'{one:.4f}' for one in temperatures)}: {', '.join(cells)}"
                for temperatures, cells in by_value.items()
            ),
        )
    if record.without_images:
        yield _fact("without images at hand", ", ".join(record.without_images))
    if record.supersedes is not None:
        yield _fact("supersedes", record.supersedes, code=True)
    n = len(record.prediction_digests)
    yield _fact("data and predictions", f"digests of {n} conditions are in the record's JSON")
