"""The plain arrays of numbers in a MATLAB 5 file.

Not by ``scipy.io.loadmat``: one wrong byte in the head of a variable can end the process there (seen with
SciPy 1.17, whose code looks types up in a table without asking for its length). Cells, structs, objects and
functions are named and never read.

Source: MathWorks, "MAT-File Format", version 5 (level 5).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DamagedMatError", "MatVariable", "mat_variables", "mat_version"]

_COMPRESSED, _MATRIX = 15, 14
#: What values are stored as, by the number of the type. Strings and matrices have others.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_KINDS = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8",
    9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64",
    16: "function", 17: "opaque",
}  # fmt: skip
_PLAIN = frozenset(range(6, 16))
_COMPLEX, _LOGICAL = 0x0800, 0x0200

_HEADER = 128
#: A published file has two, and none has a longer name or more dimensions.
_MOST_VARIABLES = 100
_LONGEST_PART = 256
_CHUNK = 2**16


class DamagedMatError(Exception):
    """The file does not hold together; says how."""


@dataclass(frozen=True, kw_only=True)
class MatVariable:
    """What the head of a variable says."""

    name: str
    kind: str
    """``uint8``, ``double`` ...; ``cell``, ``logical``, ``complex double`` ... for what is no plain array."""
    shape: tuple[int, ...]
    order: str
    """``<`` or ``>``."""
    content: io.BufferedReader
    """Stands before the values."""

    @property
    def n_values(self) -> int:
        """Number of values, whatever it is."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def values(self) -> NDArray[np.generic]:
        """Return the values as they are stored, first index fastest; once.

        Raises:
            DamagedMatError: There are more or fewer than the head says, or of no known type.
        """
        number, size, data = _tag(self.content.read(8), self.order)
        if number not in _STORED:
            raise DamagedMatError(f"values of type {number}")
        dtype = np.dtype(self.order + _STORED[number])
        if size != self.n_values * dtype.itemsize:
            raise DamagedMatError(f"{size} bytes for {list(self.shape)} of {dtype}")
        flat = np.empty(self.n_values, dtype=dtype)
        buffer = flat.view(np.uint8).data
        if data is None:
            if _fill(self.content, buffer) != size:
                raise DamagedMatError("values cut short")
        else:
            buffer[:] = data[:size]
        # Up to seven zeros may follow; to read on is what makes zlib compare its checksum.
        if len(self.content.read(8)) == 8 or not getattr(self.content.raw, "ended", True):
            raise DamagedMatError("a variable that is cut short or goes on after its end")
        return flat.reshape(self.shape, order="F")


def mat_version(content: bytes) -> int | None:
    """Return 1 for a MATLAB 5 file and 2 for a MATLAB 7.3 (HDF5) file, as its head says; None for another."""
    mark = content[124:_HEADER]
    # A zero among the first four bytes marks a MATLAB 4 file.
    if len(mark) < 4 or 0 in content[:4]:
        return None
    return {b"\0\1IM": 1, b"\1\0MI": 1, b"\0\2IM": 2, b"\2\0MI": 2}.get(mark)


def mat_variables(content: bytes) -> Iterator[MatVariable]:
    """Yield the variables of a MATLAB 5 file; their values are not read.

    Raises:
        DamagedMatError: The file is cut short or damaged.
    """
    order = "<" if content[126:_HEADER] == b"IM" else ">"
    whole, at = memoryview(content), _HEADER
    for _ in range(_MOST_VARIABLES):
        if at == len(content):
            return
        number, size, _ = _tag(bytes(whole[at : at + 8]), order)
        end = at + 8 + size
        if number not in (_COMPRESSED, _MATRIX) or size == 0 or end > len(content):
            raise DamagedMatError(f"a part of type {number} and {size} bytes at byte {at} of {len(content)}")
        part = whole[at + 8 : end]
        raw = _Inflating(part) if number == _COMPRESSED else _Plain(part)
        stream: io.BufferedReader = io.BufferedReader(raw, _CHUNK)
        if number == _COMPRESSED:
            number, _, _ = _tag(stream.read(8), order)
            if number != _MATRIX:
                raise DamagedMatError(f"a variable of type {number} at byte {at}")
        yield _variable(stream, order)
        at = end
    raise DamagedMatError(f"more than {_MOST_VARIABLES} variables")


