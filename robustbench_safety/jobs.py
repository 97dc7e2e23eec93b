"""Jobs: the conditions of a run, each opened and checked before the first forward pass, and let go again.

The lists of 75 conditions of ImageNet-C would take gigabytes at once, so a job keeps what was counted, and
its images are listed again when their turn comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.attacks import drawn_images
from robustbench_safety.data import Dataset, Loader, Reader, Transform, limited
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of
from robustbench_safety.labels import load_label_space
from robustbench_safety.predictions import Columns
from robustbench_safety.records import Attack, Condition, DetectorPass, Preprocessing

__all__ = ["Images", "Job", "labels_in", "prepare", "stored_columns"]

#: Up to this many classes a row of logits is no larger than its summary.
_FEW_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of a job, listed."""

    reader: Reader
    indices: NDArray[np.int64]
    """Samples taken, in manifest order."""
    label_keys: list[str]
    """Class key of every sample in the dataset's own space, "" for one without a label."""
    labels: NDArray[np.int64]
    """Index of every sample's class in the model's label space, -1 for one without a label."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One condition, checked, ready to be predicted."""

    condition: Condition
    dataset: Dataset
    label_space: str
    """Of the model."""
    attack: Attack | None
    detector_pass: DetectorPass | None
    """How a detector changes the pixels; None where they are shown as they are."""
    columns: Columns
    features: bool
    """Whether penultimate features are kept beside, where the network has such."""
    seed: int
    limit: int | None
    drawn_by: int | None
    """Seed that draws the ``limit`` source images for an audit; None to take the first."""
    samples: int
    """Samples taken."""
    frames: int
    """Frames shown for each; 1 but in sequences."""

    @property
    def images(self) -> int:
        """Images that are sent through the network once (for an attack: predicted once)."""
        return self.samples * self.frames

    def shown_digest(self, source: str) -> str:
        """Return the data digest of what the network is shown, from that of the clean images."""
        if self.detector_pass is not None:
            return digest_of({"source": source, "detector_pass": self.detector_pass.model_dump(mode="json")})
        if self.attack is not None:
            attack = self.attack.model_dump(mode="json")
            return digest_of({"source": source, "attack": attack, "seed": self.seed})
        return source

    def open(self) -> Images:
        """List the images and check them again.

        Raises:
            DataError: The data are not what the manifest says.
        """
        return _opened(
            self.dataset, self.condition, self.label_space, self.attack, seed=self.seed, limit=self.limit,
            drawn_by=self.drawn_by)  # fmt: skip

    def loader(
        self,
        images: Images,
        preprocessing: Preprocessing,
        *,
        block: int,
        workers: int,
        most: int | None = None,
    ) -> Loader:
        """Return what gives the images in blocks, as the network takes them; ``most`` of them at most."""
        manifest = self.dataset.manifest
        transform = Transform(
            preprocessing,
            pre_cropped=manifest.pre_cropped,
            border=manifest.border,
            resize_to_input=manifest.resize_to_input,
            recropped=manifest.recropped,
        )
        indices = images.indices[:most]
        return Loader(images.reader, indices, images.label_keys, transform, block=block, workers=workers)


def stored_columns(condition: Condition, n_classes: int) -> Columns:
    """Return what is kept of a condition: logits, but for the many rows of -C and -P with many classes.

    Full logits of ImageNet-C are 15 GB a model; a summary gives error, calibration and flips.
    """
    many_rows = condition.kind in ("corruption", "sequence")
    return "summary" if many_rows and n_classes > _FEW_CLASSES else "logits"


def prepare(
    dataset: Dataset,
    condition: Condition,
    *,
    label_space: str,
    attack: Attack | None = None,
    detector_pass: DetectorPass | None = None,
    columns: Columns = "logits",
    features: bool = False,
    seed: int = 0,
    limit: int | None = None,
    drawn_by: int | None = None,
) -> Job:
    """Open a condition and check names, counts and labels; no pixel is read.

    With ``drawn_by`` the ``limit`` images are drawn by that seed and their ids: the same in every condition
    of a dataset, and without the seed nobody knows which.

    Raises:
        DataError: The data are not what the manifest says, or have classes that the model does not know.
    """
    images = _opened(dataset, condition, label_space, attack, seed=seed, limit=limit, drawn_by=drawn_by)
    return Job(
        condition=condition,
        dataset=dataset,
        label_space=label_space,
        attack=attack,
        detector_pass=detector_pass,
        columns=columns,
        features=features,
        seed=seed,
        limit=limit,
        drawn_by=drawn_by,
        samples=len(images.indices),
        frames=images.reader.frames,
    )


def _opened(
    dataset: Dataset,
    condition: Condition,
    label_space: str,
    attack: Attack | None,
    *,
    seed: int,
    limit: int | None,
    drawn_by: int | None,
) -> Images:
    reader = dataset.open(condition, seed=seed)
    keys = dataset.label_keys(reader)
    first = limit if drawn_by is None else None
    indices = limited(reader.groups, first, class_sorted=reader.class_sorted)
    labels = labels_in(label_space, dataset, keys)
    if attack is not None:
        indices = drawn_images(indices, reader.sample_ids, attack.images, seed=seed, purpose="attacked")
        if (labels[indices] < 0).any():
            raise DataError(
                f"{dataset.name} cannot be attacked",
                expected="images of known classes: an attack leads away from the right one",
                found="images of no class",
                fix="attack a dataset of role clean or shift",
            )
    if drawn_by is not None:
        # Of those that the attack has drawn: others it has not been made on.
        indices = drawn_images(indices, reader.sample_ids, limit, seed=drawn_by, purpose="audited")
    return Images(reader=reader, indices=indices, label_keys=keys, labels=labels)


def labels_in(label_space: str, dataset: Dataset, keys: list[str]) -> NDArray[np.int64]:
    """Return every label as an index of the model's label space; joined by class key."""
    space = load_label_space(label_space, beside=dataset.data.beside)
    index = {"": -1} | {key: i for i, key in enumerate(space.classes)}
    joined = {key: dataset.model_key(key) for key in set(keys)}
    unknown = sorted(key for key in joined.values() if key not in index)
    if unknown:
        raise DataError(
            f"{dataset.name} has classes that the model does not know",
            expected=f"classes of {label_space}",
            found=f"{len(unknown)} others, e.g. {unknown[0]!r}",
            fix="choose a dataset of the model's label space, or a model of the dataset's",
        )
    return np.array([index[joined[key]] for key in keys], dtype=np.int64)
