"""Pictures in tar files: the same ids, order and digest as in folders, labels, and what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data.base import Place, Reader
from robustbench_safety.data.loader import stored_digest
from robustbench_safety.data.readers import StoredLayout, open_stored, tar_shards
from robustbench_safety.data.readers.image_folder import ImageFolderReader
from robustbench_safety.data.readers.tar_shards import TarShardsReader
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.records import DatasetManifest

MakeManifest = Callable[..., DatasetManifest]
Opened = Callable[..., TarShardsReader]
Members = Sequence[tuple[str | tarfile.TarInfo, bytes]]

FOLDERS = {"label": None, "labels": "key"}
CLS = {"label": "cls", "labels": "index"}
NONE = {"label": None, "labels": "none"}
OOD = {"role": "ood", "label_space": None, "classes": ()}


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


#: In the order of the class "b" before "a", and of the file name: '-' goes before '.', and '.' before '0'.
FILES = {
    name: picture(i) for i, name in enumerate(("b/x-1.png", "b/x.png", "b/x0.png", "a/x.jpg", "a/y.png"))
}


def tar(members: Members, *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar file of these members, names or what tarfile knows of them, with their contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(kind: bytes, name: str, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def place(make_manifest: MakeManifest, tmp_path: Path) -> Callable[..., Place]:
    """Return a function that gives the place of a manifest's one condition."""

    def make(layout: Mapping[str, object], *, classes: Sequence[str] = ("b", "a"), **change: object) -> Place:
        manifest = make_manifest(**{"samples": len(FILES), "layout": dict(layout), **change})
        (condition,) = manifest.all_conditions()
        return Place(manifest=manifest, folder=tmp_path / "mine", condition=condition, classes=tuple(classes))

    return make


@pytest.fixture
def opened(place: Callable[..., Place], tmp_path: Path) -> Opened:
    """Return a function that writes shards, of these members or as these bytes, and opens them."""

    def open_it(
        *shards: Members | bytes, layout: Mapping[str, object] = FOLDERS, **change: object
    ) -> TarShardsReader:
        (tmp_path / "mine").mkdir(exist_ok=True)
        for old in (tmp_path / "mine").glob("*.tar"):
            old.unlink()
        for i, shard in enumerate(shards):
            content = shard if isinstance(shard, bytes) else tar(shard)
            (tmp_path / "mine" / f"set-{i:03d}.tar").write_bytes(content)
        reader = read(place({"type": "tar_shards", "shards": "set-*.tar", **layout}, **change))
        assert isinstance(reader, TarShardsReader)
        return reader

    return open_it


def read(there: Place) -> Reader:
    assert isinstance(there.manifest.layout, StoredLayout)
    return open_stored(there, there.manifest.layout)


def digest(reader: Reader, classes: Sequence[str]) -> str:
    keys = [classes[label] if label >= 0 else "" for label in reader.labels]
    return stored_digest(reader, np.arange(len(keys)), keys)


def labelled() -> list[tuple[str, bytes]]:
    """Return the members of shards with a label beside each picture: 0 for "b", 1 for "a"."""
    members = []
    for name, content in FILES.items():
        label = b"0\n" if name.startswith("b/") else b"1"
        members += [(name, content), (f"{name.partition('.')[0]}.cls", label)]
    return members


# ---------------------------------------------------------------------------------------- as in folders


@pytest.mark.parametrize("labels", ["folder", "number", "none"])
def test_the_same_files_in_folders_and_in_shards_have_the_same_ids_order_and_digest(
    tmp_path: Path, place: Callable[..., Place], opened: Opened, labels: str
) -> None:
    files = dict(FILES)
    if labels == "none":
        files |= {"top.png": picture(5), "a/deep/z.png": picture(6), "b/.hidden/x.png": picture(7)}
    for name, content in files.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    change: dict[str, object] = {**OOD, "samples": 7} if labels == "none" else {}
    folders = {"type": "image_folder", **({"folders": "any"} if labels == "none" else {})}
    reference = read(place(folders, **change))
    assert isinstance(reference, ImageFolderReader)
    classes = () if labels == "none" else ("b", "a")
    layout = {"folder": FOLDERS, "number": CLS, "none": NONE}[labels]
    members = labelled() if labels == "number" else list(files.items())
    pairs = 2 if labels == "number" else 1
    for shards in (
        [members],
        [members[: 2 * pairs], members[2 * pairs :]],
        [members[3 * pairs :], members[: 3 * pairs]],
    ):
        reader = opened(*shards, layout=layout, **change)
        assert list(reader.sample_ids) == list(reference.sample_ids)
        assert reader.labels.tolist() == reference.labels.tolist()
        assert reader.groups.tolist() == reference.groups.tolist()
        assert reader.class_sorted == reference.class_sorted
        assert digest(reader, classes) == digest(reference, classes)


