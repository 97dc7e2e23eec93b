"""The only loop that sends images through a network: model and condition to stored predictions."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.attacks import (
    LARGE_EPS,
    LARGE_EPS_IMAGES,
    LARGE_EPS_STEPS,
    attack_batch,
    drawn_images,
    library_of,
    right_at_large_eps,
)
from robustbench_safety.batches import Batches
from robustbench_safety.chunks import Chunk, joined_measures, measured, read_chunk, write_chunk
from robustbench_safety.data import stored_digest
from robustbench_safety.detector_passes import PASSES_PER_IMAGE, shown_pixels
from robustbench_safety.devices import forward_context, to_pixels
from robustbench_safety.errors import IncompatiblePredictionsError, ModelError
from robustbench_safety.files import digest_of
from robustbench_safety.jobs import Images, Job
from robustbench_safety.models import Model
from robustbench_safety.predictions import (
    AttackOutcome,
    PredictionsHeader,
    Values,
    written,
)
from robustbench_safety.records import Attack, AttackMeasures, LargeEps
from robustbench_safety.runs import Run
from robustbench_safety.summary import summarize

__all__ = ["first_images", "predict"]

#: Frames read at a time for sequences, in batches: whole clips must fill the network's batches.
_BATCHES_IN_A_BLOCK = 4


def first_images(model: Model, job: Job, *, most: int) -> tuple[torch.Tensor, list[str]]:
    """Return the first images of a job as they are given to the network, and the sample id of each.

    Returns:
        [n, H, W, 3], uint8 or float32 in [0, 1]; n is at most ``most``.
    """
    listed = job.open()
    loader = job.loader(listed, model.spec.preprocessing, block=most, workers=1, most=most)
    images = next(iter(loader)).images[:most]
    ids = [listed.reader.sample_ids[i] for i in listed.indices[:most] for _ in range(job.frames)]
    return images, ids[:most]


def predict(
    model: Model,
    job: Job,
    run: Run,
    *,
    workers: int = 2,
    advance: Callable[[int], None] = lambda _: None,
    batches: Batches | None = None,
) -> PredictionsHeader:
    """Predict one condition into the run folder, or return what is already there.

    Args:
        model: Its network is on the run's device, in eval mode.
        job: What to predict.
        run: Where to, and with which batch size and precision.
        workers: Threads that decode images.
        advance: Called with the number of images done since the last call.
        batches: Shared by the jobs of a run, so that a batch once halved stays so; None for new ones.

    Raises:
        DataError: An image cannot be decoded; the file is named.
        ModelError: A logit is not finite; the samples are named. Nothing is written.
        IncompatiblePredictionsError: What is there was made from something else.
        StorageError: The run folder cannot be written.
    """
    expected = _expected_fields(model, job, run)
    there = run.finished(expected, job.condition)
    images = job.open()
    if there is not None and not (job.features and _lacks_features(model, there)):
        _check_same_data(job, images, there, run.path(job.condition))
        if job.features:
            _last_layer(model, run)  # it may have been lost since
        advance(job.images)
        return there
    batches = batches or Batches(run.info.environment.batch_size)
    passes = _Passes(model, job, images, run, workers, batches)
    path = run.path(job.condition)
    started = time.perf_counter()
    chunks = path.with_suffix(".chunks")
    layer = _last_layer(model, run) if job.features else None
    with written(path, frames=job.frames) as writer:
        rows = passes.plain() if job.attack is None else passes.adversarial(chunks, expected)
        for ids, labels, values in rows:
            writer.append(ids, labels, values)
            advance(len(labels))
        header = PredictionsHeader.model_validate(
            {
                **expected,
                "condition": job.condition,
                "environment": run.info.environment,
                "frames": job.frames,
                "label_space": model.spec.label_space,
                "n": job.samples,
                "n_classes": model.n_classes,
                "data_digest": passes.data_digest(),
                "predictions_digest": writer.digest(),
                "source_stamp": images.reader.stamp(),
                "decoder": images.reader.decoder,
                "attack": passes.attack_outcome(),
                "last_layer_digest": layer,
                "reduced_batch": batches.reduced,
                "forward_passes": passes.forward_passes,
                "seconds": round(passes.seconds_before + time.perf_counter() - started, 3),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        writer.finish(header)
    shutil.rmtree(chunks, ignore_errors=True)
    return header


def _lacks_features(model: Model, there: PredictionsHeader) -> bool:
    """Tell whether finished predictions were made for a suite that asks for no features."""
    return model.last_layer is not None and there.last_layer_digest is None


def _last_layer(model: Model, run: Run) -> str | None:
    """Keep the layer that features go into, and return its digest; None where the network has none."""
    layer = model.last_layer
    if layer is None:
        return None
    weight, bias = (tensor.float().cpu().contiguous().numpy() for tensor in (layer.weight, layer.bias))
    return run.write_last_layer(weight, bias)


def _expected_fields(model: Model, job: Job, run: Run) -> dict[str, object]:
    """Return the header fields that say what predictions were made from."""
    return {
        "schema_version": 1,
        "condition": job.condition.model_dump(mode="json"),
        "columns": job.columns,
        "model_digest": digest_of(model.spec),
        "manifest_digest": digest_of(job.dataset.scored_fields()),
        "preprocessing_digest": digest_of(model.spec.preprocessing),
        "seed": job.seed,
        "limit": job.limit,
        "environment": run.info.environment.model_dump(mode="json"),
    }


def _check_same_data(job: Job, images: Images, header: PredictionsHeader, path: Path) -> None:
    """Refuse finished predictions of data that have changed since. Copied files only look changed."""
    if header.source_stamp == images.reader.stamp():
        return
    digest = job.shown_digest(stored_digest(images.reader, images.indices, images.label_keys))
    if digest != header.data_digest:
        raise IncompatiblePredictionsError(
            f"{path} was made from other data than those at hand",
            expected=f"data digest {digest}",
            found=header.data_digest,
            fix="remove the run folder, or name another with --predictions",
        )


Rows = tuple[Sequence[str], NDArray[np.int64], Values]


class _Passes:
    """The forward passes of one job."""

    def __init__(
        self, model: Model, job: Job, images: Images, run: Run, workers: int, batches: Batches
    ) -> None:
        self._model, self._job, self._images = model, job, images
        self._environment = run.info.environment
        self._device = torch.device(self._environment.device)
        self._batches, self._workers = batches, workers
        batch, frames = self._environment.batch_size, job.frames
        block = batch if frames == 1 else max(1, _BATCHES_IN_A_BLOCK * batch // frames)
        self._loader = job.loader(images, model.spec.preprocessing, block=block, workers=workers)
        self._outcome: AttackOutcome | None = None
        self.seconds_before = 0.0
        self.forward_passes = job.images * (PASSES_PER_IMAGE if job.detector_pass is not None else 1)
        """Images sent through the network; known in the end."""

    def data_digest(self) -> str:
        return self._job.shown_digest(self._loader.data_digest())

    def attack_outcome(self) -> AttackOutcome | None:
        return self._outcome

    def plain(self) -> Iterator[Rows]:
        """Yield the rows of each block of clean, corrupted or sequence images."""
        for _, ids, labels, images in self._blocks():

            def run(
                first: int,
                last: int,
                ids: list[str] = ids,
                labels: NDArray[np.int64] = labels,
                images: torch.Tensor = images,
            ) -> Values:
                pixels = to_pixels(images[first:last], self._device)
                if self._job.detector_pass is not None:
                    pixels = shown_pixels(self._model.network, pixels, self._job.detector_pass)
                return self._forward(pixels, labels[first:last], ids, first)

            yield ids, labels, _joined(self._batches.map(run, len(images)))

    def adversarial(self, folder: Path, expected: dict[str, object]) -> Iterator[Rows]:
        """Yield the rows of each batch of adversarial images; a finished batch is kept and not done again."""
        attack = self._job.attack
        assert attack is not None  # noqa: S101  # the caller's branch
        library = library_of(attack)
        key = digest_of({**expected, "library": library, "features": self._job.features})
        hasher = hashlib.sha256()
        measures: list[AttackMeasures] = []
        self.forward_passes = 0
        for start, ids, labels, images in self._blocks():
            path = folder / f"{start:08d}.npz"
            chunk = read_chunk(path, key)
            if chunk is None:
                chunk = self._attacked(attack, ids, labels, images)
                write_chunk(path, key, chunk)
            else:
                self.seconds_before += chunk.seconds
            hasher.update(bytes.fromhex(chunk.digest))
            measures.append(chunk.measures)
            self.forward_passes += chunk.passes
            yield ids, labels, chunk.values
        whole = joined_measures(measures).model_copy(update={"large_eps": self._at_large_eps()})
        self._outcome = AttackOutcome(
            settings=attack,
            source_data_digest=self._loader.data_digest(),
            perturbed_digest=hasher.hexdigest(),
            library=library,
            measures=whole,
        )

    def _attacked(
        self, attack: Attack, ids: Sequence[str], labels: NDArray[np.int64], images: torch.Tensor
    ) -> Chunk:
        """Attack a batch and predict what comes out."""
        began = time.perf_counter()

        def run(first: int, last: int) -> tuple[NDArray[np.float32], int, AttackMeasures, Values]:
            own = labels[first:last]
            pixels = to_pixels(images[first:last], self._device)
            target = torch.from_numpy(own).to(self._device)
            found = attack_batch(
                self._model.network, pixels, target, attack, sample_ids=ids[first:last], seed=self._job.seed
            )
            values = self._forward(found.images, own, ids, first)
            perturbed = found.images.contiguous(memory_format=torch.contiguous_format).cpu().numpy()
            measures = measured(found, values["logits"].astype(np.float32, copy=False), own)
            return perturbed, found.passes + len(own), measures, values

        parts = self._batches.map(run, len(images))
        hasher = hashlib.sha256()
        for perturbed, _, _, _ in parts:
            hasher.update(perturbed.astype("<f4", copy=False).tobytes())
        return Chunk(
            digest=hasher.hexdigest(),
            seconds=time.perf_counter() - began,
            passes=sum(passes for _, passes, _, _ in parts),
            measures=joined_measures([measures for _, _, measures, _ in parts]),
            values=_joined([values for _, _, _, values in parts]),
        )

    def _at_large_eps(self) -> LargeEps:
        """Attack a few of the images, drawn from all, so far that nothing may be left."""
        job, ids = self._job, self._images.reader.sample_ids
        some = drawn_images(self._images.indices, ids, LARGE_EPS_IMAGES, seed=job.seed, purpose="large-eps")
        listed = replace(self._images, indices=some)
        preprocessing = self._model.spec.preprocessing
        right = 0
        for block in job.loader(listed, preprocessing, block=len(some), workers=self._workers):

            def run(first: int, last: int, images: torch.Tensor = block.images) -> int:
                target = torch.from_numpy(self._images.labels[some[first:last]]).to(self._device)
                return right_at_large_eps(
                    self._model.network, to_pixels(images[first:last], self._device), target
                )

            right += sum(self._batches.map(run, len(block.images)))
        self.forward_passes += len(some) * (LARGE_EPS_STEPS + 1)
        return LargeEps(eps=LARGE_EPS, steps=LARGE_EPS_STEPS, images=len(some), right=right)

    def _blocks(self) -> Iterator[tuple[int, list[str], NDArray[np.int64], torch.Tensor]]:
        ids = self._images.reader.sample_ids
        for block in self._loader:
            indices = self._images.indices[block.start : block.start + block.samples]
            labels = np.repeat(self._images.labels[indices], self._job.frames)
            yield block.start, [ids[i] for i in indices], labels, block.images

    def _forward(
        self, pixels: torch.Tensor, labels: NDArray[np.int64], ids: Sequence[str], first: int
    ) -> Values:
        with torch.inference_mode(), forward_context(self._device, self._environment.precision):
            features, disagreement = None, None
            if self._job.features and self._model.last_layer is not None:
                features, logits = self._model.features(pixels)
            else:
                logits, disagreement = self._model.network.with_disagreement(pixels)
        logits = logits.float()
        if not torch.isfinite(logits).all():
            rows = (~torch.isfinite(logits)).any(dim=1).nonzero().flatten().tolist()
            names = [ids[(first + row) // self._job.frames] for row in rows]
            raise ModelError(
                f"the network gives logits that are not finite on {self._job.condition.path}",
                expected="finite logits",
                found=f"NaN or infinity for {len(rows)} of {len(pixels)} images of a batch: "
                + ", ".join(names[:10]),
                fix="check the weights, or run in float32",
            )
        values: dict[str, NDArray[np.float32] | NDArray[np.int32]] = {"logits": logits.cpu().numpy()}
        if self._job.columns == "summary":
            values = summarize(logits, torch.from_numpy(labels).to(logits.device))
        if features is not None:
            values["features"] = features.float().cpu().numpy()
        if disagreement is not None:
            values["mutual_information"] = disagreement.float().cpu().numpy()
        return values


def _joined(parts: Sequence[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
