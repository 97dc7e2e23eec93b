"""The official CIFAR batches, read without executing pickled code.

The published files are protocol-2 pickles of a dictionary with a byte array and two lists. The interpreter
below knows the opcodes that such a file needs and no others; the three NumPy globals in it are read as names
and never looked up, so nothing can be called. What it builds is bounded by the length of the file and
``_MOST_STEPS``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812  # "error" alone would say nothing below

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes

__all__ = ["read_cifar_pickle"]

#: The largest published batch (CIFAR-100 train) is 155 MB, and takes some 300,000 steps.
_LARGEST_BATCH = 256 * 2**20
_MOST_STEPS = 1_000_000
#: No name of a global that is let through is longer.
_LONGEST_NAME = 80

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_NDARRAY, _DTYPE = "numpy ndarray", "numpy dtype"

_UINT8, _UINT16, _UINT32, _INT32 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<i")

_FIX = "fetch and unpack the published archive again"


class _Global(str):
    """Name of a global that the pickle mentions; only a name."""


class _Dtype(str):
    """Type code of a NumPy dtype."""


class _Array:
    """An array under construction."""

    value: NDArray[np.uint8] | None = None


class _Mark:
    """Marks a place on the stack."""


class _RefusedError(Exception):
    """The file holds something that a CIFAR batch does not need."""


class _Interpreter:
    """Stack machine over the bytes of one pickle."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.done = False

    def run(self) -> object:
        opcodes, data = _OPCODES, self.data
        for _ in range(_MOST_STEPS):
            code = data[self.at]
            action = opcodes.get(code)
            if action is None:
                raise _RefusedError(f"opcode {bytes([code])!r} at byte {self.at}")
            self.at += 1
            action(self)
            if self.done:
                return self.stack.pop()
        raise _RefusedError(f"more than {_MOST_STEPS} steps")

    def take(self, n: int) -> bytes:
        # A negative length would go back, and the machine round in circles.
        if n < 0 or self.at + n > len(self.data):
            raise IndexError
        self.at += n
        return self.data[self.at - n : self.at]

    def integer(self, layout: Struct) -> int:
        value: int = layout.unpack_from(self.data, self.at)[0]
        self.at += layout.size
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + _LONGEST_NAME)
        text = self.data[self.at : end].decode("ascii")
        self.at = end + 1
        return text

    def pop_to_mark(self) -> list[object]:
        for n in range(len(self.stack) - 1, -1, -1):
            if self.stack[n] is _Mark:
                items = self.stack[n + 1 :]
                del self.stack[n:]
                return items
        raise IndexError


_Action = Callable[[_Interpreter], None]


def _push(read: Callable[[_Interpreter], object]) -> _Action:
    def action(machine: _Interpreter) -> None:
        machine.stack.append(read(machine))

    return action


def _integer(layout: Struct) -> _Action:
    def action(machine: _Interpreter) -> None:
        machine.stack.append(machine.integer(layout))

    return action


def _put(layout: Struct) -> _Action:
    def action(machine: _Interpreter) -> None:
        machine.memo[machine.integer(layout)] = machine.stack[-1]

    return action


def _get(layout: Struct) -> _Action:
    def action(machine: _Interpreter) -> None:
        machine.stack.append(machine.memo[machine.integer(layout)])

    return action


def _text(layout: Struct) -> _Action:
    # Python 2 wrote both file names and the pixels as "strings"; bytes keep them as they are.
    def action(machine: _Interpreter) -> None:
        machine.stack.append(machine.take(machine.integer(layout)))

    return action


def _fixed_tuple(n: int) -> _Action:
    def action(machine: _Interpreter) -> None:
        if len(machine.stack) < n:
            raise IndexError
        machine.stack[-n:] = [tuple(machine.stack[-n:])]

    return action


def _protocol(machine: _Interpreter) -> None:
    machine.integer(_UINT8)


def _tuple(machine: _Interpreter) -> None:
    machine.stack.append(tuple(machine.pop_to_mark()))


def _global(machine: _Interpreter) -> None:
    name = f"{machine.line()} {machine.line()}"
    if name not in {*_RECONSTRUCT, _NDARRAY, _DTYPE}:
        raise _RefusedError(f"global {name!r}")
    machine.stack.append(_Global(name))


def _appends(machine: _Interpreter) -> None:
    items, target = machine.pop_to_mark(), machine.stack[-1]
    if not isinstance(target, list):
        raise _RefusedError(f"a {type(target).__name__} where a list belongs")
    target.extend(items)


def _setitems(machine: _Interpreter) -> None:
    items, target = machine.pop_to_mark(), machine.stack[-1]
    if not isinstance(target, dict):
        raise _RefusedError(f"a {type(target).__name__} where a dictionary belongs")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Bytes alone: the hash of a tuple nested a million deep would overflow the C stack.
        if not isinstance(key, bytes):
            raise _RefusedError(f"a {type(key).__name__} as a key")
        target[key] = value


