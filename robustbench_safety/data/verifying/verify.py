"""Whether what lies on disk is the dataset that the manifest describes; every fault is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.archive_checks import check_archive, found_archives, unknown_archives
from robustbench_safety.data.verifying.findings import Finding, Findings, Verification
from robustbench_safety.data.verifying.ordered_pool import OrderedPool, ordered_pool
from robustbench_safety.data.verifying.tree_check import TreeCheck
from robustbench_safety.errors import UsageError
from robustbench_safety.records import BuiltinLayout, GeneratedLayout

__all__ = ["verify_dataset"]


def verify_dataset(
    dataset: Dataset,
    *,
    quick: bool = False,
    archives: Sequence[Path] = (),
    digests: Path | None = None,
    workers: int | None = None,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verification:
    """Check the files of a dataset against its manifest, in every condition.

    Archives that are found are compared with their published lengths and digests; class folders, counts and
    labels are checked, every image is decoded, every file compared with a file of digests where one is named.
    Arrays are checked by their shape when they are opened.

    Args:
        dataset: What is checked.
        quick: Whether to decode no image and to compare the lengths of archives alone.
        archives: Published files that lie elsewhere than in the data root, where they are fetched to, or the
            dataset's folder.
        digests: File as ``sha256sum`` writes it, with paths below the dataset's folder. Its digests are
            compared under ``quick`` too.
        workers: Threads that decode and hash; None for one a core, at most 8.
        advance: Told how many images were looked at, and how many there should be.

    Returns:
        What was checked and found, in an order that depends on neither threads nor time.

    Raises:
        UsageError: There are to be less than one worker, or digests of what has no files.
        StorageError: The file of digests cannot be read.
        FileFormatError: It is none, or a manifest or class list is wrong.
        MissingDependencyError: A library that the images need is not installed.
    """
    started = time.monotonic()
    layout = dataset.manifest.layout
    on_disk = not isinstance(layout, BuiltinLayout | GeneratedLayout)
    if digests is not None and not on_disk:
        raise UsageError(
            f"{dataset.name} has no files", found=f"digests in {digests}", fix="leave the digests out"
        )
    findings, hashed = Findings(), 0
    with ordered_pool(workers) as pool:
        tree = TreeCheck(dataset, pool, findings, quick=quick, digests=digests, advance=advance)
        if on_disk:
            hashed = _check_archives(dataset, archives, findings, pool, quick=quick)
            tree.run()
        else:
            findings.add(dataset.name, _nothing_on_disk(dataset))
    return Verification(
        dataset=dataset.name,
        folder=str(dataset.folder) if on_disk else "",
        quick=quick,
        conditions=tree.n_conditions,
        images=tree.n_images,
        decoded=tree.n_decoded,
        hashed=hashed + tree.n_hashed,
        seconds=time.monotonic() - started,
        findings=findings.all(),
    )


def _nothing_on_disk(dataset: Dataset) -> Finding:
    layout = dataset.manifest.layout
    fix = ""
    if isinstance(layout, GeneratedLayout):
        fix = f"verify {layout.source}, which it is made from"
    return Finding(
        kind="nothing",
        where=f"{dataset.name} is made by the package",
        found="nothing on disk to verify",
        fix=fix,
        level="note",
    )


def _check_archives(
    dataset: Dataset, named: Sequence[Path], findings: Findings, pool: OrderedPool, *, quick: bool
) -> int:
    """Compare the published archives that lie on disk; return how many of them were hashed."""
    for finding in unknown_archives(dataset, named):
        findings.add("archives", finding)
    n_hashed, found = 0, found_archives(dataset, named)
    for fault, hashed in pool.map(lambda one: check_archive(*one, quick=quick), found):
        n_hashed += hashed
        if fault is not None:
            findings.add("archives", fault)
    return n_hashed
