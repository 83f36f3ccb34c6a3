"""A pickle read without running any of it: numbers, text, plain containers and arrays come out, or an error.

A pickle is a program: it calls whatever function it can name. Here every name it may use leads to a stand-in of ours,
which only converts what it is given, and any other name is refused. NumPy's own constructors are not called either:
they trust the state a pickle gives them.

A few bytes may ask for many, too: an opcode of one byte makes a set of two hundred, and six copy a text of a megabyte
that is there once. So what is made is counted: a pickle may make objects of `ALLOWANCE` bytes and `RATIO` times its own
length. With the file, the places on the stack and what is made of an image's boxes, memory stays below 100 MB and
30 times the file.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.errors import DataError
from frcnn_cli.files import read_bytes, reason

ALLOWANCE, RATIO = 2**26, 18
"""Arrays are as long as in the file; the objects around one are ten times as long as what tells of them."""

DEEPEST = 1000
"""As deep as containers that are not finished may lie in one another."""

LARGEST_KEY = 2**60
"""Beyond, numbers can be chosen that a dictionary takes for ever to tell apart."""

MOST_ROWS_OF_NOTHING = 10_000
"""As lists, rows without a number take memory all the same."""

MOST_DIMENSIONS = 32
"""As NumPy had them before version 2."""


def allowance(size: int) -> int:
    """Bytes that may be made of a file of so many."""
    return ALLOWANCE + RATIO * size


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of any protocol, Python 2's included, in memory that its length bounds.

    Returns:
        What it holds. Arrays, of whatever type of numbers or text, are `PickledArray`.

    Raises:
        DataError: the file is missing or damaged, asks for anything else than arrays and plain containers, or for more
            of them than a file of its length has.
    """
    data = read_bytes(path)
    try:
        # Python 2 wrote an array's bytes as text, which latin1 carries over one to one.
        return _Unpickler(io.BytesIO(data), allowance(len(data))).load()
    except _ExpensiveError:
        raise DataError(
            f"{path}: asks for more memory than a file of {len(data):,} bytes should ({allowance(len(data)):,} bytes)"
        ) from None
    except _RefusedError as error:
        raise DataError(f"{path}: asks for {error}, which is neither an array nor a plain container") from None
    except Exception as error:  # a damaged pickle leads to nearly every kind, says Python's documentation
        raise DataError(f"{path}: not a pickle, or a damaged one ({reason(error)})") from error


class PickledArray:
    """An array as a pickle tells of it.

    Attributes:
        values: a read-only array of numbers or text; None until the pickle has told.
    """

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C").values


class _RefusedError(pickle.UnpicklingError):
    """The pickle names something that has no stand-in."""


class _StandIn:
    """What a name in a pickle leads to: it can be called, and in no way be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("gives a function a state")


class _DType:
    """numpy.dtype: made of a code such as ``f4``, its byte order told afterwards."""

    def __init__(self, code: str, *_copying: bool) -> None:
        self.code = code
        self.order = ""

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def resolve(self) -> np.dtype:
        if not isinstance(self.code, str) or self.order not in ("", "<", ">", "=", "|"):
            raise pickle.UnpicklingError("a type of numbers without a name")
        code = self.order + self.code[:80]
        if not re.fullmatch("[<>=|]?[biufSU][0-9]{1,6}", code):
            raise _RefusedError(f"an array of {code!a}")
        return np.dtype(code)


def _array(data: bytes | bytearray | str, dtype: _DType, shape: tuple[int, ...], order: str) -> PickledArray:
    """numpy.core.numeric._frombuffer, which protocol 5 calls."""
    numbers = dtype.resolve()
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array that is not made of bytes")
    if order not in ("C", "F"):
        raise pickle.UnpicklingError("an array in an order that is none")
    sides = shape if isinstance(shape, tuple) else (shape,)
    if len(sides) > MOST_DIMENSIONS or not all(isinstance(side, int) and abs(side) < 2**63 for side in sides):
        raise pickle.UnpicklingError("an array with a shape that is none")
    if prod(max(abs(side), 1) for side in sides) > max(len(data), MOST_ROWS_OF_NOTHING):
        raise pickle.UnpicklingError("an array of more numbers than there are, or of as many rows of none")
    values = np.frombuffer(bytes(data), numbers).reshape(shape, order=order)
    if numbers.kind == "U":
        values.tolist()  # meets characters that are none now, not in use
    return PickledArray(values)


def _ndarray(shape: tuple[int, ...], code: str, data: bytes) -> PickledArray:
    """numpy.ndarray, called as our own writer does."""
    return _array(data, _DType(code), shape, "C")


def _scalar(dtype: _DType, data: bytes | str) -> Any:
    return _array(data, dtype, (), "C").values.item()


def _empty_array(*_ignored: object) -> PickledArray:
    """numpy.core.multiarray._reconstruct: what the array is follows as its state."""
    return PickledArray()


def _encoded(text: str, encoding: str) -> bytes:
    """_codecs.encode, by which protocols before 3 write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _box_mode(number: int) -> int:
    """detectron2's enumeration, whose members are numbers."""
    return int(number)


