"""Bytes of files, and the system's refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.files import file_digest, read_bytes, reads


def test_the_content_comes_back_up_to_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path) == read_bytes(path, largest=5) == b"12345"


def test_a_larger_file_is_refused_with_its_name_and_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"123456")
    with pytest.raises(FileFormatError, match=r"/a is too large; expected at most 5 bytes"):
        read_bytes(path, largest=5)


def test_a_file_without_a_size_cannot_fill_the_memory() -> None:
    with pytest.raises(FileFormatError, match="/dev/zero is too large"):
        read_bytes(Path("/dev/zero"), largest=1000)


@pytest.mark.parametrize("name", ["absent", "folder", "file/below"])
def test_what_cannot_be_read_is_named_with_the_reason_of_the_system(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for read in (read_bytes, file_digest):
        with pytest.raises(StorageError, match=f"{name} cannot be read; found [A-Z]"):
            read(tmp_path / name)


def test_errors_of_ours_pass_through_a_reading_block_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="mine"), reads(tmp_path):
        raise FileFormatError("mine")


def test_a_file_s_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1; RFC 1321, appendix A.5
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert file_digest(path) == hashlib.sha256(b"abc").hexdigest()
