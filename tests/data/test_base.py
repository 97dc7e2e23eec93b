"""Ids, stamps, digests and checks that all readers share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data.base import array_ids, check_count, checked_labels, sample_digest, stamp_of
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.records import DatasetManifest

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