def _variable(stream: io.BufferedReader, order: str) -> MatVariable:
    flags = _numbers(stream, order, 6)
    if len(flags) != 2:
        raise DamagedMatError("a variable without flags")
    number = flags[0] & 0xFF
    kind = _KINDS.get(number, f"class {number}")
    shape: tuple[int, ...] = ()
    if number != 17:  # has no dimensions, and three names
        shape = tuple(_numbers(stream, order, 5))
        if len(shape) < 2 or min(shape) < 0:
            raise DamagedMatError(f"a variable of dimensions {list(shape)}")
    name = bytes(number & 0xFF for number in _numbers(stream, order, 1)).decode("latin-1")
    if number in _PLAIN and flags[0] & _COMPLEX:
        kind = f"complex {kind}"
    if flags[0] & _LOGICAL:
        kind = "logical"
    return MatVariable(name=name, kind=kind, shape=shape, order=order, content=stream)


def _numbers(stream: io.BufferedReader, order: str, wanted: int) -> list[int]:
    """Return a short part of a head, which has to be of type ``wanted``."""
    number, size, data = _tag(stream.read(8), order)
    dtype = np.dtype(order + _STORED[wanted])
    if number != wanted or size > _LONGEST_PART or size % dtype.itemsize:
        raise DamagedMatError(f"a head with a part of type {number} and {size} bytes")
    if data is None:
        data = stream.read(size + -size % 8)
    if len(data) < size:
        raise DamagedMatError("a head cut short")
    values: list[int] = np.frombuffer(data[:size], dtype=dtype).tolist()
    return values


def _tag(tag: bytes, order: str) -> tuple[int, int, bytes | None]:
    """Return type and size in bytes of the next part, and its bytes where the tag itself holds them."""
    if len(tag) < 8:
        raise DamagedMatError("a tag cut short")
    number, size = (int.from_bytes(part, "little" if order == "<" else "big") for part in (tag[:4], tag[4:]))
    if number >> 16 == 0:
        return number, size, None
    # Four bytes or fewer: the upper half of the first number is the size.
    number, size = number & 0xFFFF, number >> 16
    if size > 4:
        raise DamagedMatError(f"a short part of {size} bytes")
    return number, size, tag[4:]


def _fill(stream: io.BufferedReader, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer) and (n := stream.readinto(buffer[filled : filled + _CHUNK])):
        filled += n
    return filled


class _Plain(io.RawIOBase):
    """Reads from memory without copying it."""

    def __init__(self, part: memoryview) -> None:
        self._rest = part

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


class _Inflating(io.RawIOBase):
    """Unpacks as much as is asked for."""

    def __init__(self, packed: memoryview) -> None:
        self._packed = packed
        self._unpacker = zlib.decompressobj()
        self._next = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not len(buffer):  # to the unpacker, 0 would be no limit
            return 0
        try:
            while True:
                # Some may be left in the unpacker when all that was packed has gone in.
                unpacked = self._unpacker.decompress(self._next, len(buffer))
                self._next = self._unpacker.unconsumed_tail
                if unpacked:
                    buffer[: len(unpacked)] = unpacked
                    return len(unpacked)
                if not self._next:
                    if not len(self._packed) or self._unpacker.eof:
                        return 0
                    self._next, self._packed = bytes(self._packed[:_CHUNK]), self._packed[_CHUNK:]
        except zlib.error as error:
            raise DamagedMatError(str(error)) from error

    @property
    def ended(self) -> bool:
        """Whether the checksum was reached."""
        return self._unpacker.eof
