"""Look through a pickle before torch reads it: what would cost far more than the file's size is refused.

torch's reader for weights runs no code, but it makes calls that are harmless by name alone:
``bytearray(2000000000)`` takes 2 GB; a tuple that holds a tuple twice, thirty levels deep, takes for ever to
be hashed or shown; a tuple nested a million deep ends the process. So the opcodes are walked first, with
numbers and text as they are and everything else as a mark; only what ``torch.save`` writes for tensors and
plain containers goes on to torch.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch

__all__ = ["OddPickleError", "look_through"]


class OddPickleError(pickle.UnpicklingError):
    """A pickle holds what ``torch.save`` does not write for weights.

    Args:
        found: What, in a few words.
        called: What it would call, where that is the reason.
    """

    def __init__(self, found: str, *, called: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.called = called


@dataclass(frozen=True)
class _Global:
    """A class or function by its name."""

    name: str


@dataclass(frozen=True)
class _Mark:
    """Stands for a value that nothing depends on."""

    what: str


_MARK, _DICT, _THING = _Mark("mark"), _Mark("dict"), _Mark("thing")

#: Calls whose cost is that of their arguments, as pickle protocol 2 names them.
_INERT = frozenset({
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch.nn.parameter.Parameter", "torch.Size", "torch.device", "torch.serialization._get_layout",
    "argparse.Namespace", "builtins.complex", "__builtin__.complex",
})  # fmt: skip
#: Calls that hash what they are given.
_HASHING = frozenset({"collections.OrderedDict", "collections.Counter", "builtins.set", "__builtin__.set"})
#: Calls that make bytes of text.
_BYTES = frozenset({"_codecs.encode", "builtins.bytearray", "__builtin__.bytearray"})
_LATIN = ("latin1", "latin-1")
#: It allocates whatever size it is told.
_QUANTIZED = "torch._utils._rebuild_qtensor"
#: A tensor with attributes: a call of another, given as (function, type, arguments, attributes).
_OF_TYPE = "torch._tensor._rebuild_from_type_v2"
_TYPES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")

#: Bytes of an element by storage class; 1 for any other.
_ELEMENT = {"Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16, "Float": 4, "Int": 4, "Half": 2,
            "BFloat16": 2, "Short": 2}  # fmt: skip
#: Of a tuple that is hashed: names of tensors are text, those of optimisers' states numbers.
_LONGEST_KEY = 16


def look_through(path: Path) -> None:
    """Walk the pickles of a file that ``torch.save`` wrote, in either of its formats, building nothing.

    A pickle that torch's reader for weights would itself refuse is walked as far as it would get.

    Raises:
        OddPickleError: It holds what would cost more than its size, or is damaged.
        RuntimeError: torch cannot open the archive.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        is_zip = handle.read(2) == b"PK"
        if not is_zip:
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _look_through_legacy(content, size)
            return
    # By torch's own reader: two readers of one zip file need not see the same entries.
    reader = torch._C.PyTorchFileReader(str(path))
    sizes = _record_sizes(path, reader)
    if sizes.get("data.pkl", 0) > size:
        raise OddPickleError("entries that unpack to more than the file's size")
    machine = _Machine()
    machine.run(io.BytesIO(reader.get_record("data.pkl")))
    stored: dict[str, int] = {}
    for key, n_bytes in machine.storages.items():
        stored[key] = sizes.get(f"data/{key}", 0)
        if n_bytes > stored[key]:
            raise OddPickleError(f"a storage of {n_bytes} bytes of which the file has {stored[key]}")
    if sum(stored.values()) > size:
        raise OddPickleError("entries that unpack to more than the file's size")


def _record_sizes(path: Path, reader: torch._C.PyTorchFileReader) -> dict[str, int]:
    """Return the unpacked size of each entry, by its name without the archive's folder.

    torch 2.11's reader does not tell sizes. There they are those of Python's, which must see the same entries
    in the same places.
    """
    if hasattr(reader, "get_record_size"):
        return {name: reader.get_record_size(name) for name in reader.get_all_records()}
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    offsets = {name: reader.get_record_header_offset(name) for name in reader.get_all_records()}  # type: ignore[attr-defined]
    if offsets != {name: entry.header_offset for name, entry in entries.items()}:
        raise OddPickleError("an archive that two readers read differently")
    return {name: entry.file_size for name, entry in entries.items()}


def _look_through_legacy(content: mmap.mmap, size: int) -> None:
    """Walk the pickles that torch before 1.6 wrote: three of versions, the object, its storages' keys."""
    # mmap has the methods of a file that pickletools uses.
    stream: IO[bytes] = content  # type: ignore[assignment]
    for _ in range(3):
        if not _Machine().run(stream):
            return
    machine = _Machine()
    if not machine.run(stream):
        return
    needed = sum(machine.storages.values())
    if needed > size:
        raise OddPickleError(f"storages of {needed} bytes in a file of {size}")
    listing = _Machine()
    if not listing.run(stream):
        return
    keys = listing.result if isinstance(listing.result, list) else []
    if not set(machine.storages) <= {key for key in keys if isinstance(key, str)}:
        raise OddPickleError("storages that the file does not have")


