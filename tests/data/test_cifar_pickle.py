"""Official batches are read; nothing in a pickle is ever executed."""

from __future__ import annotations

import os
import pickle
import pickletools
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from robustbench_safety.data.cifar_pickle import read_cifar_pickle
from robustbench_safety.errors import DataError, FileFormatError, StorageError

MakeBatch = Callable[..., bytes]

PIXELS = np.random.default_rng(0).integers(0, 256, size=(4, 3072), dtype=np.uint8)
LABELS = [3, 0, 9, 255]
MD5_OF_TEST_BATCH = "40351d587109b95175f43aff81a1287e"


@pytest.fixture
def batch(make_batch: MakeBatch) -> bytes:
    return make_batch(PIXELS, LABELS)


def read(path: Path, content: bytes, field: str = "labels") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    path.write_bytes(content)
    return read_cifar_pickle(path, field)


def test_a_batch_is_read_as_pickle_itself_would_read_it(tmp_path: Path, batch: bytes) -> None:
    by_pickle = pickle.loads(batch, encoding="bytes")
    pixels, labels = read(tmp_path / "batch", batch)
    assert np.array_equal(pixels, PIXELS)
    assert np.array_equal(pixels, by_pickle[b"data"])
    assert labels.tolist() == LABELS == by_pickle[b"labels"]
    assert pixels.dtype == np.uint8
    assert labels.dtype == np.int64


def test_the_fine_labels_of_cifar_100_are_found_by_their_name(tmp_path: Path, make_batch: MakeBatch) -> None:
    content = make_batch(PIXELS, LABELS, field=b"fine_labels")
    assert read(tmp_path / "batch", content, "fine_labels")[1].tolist() == LABELS
    with pytest.raises(DataError, match=r"'data' \[N, 3072\] and 'labels'; found .*fine_labels"):
        read(tmp_path / "batch", content, "labels")


def test_another_md5_is_refused_before_anything_is_parsed(tmp_path: Path, batch: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"not a pickle at all")
    with pytest.raises(DataError, match=f"batch is not the published file; expected md5 {'0' * 32}; found"):
        read_cifar_pickle(path, "labels", md5="0" * 32)


