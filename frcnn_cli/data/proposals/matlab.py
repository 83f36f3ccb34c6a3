"""MATLAB's .mat files of format 5 (``save -v6`` and ``-v7``): arrays of numbers, texts, and cells of them.

As specified in "MAT-File Format" (The MathWorks). A file is a header of 128 bytes and elements, each of which says its
type and its size. A variable is an element made of elements, perhaps compressed: flags, dimensions, name, content.
SciPy reads these files too, but some damaged ones end the process.

What a file says of its sizes is not believed: a compressed variable is unpacked to `ALLOWANCE` and `RATIO` times its
own length at most, and a file has at most `MOST_CELLS` cells, so that memory stays below 100 MB and some 30 times the
file. A variable that is not asked for is not unpacked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.errors import DataError
from frcnn_cli.files import read_bytes, reason

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy's names of the elements' types that are numbers."""

INT32, UINT32, MATRIX, COMPRESSED = 5, 6, 14, 15

TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Encodings of the elements' types that hold text."""

CELL, CHAR = 1, 4
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""NumPy's names of the arrays' classes that are numbers; they may be stored as a smaller type."""

HEADER = 128
BEGINNING = 2**12
"""As many bytes of a variable are unpacked to see its name."""

ALLOWANCE, RATIO = 2**24, 20
"""Boxes as float64 are a sixth of their length when they are compressed; zeros, a thousandth."""

MOST_CELLS = 1_000_000
"""More than a data set has images."""

DEEPEST = 8
"""As deep as cells may lie in cells."""


def read_mat(path: Path, names: Collection[str]) -> dict[str, np.ndarray | None]:
    """Read some variables of a file.

    Returns:
        {name: array}, of those that are there. Cells are arrays of dtype object, texts arrays of strings, one a row;
        what is of another kind (structures, sparse arrays ...) is None.

    Raises:
        DataError: the file is missing, damaged, or of another format.
    """
    data = memoryview(read_bytes(path))
    if bytes(data[:HEADER]).startswith(b"MATLAB 7.3"):
        raise DataError(f"{path}: MATLAB's format 7.3 is not read; save it with -v7")
    try:
        return dict(_variables(data, names))
    except (ValueError, zlib.error, MemoryError) as error:
        raise DataError(f"{path}: not a .mat file, or a damaged one ({reason(error)})") from error


def _variables(data: memoryview, names: Collection[str]) -> Iterator[tuple[str, np.ndarray | None]]:
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[HEADER - 2 : HEADER]))
    if order is None:
        raise ValueError("it lacks the header of format 5")
    seen: set[str] = set()
    budget = Budget(MOST_CELLS)
    for kind, body in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            unpacked = _unpacked(body, order, names)
            if unpacked is None:
                continue
            kind, body = next(_elements(unpacked, order), (0, unpacked))
        if kind != MATRIX:
            raise ValueError(f"an element of type {kind} in the place of a variable")
        name, value = _array(body, order, names, budget)
        if name in names:
            if name in seen:
                raise ValueError(f"{name} is there twice")
            seen.add(name)
            yield name, value


def _unpacked(body: memoryview, order: str, names: Collection[str]) -> memoryview | None:
    """What a compressed element holds; None if it is a variable that is not asked for.

    Raises:
        ValueError: it is longer than `RATIO` allows, or than it says itself.
    """
    stream = zlib.decompressobj()
    data = stream.decompress(body, BEGINNING)
    if len(data) < 8:
        raise ValueError("it ends in the middle of an element")
    kind, size = struct.unpack_from(f"{order}II", data)
    if kind == MATRIX and _name(memoryview(data)[8:], order) not in names:
        return None
    most = ALLOWANCE + RATIO * len(body)
    if size > most:
        raise ValueError(f"a variable of {size:,} bytes in {len(body):,}; at most {most:,} are unpacked")
    rest = stream.decompress(stream.unconsumed_tail, max(8 + size - len(data), 0) + 1)
    return memoryview(data + rest)


def _name(body: memoryview, order: str) -> str:
    """The name of a variable, by its beginning."""
    elements = _elements(body, order)
    _next(elements), _next(elements)
    return bytes(_next(elements)[1]).decode("latin1")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The elements that lie one after the other: types and contents."""
    place = 0
    while place < len(data):
        if len(data) < place + 8:
            raise ValueError("it ends in the middle of an element")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start, padding = place + 8, -size % 8
        if kind >> 16:  # a small element has its type and size in one word, and up to four bytes in the other
            kind, size, start, padding = kind & 0xFFFF, kind >> 16, place + 4, 0
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
            place += 8
        else:
            place = start + size + (0 if kind == COMPRESSED else padding)
        if start + size > len(data):
            raise ValueError("it ends in the middle of an element")
        yield kind, data[start : start + size]