def test_pictures_come_by_class_and_then_by_file_name(tmp_path: Path, opened: Opened) -> None:
    reader = opened(list(FILES.items())[::-1])
    assert reader.sample_ids == ["b/x-1", "b/x", "b/x0", "a/x", "a/y"]
    assert reader.labels.tolist() == [0, 0, 0, 1, 1]
    assert reader.class_sorted
    assert list(reader.files()) == [tmp_path / "mine" / "set-000.tar"]
    assert reader.decoder.startswith("pillow ")
    indices = np.array([3, 0])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [FILES["a/x.jpg"], FILES["b/x-1.png"]]
    assert reader.decode(3, stored[0])[0, 0].tolist() == [3, 0, 0]


def test_pictures_without_folders_come_by_name(opened: Opened) -> None:
    members = [("2.png", picture(2)), ("2.cls", b"0"), ("1.png", picture(1)), ("1.cls", b"1")]
    reader = opened(members[:2], members[2:], layout=CLS, samples=2)
    assert reader.sample_ids == ["1", "2"]
    assert reader.labels.tolist() == [1, 0]
    assert not reader.class_sorted


def test_labels_may_be_keys_in_a_text(opened: Opened) -> None:
    members = [
        ("1.seg.txt", b"?"),
        ("._1.txt", b"a Mac's"),
        ("1.txt", b" a \n"),
        ("1.jpg", picture(1)),
        ("1.json", b"{}"),
    ]
    reader = opened(members, layout={"label": "txt", "labels": "key"}, samples=1)
    assert reader.labels.tolist() == [1]


def test_a_folder_may_be_the_number_of_its_class(opened: Opened) -> None:
    members = [("val/1/x.png", picture(0)), ("val/0/x.png", picture(1))]
    reader = opened(members, layout={"label": None, "labels": "index"}, samples=2)
    assert reader.sample_ids == ["val/0/x", "val/1/x"]
    assert reader.labels.tolist() == [0, 1]


def test_out_of_distribution_shards_may_have_classes_of_their_own(opened: Opened) -> None:
    reader = opened(list(FILES.items()), role="ood")
    assert reader.labels.tolist() == [-1] * 5
    assert reader.groups.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("layout", [{**CLS, "labels": "none"}, CLS], ids=["labels left", "no classes"])
def test_labels_that_are_not_read_need_not_be_whole(opened: Opened, layout: Mapping[str, object]) -> None:
    members = [("1.png", picture(1)), ("2.png", picture(2)), ("2.cls", b"0"), ("3.cls", b"0")]
    reader = opened(members, layout=layout, samples=2, **OOD)
    assert reader.sample_ids == ["1", "2"]
    assert reader.labels.tolist() == [-1, -1]


def test_the_key_ends_at_the_first_dot_of_the_last_part(opened: Opened) -> None:
    members = [("v1.0/a/one.left.png", picture(0)), ("v1.0/a/two.png", picture(1))]
    assert opened(members, samples=2).sample_ids == ["v1.0/a/one", "v1.0/a/two"]


def test_what_is_no_picture_does_not_count(opened: Opened) -> None:
    beside = [
        (special(tarfile.DIRTYPE, "./a"), b""),
        ("README.md", b"hello"),
        ("a/._x.png", b"a Mac's"),
        ("a/.png", b"?"),
    ]
    members = [(f"./{name}", content) for name, content in FILES.items()]
    assert opened([*beside, *members]).sample_ids[3] == "a/x"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(opened: Opened, form: int) -> None:
    # The oldest form has no more than 100 letters for a name, and 155 for its folders.
    name = "folders/" * 15 + "a/" + ("e" * 80 if form == tarfile.USTAR_FORMAT else "é" * 240)
    reader = opened(tar([(f"{name}.png", picture(7))], form=form), samples=1)
    assert reader.sample_ids == [name]
    assert reader.stored(np.array([0])) == [picture(7)]


def test_no_file_stays_open(tmp_path: Path, opened: Opened) -> None:
    reader = opened(list(FILES.items()))
    reader.stored(np.arange(5))
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list what a process has open")
    targets = [str(entry.readlink()) for entry in descriptors.iterdir() if entry.is_symlink()]
    assert not [target for target in targets if str(tmp_path) in target]


