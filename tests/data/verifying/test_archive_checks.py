"""Published archives that lie on disk are compared with the manifest; those that do not are no fault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import Dataset
from robustbench_safety.data.verifying.findings import Verification
from robustbench_safety.data.verifying.verify import verify_dataset

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]
CONTENT = b"published" * 1000
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()  # noqa: S324


@pytest.fixture
def archived(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> Dataset:
    """Return a whole dataset that was published as two archives."""
    make_folder(tmp_path / "mine", 1)
    archives = [
        {"file": "one.tar", "bytes": len(CONTENT), "md5": MD5, "sha256": SHA256},
        {"file": "two.tar", "sha256": SHA256},
        {"file": "three.tar"},
    ]
    return make_dataset(layout={"type": "image_folder"}, samples=3, archives=archives)


def told(report: Verification) -> list[tuple[str, str, str]]:
    assert {finding.kind for finding in report.findings} <= {"archive"}
    return [(finding.where, finding.expected, finding.found) for finding in report.findings]


def test_archives_that_are_not_there_are_no_fault(archived: Dataset) -> None:
    report = verify_dataset(archived)
    assert (report.findings, report.hashed) == ((), 0)


@pytest.mark.parametrize("where", ["", "archives/mine", "mine"])
def test_a_published_archive_is_found_and_hashed(archived: Dataset, tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    for name in ("one.tar", "three.tar"):
        (tmp_path / where / name).write_bytes(CONTENT)
    report = verify_dataset(archived)
    assert (report.findings, report.hashed) == ((), 1)
    assert verify_dataset(archived, quick=True).hashed == 0


def test_another_length_is_told_also_by_the_quick_check(archived: Dataset, tmp_path: Path) -> None:
    (tmp_path / "one.tar").write_bytes(CONTENT[1:])
    expected = [(f"{tmp_path / 'one.tar'} is not the published file", "9000 bytes", "8999 bytes")]
    for quick in (True, False):
        report = verify_dataset(archived, quick=quick)
        assert told(report) == expected
        assert not report.ok


def test_a_wrong_digest_is_told_by_the_full_check_alone(archived: Dataset, tmp_path: Path) -> None:
    changed = b"P" + CONTENT[1:]
    for name in ("one.tar", "two.tar"):
        (tmp_path / name).write_bytes(changed)
    assert verify_dataset(archived, quick=True).ok
    one, two = told(verify_dataset(archived))
    md5 = hashlib.md5(changed).hexdigest()  # noqa: S324
    assert one == (f"{tmp_path / 'one.tar'} is not the published file", f"md5 {MD5}", f"md5 {md5}")
    assert two[1:] == (f"sha256 {SHA256}", f"sha256 {hashlib.sha256(changed).hexdigest()}")


def test_every_copy_is_checked_once(archived: Dataset, tmp_path: Path) -> None:
    (tmp_path / "archives" / "mine").mkdir(parents=True)
    (tmp_path / "archives" / "mine" / "one.tar").write_bytes(CONTENT)
    (tmp_path / "one.tar").write_bytes(b"short")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "archives" / "mine", target_is_directory=True)
    report = verify_dataset(archived, archives=[tmp_path / "elsewhere" / "one.tar", tmp_path / "one.tar"])
    assert [where for where, _, _ in told(report)] == [f"{tmp_path / 'one.tar'} is not the published file"]
    assert report.hashed == 1


def test_a_named_file_that_is_missing_or_of_another_name_is_told(archived: Dataset, tmp_path: Path) -> None:
    named = [tmp_path / "far" / "two.tar", tmp_path / "four.tar"]
    unknown, missing = told(verify_dataset(archived, archives=named))
    assert unknown[:2] == (f"{tmp_path / 'four.tar'} is no archive of mine", "one.tar, two.tar, three.tar")
    assert missing[0] == f"{tmp_path / 'far' / 'two.tar'} cannot be read"


def test_archives_are_checked_where_the_folder_is_missing(archived: Dataset, tmp_path: Path) -> None:
    archived.folder.rename(tmp_path / "gone")
    (tmp_path / "two.tar").write_bytes(b"")
    kinds = [finding.kind for finding in verify_dataset(archived).findings]
    assert kinds == ["archive", "missing"]


def test_a_single_file_is_compared_with_its_published_md5(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "images.npy", np.zeros((3, 2, 2, 3), np.uint8))
    found = hashlib.md5((tmp_path / "mine" / "images.npy").read_bytes(), usedforsecurity=False).hexdigest()
    layout = {"type": "npy", "images": "images.npy"}
    fields = {"layout": layout, "role": "ood", "label_space": None, "samples": 3}
    whole = verify_dataset(make_dataset(**fields, file_md5={"images.npy": found, "absent.npy": "0" * 32}))
    assert whole.ok
    other = make_dataset(**fields, file_md5={"images.npy": "0" * 32})
    (fault,) = verify_dataset(other).findings
    assert (fault.kind, fault.expected, fault.found) == ("archive", f"md5 {'0' * 32}", f"md5 {found}")
    assert verify_dataset(other, quick=True).ok