NOTHING = np.zeros((0, 0))
"""An empty cell. There may be very many, so they are one."""


@dataclass
class Budget:
    """How many cells a file may still have."""

    cells: int


def _array(
    body: memoryview, order: str, names: Collection[str] | None, budget: Budget, depth: int = 0
) -> tuple[str, Any]:
    """The name and the value of a variable; the value only if it is one of the names, or these are None."""
    if not len(body):
        return "", NOTHING
    elements = _elements(body, order)
    flags = _numbers(*_next(elements), order, UINT32)
    shape = tuple(_numbers(*_next(elements), order, INT32).tolist())
    name = bytes(_next(elements)[1]).decode("latin1")
    if len(flags) != 2 or len(shape) < 2 or min(shape) < 0:
        raise ValueError("an array without its flags and dimensions")
    if names is not None and name not in names:
        return name, None
    kind = int(flags[0]) & 0xFF
    if kind in CLASSES:
        values = _numbers(*_next(elements), order).astype(CLASSES[kind])
        return name, values.reshape(shape, order="F")
    if kind == CHAR:
        return name, _rows(*_next(elements), order, shape)
    if kind == CELL:
        return name, _cells(elements, order, shape, len(body), budget, depth)
    return name, None


def _next(elements: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(elements, None)
    if found is None:
        raise ValueError("an array without all of its parts")
    return found


def _numbers(kind: int, body: memoryview, order: str, wanted: int | None = None) -> np.ndarray:
    if kind not in NUMBERS or wanted not in (None, kind):
        raise ValueError(f"an element of type {kind} in the place of numbers")
    return np.frombuffer(body, order + NUMBERS[kind])


def _rows(kind: int, body: memoryview, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """The rows of a text, which is stored column by column."""
    if kind not in TEXTS:
        raise ValueError(f"an element of type {kind} in the place of text")
    wide = TEXTS[kind] in ("utf-16", "utf-32")
    text = bytes(body).decode(TEXTS[kind] + {"<": "-le", ">": "-be"}[order] * wide)
    if len(text) != prod(shape):
        raise ValueError(f"{len(text)} characters in the place of {prod(shape)}")
    return np.array([text[row :: shape[0]] for row in range(shape[0])])


def _cells(
    elements: Iterator[tuple[int, memoryview]],
    order: str,
    shape: tuple[int, ...],
    size: int,
    budget: Budget,
    depth: int,
) -> np.ndarray:
    budget.cells -= prod(shape)
    if prod(shape) > size // 8 or budget.cells < 0 or depth > DEEPEST:
        raise ValueError(f"{prod(shape)} cells, {depth} deep, in {size} bytes")
    cells = np.empty(prod(shape), dtype=object)
    for place in range(len(cells)):
        kind, body = _next(elements)
        if kind != MATRIX:
            raise ValueError(f"an element of type {kind} in the place of a cell")
        cells[place] = _array(body, order, None, budget, depth + 1)[1]
    return cells.reshape(shape, order="F")