def test_the_stamp_changes_with_a_shard(tmp_path: Path, opened: Opened) -> None:
    reader = opened(list(FILES.items())[:2], list(FILES.items())[2:])
    before = reader.stamp()
    assert reader.stamp() == before
    with (tmp_path / "mine" / "set-001.tar").open("ab") as handle:
        handle.write(bytes(512))
    assert reader.stamp() != before


# -------------------------------------------------------------------------------------- what is refused

TWO = [("a/x.png", picture(0)), ("a/y.png", picture(1))]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([TWO, TWO[:1]], "set-001.tar/a/x.png is a second one for sample a/x"),
        ([[*TWO, ("a/x.jpg", b"")]], "a/x.jpg is a second one for sample a/x; expected one for each sample"),
        (
            [[*TWO[:1], ("c/y.png", b"")]],
            "c/y.png is of no class of digits; expected one of b, a ...; found 'c'",
        ),
        ([[*TWO[:1], ("y.png", b"")]], "y.png is of no class of digits; expected one of b, a ...; found ''"),
        ([TWO[:1]], "expected 2 images; found 1"),
        ([[]], "expected 2 images; found 0"),
        (
            [[*TWO[:1], (special(tarfile.SYMTYPE, "a/y.png", "/etc/hostname"), b"")]],
            "a/y.png is no plain file",
        ),
        ([[*TWO[:1], (special(tarfile.LNKTYPE, "a/y.png", "a/x.png"), b"")]], "a/y.png is no plain file"),
        ([[*TWO, (special(tarfile.CHRTYPE, "a/null"), b"")]], "a/null is no plain file"),
        ([[*TWO, (special(tarfile.FIFOTYPE, "a/pipe"), b"")]], "a/pipe is no plain file"),
        ([[*TWO, (special(tarfile.GNUTYPE_SPARSE, "a/z"), b"")]], "a/z is no plain file"),
        ([[*TWO[:1], ("../a/y.png", b"")]], "has a member that would lie elsewhere"),
        ([[*TWO[:1], ("/a/y.png", b"")]], "has a member that would lie elsewhere"),
        ([[*TWO[:1], ("a//y.png", b"")]], "has a member that would lie elsewhere"),
        ([[*TWO[:1], ("a/./y.png", b"")]], "has a member that would lie elsewhere"),
        ([[*TWO[:1], ("a\\y.png", b"")]], "has a member that would lie elsewhere"),
        ([[*TWO, ("a/..", b"")]], "has a member that would lie elsewhere"),
    ],
)
def test_wrong_members_are_named(opened: Opened, shards: Sequence[Members], message: str) -> None:
    with pytest.raises(DataError) as raised:
        opened(*shards, samples=2)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (
            [[("1.png", b""), ("1.cls", b"0"), ("2.png", b"")]],
            "set-000.tar/2.png has no label; expected 2.cls",
        ),
        ([[("1.png", b"")], [("1.cls", b"0")]], "1.png has no label; expected 1.cls in the same shard"),
        (
            [[("1.png", b""), ("1.cls", b"0"), ("2.cls", b"0")]],
            "2.cls labels no picture; expected a picture 2",
        ),
        (
            [[("1.png", b""), ("1.cls", b"2")]],
            "1.png is of no class of digits; expected one of 0, 1 ...; found '2'",
        ),
        ([[("1.png", b""), ("1.cls", b"-1")]], "found '-1'"),
        ([[("1.png", b""), ("1.cls", b"a")]], "found 'a'"),
        ([[("1.png", b""), ("1.cls", b"\xff")]], "is of no class of digits"),
        ([[("1.png", b""), ("1.cls", b"0"), ("1.cls", b"1")]], "1.cls is a second one for sample 1"),
        (
            [[("1.png", b""), ("1.cls", b"0" * 1025)]],
            "1.cls is too large; expected at most 1024 bytes; found 1025",
        ),
    ],
)
def test_wrong_labels_are_named(opened: Opened, shards: Sequence[Members], message: str) -> None:
    with pytest.raises(DataError) as raised:
        opened(*shards, layout=CLS, samples=sum(name == "2.png" for name, _ in shards[0]) + 1)
    assert message in str(raised.value)


def test_counts_by_class_are_checked(opened: Opened) -> None:
    with pytest.raises(DataError, match="class b; expected 2 images; found 3;"):
        opened(list(FILES.items()), samples_per_class=2)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(tar(TWO)), "gzip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00\x00\x04", "xz"),
        (b"\x28\xb5\x2f\xfd\x24\x00", "zstandard"),
    ],
)
def test_compressed_shards_are_refused_and_the_reason_is_given(
    opened: Opened, content: bytes, name: str
) -> None:
    with pytest.raises(DataError, match=rf"set-000\.tar is compressed; expected a plain .*; found {name};"):
        opened(content, samples=2)


