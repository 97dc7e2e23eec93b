"""An archive is unpacked whole and inside its folder, or refused with nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data.fetching.members import Members
from robustbench_safety.data.fetching.staging import working_folder
from robustbench_safety.data.fetching.unpacking import unpack
from robustbench_safety.errors import DataError, StorageError
from tests.small_disk import files_of_at_most, mounted

Entry = tuple[str, bytes | None]
Make = Callable[[Sequence[Entry]], bytes]
CONTENT = np.random.default_rng(0).bytes(3000)
#: A folder's content is None.
ENTRIES: list[Entry] = [
    ("set", None),
    ("set/a.png", CONTENT),
    ("set/deep/er/b.png", b"b" * 512),
    ("set/empty", b""),
    ("read me é.txt", b"text"),
]


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def tar_with(*members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as opened:
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_of(entries: Sequence[Entry], format_: int = tarfile.PAX_FORMAT) -> bytes:
    kinds = {True: tarfile.DIRTYPE, False: tarfile.REGTYPE}
    members = [(info(name, kinds[content is None]), content or b"") for name, content in entries]
    return tar_with(*members, format_=format_)


def zip_of(entries: Sequence[Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in entries:
            opened.writestr(zipfile.ZipInfo(f"{name}/" if content is None else name), content or b"", method)
    return buffer.getvalue()


KINDS: dict[str, Make] = {
    "tar": tar_of,
    "tar.gnu": lambda entries: tar_of(entries, tarfile.GNU_FORMAT),
    "tar.gz": lambda entries: gzip.compress(tar_of(entries), mtime=0),
    "tar.bz2": lambda entries: bz2.compress(tar_of(entries)),
    "tar.xz": lambda entries: lzma.compress(tar_of(entries)),
    "zip": zip_of,
    "zip.stored": lambda entries: zip_of(entries, zipfile.ZIP_STORED),
    "zip.bzip2": lambda entries: zip_of(entries, zipfile.ZIP_BZIP2),
    "zip.lzma": lambda entries: zip_of(entries, zipfile.ZIP_LZMA),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
tar_and_zip = pytest.mark.parametrize("make", [tar_of, zip_of], ids=["tar", "zip"])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "archive"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / "data"


def run(
    archive: Path, folder: Path, content: bytes, *, most_bytes: int = 10**6, most_files: int = 100
) -> int:
    archive.write_bytes(content)
    return unpack(archive, folder, most_bytes=most_bytes, most_files=most_files)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()
    }


def assert_nothing_left(archive: Path, folder: Path) -> None:
    """Check that there is the archive alone, and at most empty folders that the data go to."""
    assert list(files_below(archive.parent.parent)) == ["downloads/archive"]
    places = {path for path in archive.parent.parent.rglob("*") if path.is_dir()}
    assert places <= {archive.parent, folder.parent, folder}


def assert_refused(archive: Path, folder: Path, content: bytes, match: str, **most: int) -> None:
    with pytest.raises(DataError, match=match):
        run(archive, folder, content, **most)
    assert_nothing_left(archive, folder)


# What is unpacked


@every_kind
def test_an_archive_is_unpacked_whole_whatever_it_is_called(archive: Path, folder: Path, make: Make) -> None:
    assert run(archive, folder, make(ENTRIES)) == 4
    assert files_below(folder) == {name: content for name, content in ENTRIES if content is not None}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data"]
    assert archive.exists()


@every_kind
def test_an_archive_at_its_bounds_is_unpacked_and_one_over_them_is_not(
    archive: Path, folder: Path, make: Make
) -> None:
    n_bytes = sum(len(content or b"") for _, content in ENTRIES)
    assert_refused(archive, folder, make(ENTRIES), "bytes in all", most_bytes=n_bytes - 1)
    assert_refused(archive, folder, make(ENTRIES), "at most 3 files", most_files=3)
    assert run(archive, folder, make(ENTRIES), most_bytes=n_bytes, most_files=4) == 4


def test_a_tar_without_a_magic_word_is_told_by_its_checksum(archive: Path, folder: Path) -> None:
    old = bytearray(tar_of([("a", b"x")], tarfile.USTAR_FORMAT))
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old[:512])
    assert run(archive, folder, bytes(old)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P",
        b"hello, this is no archive " * 100,
        b"<!DOCTYPE html><html></html>",
        bytes(10240),
        gzip.compress(b"images without a tar around them", mtime=0),
        b"\x1f\x8b",
        b"BZh",
        b"\xfd7zXZ\x00",
        b"7z\xbc\xaf\x27\x1c" + bytes(600),
        b"Rar!\x1a\x07\x00" + bytes(600),
    ],
)
def test_what_is_no_archive_is_refused_whatever_it_is_called(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"archive\.tar\.gz is (no archive that can be unpacked|damaged)"):
        unpack(path, tmp_path / "root", most_bytes=10, most_files=10)
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.tar cannot be read"):
        unpack(tmp_path / "a.tar", tmp_path / "root", most_bytes=10, most_files=10)


@tar_and_zip
def test_an_archive_without_a_file_is_refused(archive: Path, folder: Path, make: Make) -> None:
    assert_refused(archive, folder, make([("set", None)]), "holds no file")
    assert_refused(archive, folder, make([("._a", b"x")]), "holds no file")
    assert_refused(archive, folder, zip_of([]), "holds no file")


@tar_and_zip
def test_what_macos_adds_is_left_out(archive: Path, folder: Path, make: Make) -> None:
    added: list[Entry] = [("__MACOSX", None), ("__MACOSX/a", b"x"), ("._set", b"x"), ("set/._a.png", b"x")]
    assert run(archive, folder, make([*added, *ENTRIES])) == 4
    assert files_below(folder) == {name: content for name, content in ENTRIES if content is not None}
    assert sorted(path.name for path in folder.iterdir()) == ["read me é.txt", "set"]


@tar_and_zip
def test_what_is_left_out_counts_all_the_same(archive: Path, folder: Path, make: Make) -> None:
    many: list[Entry] = [(f"._{i}", b"x" * 10) for i in range(20)]
    assert_refused(archive, folder, make([*many, ("a", b"")]), "at most 19 files", most_files=19)
    assert_refused(archive, folder, make([*many, ("a", b"")]), "at most 199 bytes in all", most_bytes=199)


def test_dots_and_repeated_folders_are_no_matter(archive: Path, folder: Path) -> None:
    entries: list[Entry] = [
        (".", None),
        ("./set", None),
        ("./set//a", b"x"),
        ("set", None),
        ("set/./b", b"y"),
    ]
    assert run(archive, folder, tar_of(entries)) == 2
    assert files_below(folder) == {"set/a": b"x", "set/b": b"y"}


@pytest.mark.parametrize(
    ("mask", "file", "place"), [(0o000, 0o644, 0o755), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_modes_are_plain_and_follow_the_umask(
    archive: Path, folder: Path, mask: int, file: int, place: int
) -> None:
    before = os.umask(mask)
    try:
        content = tar_with(
            (info("set", tarfile.DIRTYPE, mode=0o7777), b""), (info("set/a", mode=0o6777), b"x")
        )
        run(archive, folder, content)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "set").stat().st_mode) == place
    assert stat.S_IMODE((folder / "set" / "a").stat().st_mode) == file
    assert (folder / "set" / "a").stat().st_uid == os.getuid()


def test_an_executable_and_unreadable_folders_of_a_zip_become_plain(archive: Path, folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, mode in (("set/", 0o40000), ("set/a", 0o104755)):
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            opened.writestr(member, b"" if name.endswith("/") else b"x")
    run(archive, folder, buffer.getvalue())
    assert stat.S_IMODE((folder / "set").stat().st_mode) & 0o700 == 0o700
    assert stat.S_IMODE((folder / "set" / "a").stat().st_mode) & 0o7111 == 0


# Hostile names


@tar_and_zip
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("../a", r"found '\.\.'"),
        ("set/../../a", r"found '\.\.'"),
        ("set/..", r"found '\.\.'"),
        ("/etc/a", "found an absolute one"),
        ("//a", "found an absolute one"),
        ("C:/a", "found an absolute one"),
        ("c:a", "found an absolute one"),
        ("set\\a", "found a backslash"),
        ("..\\a", "found a backslash"),
        ("a\nb", r"found character U\+000A"),
        ("a\x1b[2Jb", r"found character U\+001B"),
        ("a\x7f", r"found character U\+007F"),
        ("a\x85b", r"found character U\+0085"),
        ("gpj.\u202eb", r"found character U\+202E"),
        ("a" * 256, "255 bytes a name, .*found 256, 256, 1"),
        ("é" * 128, "255 bytes a name, .*found 256, 256, 1"),
        ("/".join(["a" * 200] * 6), "1024 a path, .*found 200, 1205, 6"),
        ("/".join("a" * 33), "32 folders deep at most; found 1, 65, 33"),
        ("__MACOSX/../../a", r"found '\.\.'"),
        ("/etc/._a", "found an absolute one"),
    ],
)
def test_a_hostile_name_is_refused_and_shown(
    archive: Path, folder: Path, make: Make, name: str, found: str
) -> None:
    assert_refused(
        archive, folder, make([("good", b"x"), (name, b"x")]), f"archive: member .* refused; .*{found}"
    )
    assert_refused(
        archive, folder, make([("good", b"x"), (name, None)]), f"archive: member .* refused; .*{found}"
    )


def test_a_name_with_a_nul_is_refused(archive: Path, folder: Path) -> None:
    with_nul = zip_of([("good", b"x"), ("aXb", b"x")]).replace(b"aXb", b"a\0b")
    assert_refused(archive, folder, with_nul, r"found character U\+0000")
    member = info("good")
    member.pax_headers = {"path": "a\0b"}
    assert_refused(archive, folder, tar_with((member, b"x")), r"found character U\+0000")


def test_a_name_that_is_no_text_is_refused(archive: Path, folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as opened:
        opened.addfile(info("é"), io.BytesIO())
    assert_refused(archive, folder, buffer.getvalue(), r"found character U\+DCE9")


@tar_and_zip
def test_a_file_without_a_name_is_refused(archive: Path, folder: Path, make: Make) -> None:
    assert_refused(archive, folder, make([("good", b"x"), ("./.", b"x")]), "expected a file name; found none")


@tar_and_zip
@pytest.mark.parametrize(
    "names",
    [
        ["a", "a"],
        ["a", "./a"],
        ["a.png", "A.PNG"],
        ["set/a", "Set/b"],
        ["é", "e\u0301"],
        ["straße", "STRASSE"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["A/b", "a"],
        ["a", "A/b"],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_comes_twice_however_it_is_written_is_refused(
    archive: Path, folder: Path, make: Make, names: list[str]
) -> None:
    content = make([(name, b"x") for name in names])
    assert_refused(archive, folder, content, "expected every name once, upper and lower case alike")


@tar_and_zip
def test_folders_that_differ_in_case_alone_are_refused(archive: Path, folder: Path, make: Make) -> None:
    assert_refused(
        archive, folder, make([("set", None), ("Set", None), ("a", b"x")]), "found 'set' and 'Set'"
    )


@tar_and_zip
def test_too_many_folders_are_refused(archive: Path, folder: Path, make: Make) -> None:
    content = make([("a/b/c/d/e/f/g", b"x")])
    assert_refused(archive, folder, content, "at most 5 folders; found more", most_files=5)
    assert run(archive, folder, content, most_files=6) == 1


# Hostile members


@pytest.mark.parametrize("target", ["a", "../outside", "/etc/passwd"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_is_refused_wherever_it_points(
    archive: Path, folder: Path, kind: bytes, target: str
) -> None:
    content = tar_with((info("a"), b"x"), (info("link", kind, linkname=target), b""))
    assert_refused(archive, folder, content, "member 'link' is refused; .*found a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z", b"V"])
def test_a_device_a_pipe_or_an_unknown_member_of_a_tar_is_refused(
    archive: Path, folder: Path, kind: bytes
) -> None:
    content = tar_with((info("good"), b"x"), (info("odd", kind), b""))
    assert_refused(archive, folder, content, "member 'odd' is refused; .*found a member of type")


def test_a_sparse_file_of_a_tar_is_refused(archive: Path, folder: Path) -> None:
    member = info("holes")
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000", "GNU.sparse.name": "holes"}
    assert_refused(
        archive, folder, tar_with((member, b"x")), "member 'holes' is refused; .*found a sparse file"
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_in_a_zip_is_refused(archive: Path, folder: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("good", b"x")
        member = zipfile.ZipInfo("odd")
        member.external_attr = (kind | 0o644) << 16
        opened.writestr(member, b"/etc/passwd")
    assert_refused(archive, folder, buffer.getvalue(), "member 'odd' is refused; .*found a link or device")


def patched_zip(*, flags: int | None = None, method: int | None = None, size: int | None = None) -> bytes:
    """Return a zip of a file ``a`` of 3000 bytes whose headers, both, say something else of it."""
    content = bytearray(zip_of([("a", CONTENT)], zipfile.ZIP_STORED))
    for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        if flags is not None:
            struct.pack_into("<H", content, at, flags)
        if method is not None:
            struct.pack_into("<H", content, at + 2, method)
        if size is not None:
            struct.pack_into("<I", content, at + 16, size)
    return bytes(content)


@pytest.mark.parametrize("flags", [0x1, 0x41])
def test_an_encrypted_zip_is_refused_with_the_advice_to_unpack_it_by_hand(
    archive: Path, folder: Path, flags: int
) -> None:
    assert_refused(archive, folder, patched_zip(flags=flags), "found an encrypted one: unpack it by hand")


@pytest.mark.parametrize("method", [9, 93, 99])
def test_a_zip_of_an_unknown_compression_is_refused_with_the_same_advice(
    archive: Path, folder: Path, method: int
) -> None:
    assert_refused(archive, folder, patched_zip(method=method), f"found method {method}: unpack it by hand")


@pytest.mark.parametrize("size", [10, 2_999, 5_000, 900_000])
def test_a_zip_that_lies_about_a_size_is_refused(archive: Path, folder: Path, size: int) -> None:
    assert_refused(archive, folder, patched_zip(size=size), f"damaged, or cut short|{size} bytes, as its")


def test_a_zip_whose_name_is_no_text_is_refused(archive: Path, folder: Path) -> None:
    assert_refused(archive, folder, zip_of([("é", b"x")]).replace(b"\xc3\xa9", b"\xff\xfe"), "damaged")


def test_a_zip_that_needs_a_newer_reader_is_refused(archive: Path, folder: Path) -> None:
    content = bytearray(patched_zip())
    content[content.index(b"PK\x01\x02") + 6] = 99
    assert_refused(archive, folder, bytes(content), r"found zip file version 9\.9")


@every_kind
def test_a_bomb_is_refused_before_it_goes_off(archive: Path, folder: Path, make: Make) -> None:
    content = make([("good", b"x"), ("bomb", bytes(20_000_000))])
    assert_refused(archive, folder, content, "member 'bomb' .*at most 1000000 bytes in all; found 20000000")


def test_the_bytes_of_a_member_are_counted_whatever_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    members = Members(
        Path("a.zip"), tmp_path / "tree", tmp_path / "data", most_bytes=3_000_000, most_files=10
    )
    members.add_file("one", io.BytesIO(bytes(2_000_000)), n_bytes=2_000_000)
    with pytest.raises(
        DataError, match=r"a\.zip: member 'two' is refused; expected at most 3000000 bytes in all"
    ):
        members.add_file("two", io.BytesIO(bytes(2_000_000)), n_bytes=0)
    assert (tmp_path / "tree" / "two").stat().st_size <= 1_000_000


def test_members_larger_than_what_may_stand_between_them_are_unpacked(archive: Path, folder: Path) -> None:
    content = tar_of([(name, bytes(3_000_000)) for name in ("a", "._b", "c")])
    assert run(archive, folder, content, most_bytes=9_000_000) == 2


def test_bytes_that_belong_to_no_member_of_a_tar_are_bounded(archive: Path, folder: Path) -> None:
    whole = tar_of(ENTRIES)
    assert_refused(
        archive, folder, gzip.compress(whole + bytes(20_000_000), mtime=0), "more than its members"
    )
    assert run(archive, folder, gzip.compress(whole + bytes(1_000_000), mtime=0)) == 4


def test_a_long_name_that_would_fill_the_memory_is_refused(archive: Path, folder: Path) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        header = info("././@LongLink", kind, size=8_000_000).tobuf(tarfile.GNU_FORMAT)
        content = gzip.compress(tar_of([("a", b"x")])[:-9216] + header + b"a" * 8_000_000, mtime=0)
        assert_refused(archive, folder, content, "more than its members", most_bytes=10**9)


def test_headers_that_describe_headers_without_end_are_refused(archive: Path, folder: Path) -> None:
    block = info("x", tarfile.XHDTYPE, size=512).tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(
        512, b"\0"
    )
    assert_refused(archive, folder, block * 1500, "damaged, or cut short")


# Damage


@every_kind
def test_an_archive_cut_anywhere_is_refused(archive: Path, folder: Path, make: Make) -> None:
    entries: list[Entry] = [("set/a", CONTENT[:700]), ("set/b", CONTENT[:512])]
    whole = make(entries)
    # A plain tar is whole from the first block of zeros on.
    end = whole.rstrip(b"\0").__len__() if make in (KINDS["tar"], KINDS["tar.gnu"]) else len(whole)
    if end < len(whole):
        end += -end % 512 + 511
    for n in [*range(0, end, 37), end - 1]:
        assert_refused(archive, folder, whole[:n], "damaged|no archive")


@every_kind
def test_an_archive_with_any_damaged_byte_is_unpacked_inside_its_folder_or_refused(
    archive: Path, tmp_path: Path, make: Make
) -> None:
    whole = make([("set/a", CONTENT[:700]), ("set/b", b"")])
    n_refused = 0
    for place in range(0, len(whole), max(1, len(whole) // 100)):
        folder = tmp_path / "root" / str(place)
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        try:
            run(archive, folder, bytes(damaged))
        except DataError:
            n_refused += 1
            assert not list(folder.rglob("*"))
    assert n_refused
    assert not [name for name in os.listdir(tmp_path / "root") if name.startswith(".")]  # noqa: PTH208
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloads", "root"]


def test_a_damaged_header_is_not_taken_for_the_end(archive: Path, folder: Path) -> None:
    whole = bytearray(tar_of([("a", b"x"), ("b", b"y"), ("c", b"z")], tarfile.USTAR_FORMAT))
    whole[1024] ^= 0xFF
    assert_refused(archive, folder, bytes(whole), "damaged, or cut short")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_wrong_checksum_is_found(archive: Path, folder: Path, kind: str) -> None:
    whole = bytearray(KINDS[kind]([("a", CONTENT)]))
    at = {"tar.gz": len(whole) - 8, "tar.bz2": len(whole) - 3, "tar.xz": len(whole) - 13}.get(kind, 14)
    if kind == "zip":
        at = whole.index(b"PK\x01\x02") + 16
    whole[at] ^= 0x10
    assert_refused(archive, folder, bytes(whole), "damaged, or cut short")


# What is there already


@tar_and_zip
def test_names_join_those_that_are_there(archive: Path, folder: Path, make: Make) -> None:
    (folder / "other").mkdir(parents=True)
    (folder / "other" / "a").write_bytes(b"old")
    run(archive, folder, make(ENTRIES))
    assert sorted(path.name for path in folder.iterdir()) == ["other", "read me é.txt", "set"]
    assert (folder / "other" / "a").read_bytes() == b"old"


@tar_and_zip
@pytest.mark.parametrize("present", ["folder", "empty folder", "file", "dead link"])
def test_a_name_that_is_there_already_is_named_and_nothing_is_moved(
    archive: Path, folder: Path, make: Make, present: str
) -> None:
    (folder / "x").mkdir(parents=True)
    place = folder / "set"
    if present.endswith("folder"):
        place.mkdir()
        if present == "folder":
            (place / "mine").write_bytes(b"old")
    elif present == "file":
        place.write_bytes(b"old")
    else:
        place.symlink_to("nowhere")
    content = make([("aaa", b"x"), ("set/a", b"x")])
    with pytest.raises(DataError, match=r"data/set is there already; .* remove it or move it away"):
        run(archive, folder, content)
    assert sorted(path.name for path in folder.iterdir()) == ["set", "x"]
    assert [path.name for path in folder.parent.iterdir()] == ["data"]
    if present in ("folder", "file"):
        assert list(files_below(folder).values()) == [b"old"]


@tar_and_zip
@pytest.mark.parametrize("name", ["a", "set/a"])
def test_a_name_that_is_there_already_is_found_before_the_rest_is_unpacked(
    archive: Path, folder: Path, make: Make, name: str
) -> None:
    (folder / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"data/(a|set) is there already"):
        run(archive, folder, make([(name, b"x"), ("../hostile", b"x")]))


def test_a_name_that_appears_while_the_archive_is_unpacked_is_not_overwritten(
    archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Members.add_file

    def slow(members: Members, name: str, *args: object, **options: object) -> None:
        add(members, name, *args, **options)  # type: ignore[arg-type]
        if name == "last":
            folder.mkdir(parents=True)
            (folder / "read me é.txt").write_bytes(b"new")

    monkeypatch.setattr(Members, "add_file", slow)
    with pytest.raises(DataError, match=r"read me é\.txt is there already"):
        run(archive, folder, tar_of([*ENTRIES, ("last", b"x")]))
    assert files_below(folder) == {"read me é.txt": b"new"}


def test_a_move_that_fails_midway_is_taken_back(
    archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def failing(source: Path, target: Path) -> Path:
        if target == folder / "c":
            raise PermissionError(13, "Permission denied")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError, match=r"cannot be unpacked into .*; found Permission denied"):
        run(archive, folder, tar_of([("a", b"x"), ("b/x", b"x"), ("c", b"x"), ("d", b"x")]))
    assert_nothing_left(archive, folder)


def test_what_a_killed_run_left_is_removed_and_not_mixed_in(archive: Path, folder: Path) -> None:
    left = folder.parent / ".archive.unpacking" / "tree" / "set"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    run(archive, folder, tar_of(ENTRIES))
    assert files_below(folder) == {name: content for name, content in ENTRIES if content is not None}
    assert [path.name for path in folder.parent.iterdir()] == ["data"]


def test_an_interruption_leaves_nothing(archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Members.add_file

    def stopped(members: Members, name: str, *args: object, **options: object) -> None:
        add(members, name, *args, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(Members, "add_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(archive, folder, tar_of(ENTRIES))
    assert_nothing_left(archive, folder)


def test_two_processes_do_not_unpack_one_archive_at_a_time(archive: Path, folder: Path) -> None:
    held = working_folder(folder.parent / archive.name, "unpacking")
    with held as work:
        (work / "tree").mkdir()
        with pytest.raises(StorageError, match="archive is being made by another process"):
            run(archive, folder, tar_of(ENTRIES))
        assert (work / "tree").is_dir()
        (work / "tree").rmdir()
    assert run(archive, folder, tar_of(ENTRIES)) == 4


# Disks


@pytest.mark.parametrize("inner", ["", "deeper"])
def test_another_disk_is_filled_though_nothing_can_be_moved_there(
    archive: Path, folder: Path, tmp_path: Path, inner: str
) -> None:
    folder.parent.mkdir()
    with mounted(tmp_path / "disk", 100_000) as disk:
        (disk / inner).mkdir(exist_ok=True)
        folder.symlink_to(disk / inner)
        run(archive, folder, tar_of(ENTRIES))
        assert sorted(path.name for path in (disk / inner).iterdir()) == ["read me é.txt", "set"]
        assert folder.is_symlink()
        assert [path.name for path in folder.parent.iterdir()] == ["data"]


def test_a_full_disk_is_told_and_left_as_it_was(archive: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 100_000) as disk:
        (disk / "mine").write_bytes(b"x")
        with pytest.raises(StorageError, match=r"cannot be unpacked into .*; found No space left on device"):
            run(archive, disk / "data", zip_of([("a", bytes(10_000)), ("b", bytes(200_000))]))
        assert files_below(disk) == {"mine": b"x"}
        assert [path.name for path in disk.iterdir()] == ["mine"]


@every_kind
def test_a_write_that_the_system_cuts_short_is_told_and_leaves_nothing(
    archive: Path, folder: Path, make: Make
) -> None:
    archive.write_bytes(make([("a", CONTENT), ("b", CONTENT * 10)]))
    with (
        files_of_at_most(20_000),
        pytest.raises(
            StorageError, match=r"cannot be unpacked into .*; found File too large; free some space"
        ),
    ):
        unpack(archive, folder, most_bytes=10**6, most_files=10)
    assert_nothing_left(archive, folder)


def test_a_file_in_the_place_of_the_folder_is_told(archive: Path, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"File exists|Not a directory"):
        run(archive, folder, tar_of(ENTRIES))
    assert folder.read_bytes() == b"mine"
    assert [path.name for path in folder.parent.iterdir()] == ["data"]
