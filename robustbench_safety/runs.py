"""Run folders: the stored predictions of one model, and what they were made for.

A run folder is ``<predictions>/<slug>--<8 of sha256(model, preprocessing, precision, device)>`` (a limit or a
seed of one's own adds its name). It holds ``run.json``, which says what was asked and on what machine, and
the files of the conditions. A file whose header does not match what is asked now is refused, never mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError
from robustbench_safety.files import atomic_path, differences, digest_of, read_json, write_json
from robustbench_safety.predictions import read_header
from robustbench_safety.records import Condition, ModelSpec, PredictionsHeader, RunInfo

__all__ = ["Run"]

_LAST_LAYER = "last-layer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder and what it was made for."""

    folder: Path
    info: RunInfo

    @staticmethod
    def folder_name(
        slug: str, spec: ModelSpec, *, precision: str, device: str, options: Sequence[str] = ()
    ) -> str:
        """Return ``<slug>--<8 hex digits>``, which differ by model, preprocessing, precision and device.

        And by ``options`` of the device: ``tf32``, ``compiled``.
        """
        key = {"model": spec.model_dump(mode="json"), "precision": precision, "device": device}
        key |= {"options": list(options)} if options else {}
        return f"{slug}--{digest_of(key)[:8]}"

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Open an existing run folder."""
        path = folder / "run.json"
        if not path.is_file():
            raise FileFormatError(
                f"{folder} is not a run folder",
                expected="a folder with run.json in it",
                found="no such folder" if not folder.is_dir() else "no run.json",
                fix="name the folder that `rbs score` printed",
            )
        return cls(folder=folder, info=read_json(path, RunInfo))

    @classmethod
    def resume_or_start(cls, folder: Path, info: RunInfo) -> Run:
        """Open the run folder, checking that it was made for the same; or make it.

        Raises:
            IncompatiblePredictionsError: It was made with other settings, libraries or hardware.
        """
        path = folder / "run.json"
        if not path.exists():
            write_json(path, info)
            return cls(folder=folder, info=info)
        run = cls.load(folder)
        _refuse_difference(folder, _comparable(run.info), _comparable(info))
        for left in folder.rglob(".*.part"):  # what a killed run had begun to write
            left.unlink(missing_ok=True)
        return run

    def path(self, condition: Condition) -> Path:
        """Return where the predictions on a condition lie."""
        return self.folder / f"{condition.path}.parquet"

    def write_last_layer(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """Keep the layer that makes logits of stored features, and return its digest.

        Args:
            weight: [K, D].
            bias: [K].
        """
        path, digest = self.folder / _LAST_LAYER, _layer_digest(weight, bias)
        with atomic_path(path) as temporary:
            safetensors.numpy.save_file({"weight": weight, "bias": bias}, temporary)
        return digest

    def last_layer(self, digest: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight [K, D] and bias [K] of the layer that makes logits of stored features.

        Args:
            digest: In the header of the predictions that hold the features.

        Raises:
            FileFormatError: It is not there, damaged, or another.
        """
        path = self.folder / _LAST_LAYER
        try:
            tensors = safetensors.numpy.load_file(path)
            weight, bias = tensors["weight"], tensors["bias"]
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise FileFormatError(
                f"{path} cannot be read",
                expected="the last layer of the network, which the stored features go into",
                found=" ".join(str(error).split())[:200],
                fix="predict again",
            ) from error
        if (found := _layer_digest(weight, bias)) != digest:
            raise FileFormatError(
                f"{path} is not the layer that the stored features go into",
                expected=f"digest {digest}",
                found=found,
                fix="predict again",
            )
        return weight.astype(np.float64), bias.astype(np.float64)

    def finished(self, expected: Mapping[str, object], condition: Condition) -> PredictionsHeader | None:
        """Return the header of a finished condition, None if it is not there.

        Raises:
            IncompatiblePredictionsError: It was made from something else than ``expected`` (header fields).
        """
        path = self.path(condition)
        if not path.exists():
            return None
        header = read_header(path)
        found = header.model_dump(mode="json", include=set(expected))
        _refuse_difference(path, found, dict(expected))
        return header


def _layer_digest(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
    hashers = {name: hashlib.sha256(array.tobytes()) for name, array in (("weight", weight), ("bias", bias))}
    return digest_of({name: hasher.hexdigest() for name, hasher in hashers.items()})


def _comparable(info: RunInfo) -> dict[str, object]:
    """Return the fields that two sessions of one run must share."""
    fields = info.model_dump(mode="json", exclude={"display_name"})
    # A commit that changes no version changes no prediction; developers resume across commits.
    del fields["environment"]["commit"]
    return fields


def _refuse_difference(where: Path, found: dict[str, object], expected: dict[str, object]) -> None:
    if found == expected:
        return
    name, old, new = next(differences(found, expected))
    raise IncompatiblePredictionsError(
        f"{where} was made from something else: {name}",
        expected=str(new),
        found=str(old),
        fix="remove the folder, or keep these predictions and name another folder with --predictions",
    )