def with_header(change: Callable[[bytearray], None], at: int) -> bytes:
    """Return two members, the header at ``at`` changed and its sum made right again."""
    content = bytearray(tar(TWO))
    header = content[at : at + 512]
    change(header)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[at : at + 512] = header
    return bytes(content)


def negative_size(header: bytearray) -> None:
    header[124:136] = b"\xff" * 10 + b"\xf8\x00"  # -2048


def vast_attributes(header: bytearray) -> None:
    header[124:136] = b"77777777777\0"  # 8 GiB
    header[156:157] = tarfile.XHDTYPE


def negative_attributes(header: bytearray) -> None:
    negative_size(header)
    header[156:157] = tarfile.XHDTYPE


def undecodable(header: bytearray) -> None:
    header[0:9] = b"a/\xff.png\0\0"


WHOLE = tar(TWO)
#: Of the first member and of the second: each takes a header and one block.
FIRST, SECOND = 0, 1024


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"x" * 2048,
        WHOLE[:300],
        WHOLE[:600],
        WHOLE[:SECOND],
        WHOLE[: SECOND + 100],
        WHOLE[: SECOND + 600],
        WHOLE[: SECOND + 1024],
        WHOLE[:SECOND] + b"\1" + WHOLE[SECOND + 1 :],
        with_header(negative_size, SECOND),
        with_header(undecodable, SECOND),
        (with_header(lambda header: header.__setitem__(156, ord("L")), FIRST)[:1024]) * 3000,
    ],
    ids=[
        "empty", "text", "bytes", "first header cut", "first picture cut", "second missing",
        "second header cut", "second picture cut", "no end", "header damaged", "size below zero",
        "name that is no text", "names without end",
    ],
)  # fmt: skip
def test_a_damaged_shard_is_named(opened: Opened, content: bytes) -> None:
    with pytest.raises(DataError, match=r"set-000\.tar is damaged; expected (a whole|the end of a) tar file"):
        opened(content, samples=1)


@pytest.mark.parametrize("at", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("change", "size"), [(vast_attributes, 2**33), (negative_attributes, -2048)], ids=["vast", "negative"]
)
def test_headers_of_absurd_size_are_refused_unread(
    opened: Opened, change: Callable[[bytearray], None], size: int, at: int
) -> None:
    with pytest.raises(DataError, match=rf"set-000\.tar is damaged; .*; found a header of {size} bytes"):
        opened(with_header(change, at), samples=1)


def test_a_shard_that_is_cut_later_is_named(tmp_path: Path, opened: Opened) -> None:
    reader = opened(TWO, samples=2)
    (tmp_path / "mine" / "set-000.tar").write_bytes(WHOLE[: SECOND + 520])
    with pytest.raises(
        DataError, match=r"set-000\.tar/a/y\.png is cut short; expected \d+ bytes; found 8 bytes"
    ):
        reader.stored(np.array([0, 1]))
    (tmp_path / "mine" / "set-000.tar").unlink()
    with pytest.raises(StorageError, match=r"set-000\.tar cannot be read"):
        reader.stored(np.array([0]))


def test_a_damaged_picture_is_named(opened: Opened) -> None:
    reader = opened([TWO[0], ("a/y.png", b"broken")], samples=2)
    with pytest.raises(DataError, match=r"set-000\.tar/a/y\.png cannot be decoded"):
        reader.decode(1, reader.stored(np.array([1]))[0])


def test_members_far_too_large_or_too_many_are_refused_unread(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_shards, "_LARGEST_FILE", len(picture(1)) - 1)
    with pytest.raises(DataError, match=r"a/y\.png is too large; expected at most \d+ bytes"):
        opened(TWO, samples=2)
    monkeypatch.setattr(tar_shards, "_LARGEST_FILE", len(picture(1)))
    monkeypatch.setattr(tar_shards, "_MEMBERS_BESIDE", 3)
    beside: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (special(tarfile.DIRTYPE, f"folder{i}"), b"") for i in range(33)
    ]
    # Sixteen for each of two samples, and three.
    assert len(opened([*TWO, *beside], samples=2).labels) == 2
    with pytest.raises(DataError, match=r"set-001\.tar has too many members; expected at most 35"):
        opened([*TWO, *beside], beside[:1], samples=2)


def test_shards_that_are_not_there_are_missed(opened: Opened) -> None:
    with pytest.raises(DataError, match=r"expected files like set-\*\.tar"):
        opened()
