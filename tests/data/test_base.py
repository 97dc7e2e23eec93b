"""Ids, stamps, digests and checks that all readers share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import Dataset
from robustbench_safety.data.base import (
    Place,
    array_ids,
    check_class_counts,
    check_count,
    checked_labels,
    release_pages,
    sample_digest,
    stamp_of,
)
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.records import DatasetManifest

MakeDataset = Callable[..., Dataset]
MakeManifest = Callable[..., DatasetManifest]


def test_an_id_is_the_index_padded_to_five_digits_or_more() -> None:
    assert array_ids(3) == ["00000", "00001", "00002"]
    assert array_ids(100_001)[-1] == "100000"
    assert array_ids(100_001)[7] == "000007"
    assert array_ids(50_000)[7] == "00007"


def digest(*samples: tuple[str, str, bytes]) -> str:
    hasher = hashlib.sha256()
    for sample_id, key, stored in samples:
        sample_digest(hasher, sample_id, key, stored)
    return hasher.hexdigest()


def test_a_data_digest_covers_lengths_ids_keys_and_bytes() -> None:
    # printf '5:000003:cat4:abcd' | sha256sum
    assert digest(("00000", "cat", b"abcd")) == hashlib.sha256(b"5:000003:cat4:abcd").hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        [("a", "b", b"cd"), ("e", "f", b"g")],
        [("a", "bc", b"d"), ("e", "f", b"g")],
        [("a", "b", b"c")],
        [("e", "f", b"g"), ("a", "b", b"c")],
        [("a", "b", b"c1:e1:f1:g")],
        [("a", "", b"c"), ("e", "f", b"g")],
    ],
)
def test_no_two_lists_of_samples_share_a_digest(other: list[tuple[str, str, bytes]]) -> None:
    assert digest(*other) != digest(("a", "b", b"c"), ("e", "f", b"g"))


def test_a_stamp_changes_with_name_size_or_time_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12")
    stamps = [stamp_of([path])]
    assert stamp_of([path]) == stamps[0]
    status = path.stat()
    path.write_bytes(b"123")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    stamps.append(stamp_of([path]))
    os.utime(path, ns=(0, 0))
    stamps.append(stamp_of([path]))
    stamps.append(stamp_of([path.rename(tmp_path / "b")]))
    assert len(set(stamps)) == 4


def test_the_stamp_of_a_file_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone cannot be read"):
        stamp_of([tmp_path / "gone"])


def test_another_count_than_the_manifest_s_is_refused(make_manifest: MakeManifest) -> None:
    check_count("here", make_manifest(), 12)
    for found in (0, 11, 13):
        with pytest.raises(
            DataError, match=f"here does not hold the images of mine; expected 12 images; found {found}"
        ):
            check_count("here", make_manifest(), found)


def test_other_counts_that_a_manifest_names_are_whole_too(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(samples_also=[10, 14])
    for found in (12, 10, 14):
        check_count("here", manifest, found)
    for found in (0, 11, 13, 24):
        with pytest.raises(DataError, match=f"expected 12 or 10 or 14 images; found {found}"):
            check_count("here", manifest, found)


def test_a_class_of_another_size_than_the_manifest_s_is_refused(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(samples_per_class=4)
    check_class_counts("here", manifest, np.repeat([0, 1, 2], 4), "abc")
    # Class a has 4 and b 5; c has the 3 that are left of 12.
    with pytest.raises(
        DataError, match="here: class b; expected 4 images; found 5, and 1 other classes are wrong"
    ):
        check_class_counts("here", manifest, np.repeat([0, 1, 2], [4, 5, 3]), "abc")


def test_a_class_without_any_image_is_counted_as_none(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(samples_per_class=4)
    with pytest.raises(DataError, match="here: class c; expected 4 images; found 0; unpack"):
        check_class_counts("here", manifest, np.repeat([0, 1], 4), "abc")


def test_classes_are_not_counted_where_the_manifest_states_no_size(make_manifest: MakeManifest) -> None:
    check_class_counts("here", make_manifest(), np.array([0, 0, 2]), "abc")


def test_pages_given_back_are_read_again_with_the_same_content(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, size=(200, 5000), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r")
    part = mapped[50:100]
    assert part.sum() == values[50:100].sum()
    for array in (mapped, part, part[3], part.view(np.uint8)):
        release_pages(array)
    np.testing.assert_array_equal(mapped, values)
    np.testing.assert_array_equal(part, values[50:100])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not list mapped pages")
def test_pages_given_back_no_longer_count_as_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    np.save(path, np.ones((1000, 4096), dtype=np.uint8))
    mapped = np.lib.format.open_memmap(path, mode="r")
    assert mapped.sum() == 1000 * 4096
    assert resident(path) > 3000
    release_pages(mapped[10:])
    assert resident(path) == 0


def resident(path: Path) -> int:
    """Return the kilobytes of a mapped file that are in memory."""
    entry = Path("/proc/self/smaps").read_text().partition(str(path))[2]
    line = next(line for line in entry.splitlines() if line.startswith("Rss:"))
    return int(line.split()[1])


def test_an_array_that_is_in_no_file_is_left_alone() -> None:
    plain = np.arange(5)
    of_bytes = np.frombuffer(b"abc", dtype=np.uint8)
    for array in (plain, plain[1:], of_bytes):
        release_pages(array)
    assert plain.tolist() == [0, 1, 2, 3, 4]
    assert of_bytes.tobytes() == b"abc"


def test_a_place_is_where_one_condition_of_a_dataset_lies(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(
        conditions=[{"kind": "corruption", "names": ["fog"], "levels": [1, 2]}],
        layout={"type": "npy", "images": "{name}/{level}.npy", "labels": "l.npy"},
        role="corruption",
    )
    first, second = dataset.manifest.all_conditions()
    place = dataset.place(second)
    assert place == Place(
        manifest=dataset.manifest, folder=tmp_path / "mine", condition=second, classes=("a", "b", "c")
    )
    assert place != dataset.place(first)


def test_labels_come_as_int64_and_are_left_as_they_are(make_manifest: MakeManifest) -> None:
    found = checked_labels("here", make_manifest(), np.array([2, 0, 1], dtype=np.uint8), "abc")
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, 1]


@pytest.mark.parametrize("labels", [[0, 3], [-1, 2], [0, 2**40]])
def test_a_label_outside_the_label_space_is_refused(make_manifest: MakeManifest, labels: list[int]) -> None:
    with pytest.raises(
        DataError, match="here: a label lies outside label space digits; expected 0 to 2; found"
    ):
        checked_labels("here", make_manifest(), np.array(labels), "abc")


def test_a_label_beyond_int64_does_not_wrap_round(make_manifest: MakeManifest) -> None:
    with pytest.raises(DataError, match="found 18446744073709551615 to 18446744073709551615"):
        checked_labels("here", make_manifest(), np.array([2**64 - 1], dtype=np.uint64), "abc")


def test_images_out_of_distribution_have_no_label(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(role="ood", label_space=None)
    assert checked_labels("here", manifest, np.array([5, 700]), "").tolist() == [-1, -1]