@dataclass
class _Machine:
    """What the opcodes leave behind, with marks for what nothing depends on."""

    storages: dict[str, int] = field(default_factory=dict)
    """Bytes that are claimed of each storage."""
    result: object = None
    _stack: list[object] = field(default_factory=list)
    _memo: dict[int, object] = field(default_factory=dict)

    def run(self, stream: IO[bytes]) -> bool:
        """Walk one pickle; return whether its end was reached."""
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if not self._step(opcode.name, argument):
                    return False
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise OddPickleError(f"damaged data: {str(error)[:100]}") from error
        self.result = self._stack.pop() if self._stack else None
        return True

    def _step(self, name: str, argument: object) -> bool:
        """Take one opcode; return False where torch's reader would refuse it."""
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "GLOBAL":
            stack.append(_Global(str(argument).replace(" ", ".", 1)))
        elif name in ("BINPUT", "LONG_BINPUT") and isinstance(argument, int):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
            stack.append(self._memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in _TUPLES:
            items = stack[-_TUPLES[name] :]
            del stack[-_TUPLES[name] :]
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            self._extend([stack.pop()] if name == "APPEND" else self._since_mark())
        elif name in ("SETITEM", "SETITEMS"):
            pairs = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._since_mark()
            _refuse_costly_keys(pairs[::2])
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            _refuse_costly_call(function, arguments)
            stack.append(_DICT if function == _Global("collections.OrderedDict") else _THING)
        elif name == "BUILD":
            if stack.pop() is not _DICT:
                raise OddPickleError("an object whose state is no dict")
        elif name not in ("PROTO", "STOP"):
            return False
        return True

    def _since_mark(self) -> list[object]:
        last = len(self._stack) - 1
        while self._stack[last] is not _MARK:
            last -= 1
            if last < 0:
                raise IndexError("no mark on the stack")
        items = self._stack[last + 1 :]
        del self._stack[last:]
        return items

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)

    def _storage(self, name: object) -> object:
        match name:
            case ("storage", _Global(kind), str(key), str(), int(n_elements), *views) if n_elements >= 0:
                if not all(view is None or _is_plain(view) for view in views):
                    raise OddPickleError("a view of a storage that is not written in numbers")
                short = kind.rpartition(".")[2].removesuffix("Storage")
                n_bytes = n_elements * _ELEMENT.get(short, 1)
                self.storages[key] = max(n_bytes, self.storages.get(key, 0))
                return _THING
        raise OddPickleError("a storage that is not written as torch.save does")


_CONSTANTS: Mapping[str, object] = {
    "MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_DICT": _DICT,
    "EMPTY_SET": _THING,
}  # fmt: skip
_LITERALS = frozenset({"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"})
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _is_plain(value: object) -> bool:
    """Tell what is hashed and shown in a moment: a number, text, or a short tuple of these."""
    if isinstance(value, tuple):
        return len(value) <= _LONGEST_KEY and not any(isinstance(item, tuple) for item in value)
    return not isinstance(value, list)


def _refuse_costly_keys(keys: list[object]) -> None:
    if not all(_is_plain(key) for key in keys):
        raise OddPickleError("keys that are nested or long tuples")


def _refuse_costly_call(function: object, arguments: object) -> None:
    """Raise unless the call costs no more than its arguments."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise OddPickleError("a call of something that is no function")
    name = function.name
    if name in _HASHING:
        _refuse_costly_keys(list(_hashed(arguments, pairs=name.endswith("Dict"))))
    elif name in _BYTES:
        if len(arguments) != 2 or isinstance(arguments[0], int) or arguments[1] not in _LATIN:
            raise OddPickleError(f"a call of {name} that makes bytes of no text", called=name)
    elif name == _OF_TYPE:
        made, kind, inner = (*arguments, None, None, None)[:3]
        if not (isinstance(kind, _Global) and kind.name in _TYPES) or made == function:
            raise OddPickleError("a tensor of a class of its own", called=getattr(kind, "name", name))
        _refuse_costly_call(made, inner)
    elif name == _QUANTIZED:
        raise OddPickleError("a quantized tensor")
    elif name not in _INERT:
        raise OddPickleError(f"a call of {name}", called=name)


def _hashed(arguments: tuple[object, ...], *, pairs: bool) -> Iterator[object]:
    """Yield what a container made of ``arguments`` would hash: the items, or the first of each pair."""
    for argument in arguments:
        for item in argument if isinstance(argument, list | tuple) else ():
            yield item[0] if pairs and isinstance(item, list | tuple) and item else item
