"""The official CIFAR batches, read without executing pickled code.

The published files are protocol-2 pickles of a dictionary with a byte array and two lists. The interpreter below
knows the opcodes that such a file needs and no others; the three NumPy globals in it are read as names and never
looked up, so nothing can be called.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes

__all__ = ["read_cifar_pickle"]

#: The largest published batch (CIFAR-100 train) is 155 MB.
_LARGEST_BATCH = 512 * 2**20

_ARRAY_GLOBALS = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
}


class _Global(str):
    """Name of a global that the pickle mentions; only a name."""


class _Dtype(str):
    """Type code of a NumPy dtype."""


class _Array:
    """An array under construction."""

    value: NDArray[np.uint8] | None = None


class _Mark:
    """Marks a place on the stack."""


class _Refused(Exception):
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
        opcodes = _OPCODES
        while not self.done:
            code = self.data[self.at]
            self.at += 1
            action = opcodes.get(code)
            if action is None:
                raise _Refused(f"opcode {bytes([code])!r} at byte {self.at - 1}")
            action(self)
        return self.stack.pop()

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise IndexError
        self.at += n
        return self.data[self.at - n : self.at]

    def integer(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
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

    def top(self, kind: type) -> object:
        if not isinstance(self.stack[-1], kind):
            raise _Refused(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} belongs")
        return self.stack[-1]


def _push(read: Callable[[_Interpreter], object]) -> Callable[[_Interpreter], None]:
    def action(machine: _Interpreter) -> None:
        machine.stack.append(read(machine))

    return action


def _put(layout: str) -> Callable[[_Interpreter], None]:
    def action(machine: _Interpreter) -> None:
        machine.memo[machine.integer(layout)] = machine.stack[-1]

    return action


def _text(layout: str) -> Callable[[_Interpreter], None]:
    # Python 2 wrote both file names and the pixels as "strings"; bytes keep them as they are.
    return _push(lambda machine: machine.take(machine.integer(layout)))


def _fixed_tuple(n: int) -> Callable[[_Interpreter], None]:
    def action(machine: _Interpreter) -> None:
        machine.stack[-n:] = [tuple(machine.stack[-n:])]

    return action


def _global(machine: _Interpreter) -> None:
    name = f"{machine.line()} {machine.line()}"
    if name not in _ARRAY_GLOBALS:
        raise _Refused(f"global {name!r}")
    machine.stack.append(_Global(name))


def _appends(machine: _Interpreter) -> None:
    items = machine.pop_to_mark()
    target = machine.top(list)
    target.extend(items)  # type: ignore[attr-defined]  # top() has checked that it is a list


def _setitems(machine: _Interpreter) -> None:
    items = machine.pop_to_mark()
    target = machine.top(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[key] = value  # type: ignore[index]  # top() has checked that it is a dict


def _reduce(machine: _Interpreter) -> None:
    arguments, name = machine.stack.pop(), machine.stack.pop()
    if isinstance(name, _Global) and name.endswith("_reconstruct"):
        machine.stack.append(_Array())
    elif isinstance(name, _Global) and name == "numpy dtype" and isinstance(arguments, tuple):
        machine.stack.append(_Dtype(_ascii(arguments[0])))
    else:
        raise _Refused(f"a call of {name!r}")


def _build(machine: _Interpreter) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, _Dtype):
        return  # byte order and alignment: meaningless for the one-byte type, and no other is let through
    if not isinstance(target, _Array) or not isinstance(state, tuple) or len(state) != 5:
        raise _Refused("a state that is not an array's")
    _, shape, dtype, fortran, raw = state
    if dtype != "u1" or fortran or not isinstance(raw, bytes) or not isinstance(shape, tuple):
        raise _Refused(f"an array of type {dtype!r}")
    target.value = np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def _stop(machine: _Interpreter) -> None:
    machine.done = True


def _ascii(value: object) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


_OPCODES: dict[int, Callable[[_Interpreter], None]] = {
    ord(code): action
    for code, action in {
        "\x80": lambda machine: machine.take(1) and None,  # PROTO
        "}": _push(lambda _: {}),
        "]": _push(lambda _: []),
        "(": _push(lambda _: _Mark),
        "q": _put("<B"),
        "r": _put("<I"),
        "h": _push(lambda machine: machine.memo[machine.integer("<B")]),
        "j": _push(lambda machine: machine.memo[machine.integer("<I")]),
        "K": _push(lambda machine: machine.integer("<B")),
        "M": _push(lambda machine: machine.integer("<H")),
        "J": _push(lambda machine: machine.integer("<i")),
        "U": _text("<B"),
        "T": _text("<i"),
        "X": _text("<I"),  # BINUNICODE, as Python 3 writes text
        "N": _push(lambda _: None),
        "\x88": _push(lambda _: True),
        "\x89": _push(lambda _: False),
        "\x85": _fixed_tuple(1),
        "\x86": _fixed_tuple(2),
        "\x87": _fixed_tuple(3),
        "t": lambda machine: machine.stack.append(tuple(machine.pop_to_mark())),
        "e": _appends,
        "u": _setitems,
        "c": _global,
        "R": _reduce,
        "b": _build,
        ".": _stop,
    }.items()
}


def read_cifar_pickle(path: Path, label_field: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one official batch.

    Args:
        path: ``test_batch``, ``data_batch_1``, ``test`` ...
        label_field: ``labels`` for CIFAR-10, ``fine_labels`` for CIFAR-100.

    Returns:
        Pixels uint8 [N, 3072], each row 1,024 red, green and blue values; labels int64 [N].

    Raises:
        StorageError: The file cannot be read.
        DataError: It is not such a batch: empty, truncated, or it holds anything else.
    """
    data = read_bytes(path, largest=_LARGEST_BATCH)
    wrong = f"{path} is not an official CIFAR batch"
    fix = "fetch and unpack the published archive again"
    try:
        content = _Interpreter(data).run()
    except _Refused as error:
        raise DataError(
            wrong, expected="a dictionary of pixels and labels", found=f"{error}; it was not executed", fix=fix
        ) from error
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise DataError(
            wrong, expected="a whole pickle", found=f"{len(data)} bytes, cut short or damaged", fix=fix
        ) from error
    if not isinstance(content, dict):
        raise DataError(wrong, expected="a dictionary", found=type(content).__name__, fix=fix)
    fields = {_ascii(key): value for key, value in content.items()}
    array, labels = fields.get("data"), fields.get(label_field)
    pixels = array.value if isinstance(array, _Array) else None
    if pixels is None or pixels.ndim != 2 or pixels.shape[1] != 3072 or not isinstance(labels, list):
        raise DataError(
            wrong, expected=f"'data' [N, 3072] and '{label_field}'", found=", ".join(sorted(fields)), fix=fix
        )
    if len(labels) != len(pixels) or not all(type(label) is int for label in labels):
        raise DataError(
            wrong, expected=f"{len(pixels)} whole-number labels", found=f"{len(labels)} entries", fix=fix
        )
    return pixels, np.array(labels, dtype=np.int64)
