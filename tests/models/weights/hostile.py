"""Checkpoints that somebody wrote to do harm: one function a file, each returning its path."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from robustbench_safety.models.digits import build_network

#: Written by every file here that would run code.
MARKER = "it-ran"

State = dict[str, torch.Tensor]


def state() -> State:
    """Weights that fit ``digits:cnn``."""
    return dict(build_network(0).state_dict())


# ---------------------------------------------------------------------------------- pickles, opcode by opcode


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def storage(n_elements: int, *, view: bytes) -> bytes:
    name = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(n_elements)
    return b"(" + name + view + b"tQ"


def tensor(*, stored: int, shown: int, stride: int = 1, view: bytes = b"") -> bytes:
    """A tensor [shown] on a storage of which ``stored`` elements are claimed."""
    sizes = number(0) + number(shown) + b"\x85" + number(stride) + b"\x85"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(stored, view=view) + sizes + hooks + b"tR"


def old_tensor(n_elements: int) -> bytes:
    """The same as it is written in the format of before, named ``w`` in a dict."""
    return b"}" + text("w") + tensor(stored=n_elements, shown=n_elements, view=b"N") + b"s"


def doubled(levels: int) -> bytes:
    """A tuple that holds a tuple twice, ``levels`` deep: a few bytes a level, 2 ** levels numbers in all."""
    return b"K\x01\x85" + b"q\x01h\x01\x86" * levels


def archive(folder: Path, body: bytes, stored: Mapping[str, bytes] | None = None) -> Path:
    """The zip format with a pickle of one's own."""
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("hostile/data.pkl", b"\x80\x02" + body + b".")
        out.writestr("hostile/version", "3\n")
        out.writestr("hostile/byteorder", "little")
        for name, content in (stored or {}).items():
            out.writestr(f"hostile/data/{name}", content)
    return path


def legacy(folder: Path, body: bytes, keys: list[str], stored: bytes = b"") -> Path:
    """The format of before torch 1.6 with a pickle of one's own."""
    path = folder / "hostile.pth"
    versions = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    start = b"".join(pickle.dumps(value, protocol=2) for value in versions)
    path.write_bytes(start + b"\x80\x02" + body + b"." + pickle.dumps(keys, protocol=2) + stored)
    return path


def call(function: str, *arguments: bytes) -> bytes:
    return b"c" + function.encode() + b"\n(" + b"".join(arguments) + b"tR"


def within(value: bytes) -> bytes:
    """A state that has a tensor, and the value under another name."""
    return b"}" + text("w") + tensor(stored=1, shown=1) + b"s" + text("x") + value + b"s"


ONE = {"0": b"\0" * 4}

PICKLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "2 GB out of thirty bytes": (
        lambda f: archive(f, within(call("__builtin__\nbytearray", number(2_000_000_000))), ONE),
        "calls to __builtin__.bytearray",
    ),
    "a constructor that allocates": (
        lambda f: archive(f, within(call("torch\nFloatTensor", number(2_000_000_000))), ONE),
        "calls to torch.FloatTensor",
    ),
    "the same, called by way of a tensor of a class of its own": (
        lambda f: archive(
            f,
            within(
                call(
                    "torch._tensor\n_rebuild_from_type_v2",
                    b"c__builtin__\nbytearray\n", b"ctorch\nTensor\n", number(2_000_000_000) + b"\x85", b"}",
                )
            ),
            ONE,
        ),
        "calls to __builtin__.bytearray",
    ),
    "bytes that are encoded into more": (
        lambda f: archive(f, within(call("_codecs\nencode", text("x"), text("utf-32"))), ONE),
        "calls to _codecs.encode",
    ),
    "a key that takes for ever to be hashed": (
        lambda f: archive(f, b"}" + doubled(60) + b"K\x01s"), "keys that are nested or long tuples",
    ),
    "a set that takes for ever to be hashed": (
        lambda f: archive(f, within(call("__builtin__\nset", b"](" + doubled(60) + b"e")), ONE),
        "keys that are nested or long tuples",
    ),
    "pairs that take for ever to be hashed": (
        lambda f: archive(f, call("collections\nOrderedDict", b"](" + doubled(60) + b"K\x01\x86e")),
        "keys that are nested or long tuples",
    ),
    "attributes that take for ever to be hashed": (
        lambda f: archive(f, b"cargparse\nNamespace\n)\x81](" + doubled(60) + b"K\x01\x86eb"),
        "an object whose state is no dict",
    ),
    "a function that takes for ever to be shown": (
        lambda f: archive(f, doubled(60) + b")R"), "a call of something that is no function",
    ),
    "a class that takes for ever to be shown": (
        lambda f: archive(f, doubled(60) + b")\x81"), "a call of something that is no function",
    ),
    "a storage named by what takes for ever": (
        lambda f: archive(f, b"(" + text("storage") + doubled(60) + b"K\x01K\x01K\x01tQ"),
        "a storage that is not written as torch.save does",
    ),
    "a tuple nested too deep to be hashed": (
        lambda f: archive(f, b"}K\x01" + b"\x85" * 300_000 + b"K\x01s"),
        "keys that are nested or long tuples",
    ),
    "text that says it is 4 GB long": (
        lambda f: archive(f, b"}X\xff\xff\xff\xffw"), "damaged data",
    ),
    "bytes that say they are 8 EB long": (
        lambda f: archive(f, b"}\x8e" + b"\xff" * 7 + b"\x7f" + b"w"), "damaged data",
    ),
    "a storage of one element said to have a billion": (
        lambda f: archive(f, b"}" + text("w") + tensor(stored=10**9, shown=10**9) + b"s", ONE),
        "a storage of 4000000000 bytes of which the file has 4",
    ),
    "a storage that is not there": (
        lambda f: archive(f, b"}" + text("w") + tensor(stored=10**9, shown=10**9) + b"s"),
        "a storage of 4000000000 bytes of which the file has 0",
    ),
    "a tensor longer than its storage": (
        lambda f: archive(f, b"}" + text("w") + tensor(stored=1, shown=10**9) + b"s", ONE),
        "Trying to resize storage",
    ),
    "one element shown as a billion": (
        lambda f: archive(f, b"}" + text("w") + tensor(stored=1, shown=10**9, stride=0) + b"s", ONE),
        r"1 unexpected \(w\)",
    ),
    "an old file that claims 4 GB": (
        lambda f: legacy(f, old_tensor(10**9), ["0"], b"\0" * 12),
        "storages of 4000000000 bytes in a file of",
    ),
    "an old file whose weights would be what memory held before": (
        lambda f: legacy(f, old_tensor(8), [], b"\0" * 64),
        "storages that the file does not have",
    ),
    "an old file with a key that takes for ever": (
        lambda f: legacy(f, b"}" + doubled(60) + b"K\x01s", []), "keys that are nested or long tuples",
    ),
    "lists within lists, doubled": (
        lambda f: archive(f, b"](" + b"](K\x01e" + b"q\x01](h\x01h\x01e" * 60 + b"e"), "holds no weights",
    ),
    "a name that steers the terminal": (
        lambda f: archive(f, b"}" + text("\x1b]0;owned\x07") + tensor(stored=1, shown=1) + b"s", ONE),
        "a tensor name that is no text",
    ),
    "a name of a million characters": (
        lambda f: archive(f, b"}" + text("w" * 1_000_000) + tensor(stored=1, shown=1) + b"s", ONE),
        "a tensor name that is no text",
    ),
    "a quantized tensor": (
        lambda f: archive(f, within(call("torch._utils\n_rebuild_qtensor")), ONE),
        "a quantized tensor",
    ),
    "a sparse tensor": (
        lambda f: saved(f, state() | {"classifier.weight": torch.zeros(10, 64).to_sparse()}),
        "'classifier.weight' is no plain tensor",
    ),
    "a tensor without values": (
        lambda f: saved(f, state() | {"classifier.weight": torch.zeros(10, 64, device="meta")}),
        "'classifier.weight' is no plain tensor",
    ),
    "a tensor of a class of its own": (
        lambda f: saved(f, state() | {"classifier.weight": torch.zeros(10, 64).as_subclass(Own)}),
        r"needs code to be run and is refused; none of it was run; .*Own",
    ),
}  # fmt: skip


class Own(torch.Tensor):
    """A tensor that could do anything."""


def saved(folder: Path, content: object, *, old: bool = False) -> Path:
    path = folder / "hostile.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


# --------------------------------------------------------------------------------------------- code that runs


class RunsCommand:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {MARKER}",)


class RunsText:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"__import__('pathlib').Path({MARKER!r}).touch()",)


def plain_pickle(folder: Path) -> Path:
    path = folder / "hostile.pth"
    path.write_bytes(pickle.dumps({"state_dict": state(), "x": RunsCommand()}, protocol=2))
    return path


def torchscript(folder: Path) -> Path:
    path = folder / "hostile.pt"
    with zipfile.ZipFile(path, "w") as out:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            out.writestr(f"hostile/{name}", "")
    return path


def exported(folder: Path) -> Path:
    """A .pt2 whose sample inputs run code when torch's loader unpickles them."""
    inputs = saved(folder, ((RunsCommand(),), {})).read_bytes()
    path = folder / "hostile.pt2"
    with zipfile.ZipFile(path, "w") as out:
        # As torch.export.save names them.
        for name in ("models/model.json", "data/weights/weight_0", "archive_format", "archive_version"):
            out.writestr(f"hostile/{name}", "pt2")
        out.writestr("hostile/data/sample_inputs/model.pt", inputs)
    return path


