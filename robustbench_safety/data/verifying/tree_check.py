"""The folder of a dataset checked, condition by condition, so that one alone is in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from robustbench_safety.data.base import FileReader, Reader
from robustbench_safety.data.label_sets import read_labels
from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.digest_files import DigestCheck
from robustbench_safety.data.verifying.findings import Finding, Findings, finding_of
from robustbench_safety.data.verifying.folder_faults import another_set, folder_faults, lenient_reader
from robustbench_safety.data.verifying.image_checks import ImageCheck, check_sample_ids
from robustbench_safety.data.verifying.missing_conditions import missing_together
from robustbench_safety.data.verifying.ordered_pool import OrderedPool
from robustbench_safety.data.verifying.stray_files import StrayFiles
from robustbench_safety.errors import DataError, FileFormatError, RobustbenchSafetyError, StorageError
from robustbench_safety.files import reads
from robustbench_safety.records import (
    ClipsLayout,
    Condition,
    HuggingFaceLayout,
    ImageFolderLayout,
    RelabelledLayout,
)

__all__ = ["TreeCheck"]


class TreeCheck:
    """The folder of one dataset: what was found in it so far, and what later conditions are compared with.

    Args:
        dataset: What is checked.
        pool: Threads that decode and hash.
        findings: Where they are put.
        quick: Whether to decode nothing.
        digests: File of digests to compare with; None for none.
        advance: Told how many images were looked at, and how many there should be.

    Raises:
        StorageError: The file of digests cannot be read.
        FileFormatError: It is none.
    """

    def __init__(
        self,
        dataset: Dataset,
        pool: OrderedPool,
        findings: Findings,
        *,
        quick: bool,
        digests: Path | None,
        advance: Callable[[int, int], None],
    ) -> None:
        self._findings = findings
        self.n_conditions = self.n_images = self.n_decoded = self.n_hashed = 0
        self._dataset, self._pool, self._quick, self._advance = dataset, pool, quick, advance
        self._digests = None if digests is None else DigestCheck(digests, dataset.folder)
        self._strays = StrayFiles(dataset, [] if digests is None else [digests])
        self._conditions = dataset.manifest.all_conditions()
        self._missing: list[tuple[Condition, DataError]] = []
        self._model: tuple[str, Sequence[str]] | None = None
        """Path and sample ids of the first whole condition: the others show the same images."""
        self._late: list[tuple[Condition, Path]] = []
        """Conditions that were not whole and came before it, with the folder of their class folders."""

    def run(self) -> None:
        """Check conditions, images, strays and digests.

        Raises:
            MissingDependencyError: A library that the images need is not installed.
        """
        if self._is_absent():
            return
        for condition in self._conditions:
            self._condition(condition)
            self.n_conditions += 1
            self._tell(0)
        for finding in missing_together(self._dataset, self._missing):
            self._findings.add(self._dataset.name, finding)
        self._compare_late()
        self._tell_strays()
        if self._digests is not None:
            for scope, finding in self._digests.finish(self._pool):
                self._findings.add(scope, finding)
            self.n_hashed += self._digests.hashed

    def _tell(self, done: int) -> None:
        """Tell how many images of the present condition, and with them of all, were looked at."""
        samples = self._dataset.manifest.samples
        self._advance(self.n_conditions * samples + min(done, samples), len(self._conditions) * samples)

    def _is_absent(self) -> bool:
        """Tell whether the whole folder is missing or empty: one finding, not one for each condition."""
        dataset, folder = self._dataset, self._dataset.folder
        try:
            with reads(folder):
                if folder.is_dir() and any(folder.iterdir()):
                    return False
            dataset.check_presence(self._conditions[0])
        except DataError as error:
            self._findings.add(dataset.name, finding_of("missing", error))
            return True
        except StorageError as error:
            self._findings.add(dataset.name, finding_of("unreadable", error))
            return True
        return False  # a name on the hub: its files lie elsewhere

    def _condition(self, condition: Condition) -> None:
        try:
            needed = self._dataset.check_presence(condition)
        except DataError as error:
            self._missing.append((condition, error))
            return
        except StorageError as error:
            self._findings.add(condition.path, finding_of("unreadable", error))
            return
        if isinstance(self._dataset.manifest.layout, RelabelledLayout):
            for finding in _check_labels(self._dataset):
                self._findings.add(condition.path, finding)
            self._strays.leave(needed)
            self._note_files(needed)
            return
        reader, whole = self._opened(condition, needed)
        if reader is None:
            self._strays.leave(needed)
            return
        self.n_images += len(reader.sample_ids)
        files = reader.files()
        self._note_files(files)
        self._compare_samples(condition, reader, needed, whole=whole)
        if isinstance(reader, FileReader) and not self._quick:
            self._decode(condition, reader)
        if whole:
            self._find_strays(condition, needed, files)
        else:
            self._strays.leave(needed)

    def _opened(self, condition: Condition, needed: Sequence[Path]) -> tuple[Reader | None, bool]:
        """Return the reader of a condition and whether it is whole; what is wrong becomes findings."""
        try:
            return self._dataset.open(condition, seed=0), True
        except (DataError, StorageError, FileFormatError) as error:
            return self._not_whole(condition, needed, error), False

    def _not_whole(
        self, condition: Condition, needed: Sequence[Path], error: RobustbenchSafetyError
    ) -> Reader | None:
        """Say more than the reader's first error; return a reader of what is there all the same."""
        layout, place = self._dataset.manifest.layout, self._dataset.place(condition)
        faults: list[Finding] = []
        reader = None
        try:
            if isinstance(layout, ImageFolderLayout) or (
                isinstance(layout, ClipsLayout) and layout.format == "video"
            ):
                other = another_set(place, layout, needed[0], self._dataset.data.beside)
                faults = [other] if other is not None else folder_faults(place, layout, needed[0])
                reader = None if other is not None else lenient_reader(place, layout, needed[0])
        except StorageError as refused:
            error = refused
        if isinstance(error, StorageError):
            faults.append(finding_of("unreadable", error))
        for fault in faults or [finding_of("content", error)]:
            self._findings.add(condition.path, fault)
        return reader

    def _compare_samples(
        self, condition: Condition, reader: Reader, needed: Sequence[Path], *, whole: bool
    ) -> None:
        try:
            self._dataset.columns(reader.sample_ids)
        except DataError as error:
            self._findings.add(condition.path, finding_of("samples", error))
        if self._model is not None:
            self._compare(condition, reader, self._model)
        elif whole:
            self._model = (condition.path, reader.sample_ids)
        else:
            self._late.append((condition, needed[0]))

    def _compare(self, condition: Condition, reader: Reader, model: tuple[str, Sequence[str]]) -> None:
        path, wanted = model
        fault = check_sample_ids(condition.path, reader.sample_ids, other=path, wanted=wanted)
        if fault is not None:
            self._findings.add(condition.path, fault)

    def _compare_late(self) -> None:
        """Compare the conditions that came before the first whole one; they are listed again, not kept."""
        layout = self._dataset.manifest.layout
        if self._model is None or not isinstance(layout, ImageFolderLayout | ClipsLayout):
            return
        for condition, root in self._late:
            reader = lenient_reader(self._dataset.place(condition), layout, root)
            if reader is not None:
                self._compare(condition, reader, self._model)

    def _decode(self, condition: Condition, reader: FileReader) -> None:
        took = None if self._digests is None else self._digests.took
        size = self._dataset.manifest.image_size
        check = ImageCheck(name=condition.path, reader=reader, size=size, on_digest=took)
        for fault in check.run(self._pool, self._tell):
            self._findings.add(condition.path, fault)
        self.n_decoded += check.decoded

    def _note_files(self, files: Sequence[Path]) -> None:
        # What the datasets library reads may lie in its own cache.
        if self._digests is not None and not isinstance(self._dataset.manifest.layout, HuggingFaceLayout):
            self._digests.present(files)

    def _find_strays(self, condition: Condition, needed: Sequence[Path], files: Sequence[Path]) -> None:
        try:
            for stray in self._strays.condition(needed, files):
                self._findings.add(condition.path, stray)
        except StorageError as error:
            self._findings.add(condition.path, finding_of("unreadable", error))

    def _tell_strays(self) -> None:
        try:
            for stray in self._strays.rest():
                self._findings.add(self._dataset.name, stray)
        except StorageError as error:
            self._findings.add(self._dataset.name, finding_of("unreadable", error))


def _check_labels(dataset: Dataset) -> list[Finding]:
    """Read a file of labels for another dataset's images."""
    try:
        read_labels(dataset)
    except (DataError, StorageError, FileFormatError) as error:
        return [finding_of("labels", error)]
    return []
