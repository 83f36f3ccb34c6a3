"""Every writer of the table: whole files or none, faults before the work; and what each format says, read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from frcnn_cli.data.detections import Detections, ImageResult, Seconds
from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.data.items import ImageFile
from frcnn_cli.data.writers import WRITERS, Target
from frcnn_cli.data.writers.json_file import as_json
from frcnn_cli.data.writers.voc_results import read_voc_results
from frcnn_cli.errors import DataError

CLASSES = ("cat", 'dog, "hot"')
BOXES = np.array([[0, 0, 10, 20.0625], [3.25, 4, 39.5, 29.5]])
NAMES = list(WRITERS)


@pytest.fixture
def results(noise_image) -> list[ImageResult]:
    """Two detections in the first image, none in the second."""
    first, second = noise_image("photos/a.png", 40, 30), noise_image("photos/deep/b.png", 20, 10)
    found = Detections(BOXES, np.array([0.9375, 0.5]), np.array([2, 1])).named(CLASSES)
    return [
        ImageResult("a", first, 40, 30, found, Seconds(0.25, 0.5)),
        ImageResult("b", second, 20, 10, Detections.empty(), Seconds(None, 0.125)),
    ]


def target(path: Path, results: list[ImageResult], classes: tuple[str, ...] = CLASSES) -> Target:
    return Target(path, classes, [ImageFile(result.path) for result in results])


def write(name: str, path: Path, results: list[ImageResult]) -> None:
    with WRITERS[name](target(path, results)) as add:
        for result in results:
            add(result)


def content(path: Path) -> dict[str, bytes]:
    """All files below a path, by name."""
    return {str(file): file.read_bytes() for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_there_when_all_is_written_and_not_before(results, tmp_path, name):
    path = tmp_path / "new" / "found"
    with WRITERS[name](target(path, results)) as add:
        for result in results:
            add(result)
        assert not path.is_file()
        assert not list(path.rglob("*"))
    assert content(path)
    assert not [file for file in path.parent.rglob(".*")]


def stop_in_between(name: str, path: Path, results: list[ImageResult], fault: type[BaseException]) -> None:
    with WRITERS[name](target(path, results)) as add:
        add(results[0])
        raise fault("stop")


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_in_between_leaves_what_was_there(results, tmp_path, name):
    path = tmp_path / "out" / "found"
    write(name, path, results[1:])
    before = content(path.parent)
    for fault in (KeyboardInterrupt, DataError):
        with pytest.raises(fault):
            stop_in_between(name, path, results, fault)
        assert content(path.parent) == before
    write(name, path, results)
    assert content(path.parent) != before


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_written_is_said_on_entering(results, tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "found"
    with (
        pytest.raises(DataError, match="cannot be written") as caught,
        WRITERS[name](target(path, results)),
    ):
        pytest.fail("entered")
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_old_file(results, tmp_path, full_disk, name):
    path = tmp_path / "out" / "found"
    write(name, path, results[1:])
    before = content(path.parent)
    with full_disk(20), pytest.raises(DataError, match="cannot be written"):
        write(name, path, results)
    assert content(path.parent) == before


@pytest.mark.parametrize("name", NAMES)
def test_nothing_found_in_no_image(tmp_path, name):
    write(name, tmp_path / "found", [])
    assert content(tmp_path / "found")


def test_json_and_its_lines_are_what_the_command_prints(results, tmp_path):
    write("json", tmp_path / "a.json", results)
    write("jsonl", tmp_path / "a.jsonl", results)
    assert json.loads((tmp_path / "a.json").read_text()) == list(map(as_json, results))
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == list(map(as_json, results))
    assert as_json(results[0]) == {
        "image": str(results[0].path),
        "width": 40,
        "height": 30,
        "detections": [
            {"class": 'dog, "hot"', "score": 0.9375, "box": [0, 0, 10, 20.06]},
            {"class": "cat", "score": 0.5, "box": [3.25, 4, 39.5, 29.5]},
        ],
        "seconds": {"proposals": 0.25, "detection": 0.5},
    }
    write("json", tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_csv_has_a_row_a_detection(results, tmp_path):
    write("csv", tmp_path / "a.csv", results)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    box = {"x1": "0.00", "y1": "0.00", "x2": "10.00", "y2": "20.06"}
    image = {"image": str(results[0].path), "width": "40", "height": "30"}
    assert rows[0] == image | {"class": 'dog, "hot"', "score": "0.9375"} | box
    assert [row["class"] for row in rows] == ['dog, "hot"', "cat"]


def test_coco_is_read_by_pycocotools_and_as_a_data_set(results, tmp_path):
    path = tmp_path / "found.json"
    write("coco", path, results)
    coco = COCO(path)
    assert {image["id"]: image["file_name"] for image in coco.loadImgs(coco.getImgIds())} == {
        1: "a.png",
        2: "deep/b.png",
    }
    (cat,) = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(catNms=["cat"])))
    assert (cat["image_id"], cat["bbox"], cat["score"]) == (1, [3.25, 4, 36.25, 25.5], 0.5)
    again = coco.loadRes(json.loads(path.read_text())["annotations"])
    assert sorted(annotation["score"] for annotation in again.loadAnns(again.getAnnIds())) == [0.5, 0.9375]

    dataset = load_coco(path, tmp_path / "photos")
    assert dataset.classes == CLASSES
    assert [(record.id, len(record.objects)) for record in dataset.records] == [("a", 2), ("deep/b", 0)]
    np.testing.assert_allclose(dataset.records[0].objects.boxes, BOXES, atol=1e-4)
    assert dataset.records[0].objects.labels.tolist() == [2, 1]


def test_coco_keeps_the_ids_that_images_have(results, tmp_path):
    class Known(ImageFile):
        coco_id = 139

    for items, expected in (([Known(results[0].path)], 139), ([ImageFile(results[0].path)], 1)):
        with WRITERS["coco"](Target(tmp_path / "found.json", CLASSES, items)) as add:
            add(results[0])
        found = json.loads((tmp_path / "found.json").read_text())
        assert found["images"][0]["id"] == expected
        assert {annotation["image_id"] for annotation in found["annotations"]} == {expected}


def test_voc_by_split_and_class(results, tmp_path):
    write("voc", tmp_path / "found", results)
    back = read_voc_results(tmp_path / "found", "test", CLASSES)
    assert list(back) == ["a"]
    np.testing.assert_allclose(np.sort(back["a"].boxes, axis=0), np.sort(BOXES, axis=0), atol=0.0501)


@pytest.mark.parametrize(
    ("names", "classes", "fault"),
    [
        (("a b.png",), CLASSES, "image id 'a b' cannot stand in VOC results"),
        (("x/a.png", "y/a.jpg"), CLASSES, "two images have the id 'a'"),
        (("a.png",), ("a b", "a_b"), "'a b' and 'a_b' would share this file"),
    ],
)
def test_voc_refuses_names_that_its_lines_and_files_cannot_hold(tmp_path, names, classes, fault):
    items = [ImageFile(Path(name)) for name in names]
    with (
        pytest.raises(DataError, match=fault),
        WRITERS["voc"](Target(tmp_path / "found", classes, items)),
    ):
        pytest.fail("entered")
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "coco"])
@pytest.mark.parametrize("odd", ["new\nline.png", 'comma, "quote".png', "日本.png", "undecodable-\udcff.png"])
def test_any_name_of_a_file_can_be_written(results, tmp_path, name, odd):
    result = ImageResult("odd", tmp_path / odd, 40, 30, results[0].detections, Seconds(0, 0))
    write(name, tmp_path / "found", [result])
    text = (tmp_path / "found").read_text(encoding="utf-8", errors="surrogateescape")
    if name == "csv":
        with (tmp_path / "found").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            assert [row["image"] for row in csv.DictReader(file)] == [str(result.path)] * 2
    elif name == "coco":
        assert json.loads(text)["images"][0]["file_name"] == odd
    else:
        found = json.loads(text)
        assert (found if name == "jsonl" else found[0])["image"] == str(result.path)
