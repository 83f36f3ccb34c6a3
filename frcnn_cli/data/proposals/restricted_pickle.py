"""A pickle read without running any of it: numbers, text, plain containers and arrays come out, or an error.

A pickle is a program: it calls whatever function it can name. Here every name it may use leads to a stand-in of ours,
which only converts what it is given, and any other name is refused. NumPy's own constructors are not called either:
they trust the state a pickle gives them.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.errors import DataError
from frcnn_cli.files import read_bytes, reason


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of any protocol, Python 2's included.

    Returns:
        What it holds. Arrays, of whatever type of numbers or text, are `PickledArray`.

    Raises:
        DataError: the file is missing or damaged, or asks for anything else than arrays and plain containers.
    """
    data = read_bytes(path)
    try:
        # Python 2 wrote an array's bytes as text, which latin1 carries over one to one.
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
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

    def __setstate__(self, state: tuple) -> None:
        self.code = state[1] + self.code

    def resolve(self) -> np.dtype:
        if not re.fullmatch("[<>=|]?[biufSU][0-9]{1,6}", self.code):
            raise _RefusedError(f"an array of {self.code[:80]!a}")
        return np.dtype(self.code)


def _array(data: bytes | bytearray | str, dtype: _DType, shape: tuple[int, ...], order: str) -> PickledArray:
    """numpy.core.numeric._frombuffer, which protocol 5 calls."""
    numbers = dtype.resolve()
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array that is not made of bytes")
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


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler: the one in C takes as much memory as a number in the file tells it to."""

    def find_class(self, module: str, name: str) -> _StandIn:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(ascii(f"{module}.{name}"[:80])) from None
