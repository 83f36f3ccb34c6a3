"""fast-rcnn's .mat: boxes of known pixels, written by hand and by us."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import io as scipy_io

from frcnn_cli.data.proposals.fast_rcnn import FastRCNNProposals, write_fast_rcnn
from frcnn_cli.data.proposals.npz import ImageProposals


def cells(values: list, column: bool = False) -> np.ndarray:
    array = np.empty((len(values), 1) if column else (1, len(values)), dtype=object)
    for place, value in enumerate(values):
        array.flat[place] = value
    return array


def write_by_hand(path: Path, boxes: list, ids: list[str], **more) -> Path:
    scipy_io.savemat(path, {"boxes": cells(boxes), "images": cells(ids, column=True), **more})
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64, np.int32, np.float32])
def test_pixel_columns_3_to_5_are_2_to_5(tmp_path, dtype):
    boxes = [np.array([[2, 3, 4, 5], [1, 1, 9, 20]], dtype), np.zeros((0, 4), dtype), np.array([[7, 6, 7, 6]], dtype)]
    file = FastRCNNProposals(write_by_hand(tmp_path / "t.mat", boxes, ["000005", "none", "ünïcode/a b"]))
    assert file.ids == ("000005", "none", "ünïcode/a b")
    assert len(file) == 3
    assert "000005" in file
    assert "5" not in file
    assert file.meta == {}
    first = file.get("000005", 20, 9)
    assert first.tolist() == [[2, 1, 5, 4], [0, 0, 20, 9]]
    assert first.dtype == np.float32
    assert file.get("none", 20, 9).shape == (0, 4)
    assert file.get("ünïcode/a b", 20, 9).tolist() == [[5, 6, 6, 7]]


def test_either_way_round_of_the_cells(tmp_path):
    path = tmp_path / "t.mat"
    scipy_io.savemat(path, {"boxes": cells([np.array([[2, 3, 4, 5]])], column=True), "images": cells(["a"])})
    assert FastRCNNProposals(path).get("a", 9, 9).tolist() == [[2, 1, 5, 4]]
    scipy_io.savemat(path, {"boxes": cells([np.zeros((0, 0))]), "images": cells(["a"])})  # MATLAB's []
    assert FastRCNNProposals(path).get("a", 9, 9).shape == (0, 4)
    scipy_io.savemat(path, {"boxes": cells([]), "images": cells([])})
    assert FastRCNNProposals(path).ids == ()


@pytest.mark.parametrize(
    ("boxes", "fault"),
    [
        (np.array([[0, 0, 4, 5]], np.uint8), "box 0 (-1, -1, 5, 4) lies outside the image (20 x 9)"),
        (np.array([[1, 1, 2, 2], [2, 3, 4, 21]], np.uint16), "box 1 (2, 1, 21, 4) lies outside the image (20 x 9)"),
        (np.array([[3, 2, 20, 9]], np.uint16), "box 0 (1, 2, 9, 20) lies outside the image (20 x 9)"),
        (np.array([[4, 3, 2, 5]], np.uint16), "box 0 (2, 3, 5, 2) is inverted or has no area"),
        (np.array([[4, np.nan, 2, 5]]), "has a coordinate that is not a finite number"),
        (np.array([[4, -np.inf, 2, 1e300]]), "has a coordinate that is not a finite number"),
        (np.array([[1, 2, 3]]), "boxes are int64 [1, 3], not numbers [N, 4]"),
        (np.array([["a"]]), "boxes are <U1, not numbers [N, 4]"),
        ({"a": 1}, "not numbers [N, 4]"),
    ],
)
def test_boxes_that_do_not_fit_name_the_convention(tmp_path, boxes, fault, fault_of):
    path = write_by_hand(tmp_path / "t.mat", [boxes], ["a"])
    message = fault_of(FastRCNNProposals(path).get, "a", 20, 9)
    assert message.startswith(f"{path}: image a: ")
    assert fault in message
    assert message.endswith("; read as y1 x1 y2 x2, pixels counted from 1")


def test_a_missing_image(tmp_path, fault_of):
    path = write_by_hand(tmp_path / "t.mat", [np.array([[2, 3, 4, 5]])], ["a"])
    assert fault_of(FastRCNNProposals(path).get, "b", 9, 9) == f"{path}: no proposals for image b"


def test_files_of_another_kind(tmp_path, fault_of):
    path = tmp_path / "t.mat"
    box = np.array([[2, 3, 4, 5]])
    assert fault_of(FastRCNNProposals, path) == f"{path}: no such file"
    assert fault_of(FastRCNNProposals, tmp_path).startswith(f"{tmp_path}: cannot be read (")
    path.write_bytes(b"")
    assert fault_of(FastRCNNProposals, path).startswith(f"{path}: not a .mat file, or a damaged one (")
    path.write_bytes(b"text" * 200)
    assert fault_of(FastRCNNProposals, path).startswith(f"{path}: not a .mat file, or a damaged one (")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    assert fault_of(FastRCNNProposals, path) == f"{path}: MATLAB's format 7.3 is not read; save it with -v7"
    scipy_io.savemat(path, {"boxes": box})
    assert "boxes of a single image, which do not tell where pixels are counted from" in fault_of(
        FastRCNNProposals, path
    )
    scipy_io.savemat(path, {"boxes": cells([box])})
    assert fault_of(FastRCNNProposals, path) == f"{path}: not fast-rcnn's (no cell arrays boxes and images in it)"
    scipy_io.savemat(path, {"other": box})
    assert fault_of(FastRCNNProposals, path) == f"{path}: not fast-rcnn's (no cell arrays boxes and images in it)"
    write_by_hand(path, [box, box], ["a"])
    assert fault_of(FastRCNNProposals, path) == f"{path}: boxes of 2 images, but 1 image ids"
    write_by_hand(path, [box, box], ["a", "a"])
    assert fault_of(FastRCNNProposals, path) == f"{path}: image a is there twice"
    scipy_io.savemat(path, {"boxes": cells([box]), "images": cells([np.array([[5.0]])])})
    assert fault_of(FastRCNNProposals, path) == f"{path}: images: a cell that is not the id of an image"


def test_truncated_anywhere(tmp_path, fault_of):
    path = write_by_hand(tmp_path / "t.mat", [np.array([[2, 3, 4, 5]])], ["a"])
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert str(path) in fault_of(FastRCNNProposals, path)


def test_what_is_written_holds_our_box_and_is_in_whole_pixels(tmp_path):
    path = tmp_path / "t.mat"
    ours = np.array([[2, 1, 5, 4], [2.3, 1.0, 4.2, 3.9], [0, 0, 20, 9]], np.float32)
    empty = np.zeros((0, 4), np.float32)
    write_fast_rcnn(path, [ImageProposals("a", ours, 20, 9), ImageProposals("b", empty, 9, 9)], {})
    content = scipy_io.loadmat(path)
    assert content["boxes"].shape == (1, 2)
    assert content["images"].shape == (2, 1)
    assert [str(cell[0][0]) for cell in content["images"]] == ["a", "b"]
    assert content["boxes"][0, 0].dtype == np.uint16
    assert content["boxes"][0, 0].tolist() == [[2, 3, 4, 5], [2, 3, 4, 5], [1, 1, 9, 20]]
    assert FastRCNNProposals(path).get("a", 20, 9).tolist() == [[2, 1, 5, 4], [2, 1, 5, 4], [0, 0, 20, 9]]
    assert FastRCNNProposals(path).get("b", 9, 9).shape == (0, 4)
    assert os.listdir(tmp_path) == ["t.mat"]


def test_an_image_wider_than_uint16(tmp_path):
    wide = np.array([[65_000, 0, 70_000, 1]], np.float32)
    write_fast_rcnn(tmp_path / "t.mat", [ImageProposals("a", wide, 70_000, 1)], {})
    assert FastRCNNProposals(tmp_path / "t.mat").get("a", 70_000, 1).tolist() == wide.tolist()


def test_a_full_disk_leaves_nothing(tmp_path, full_disk, fault_of):
    boxes = np.random.default_rng(0).uniform(1, 50, (5000, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    with full_disk(1000):
        message = fault_of(write_fast_rcnn, tmp_path / "t.mat", [ImageProposals("a", boxes, 100, 100)], {})
    assert message.startswith(f"{tmp_path / 't.mat'}: cannot be written (")
    assert os.listdir(tmp_path) == []


def test_bad_boxes_are_refused(tmp_path, fault_of):
    outside = np.array([[0.0, 0, 10, 1]])
    message = fault_of(write_fast_rcnn, tmp_path / "t.mat", [ImageProposals("a", outside, 9, 9)], {})
    assert message == f"{tmp_path / 't.mat'}: image a: box 0 (0, 0, 10, 1) lies outside the image (9 x 9)"
    twice = [ImageProposals("a", np.zeros((0, 4)), 9, 9)] * 2
    assert fault_of(write_fast_rcnn, tmp_path / "t.mat", twice, {}) == f"{tmp_path / 't.mat'}: image a: is there twice"


corner = st.tuples(st.integers(0, 40), st.integers(0, 40))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.tuples(corner, corner), max_size=5), max_size=4))
def test_boxes_of_whole_pixels_come_back_exactly(drawn):
    images = []
    for number, pairs in enumerate(drawn):
        boxes = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for (a, b), (c, d) in pairs]
        images.append(ImageProposals(str(number), np.array(boxes, np.float32).reshape(-1, 4), 41, 41))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.mat")
        write_fast_rcnn(path, images, {})
        file = FastRCNNProposals(path)
        assert file.ids == tuple(image.id for image in images)
        for image in images:
            assert file.get(image.id, 41, 41).tolist() == image.boxes.tolist()
