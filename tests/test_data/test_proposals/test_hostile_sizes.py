"""Small files that say they are large, or are: memory stays within the bound that the readers state."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io

from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.matlab import ALLOWANCE, RATIO, read_mat
from frcnn_cli.data.proposals.npz import MOST_BOXES, ProposalFile
from frcnn_cli.errors import DataError


@contextmanager
def bounded(path: Path, allowance: float, ratio: float) -> Iterator[None]:
    """No more memory than so many MB, and so many times the file, is taken in the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < allowance * 1e6 + ratio * path.stat().st_size


def npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    """A file of NumPy's that says it has this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue() + data


META = b'{"format": "frcnn-proposals", "version": 1, "sizes": {"a": [9, 9]}}'


def write(path: Path, a: bytes, meta: bytes = META, compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.npy", a)
        archive.writestr("__meta__.npy", npy((len(meta),), "|u1", meta))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (npy((2**40, 4)), "an array of 17,592,186,044,416 bytes; at most"),
        (npy((10**6, 10**6, 10**6, 10**6)), "an array of "),
        (npy((4 * MOST_BOXES, 4), data=bytes(64 * MOST_BOXES)), "an array of 64,000,000 bytes; at most 32,000,000"),
        (npy((1, 4), data=bytes(16 + 2**26)), "an array of 16 bytes in the place of"),
        (npy((3, 4), data=bytes(16)), "an array of 48 bytes in the place of 16"),
        (npy((-1, 4)), "a cannot be read ("),
        (npy((1,), "|O", bytes(8)), "object arrays"),
        (npy((1,), "|V1000000000"), "an array of "),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000, "a cannot be read ("),
    ],
    ids=range(9),
)
def test_an_array_that_is_not_what_it_says(tmp_path, fault_of, content, fault):
    path = tmp_path / "p.npz"
    write(path, content)
    del content
    with bounded(path, 5, 1):
        assert fault in fault_of(ProposalFile(path).get, "a", 9, 9)


def test_metadata_longer_than_the_ids_allow(tmp_path, fault_of):
    path = tmp_path / "p.npz"
    write(path, npy((0, 4)), b'{"a": [' + b"[]," * 10_000_000 + b"[]]}")
    assert path.stat().st_size < 100_000
    with bounded(path, 5, 1):
        assert "an array of 30,000,011 bytes; at most 1," in fault_of(ProposalFile, path)


def test_as_long_as_the_ids_allow(tmp_path):
    """Names that take six bytes of JSON a character, and twelve."""
    from frcnn_cli.data.proposals.npz import ImageProposals, write_npz

    path = tmp_path / "p.npz"
    names = [f"{number}{'猫' * 80}{'😀' * 80}" for number in range(2000)]
    boxes = np.zeros((0, 4), np.float32)
    write_npz(path, (ImageProposals(name, boxes, 99999, 99999, picture=(10**9, 2**32)) for name in names), {})
    assert len(ProposalFile(path)) == 2000


def test_compressed_as_no_proposal_file_is(tmp_path, fault_of):
    write(tmp_path / "p.npz", npy((0, 4)), compression=zipfile.ZIP_LZMA)
    assert "compressed in a way that no proposal file is" in fault_of(ProposalFile, tmp_path / "p.npz")


def mat(*variables: bytes) -> bytes:
    """A .mat of compressed variables."""
    packed = [zlib.compress(variable, 9) for variable in variables]
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"".join(struct.pack("<II", 15, len(p)) + p for p in packed)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(name: str, kind: int, shape: tuple[int, int], content: bytes) -> bytes:
    about = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", *shape))
    return element(14, about + element(1, name.encode()) + content)


NUMBERS, CELLS = 6, 1


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: variable("boxes", NUMBERS, (2**23, 4), element(9, bytes(2**28))), "are unpacked"),
        (lambda: variable("boxes", CELLS, (2**22, 1), element(14, b"") * 2**22), "are unpacked"),
        (lambda: variable("boxes", CELLS, (2**21 - 99, 1), element(14, b"") * (2**21 - 99)), "cells, 0 deep, in"),
        (lambda: struct.pack("<II", 14, 2**32 - 8) + variable("boxes", NUMBERS, (1, 4), b"")[8:], "are unpacked"),
        (lambda: variable("boxes", CELLS, (3, 1), variable("", CELLS, (10**6, 1), element(14, b"") * 10**6)), "cells"),
    ],
    ids=["numbers", "cells", "many cells", "what it says", "cells of cells"],
)  # fmt: skip
def test_a_mat_that_unpacks_to_more(tmp_path, make, fault, fault_of):
    path = tmp_path / "p.mat"
    path.write_bytes(mat(make()))
    with bounded(path, 100, 30):
        assert fault in fault_of(open_proposals, path)


def test_a_variable_that_is_not_asked_for_is_not_unpacked(tmp_path):
    path = tmp_path / "p.mat"
    other = variable("other", NUMBERS, (2**23, 4), element(9, bytes(2**28)))
    path.write_bytes(mat(other, variable("boxes", NUMBERS, (1, 4), element(2, b"\1\2\3\4"))))
    del other
    with bounded(path, 2, 1):
        assert read_mat(path, ("boxes",))["boxes"].tolist() == [[1, 2, 3, 4]]


def test_a_variable_is_there_once(tmp_path, fault_of):
    path = tmp_path / "p.mat"
    path.write_bytes(mat(*[variable("boxes", NUMBERS, (2**18, 4), element(9, bytes(2**23)))] * 9))
    with bounded(path, 100, 30):
        assert "boxes is there twice" in fault_of(open_proposals, path)


def test_boxes_as_people_have_them_are_unpacked(tmp_path):
    """Stored as float64, as other programs do: six times as long as compressed, and a few cells longer."""
    path = tmp_path / "p.mat"
    cells, ids = np.empty((1, 300), object), np.empty((300, 1), object)
    generator = np.random.default_rng(0)
    for place in range(300):
        cells[0, place] = generator.integers(1, 500, (1000, 4)).astype(np.float64)
        ids[place, 0] = f"{place:06}"
    scipy_io.savemat(path, {"boxes": cells, "images": ids}, do_compression=True)
    assert sum(cell.nbytes for cell in cells[0]) < ALLOWANCE + RATIO * path.stat().st_size / 3
    assert len(open_proposals(path)) == 300


def readers() -> dict[str, Callable[[Path], object]]:
    """Whatever reads a path that a user names."""
    from frcnn_cli.data.formats.coco import load_coco
    from frcnn_cli.data.formats.yolo import load_yolo
    from frcnn_cli.data.images import find_images, image_size, load_image
    from frcnn_cli.engine.backbone_weights import _read_state
    from frcnn_cli.engine.checkpoint import load_checkpoint
    from frcnn_cli.files import check_writable, fingerprint, read_bytes

    return {
        "image": load_image,
        "header": image_size,
        "folder": lambda path: [load_image(image) for image in find_images([path])],
        ".npz": open_proposals,
        ".mat": open_proposals,
        ".pkl": open_proposals,
        ".txt": lambda path: open_proposals(path, layout="xyxy").get("a", 9, 9),
        "coco": lambda path: load_coco(path, path.parent),
        ".yaml": lambda path: load_yolo(path, "train"),
        "checkpoint": load_checkpoint,
        "weights": _read_state,
        "bytes": read_bytes,
        "fingerprint": fingerprint,
        "output": check_writable,
    }


@pytest.mark.parametrize("name", readers())
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, name, kind, fault_of):
    """Opened, a pipe would wait for ever; /dev/zero would never end."""
    import os

    path = tmp_path / f"a{name if name.startswith('.') else ''}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert "not a regular file" in fault_of(readers()[name], path)


def test_of_a_data_set_too(tmp_path):
    import os

    from frcnn_cli.data.formats.voc import load_voc

    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "a.xml").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a regular file"):
        load_voc(tmp_path, "train")


TEXT = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
"""A text of a megabyte, as a pickle has it."""

COPIES = b"c_codecs\nencode\nq\x00" + TEXT + b"X\x06\x00\x00\x00latin1\x86q\x01R0"
"""Bytes of a text; the function is kept in place 0, what it is called with in place 1."""


def deep_tuple(depth: int) -> bytes:
    """A tuple that has itself twice in it, again and again: small, and for ever to be hashed, compared or shown."""
    return b")" + b"q\x05h\x05\x86" * depth


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b".", "asks for more memory"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**63) + b".", "asks for more memory"),
        (b"(" + b"\x8f" * 400_000 + b"l.", "asks for more memory"),
        (b"(" + b"}" * 200_000 + b"l.", "not detectron2's (a list"),
        (b"(" * 3_000_000, "too deep"),
        (b"(" * 900 + b"N" * 200_000 + b"l" + b"." * 2, "p.pkl: "),
        (b"N" + b"\x94" * 800_000 + b".", "asks for more memory"),
        (COPIES + b"(" + b"h\x00h\x01R" * 20_000 + b"l.", "asks for more memory"),
        (COPIES + b"(" + b"h\x00h\x01R0" * 20_000 + b"l.", "asks for more memory"),
        (b"(" + b"h\x00h\x01\x81" * 10 + b"l.", "memo value not found"),
        (b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4tR(K\x03" + TEXT + b"tq\x03b" + b"h\x03b" * 20_000 + b".", "not det"),
        (b"cnumpy\nndarray\n((J\x00\xe1\xf5\x05K\x00tX\x02\x00\x00\x00U1C\x00tR.", "as many rows of none"),
        (b"cnumpy\nndarray\n((J\x00\xe1\xf5\x05K\x01tX\x02\x00\x00\x00u1C\x00tR.", "of more numbers than there are"),
        (b"cnumpy\nndarray\n(" + deep_tuple(60) + b"X\x02\x00\x00\x00u1C\x00tR.", "a shape that is none"),
        (b"cnumpy\nndarray\n(K\x01" + deep_tuple(60) + b"C\x01atR.", "without a name"),
        (b"}" + deep_tuple(60) + b"Ns.", "a tuple that is used as a key"),
        (b"}(" + deep_tuple(60) + b"Nu.", "a tuple that is used as a key"),
        (b"(" + deep_tuple(60) + b"Nd.", "a tuple that is used as a key"),
        (b"\x8f(" + deep_tuple(60) + b"\x90.", "a tuple that is used as a key"),
        (b"(" + deep_tuple(60) + b"\x91.", "a tuple that is used as a key"),
        (b"}\x8a\x09" + (2**65).to_bytes(9, "little") + b"Ns.", "a int that is used as a key"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.", "p.pkl: not"),
        (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.", "p.pkl: not"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.", "p.pkl: not"),
        (b"Nr\xff\xff\xff\xff.", "p.pkl: not detectron2's (a NoneType"),
    ],
    ids=range(25),
)  # fmt: skip
def test_a_pickle_that_makes_more_than_it_holds(tmp_path, fault_of, content, fault):
    path = tmp_path / "p.pkl"
    path.write_bytes(content)
    del content
    with bounded(path, 100, 30):
        assert fault in fault_of(open_proposals, path)


def test_ids_that_are_more_than_a_file_has_room_for(tmp_path, fault_of):
    import pickle

    path = tmp_path / "p.pkl"
    ids = np.arange(3_000_000, dtype="u1")
    path.write_bytes(pickle.dumps({"ids": ids, "boxes": [], "objectness_logits": []}, 4))
    with bounded(path, 100, 30):
        assert "3,000,000 ids, more than a file of its length has room for" in fault_of(open_proposals, path)


def test_boxes_of_an_image_are_no_more_than_of_other_formats(tmp_path, fault_of):
    import pickle

    path = tmp_path / "p.pkl"
    boxes = np.zeros((MOST_BOXES + 1, 4), "u1")
    path.write_bytes(pickle.dumps({"ids": ["a"], "boxes": [boxes], "objectness_logits": [boxes[:, 0]]}, 4))
    with bounded(path, 100, 30):
        assert "1,000,001 boxes; at most 1,000,000 are read" in fault_of(open_proposals(path).get, "a", 9, 9)


def test_a_pickle_as_people_have_them_is_read(tmp_path):
    """Many images with few boxes each, whose objects are long beside their numbers; Detectron's protocol too."""
    import pickle

    count = 4000
    content = {
        "ids": list(range(count)),
        "boxes": [np.zeros((number % 3, 4), "f4") for number in range(count)],
        "objectness_logits": [np.zeros(number % 3, "f4") for number in range(count)],
        "bbox_mode": 0,
    }
    for protocol in (2, 4):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(content, protocol))
        with bounded(path, 100, 30):
            assert len(open_proposals(path)) == count
