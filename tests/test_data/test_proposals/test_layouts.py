"""Files of one image: each layout gives the same pixels, and one that is not told is refused with a way out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import io as scipy_io

from frcnn_cli.data.items import ImageFile
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.layouts import LAYOUTS
from frcnn_cli.errors import UsageError

# The pixels of columns 3 to 12 and rows 2 to 6, counted from 0.
WRITTEN = {
    "edge-boxes": [4, 3, 10, 5],
    "mcg": [3, 4, 7, 13],
    "selective-search": [3, 4, 7, 13],
    "selective-search-ijcv": [4, 3, 13, 7],
    "fast-rcnn-demo": [3, 2, 12, 6],
    "xyxy": [3, 2, 13, 7],
    "xywh": [3, 2, 10, 5],
    "xyxy0": [3, 2, 12, 6],
    "xyxy1": [4, 3, 13, 7],
    "yxyx0": [2, 3, 6, 12],
    "yxyx1": [3, 4, 7, 13],
    "xywh1": [4, 3, 10, 5],
}
PIXELS = [3, 2, 13, 7]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".mat", ".txt", ".csv"])
def test_the_same_pixels(tmp_path, layout, suffix):
    path = tmp_path / f"a{suffix}"
    boxes = np.array([WRITTEN[layout], WRITTEN[layout]], np.uint8)
    if suffix == ".mat":
        scipy_io.savemat(path, {"boxes": boxes})
    else:
        separator = ", " if suffix == ".csv" else " "
        path.write_text("\n".join(separator.join(map(str, row)) for row in boxes.tolist()) + "\n\n")
    file = open_proposals(path, layout=layout)
    assert file.ids == ("a",)
    assert file.get("a", 20, 9).tolist() == [PIXELS, PIXELS]
    assert file.meta == {}


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        ({"bbs": np.array([[4, 3, 10, 5, 0.1], [1, 1, 20, 9, 0.7], [1, 1, 2, 2, 0.3]])}, "edge-boxes"),
        ({"bboxes": np.array([[3, 4, 7, 13], [1, 1, 9, 20], [1, 1, 2, 2]]), "scores": [[0.1], [0.7], [0.3]]}, "mcg"),
    ],
)
def test_the_best_score_comes_first(tmp_path, content, layout):
    scipy_io.savemat(tmp_path / "a.mat", content)
    found = open_proposals(tmp_path / "a.mat", layout=layout).get("a", 20, 9)
    assert found.tolist() == [[0, 0, 20, 9], [0, 0, 2, 2], PIXELS]


def test_a_folder_of_files(tmp_path, fault_of):
    (tmp_path / "p" / "cam").mkdir(parents=True)
    for name in ("cam/b", "a_boxes"):
        scipy_io.savemat(tmp_path / "p" / f"{name}.mat", {"boxes": np.array([[3, 4, 7, 13]])})
    (tmp_path / "p" / "Photo 1.txt").write_text("1 1 9 20\n")
    file = open_proposals(tmp_path / "p", layout="mcg")
    assert set(file.ids) == {"cam/b", "a", "Photo 1"}
    for name in ("cam/b", "a"):
        assert name in file
        assert file.get(name, 20, 9).tolist() == [PIXELS]
    assert file.get("photo 1", 20, 9).tolist() == [[0, 0, 20, 9]]
    assert "c" not in file
    assert fault_of(file.get, "c", 20, 9) == f"{tmp_path / 'p'}: no proposals for image c"
    (tmp_path / "none").mkdir()
    assert fault_of(open_proposals, tmp_path / "none", (), "mcg").startswith(
        f"{tmp_path / 'none'}: no file of proposals"
    )


def test_one_file_is_the_one_image_s(tmp_path):
    (tmp_path / "found.csv").write_text("3,2,12,6\n")
    image = ImageFile(tmp_path / "photo.jpg")
    assert open_proposals(tmp_path / "found.csv", [image], "fast-rcnn-demo").get("photo", 20, 9).tolist() == [PIXELS]


def test_a_split_of_another_layout(tmp_path):
    cells, ids = np.empty((1, 2), object), np.empty((2, 1), object)
    cells[0, :], ids[:, 0] = [np.array([WRITTEN["edge-boxes"]])] * 2, ["a", "b"]
    scipy_io.savemat(tmp_path / "p.mat", {"boxes": cells, "images": ids})
    assert open_proposals(tmp_path / "p.mat", layout="edge-boxes").get("b", 20, 9).tolist() == [PIXELS]


@pytest.mark.parametrize(
    ("name", "hint"), [("boxes", "selective-search"), ("bbs", "edge-boxes"), ("bboxes", "mcg")]
)  # fmt: skip
def test_what_is_not_told_is_refused_with_a_way_out(tmp_path, name, hint, fault_of):
    scipy_io.savemat(tmp_path / "a.mat", {name: np.array([[3, 4, 7, 13]])})
    fault = fault_of(open_proposals, tmp_path / "a.mat")
    assert f"{name} of a single image" in fault
    assert "--proposal-layout" in fault
    assert hint in fault


@pytest.mark.parametrize("name", ["p", "a.txt", "a.CSV"])
def test_nor_is_a_folder_or_a_text(tmp_path, name):
    (tmp_path / "p").mkdir()
    with pytest.raises(UsageError, match=r"in .npz, .mat or .pkl files"):
        open_proposals(tmp_path / name)
    with pytest.raises(UsageError, match=r"--proposal-layout is for .mat, .txt, .csv and folders"):
        open_proposals(tmp_path / "a.npz", layout="mcg")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1 2 3\n", "line 1: 3 numbers, not the 4 of a box and perhaps a score"),
        ("1 2 3 4\n1 2 3 4 5\n", "line 2: 5 numbers"),
        ("x y w h\n", "line 1: not numbers: 'x y w h'"),
        ("1 1 nan 4\n", "box 0 (1, 1, nan, 4) has a coordinate that is not a finite number; read as x1 y1 x2 y2"),
        ("1 1 30 4\n", "box 0 (1, 1, 30, 4) lies outside the image (20 x 9); read as x1 y1 x2 y2, continuous pixels"),
    ],
)
def test_faults_name_the_file_and_the_layout(tmp_path, text, fault, fault_of):
    (tmp_path / "a.txt").write_text(text)
    assert fault in fault_of(open_proposals(tmp_path / "a.txt", layout="xyxy").get, "a", 20, 9)
