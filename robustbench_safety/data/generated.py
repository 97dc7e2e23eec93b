"""Corruptions and sequences made on the fly from the clean images of another dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import corruptions
from robustbench_safety.data.readers import ArrayReader, Indices, Stored
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of
from robustbench_safety.records import Condition, GeneratedLayout
from robustbench_safety.streams import STREAM

__all__ = ["GeneratedReader"]


class GeneratedReader(ArrayReader):
    """One corruption at one severity, or one sequence at one difficulty."""

    def __init__(
        self, source: ArrayReader, layout: GeneratedLayout, condition: Condition, *, seed: int
    ) -> None:
        self._source, self._layout, self._condition, self._seed = source, layout, condition, seed
        self.sample_ids = source.sample_ids
        self.labels = source.labels
        self.class_sorted = source.class_sorted
        self.decoder = source.decoder
        if condition.kind == "sequence":
            self.frames = corruptions.n_frames(condition.name, variant=layout.variant)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        return self._source.stored(indices)

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        images = self._source.block(indices, stored)
        if images.dtype != np.uint8:
            raise DataError(f"{self._condition.path} cannot be made", expected="8-bit images as its source")
        ids = [self.sample_ids[i] for i in indices]
        name, level, variant = self._condition.name, self._condition.level, self._layout.variant
        if self._condition.kind == "corruption":
            return corruptions.corrupt(
                images, name, level, seed=self._seed, variant=variant, sample_ids=ids
            )
        clips = corruptions.sequence(
            images, name, difficulty=level, seed=self._seed, variant=variant, sample_ids=ids
        )
        return clips.reshape(-1, *clips.shape[2:])

    def stamp(self) -> str:
        return self._source.stamp()

    def finish_digest(self, digest: str) -> str:
        return digest_of(
            {
                "source": self._source.finish_digest(digest),
                "generator": corruptions.GENERATOR,
                "generator_version": corruptions.GENERATOR_VERSION,
                "variant": self._layout.variant,
                "stream": STREAM,
                "seed": self._seed,
                "condition": self._condition.model_dump(mode="json"),
            }
        )