def _reduce(machine: _Interpreter) -> None:
    arguments, name = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, _Global) or not isinstance(arguments, tuple):
        raise _RefusedError(f"a call of a {type(name).__name__}")
    if name in _RECONSTRUCT:
        machine.stack.append(_Array())
    elif name == _DTYPE and arguments and isinstance(arguments[0], bytes):
        machine.stack.append(_Dtype(arguments[0].decode("ascii")))
    else:
        raise _RefusedError(f"a call of {str(name)!r}")


def _build(machine: _Interpreter) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if isinstance(target, _Dtype):
        return  # byte order and alignment: meaningless for the one-byte type, and no other is let through
    if not isinstance(target, _Array) or not isinstance(state, tuple) or len(state) != 5:
        raise _RefusedError("a state that is not an array's")
    _, shape, dtype, fortran, raw = state
    if not isinstance(dtype, _Dtype) or dtype != "u1" or fortran is not False or not isinstance(raw, bytes):
        raise _RefusedError("an array of another type than uint8")
    if not isinstance(shape, tuple) or [type(side) for side in shape] != [int, int]:
        raise _RefusedError("an array of another shape than [N, 3072]")
    target.value = np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def _stop(machine: _Interpreter) -> None:
    machine.done = True


_OPCODES: dict[int, _Action] = {
    ord(code): action
    for code, action in {
        "\x80": _protocol,
        "}": _push(lambda _: {}),
        "]": _push(lambda _: []),
        "(": _push(lambda _: _Mark),
        "q": _put(_UINT8),
        "r": _put(_UINT32),
        "h": _get(_UINT8),
        "j": _get(_UINT32),
        "K": _integer(_UINT8),
        "M": _integer(_UINT16),
        "J": _integer(_INT32),
        "U": _text(_UINT8),
        "T": _text(_INT32),
        "X": _text(_UINT32),  # BINUNICODE, as Python 3 writes text
        "N": _push(lambda _: None),
        "\x88": _push(lambda _: True),
        "\x89": _push(lambda _: False),
        "\x85": _fixed_tuple(1),
        "\x86": _fixed_tuple(2),
        "\x87": _fixed_tuple(3),
        "t": _tuple,
        "e": _appends,
        "u": _setitems,
        "c": _global,
        "R": _reduce,
        "b": _build,
        ".": _stop,
    }.items()
}


def read_cifar_pickle(
    path: Path, label_field: str, *, md5: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one official batch.

    Args:
        path: ``test_batch``, ``data_batch_1``, ``test`` ...
        label_field: ``labels`` for CIFAR-10, ``fine_labels`` for CIFAR-100.
        md5: Published md5 of the file; None where there is none.

    Returns:
        Pixels uint8 [N, 3072], each row 1,024 red, green and blue values; labels int64 [N].

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It is far larger than any such batch.
        DataError: It is not such a batch: another md5, empty, truncated, or it holds anything else.
    """
    data = read_bytes(path, largest=_LARGEST_BATCH)
    if md5 is not None and (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != md5:
        raise DataError(
            f"{path} is not the published file",
            expected=f"md5 {md5}",
            found=f"{found} of {len(data)} bytes",
            fix=_FIX,
        )
    try:
        content = _Interpreter(data).run()
    except _RefusedError as error:
        raise _not_a_batch(
            path, "a dictionary of pixels and labels", f"{error}; it was not executed"
        ) from error
    except (IndexError, KeyError, ValueError, StructError) as error:
        raise _not_a_batch(path, "a whole pickle", f"{len(data)} bytes, cut short or damaged") from error
    return _batch(path, content, label_field)


def _batch(path: Path, content: object, label_field: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels and labels of what the interpreter built."""
    if not isinstance(content, dict):
        raise _not_a_batch(path, "a dictionary", f"a {type(content).__name__}")
    fields = {key.decode("ascii", "replace"): value for key, value in content.items()}
    array, labels = fields.get("data"), fields.get(label_field)
    pixels = array.value if isinstance(array, _Array) else None
    if pixels is None or pixels.shape[1] != 3072 or not isinstance(labels, list):
        names = ", ".join(sorted(fields))[:200]
        raise _not_a_batch(path, f"'data' [N, 3072] and '{label_field}'", names or "an empty dictionary")
    if len(labels) != len(pixels) or not all(type(label) is int for label in labels):
        raise _not_a_batch(path, f"{len(pixels)} whole-number labels", f"{len(labels)} entries")
    return pixels, np.array(labels, dtype=np.int64)


def _not_a_batch(path: Path, expected: str, found: str) -> DataError:
    return DataError(f"{path} is not an official CIFAR batch", expected=expected, found=found, fix=_FIX)
