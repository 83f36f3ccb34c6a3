"""MATLAB's files: what SciPy writes is read as SciPy reads it; damaged ones are one line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import io as scipy_io

from frcnn_cli.data.proposals.matlab import read_mat
from frcnn_cli.errors import DataError

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def a_cell(values: list, column: bool = False) -> np.ndarray:
    cell = np.empty((len(values), 1) if column else (1, len(values)), dtype=object)
    cell.ravel()[:] = values
    return cell


def same(ours, theirs) -> bool:
    if theirs.dtype == object:
        return ours.shape == theirs.shape and all(map(same, ours.ravel(), theirs.ravel()))
    if theirs.dtype.kind == "U":
        return ours.tolist() == theirs.tolist()
    return (ours.dtype.kind, ours.dtype.itemsize, ours.shape) == (
        theirs.dtype.kind,
        theirs.dtype.itemsize,
        theirs.shape,
    ) and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")


array = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, min_side=0)))
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=9)
value = st.recursive(array | text, lambda inner: st.builds(a_cell, st.lists(inner, max_size=3), st.booleans()))


@given(first=value, second=value, compressed=st.booleans())
def test_as_scipy_reads_it(tmp_path_factory, first, second, compressed):
    path = tmp_path_factory.getbasetemp() / "any.mat"
    scipy_io.savemat(path, {"boxes": first, "other": 1, "images": second}, do_compression=compressed)
    ours, theirs = read_mat(path, ("boxes", "images")), scipy_io.loadmat(path)
    assert set(ours) == {"boxes", "images"}
    assert same(ours["boxes"], theirs["boxes"])
    assert same(ours["images"], theirs["images"])


def test_other_kinds_are_none(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", {"boxes": {"a": 1}, "images": a_cell([{"b": 2}, 3.0])})
    found = read_mat(tmp_path / "a.mat", ("boxes", "images"))
    assert found["boxes"] is None
    assert found["images"][0, 0] is None
    assert found["images"][0, 1].tolist() == [[3.0]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes(tmp_path, order):
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)

    name = struct.pack(f"{order}I", 1 << 16 | 1) + b"x" + bytes(3)  # the small form: one byte of type 1
    parts = [
        element(6, struct.pack(f"{order}II", 6, 0)),  # a double,
        element(5, struct.pack(f"{order}ii", 2, 2)),  # 2 x 2,
        name,
        element(4, struct.pack(f"{order}4H", 1, 258, 3, 4)),  # which is stored as uint16, column by column
    ]
    variable = element(14, b"".join(parts))
    header = b"MATLAB 5.0".ljust(124) + (b"\x00\x01IM" if order == "<" else b"\x01\x00MI")
    (tmp_path / "a.mat").write_bytes(header + variable)
    found = read_mat(tmp_path / "a.mat", ("x",))["x"]
    assert (found.dtype, found.tolist()) == (np.float64, [[1, 3], [258, 4]])
    assert scipy_io.loadmat(tmp_path / "a.mat")["x"].tolist() == found.tolist()
    packed = zlib.compress(variable)
    (tmp_path / "a.mat").write_bytes(header + struct.pack(f"{order}II", 15, len(packed)) + packed)
    assert read_mat(tmp_path / "a.mat", ("x",))["x"].tolist() == found.tolist()


def test_a_file_that_ends_scipy(tmp_path):
    """A cell array that says it has more cells than there is memory for."""
    file = io.BytesIO()
    scipy_io.savemat(file, {"boxes": a_cell([np.ones((1, 4))])})
    data = file.getvalue().replace(struct.pack("<II", 1, 1), struct.pack("<II", 2**31 - 1, 2**31 - 1), 1)
    assert data != file.getvalue()
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.mat: not a \.mat file, or a damaged one \(\d+ cells, 0 deep"):
        read_mat(tmp_path / "a.mat", ("boxes",))


@pytest.mark.parametrize("compressed", [False, True])
def test_every_byte_may_be_wrong(tmp_path, compressed):
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {"boxes": a_cell([np.ones((1, 4))]), "images": a_cell(["ä"])}, do_compression=compressed)
    sound = path.read_bytes()
    faults: list[str] = []
    for place in range(124, len(sound)):
        for byte in (0, 1, 255, sound[place] ^ 16):
            path.write_bytes(sound[:place] + bytes([byte]) + sound[place + 1 :])
            try:
                read_mat(path, ("boxes", "images"))
            except DataError as error:
                faults.append(str(error))
    assert len(faults) > 100
    assert "\n" not in "".join(faults)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"a\.mat: no such file"):
        read_mat(tmp_path / "a.mat", ("boxes",))