_STAND_INS = {
    ("numpy", "ndarray"): _StandIn(_ndarray),
    ("numpy", "dtype"): _StandIn(_DType),
    ("_codecs", "encode"): _StandIn(_encoded),
    ("__builtin__", "bytes"): _StandIn(_no_bytes),
    ("detectron2.structures.boxes", "BoxMode"): _StandIn(_box_mode),
}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _StandIn(_empty_array)
    _STAND_INS[f"{_core}.multiarray", "scalar"] = _StandIn(_scalar)
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _StandIn(_array)


class _ExpensiveError(pickle.UnpicklingError):
    """The pickle makes more than its length allows."""


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler: the one in C takes as much memory as a number in the file tells it to.

    Args:
        file: of the pickle.
        most: bytes that it may make.
    """

    dispatch = pickle._Unpickler.dispatch.copy()

    def __init__(self, file: io.BytesIO, most: int) -> None:
        super().__init__(file, encoding="latin1")
        self.left = most

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _ExpensiveError

    def check_keys(self, keys: list) -> None:
        """Refuse what it may take for ever to find among others: tuples of tuples of tuples, numbers that collide."""
        for key in keys:
            if not (isinstance(key, (str, bytes)) or (isinstance(key, int) and abs(key) < LARGEST_KEY)):
                raise pickle.UnpicklingError(f"a {type(key).__name__} that is used as a key")

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        if size > self.left:  # Python would make room before it reads
            raise _ExpensiveError
        self.append(bytearray(self.read(size)))

    def load_mark(self) -> None:
        if len(self.metastack) >= DEEPEST:
            raise pickle.UnpicklingError("containers that lie too deep in one another")
        super().load_mark()

    def find_class(self, module: str, name: str) -> _StandIn:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(ascii(f"{module}.{name}"[:80])) from None


_PLACE = 9
"""Bytes of a place in a list that grows."""

_MADE = (
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "BINBYTES", "BINBYTES8",
    "SHORT_BINBYTES", "BYTEARRAY8", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET",
    "LIST", "DICT", "FROZENSET", "REDUCE", "BUILD", "INST", "OBJ",
)  # fmt: skip
"""Opcodes that leave something new on the stack, or something that has grown."""

_REMEMBERED = {"MEMOIZE": 110, "PUT": 110, "BINPUT": 110, "LONG_BINPUT": 110}
"""Bytes of a place in the memo, by opcode."""

_GROWN = {"APPENDS": _PLACE, "SETITEMS": 60, "ADDITEMS": 80, "DICT": 60, "FROZENSET": 80}
"""Bytes by which a container grows with each thing that lies on the stack, by opcode."""

_KEYS = {"SETITEMS": slice(0, None, 2), "DICT": slice(0, None, 2), "ADDITEMS": slice(None), "FROZENSET": slice(None)}
"""Where on the stack what is to be a key lies, by opcode."""


def _size(value: object) -> int:
    """Bytes of an object, without what it refers to."""
    if isinstance(value, PickledArray):
        return 250 if value.values is None else value.values.nbytes
    return 250 if isinstance(value, _DType) else sys.getsizeof(value)


def _counted(name: str, handler: Callable[[_Unpickler], None]) -> Callable[[_Unpickler], None]:
    """What an opcode does, and what it costs."""

    def load(unpickler: _Unpickler) -> None:
        if name in _GROWN:
            unpickler.spend(_GROWN[name] * len(unpickler.stack))
        if name in _KEYS:
            unpickler.check_keys(unpickler.stack[_KEYS[name]])
        elif name == "SETITEM":
            unpickler.spend(120)
            unpickler.check_keys(unpickler.stack[-2:-1])
        unpickler.spend(_REMEMBERED.get(name, 0))
        handler(unpickler)
        if name in _MADE and unpickler.stack:
            unpickler.spend(_size(unpickler.stack[-1]))

    return load


_Unpickler.dispatch |= {pickle.BYTEARRAY8[0]: _Unpickler.load_bytearray8, pickle.MARK[0]: _Unpickler.load_mark}
_Unpickler.dispatch |= {
    code: _counted(next(name for name in pickle.__all__ if getattr(pickle, name) == bytes([code])), handler)
    for code, handler in _Unpickler.dispatch.items()
}
