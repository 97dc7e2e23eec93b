"""Corruptions and sequences made on the fly from the clean images of another dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import corruptions
from robustbench_safety.data.base import ArrayReader, Indices, Stored
from robustbench_safety.data.source_sizes import SizedReader
from robustbench_safety.errors import DataError, FileFormatError, UnknownNameError, UsageError
from robustbench_safety.files import digest_of
from robustbench_safety.records import Condition, GeneratedLayout
from robustbench_safety.streams import STREAM

__all__ = ["GeneratedReader"]


class GeneratedReader(ArrayReader):
    """One corruption at one severity, or one sequence at one difficulty.

    Raises:
        FileFormatError: There is none of that name or level, or not for images of this size.
        DataError: The source's images are not 8-bit, or the pictures of frost are missing.
        MissingDependencyError: A corruption needs a library that is not installed.
    """

    def __init__(
        self,
        source: ArrayReader,
        layout: GeneratedLayout,
        condition: Condition,
        *,
        seed: int,
        textures: Path | None = None,
    ) -> None:
        self._source, self._layout, self._condition, self._seed = source, layout, condition, seed
        # They can move no number without the generator's version: frost refuses pictures of another sha256.
        self._textures = textures
        self.sample_ids = source.sample_ids
        self.labels = source.labels
        self._groups = source.groups
        self.class_sorted = source.class_sorted
        self.decoder = source.decoder
        try:
            if condition.kind == "sequence":
                if layout.saved_as != "array":
                    raise UsageError(
                        "saved_as of a sequence", expected="array: clips are no JPEGs", found=layout.saved_as
                    )
                self.frames = corruptions.n_frames(condition.name, variant=layout.variant)
            # Making the first image tells now what would else be told in the middle of a run.
            first = np.zeros(1, dtype=np.int64)
            self.block(first, source.stored(first))
        except (UnknownNameError, UsageError) as error:
            raise FileFormatError(
                f"{condition.path} cannot be made",
                found=str(error),
                fix=f"correct the conditions in the manifest of {condition.dataset}",
            ) from error

    def other(self, condition: Condition) -> GeneratedReader:
        """Return another condition of the same clean images, which are not listed again."""
        return GeneratedReader(
            self._source, self._layout, condition, seed=self._seed, textures=self._textures
        )

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the stored bytes of the clean images."""
        return self._source.stored(indices)

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        """Return the corrupted images, or the frames of each clip in turn: uint8 [n * frames, H, W, 3]."""
        if self._condition.kind == "sequence" and isinstance(self._source, SizedReader):
            # What moves in from beyond the frame differs in size from photograph to photograph.
            starts = self._source.starts(indices, stored)
            return np.concatenate([
                self._frames(start[None], [self.sample_ids[i]])
                for start, i in zip(starts, indices, strict=True)
            ])  # fmt: skip
        images = self._source.block(indices, stored)
        if not _is_8_bit(images):
            raise DataError(
                f"{self._condition.path} cannot be made",
                expected="8-bit images as its source",
                found=str(images.dtype),
                fix="name another source in the manifest",
            )
        ids = [self.sample_ids[i] for i in indices]
        name, level, variant = self._condition.name, self._condition.level, self._layout.variant
        if self._condition.kind == "corruption":
            return corruptions.corrupt(
                images,
                name,
                level,
                seed=self._seed,
                variant=variant,
                sample_ids=ids,
                saved_as=self._layout.saved_as,
                textures=self._textures,
            )
        return self._frames(images, ids)

    def _frames(self, images: NDArray[np.uint8], ids: Sequence[str]) -> NDArray[np.uint8]:
        clips = corruptions.sequence(
            images,
            self._condition.name,
            difficulty=self._condition.level,
            seed=self._seed,
            variant=self._layout.variant,
            sample_ids=ids,
        )
        return clips.reshape(-1, *clips.shape[2:])

    def files(self) -> Sequence[Path]:
        """Return the files of the clean images."""
        return self._source.files()

    def stamp(self) -> str:
        """Return the stamp of the clean images."""
        return self._source.stamp()

    def finish_digest(self, digest: str) -> str:
        """Return the digest over the clean images' and everything that the corruption depends on."""
        saving = {} if self._layout.saved_as == "array" else {"saved_as": self._layout.saved_as}
        return digest_of(
            {
                "source": self._source.finish_digest(digest),
                "generator": corruptions.GENERATOR,
                "generator_version": corruptions.GENERATOR_VERSION,
                "variant": self._layout.variant,
                "stream": STREAM,
                "seed": self._seed,
                "condition": self._condition.model_dump(mode="json"),
                **saving,
            }
        )


def _is_8_bit(images: NDArray[np.uint8] | NDArray[np.float32]) -> TypeGuard[NDArray[np.uint8]]:
    return images.dtype == np.uint8