CODE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a command in the zip format": (
        lambda f: saved(f, {"state_dict": state(), "x": RunsCommand()}), "needs code to be run and is",
    ),
    "a command in the format of before": (
        lambda f: saved(f, {"state_dict": state(), "x": RunsCommand()}, old=True), "needs code to be run",
    ),
    "a command among the weights": (
        lambda f: saved(f, state() | {"x": RunsCommand()}), "calls to posix.system",
    ),
    "text that is evaluated": (lambda f: saved(f, {"state_dict": state(), "x": RunsText()}), "eval"),
    "a command in a plain pickle": (plain_pickle, "needs code to be run and is refused"),
    "a whole network": (lambda f: saved(f, build_network(0)), "robustbench_safety.models.digits.DigitsNet"),
    "TorchScript": (torchscript, "is a TorchScript archive, which holds code; .*--trust-code"),
    "an exported program": (exported, r"is an exported program \(.pt2\), which holds code; .*--trust-code"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- archives


def deflated(folder: Path) -> Path:
    plain, path = saved(folder, {"w": torch.zeros(1_000_000)}), folder / "bomb.pth"
    with zipfile.ZipFile(plain) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in good.namelist():
            out.writestr(name, good.read(name))
    return path


def overlapping(folder: Path) -> Path:
    """Many entries of the directory that all point to the same bytes."""
    path = archive(folder, b"}", {str(i): b"\0" * (100_000 if i == 0 else 1) for i in range(50)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as good:
        first = next(entry for entry in good.infolist() if entry.filename.endswith("data/0"))
        place = good.start_dir
    while data[place : place + 4] == b"PK\x01\x02":
        lengths = struct.unpack_from("<HHH", data, place + 28)
        struct.pack_into("<II", data, place + 20, first.compress_size, first.file_size)
        struct.pack_into("<I", data, place + 42, first.header_offset)
        place += 46 + sum(lengths)
    path.write_bytes(data)
    return path


def many_entries(folder: Path) -> Path:
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("hostile/data.pkl", b"\x80\x02}.")
    good = path.read_bytes()
    end = good.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", good, end + 16)[0]
    directory = good[start:end] * 100_000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
    path.write_bytes(good[:start] + directory + tail)
    return path


def climbing(folder: Path) -> Path:
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(f"../../{MARKER}/data.pkl", b"\x80\x02}.")
        out.writestr(f"../../{MARKER}/data/0", b"x")
        out.writestr(f"/{MARKER}", b"x")
    return path


def with_content(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a zip bomb": (deflated, "would unpack to more than its own size"),
    "entries that share their bytes": (overlapping, "would unpack to more than its own size"),
    "a hundred thousand entries": (many_entries, "a directory of more than 4194304 bytes"),
    "names that climb out of the folder": (climbing, "holds no weights|damaged"),
    "a zip file in a safetensors name": (
        with_content("a.safetensors", b"PK\x03\x04" + b"\0" * 100), "its header's length is wrong",
    ),
    "text": (with_content("a.pth", b"not a checkpoint\n"), "holds text"),
    "a note of git-lfs": (
        with_content("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "holds text; .*fetch or save it again",
    ),
    "a web page": (with_content("a.pth", b"<!DOCTYPE html>\n<html><head>"), "holds text"),
    "an empty file": (with_content("a.pth", b""), "is empty; .*fetch or save it again"),
    "a tar file": (with_content("a.pth", b"storages".ljust(512, b"\0") * 4), "is damaged"),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ safetensors


def header(entries: object, *, data: bytes = b"\0" * 8, length: int | None = None) -> Callable[[Path], Path]:
    """A safetensors file with a header of one's own; ``length`` is what it says the header has."""
    written = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return with_content(
        "hostile.safetensors", struct.pack("<Q", len(written) if length is None else length) + written + data
    )


def entry(start: int, end: int, *, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [1] if shape is None else shape, "data_offsets": [start, end]}


SAFETENSORS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a header of 2 ** 63 bytes": (header({}, length=2**63), f"at most 10 bytes; found {2**63}"),
    "a header longer than the file": (header({}, length=11), "at most 10 bytes; found 11"),
    "a header cut short": (header({}, length=1), "its header is no JSON"),
    "a file cut within the length": (with_content("a.safetensors", b"\x02\0\0"), "is truncated"),
    "a header that is no JSON": (header(b"{not json}"), "its header is no JSON"),
    "a header nested for ever": (header(b"{" + b'"a":{' * 100_000 + b"}" * 100_001), "no JSON|damaged"),
    "offsets that overlap": (header({"a": entry(0, 4), "b": entry(2, 6)}), "is damaged or not a safetensors"),
    "offsets beyond the file": (header({"a": entry(0, 4), "b": entry(4, 400)}), "is damaged"),
    "offsets that run backwards": (header({"a": entry(8, 4)}), "is damaged"),
    "offsets below zero": (header({"a": entry(-4, 0)}), "is damaged"),
    "a shape larger than its bytes": (header({"a": entry(0, 8, shape=[2**40])}), "is damaged"),
    "a shape that overflows": (header({"a": entry(0, 8, shape=[2**40, 2**40])}), "is damaged"),
    "an unknown type": (header({"a": entry(0, 8, dtype="F33")}), "is damaged"),
    "a name twice": (
        header(f'{{"a": {json.dumps(entry(0, 4))}, "a": {json.dumps(entry(4, 8))}}}'.encode()),
        "its header has 'a' twice",
    ),
    "bytes that belong to no tensor": (header({"a": entry(0, 4)}), "is damaged"),
    "no tensors": (header({}, data=b""), "holds no weights; .*an empty dict"),
}  # fmt: skip

ALL = PICKLES | CODE | ARCHIVES | SAFETENSORS
