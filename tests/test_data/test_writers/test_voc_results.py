"""VOC's files of results: the text itself, the way there and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.writers.voc_results import read_voc_results, results_path, write_voc_results
from frcnn_cli.errors import DataError

CLASSES = ("cat", "dog")
FOUND = Detections(
    np.array([[0, 0, 10, 20.04], [3.26, 4, 500, 375], [7, 8, 9, 10]]),
    np.array([0.25, 0.9876543, 1]),
    np.array([1, 1, 2]),
)


def test_text_is_what_the_devkit_reads(tmp_path):
    paths = write_voc_results(tmp_path / "new", "val", CLASSES, ["000001", "000002"], [Detections.empty(), FOUND])
    assert [path.name for path in paths] == ["comp4_det_val_cat.txt", "comp4_det_val_dog.txt"]
    assert paths[0].read_text() == "000002 0.250000 1.0 1.0 10.0 20.0\n000002 0.987654 4.3 5.0 500.0 375.0\n"
    assert paths[1].read_text() == "000002 1.000000 8.0 9.0 9.0 10.0\n"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)


def test_class_without_detections_gets_an_empty_file(tmp_path):
    paths = write_voc_results(tmp_path, "val", CLASSES, ["a"], [Detections.empty()])
    assert [path.read_text() for path in paths] == ["", ""]
    assert read_voc_results(tmp_path, "val", CLASSES) == {}


def test_there_and_back(tmp_path):
    write_voc_results(tmp_path, "val", CLASSES, ["a", "b"], [Detections.empty(), FOUND])
    back = read_voc_results(tmp_path, "val", CLASSES)
    assert list(back) == ["b"]
    np.testing.assert_allclose(back["b"].boxes, FOUND.boxes, atol=0.0501)
    np.testing.assert_allclose(back["b"].scores, FOUND.scores, atol=1e-6)
    assert back["b"].labels.tolist() == FOUND.labels.tolist()


@pytest.mark.parametrize("name", ["traffic light", "../up", "a/b", "cup\\mug", "x:y"])
def test_names_of_files_are_safe(tmp_path, name):
    path = results_path(tmp_path, "my split/1", name)
    assert path.parent == tmp_path
    assert not set(path.name) & set(" /\\:")
    assert write_voc_results(tmp_path, "my split/1", [name], [], [])[0].is_file()


def test_classes_that_would_share_a_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="'a b' and 'a_b' would share this file"):
        write_voc_results(tmp_path, "val", ["a b", "a_b"], [], [])


@pytest.mark.parametrize("image_id", ["", "a b", "a\nb", " a"])
def test_image_ids_that_the_format_cannot_hold_are_refused_before_anything_is_written(tmp_path, image_id):
    with pytest.raises(DataError, match="image id"):
        write_voc_results(tmp_path, "val", CLASSES, [image_id], [FOUND])
    assert list(tmp_path.iterdir()) == []


def test_misuse_is_refused(tmp_path):
    with pytest.raises(ValueError, match="1 image ids, but 2 images"):
        write_voc_results(tmp_path, "val", CLASSES, ["a"], [FOUND, FOUND])
    with pytest.raises(ValueError, match="label 2, but there are 1 classes"):
        write_voc_results(tmp_path, "val", ["cat"], ["a"], [FOUND])


def test_older_results_are_replaced(tmp_path):
    for found in (FOUND, Detections.empty()):
        paths = write_voc_results(tmp_path, "val", CLASSES, ["a"], [found])
    assert paths[0].read_text() == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 0.5 1 2 3", "line 2: not 'IMAGE_ID SCORE X1 Y1 X2 Y2'"),
        ("a 0.5 1 2 3 4 5", "line 2: not"),
        ("a b 0.5 1 2 3 4", "line 2: not"),
        ("a 0.5 1 2 3 nan", "line 2: not"),
        ("a 1.5 1 2 3 4", r"line 2: score 1.5 is outside \[0, 1\]"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    results_path(tmp_path, "val", "cat").write_text(f"a 0.5 1 1 2 2\n{line}\n")
    with pytest.raises(DataError, match=message) as caught:
        read_voc_results(tmp_path, "val", ["cat"])
    assert "comp4_det_val_cat.txt" in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"comp4_det_val_cat\.txt: cannot be read"):
        read_voc_results(tmp_path, "val", CLASSES)


def test_undecodable_files_are_named(tmp_path):
    results_path(tmp_path, "val", "cat").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"comp4_det_val_cat\.txt: cannot be read"):
        read_voc_results(tmp_path, "val", ["cat"])
