"""Every writer of the table: whole files or none, faults before the work; and what each format says, read back."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools.coco import COCO

from frcnn_cli.data.detections import Detections, Frame, ImageResult, Seconds
from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.formats.yolo import load_yolo
from frcnn_cli.data.items import ImageFile, Video
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


def test_yolo_counts_classes_from_0_and_places_in_parts_of_the_image(results, tmp_path):
    """By hand: the second class; (0, 0, 10, 20.0625) in 40 x 30 has its centre at 5/40, 10.03125/30."""
    write("yolo", tmp_path / "found", results)
    assert sorted(content(tmp_path / "found")) == [
        str(tmp_path / "found" / name) for name in ("data.yaml", "labels/a.txt", "labels/b.txt")
    ]
    lines = (tmp_path / "found" / "labels" / "a.txt").read_text().splitlines()
    assert lines[0] == "1 0.125000 0.334375 0.250000 0.668750"
    assert [len(line.split()) for line in lines] == [5, 5]
    assert (tmp_path / "found" / "labels" / "b.txt").read_text() == ""
    write("yolo-conf", tmp_path / "scored", results)
    scored = (tmp_path / "scored" / "labels" / "a.txt").read_text().splitlines()
    assert scored == [f"{line} {score}" for line, score in zip(lines, ("0.937500", "0.500000"), strict=True)]


def test_yolo_is_read_as_a_data_set_once_the_images_are_there(results, tmp_path):
    write("yolo", tmp_path / "found", results)
    (tmp_path / "found" / "images").mkdir()
    for result in results:
        shutil.copy(result.path, tmp_path / "found" / "images")
    dataset = load_yolo(tmp_path / "found" / "data.yaml", "train")
    assert dataset.classes == CLASSES
    assert [(record.id, len(record.objects)) for record in dataset.records] == [("a", 2), ("b", 0)]
    np.testing.assert_allclose(dataset.records[0].objects.boxes, BOXES, atol=1e-3)
    assert dataset.records[0].objects.labels.tolist() == [2, 1]


def test_voc_xml_is_what_viewers_expect(results, tmp_path):
    """labelImg's rules: a folder of XML files, whole pixels that count from 1 and include the last one."""
    write("voc-xml", tmp_path / "found", results)
    root = ElementTree.parse(tmp_path / "found" / "Annotations" / "a.xml").getroot()
    assert (root.tag, root.findtext("filename")) == ("annotation", "a.png")
    assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == ["40", "30", "3"]
    boxes = [[int(box.findtext(tag)) for tag in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")]
    assert boxes == [[1, 1, 10, 20], [4, 5, 40, 30]]  # (3.25, 4, 39.5, 29.5): halves to even, as Python rounds
    assert [element.findtext("name") for element in root.iter("object")] == ['dog, "hot"', "cat"]
    assert [element.findtext("confidence") for element in root.iter("object")] == ["0.937500", "0.500000"]


def test_voc_xml_is_read_as_a_data_set_once_the_images_are_there(results, tmp_path):
    write("voc-xml", tmp_path / "found", results)
    (tmp_path / "found" / "JPEGImages").mkdir()
    for result in results:
        shutil.copy(result.path, tmp_path / "found" / "JPEGImages")
    dataset = load_voc(tmp_path / "found", "test")
    assert [(record.id, len(record.objects)) for record in dataset.records] == [("a", 2), ("b", 0)]
    np.testing.assert_allclose(dataset.records[0].objects.boxes, BOXES, atol=0.51)


def test_a_box_of_less_than_a_pixel_has_one_in_voc_xml(results, tmp_path):
    tiny = Detections(np.array([[39.6, 29.6, 40, 30], [5, 5, 5.2, 5.2]]), np.ones(2), np.ones(2, int)).named(CLASSES)
    result = ImageResult("a", results[0].path, 40, 30, tiny, Seconds(0, 0))
    write("voc-xml", tmp_path / "found", [result])
    root = ElementTree.parse(tmp_path / "found" / "Annotations" / "a.xml").getroot()
    assert [[box.findtext(tag) for tag in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")] == [
        ["40", "30", "40", "30"],
        ["6", "6", "6", "6"],
    ]


@pytest.fixture
def film(results, tmp_path) -> tuple[Video, list[ImageResult]]:
    """A video, and what was found in its frames 0 and 5."""
    video = Video(tmp_path / "photos" / "film.mp4", "film.mp4", "film.mp4")
    rates = ((0, 0.0, None), (5, 0.2, 12.3456))
    return video, [
        ImageResult(
            video.frame_id(number), video.path, 40, 30, results[0].detections, Seconds(0.1, 0.2),
            Frame(number, seconds, rate),
        )
        for number, seconds, rate in rates
    ]  # fmt: skip


def write_film(name: str, path: Path, film: tuple[Video, list[ImageResult]], image: ImageResult) -> None:
    """Of an image and a video."""
    video, frames = film
    with WRITERS[name](Target(path, CLASSES, [ImageFile(image.path), video])) as add:
        for result in (image, *frames):
            add(result)


def test_frames_have_their_number_and_time(results, film, tmp_path):
    write_film("jsonl", tmp_path / "a.jsonl", film, results[1])
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(line.get("frame"), line.get("time"), line.get("fps")) for line in lines] == [
        (None, None, None),
        (0, 0.0, None),
        (5, 0.2, 12.35),
    ]
    assert lines[2]["image"] == str(film[0].path)
    write_film("csv", tmp_path / "a.csv", film, results[0])
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time"]) for row in rows[::2]] == [("", ""), ("0", "0.000"), ("5", "0.200")]


def test_frames_are_images_of_coco(results, film, tmp_path):
    write_film("coco", tmp_path / "a.json", film, results[1])
    coco = COCO(tmp_path / "a.json")
    images = {image["id"]: image for image in coco.dataset["images"]}
    assert [image["file_name"] for image in images.values()] == [
        "deep/b.png",
        "film.mp4/000000.jpg",
        "film.mp4/000005.jpg",
    ]
    assert len(images) == 3
    assert [images[a["image_id"]]["frame_id"] for a in coco.dataset["annotations"]] == [0, 0, 5, 5]


@pytest.mark.parametrize("name", ["yolo", "voc-xml", "voc"])
def test_frames_have_ids_of_their_own(results, film, tmp_path, name):
    write_film(name, tmp_path / "found", film, results[1])
    if name == "voc":
        assert set(read_voc_results(tmp_path / "found", "test", CLASSES)) == {"film/000000", "film/000005"}
    else:
        folder = tmp_path / "found" / ("labels" if name == "yolo" else "Annotations")
        written = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.*")}
        assert written == {"b", "film/000000", "film/000005"}


@pytest.mark.parametrize("name", ["yolo", "yolo-conf", "voc-xml"])
def test_no_name_leads_out_of_the_folder(results, tmp_path, name):
    path = tmp_path / "deep" / "found"
    image_ids = ("../a", "../../b", "/tmp/c", "d/../../../e", "..", "f" * 300, "g\\..\\h")
    items = [ImageFile(Path(f"{number}.png"), f"{image_id}.png") for number, image_id in enumerate(image_ids)]
    with WRITERS[name](Target(path, CLASSES, items)) as add:
        for item in items:
            add(ImageResult(item.id, item.path, 40, 30, results[0].detections, Seconds(0, 0)))
    files = [file for file in tmp_path.rglob("*") if file.is_file() and tmp_path / "photos" not in file.parents]
    assert all(path in file.parents for file in files)
    assert len([file for file in files if {"labels", "Annotations"} & set(file.parts)]) == len(items)


@pytest.mark.parametrize("name", ["yolo", "voc-xml"])
def test_images_that_would_share_a_file_are_refused(tmp_path, name):
    for names in (("x/a.png", "a.jpg"), ("../a.png", "_/a.png")):
        items = [ImageFile(Path(name), name.removeprefix("x/")) for name in names]
        with (
            pytest.raises(DataError, match="would share the file of"),
            WRITERS[name](Target(tmp_path / "o", (), items)),
        ):
            pytest.fail("entered")


def test_voc_xml_refuses_what_xml_cannot_hold(tmp_path):
    for classes, items, fault in (
        (("a\x00b",), [], "cannot stand in XML"),
        (CLASSES, [ImageFile(Path("a\nb.png"))], "cannot stand in a list"),
    ):
        with pytest.raises(DataError, match=fault), WRITERS["voc-xml"](Target(tmp_path / "o", classes, items)):
            pytest.fail("entered")