class Evil:
    """Calls what it is told when it is unpickled."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


HEAD = b"\x80\x02}("
HOSTILE = {
    "os.system": b"cos\nsystem\n(U\x0ctouch PWNED !tR.",
    "posix.system": b"cposix\nsystem\nU\x0ctouch PWNED !\x85R.",
    "builtins.eval": b"cbuiltins\neval\nU\x031+1\x85R.",
    "__builtin__.exec": b"c__builtin__\nexec\nU\x031+1\x85R.",
    "numpy.load": b"cnumpy\nload\nU\x01x\x85R.",
    "numpy.core.multiarray.fromfile": b"cnumpy.core.multiarray\nfromfile\nU\x01x\x85R.",
    "a call of ndarray itself": b"cnumpy\nndarray\n)R.",
    "ndarray with arguments": b"cnumpy\nndarray\nK\x01\x85R.",
    "a dtype without arguments": b"cnumpy\ndtype\n(tR.",
    "a dtype of a number": b"cnumpy\ndtype\nK\x01\x85R.",
    "a dtype of a tuple": b"cnumpy\ndtype\nK\x01\x85\x85R.",
    "a call of a string": b"U\x09os.systemU\x04true\x85R.",
    "a call from the memo": b"cos\nsystem\nq\x010h\x01U\x04true\x85R.",
    "GLOBAL without an end": b"c" + b"x" * 10_000,
    "GLOBAL in another alphabet": b"c\xff\xfe\n\xff\n.",
    "INST": b"(U\x04trueios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nU\x04trueo.",
    "NEWOBJ": b"cnumpy\nndarray\nK\x01\x85\x81.",
    "NEWOBJ_EX": b"cnumpy\nndarray\nK\x01\x85}\x92.",
    "STACK_GLOBAL": b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.",
    "PERSID": b"Pid\n.",
    "BINPERSID": b"K\x01Q.",
    "EXT1": b"\x82\x01.",
    "EXT2": b"\x83\x01\x00.",
    "EXT4": b"\x84\x01\x00\x00\x00.",
    "UNICODE line": b"Vx\n.",
    "LONG of many digits": b"L" + b"9" * 5000 + b"\n.",
    "LONG4": b"\x8b\xff\xff\xff\x7f.",
    "BUILD on a dictionary": b"}U\x01aK\x01\x85b.",
    "BUILD on a list": b"](K\x01eK\x01b.",
    "BUILD on a global": b"cnumpy\nndarray\n}b.",
    "BUILD with another state": b"cnumpy.core.multiarray\n_reconstruct\n(tR}b.",
    "APPENDS on a dictionary": b"}(K\x01e.",
    "APPENDS on nothing": b"(K\x01e.",
    "APPENDS without a mark": b"]K\x01e.",
    "SETITEMS on a list": b"](K\x01K\x02u.",
    "SETITEMS of an odd number": b"}(U\x01aK\x01U\x01bu.",
    "SETITEMS with a list as key": b"}(]K\x01u.",
    "SETITEMS with a tuple as key": b"}(K\x01\x85K\x01u.",
    "a negative length": b"T\xff\xff\xff\xff.",
    "a negative length that goes back": b"T\xfb\xff\xff\xff.",
    "a huge length": b"T\xff\xff\xff\x7fabc.",
    "a huge unsigned length": b"X\xff\xff\xff\xffabc.",
    "a memo that was never put": b"h\x07.",
    "a put of nothing": b"q\x01.",
    "a tuple of more than there is": b"K\x01\x87.",
    "a tuple to no mark": b"K\x01t.",
    "no STOP": b"}",
    "STOP of nothing": b".",
    "nothing": b"",
    "half a PROTO": b"\x80",
    "FRAME": b"\x95\x00\x00\x00\x00\x00\x00\x00\x00}.",
    "a list": b"].",
    "a global alone": b"cnumpy\nndarray\n.",
    "an empty dictionary": b"}.",
    "a mark": b"(.",
    "another file": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("head", [b"", HEAD], ids=["bare", "inside"])
def test_a_hostile_pickle_is_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, head: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="batch is not an official CIFAR batch"):
        read(tmp_path / "batch", head + content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["batch"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_brings_a_call_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for evil in (Evil(os.system, "touch PWNED"), Evil(eval, "1+1"), Evil(np.load, "x"), Evil(exec, "1")):
        content = pickle.dumps({b"data": evil, b"labels": [1]}, protocol=protocol)
        with pytest.raises(DataError, match="official CIFAR batch"):
            read(tmp_path / "batch", content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["batch"]


def test_every_opcode_that_a_batch_does_not_need_is_refused(tmp_path: Path) -> None:
    needed = set(b"\x80}](qrhjKMJUTXN\x88\x89\x85\x86\x87teucRb.")
    for opcode in (ord(op.code) for op in pickletools.opcodes):
        if opcode not in needed:
            with pytest.raises(DataError, match=r"found opcode b'.+' at byte 0; it was not executed"):
                read(tmp_path / "batch", bytes([opcode]) + b"x\ny\n....")


BOMBS = {
    "a million dictionaries": b"}" * 3_000_000,
    "a tuple nested a million deep": b"N" + b"\x85" * 990_000 + b".",
    "a tuple nested a million deep as a key": b"}(N" + b"\x85" * 900_000 + b"Nu.",
    "a tuple nested a million deep as a dtype": b"cnumpy.core.multiarray\n_reconstruct\n(tR(NN"
    + b"N"
    + b"\x85" * 900_000
    + b"NNtb.",
    "a tuple nested a million deep that is called": b"N" + b"\x85" * 900_000 + b"(tR.",
    "tuples that double": b"N" + b"q\x01h\x01\x86" * 200_000 + b".",
    "a list in itself": b"]q\x01" + b"(h\x01h\x01e" * 200_000 + b".",
    "a list that doubles": b"]q\x01(K\x01e" + b"(h\x01th\x01" * 100 + b".",
    "marks without end": b"(" * 3_000_000,
    "a line without end": b"c" + b"a" * 5_000_000,
    "a text that lies about its length": b"T\x00\x00\x00\x7f" + b"a" * 1000,
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_quickly_and_in_bounded_memory(tmp_path: Path, content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with pytest.raises(DataError, match="official CIFAR batch"):
        read(tmp_path / "batch", content)
    assert time.perf_counter() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024, "KiB"


def test_a_batch_cut_short_anywhere_is_refused(tmp_path: Path, batch: bytes) -> None:
    for length in [*range(0, len(batch), 100), len(batch) - 1]:
        with pytest.raises(DataError, match=f"found {length} bytes, cut short or damaged"):
            read(tmp_path / "batch", batch[:length])


def test_what_follows_the_end_is_never_looked_at(tmp_path: Path, batch: bytes) -> None:
    # As pickle itself does; a published md5 catches it.
    assert read(tmp_path / "batch", batch + b"cos\nsystem\n")[1].tolist() == LABELS


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(data=st.data())
def test_any_damage_gives_arrays_or_our_error(
    tmp_path: Path, make_batch: MakeBatch, data: st.DataObject
) -> None:
    damaged = bytearray(make_batch(PIXELS[:1], [5]))
    head, tail = 330, 40  # where the opcodes are; between them lie pixels
    places = st.integers(0, head) | st.integers(len(damaged) - tail, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        damaged[place] = value
    try:
        pixels, labels = read(tmp_path / "batch", bytes(damaged))
    except DataError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape == (len(labels), 3072)


@given(st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_any_bytes_give_our_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError):
        read(tmp_path / "batch", content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"U\x02u1", b"U\x02f4", "an array of another type than uint8"),
        (b"U\x02u1", b"U\x02O8", "an array of another type than uint8"),
        (b"tb\x89T", b"tb\x88T", "an array of another type than uint8"),  # Fortran order
        (b"tb\x89T", b"tbNT", "an array of another type than uint8"),
        (b"M\x00\x0c\x86", b"M\x00\x06\x86", "cut short or damaged"),  # 4 x 1536 is less than there is
        (b"M\x00\x0c\x86", b"U\x01x\x86", "an array of another shape"),
        (b"U\x04data", b"U\x04dada", r"expected 'data' \[N, 3072\] and 'labels'"),
    ],
)
def test_an_array_of_another_kind_is_refused(
    tmp_path: Path, batch: bytes, old: bytes, new: bytes, message: str
) -> None:
    assert batch.count(old) == 1
    with pytest.raises(DataError, match=message):
        read(tmp_path / "batch", batch.replace(old, new))


def test_rows_of_another_length_are_refused(tmp_path: Path, make_batch: MakeBatch) -> None:
    content = make_batch(PIXELS, LABELS).replace(b"J\x04\x00\x00\x00M\x00\x0c", b"J\x02\x00\x00\x00M\x00\x18")
    with pytest.raises(DataError, match=r"expected 'data' \[N, 3072\]"):
        read(tmp_path / "batch", content)


@pytest.mark.parametrize("labels", [[], [1, 2, 3], [1, 2, 3, 4, 5]])
def test_another_number_of_labels_than_images_is_refused(
    tmp_path: Path, make_batch: MakeBatch, labels: list[int]
) -> None:
    with pytest.raises(DataError, match=f"expected 4 whole-number labels; found {len(labels)} entries"):
        read(tmp_path / "batch", make_batch(PIXELS, labels))


@pytest.mark.parametrize("label", [b"\x88", b"N", b"]", b"U\x011"])
def test_a_label_that_is_no_number_is_refused(tmp_path: Path, batch: bytes, label: bytes) -> None:
    with pytest.raises(DataError, match="whole-number labels"):
        read(tmp_path / "batch", batch.replace(b"J\x09\x00\x00\x00", label))


def test_negative_labels_are_read_as_they_are(tmp_path: Path, make_batch: MakeBatch) -> None:
    assert read(tmp_path / "batch", make_batch(PIXELS, [-1, 2, 3, 4]))[1].tolist() == [-1, 2, 3, 4]


def test_a_file_that_is_absent_or_far_too_large_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent cannot be read"):
        read_cifar_pickle(tmp_path / "absent", "labels")
    with (tmp_path / "huge").open("wb") as handle:
        handle.truncate(300 * 2**20)
    with pytest.raises(FileFormatError, match="huge is too large"):
        read_cifar_pickle(tmp_path / "huge", "labels")


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["test_batch", "data_batch_1"])
def test_an_official_batch_is_read_as_pickle_reads_it(real_data: Path, name: str) -> None:
    path = real_data / "cifar-10-batches-py" / name
    with path.open("rb") as handle:
        expected = pickle.load(handle, encoding="bytes")
    pixels, labels = read_cifar_pickle(path, "labels")
    assert np.array_equal(pixels, expected[b"data"])
    assert labels.tolist() == expected[b"labels"]


@pytest.mark.realdata
def test_the_official_test_batch_has_its_md5_and_one_bit_more_has_not(
    real_data: Path, tmp_path: Path
) -> None:
    path = real_data / "cifar-10-batches-py" / "test_batch"
    assert len(read_cifar_pickle(path, "labels", md5=MD5_OF_TEST_BATCH)[1]) == 10_000
    content = bytearray(path.read_bytes())
    content[1_000_000] ^= 1
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match="is not the published file"):
        read_cifar_pickle(tmp_path / "test_batch", "labels", md5=MD5_OF_TEST_BATCH)


@pytest.mark.realdata
def test_the_official_test_batch_cut_short_is_refused(real_data: Path, tmp_path: Path) -> None:
    content = (real_data / "cifar-10-batches-py" / "test_batch").read_bytes()
    for length in (0, 1000, 10_000, 15_000_000, len(content) - 1):
        with pytest.raises(DataError, match="cut short or damaged"):
            read(tmp_path / "batch", content[:length])
