"""YOLO's data sets: where images and labels may lie, what a line may be, and that every fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frcnn_cli.data.formats.yolo import load_yolo
from frcnn_cli.errors import DataError, DatasetFaults

NAMES = "names: [ant, bee]\n"
BOX = "1 0.5 0.5 0.2 0.5"  # a bee at 40, 20 .. 60, 60 of 100 x 80 pixels
BOX_XYXY = [40, 20, 60, 60]


def add(root: Path, image: str, labels: str | None = BOX, at: str | None = None, size=(100, 80), **saved) -> None:
    """An image and its labels, in the folder ``labels`` or at another place."""
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(root / image, **saved)
    if labels is not None:
        path = root / (at or str(Path(image.replace("images", "labels")).with_suffix(".txt")))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(labels)


@pytest.fixture
def root(tmp_path) -> Path:
    """A data set of two training images, a and b, and one to measure on, c."""
    for image in ("images/train/a.jpg", "images/train/b.png", "images/val/c.jpg"):
        add(tmp_path, image)
    (tmp_path / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\n{NAMES}")
    return tmp_path


def a_yaml(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)


def ids_of(place: Path, split: str = "train") -> list[str]:
    return [record.id for record in load_yolo(place, split).records]


def faults_of(root: Path, **wanted) -> list[str]:
    with pytest.raises(DatasetFaults) as caught:
        load_yolo(root / "data.yaml", "train", **wanted)
    return [line.replace(f"{root}/", "") for line in caught.value.faults]


def error_of(place: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        load_yolo(place, split)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{place if place.is_dir() else place.parent}/", "")


def test_what_is_read(root):
    dataset = load_yolo(root / "data.yaml", "train")
    assert dataset.name == f"{root.name} train"
    assert dataset.classes == ("ant", "bee")
    first, second = dataset.records
    assert (first.id, first.path, first.width, first.height) == ("train/a", root / "images/train/a.jpg", 100, 80)
    assert second.id == "train/b"
    assert first.objects.boxes.tolist() == [BOX_XYXY]
    assert first.objects.boxes.dtype == np.float32
    assert first.objects.labels.tolist() == [2]
    assert first.objects.difficult.tolist() == [False]
    assert ids_of(root / "data.yaml", "val") == ["val/c"]
    assert ids_of(root) == ["train/a", "train/b"]  # the folder of data.yaml does as well


class TestPlaces:
    """data.yaml is written in many ways; all of these mean the two images of the folder train."""

    @pytest.mark.parametrize(
        "text",
        [
            "train: images/train",
            "train: ./images/train/",
            "train: [images/train]",
            "train: {root}/images/train",
            "path: {root}\ntrain: images/train",
            "path: ../somewhere/else\ntrain: images/train",
            "path: /content/set\ntrain: images/train",
            "train: ../images/train",
            "train: ../../images/train",
            "train: /content/my set/images/train",
            "train: C:\\Users\\me\\set\\images\\train",
            "training: images/train",
            "train: train.txt",
            "train: listed.txt",
            "train: foreign.txt",
        ],
    )
    def test_of_the_images(self, root, text):
        (root / "train.txt").write_text("images/train/a.jpg\n./images/train/b.png\n\n")
        (root / "listed.txt").write_text(f"{root}/images/train/a.jpg\n{root}/images/train/b.png\n")
        (root / "foreign.txt").write_text("/content/set/images/train/a.jpg\r\nD:\\set\\images\\train\\b.png\r\n")
        a_yaml(root, text.format(root=root) + f"\n{NAMES}")
        assert ids_of(root / "data.yaml") == ["train/a", "train/b"]

    def test_a_missing_split_is_not_another_one(self, root):
        a_yaml(root, f"train: /content/images/test\n{NAMES}")
        assert error_of(root / "data.yaml") == (
            "data.yaml: train: '/content/images/test': no such folder or list of images"
        )

    def test_several_folders(self, root):
        a_yaml(root, f"train: [images/train, images/val, images/train]\n{NAMES}")
        assert ids_of(root / "data.yaml") == ["train/a", "train/b", "val/c"]

    def test_labels_and_images_in_a_folder_of_the_split(self, tmp_path):
        add(tmp_path, "train/images/a.jpg")
        a_yaml(tmp_path, f"train: ../train/images\n{NAMES}")
        (record,) = load_yolo(tmp_path, "train").records
        assert (record.id, len(record.objects)) == ("train/a", 1)

    def test_labels_beside_the_image(self, tmp_path):
        add(tmp_path, "photos/a.jpg", at="photos/a.txt")
        a_yaml(tmp_path, f"train: photos\n{NAMES}")
        assert len(load_yolo(tmp_path, "train").records[0].objects) == 1

    def test_a_folder_above_that_is_called_images(self, tmp_path):
        add(tmp_path / "images", "set/a.jpg", at="set/a.txt")
        a_yaml(tmp_path / "images", f"train: set\n{NAMES}")
        assert len(load_yolo(tmp_path / "images", "train").records[0].objects) == 1

    @pytest.mark.parametrize(("images", "labels"), [("Images", "Labels"), ("IMAGES", "LABELS"), ("Images", "labels")])
    def test_capitals(self, tmp_path, images, labels):
        add(tmp_path, f"{images}/train/a.jpg", at=f"{labels}/train/a.txt")
        a_yaml(tmp_path, f"train: {images}/train\n{NAMES}")
        (record,) = load_yolo(tmp_path, "train").records
        assert (record.id, len(record.objects)) == ("train/a", 1)

    @pytest.mark.parametrize("place", ["", "obj.data"])
    def test_darknet_s_files(self, root, place):
        (root / "data.yaml").unlink()
        (root / "obj.data").write_text(
            "# of Darknet\nclasses = 2\ntrain = train.txt\nvalid=valid.txt\nnames = data/obj.names\nbackup = b/\n"
        )
        (root / "obj.names").write_text("ant\nbee\n\n")
        (root / "valid.txt").write_text("data/images/val/c.jpg\n")
        assert ids_of(root / place, "val") == ["val/c"]
        assert load_yolo(root / place, "val").classes == ("ant", "bee")

    @pytest.mark.parametrize("name", ["classes.txt", "obj.names"])
    def test_a_folder_with_labels_apart_and_no_data_yaml(self, tmp_path, name):
        add(tmp_path, "images/a.jpg")
        (tmp_path / name).write_text("ant\nbee\n")
        (record,) = load_yolo(tmp_path, "train").records
        assert (record.id, len(record.objects)) == ("a", 1)

    def test_a_folder_of_classes_txt(self, tmp_path):
        add(tmp_path, "a.jpg", at="a.txt")
        (tmp_path / "classes.txt").write_text("ant\nbee\n")
        dataset = load_yolo(tmp_path, "train")
        assert (dataset.name, dataset.classes) == (tmp_path.name, ("ant", "bee"))
        assert dataset.records[0].objects.labels.tolist() == [2]
        assert "no data.yaml in it, so there is no split 'val'" in error_of(tmp_path, "val")

    def test_what_is_not_there(self, root, tmp_path):
        assert error_of(root / "gone.yaml") == "gone.yaml: no such file"
        assert error_of(root / "data.yaml", "test") == "data.yaml: no split 'test' (splits there are: train, val)"
        (root / "other.yaml").touch()
        assert ids_of(root) == ["train/a", "train/b"]
        (root / "data.yaml").rename(root / "b.yaml")
        assert error_of(root).endswith(": several files may be meant: name one of b.yaml, other.yaml")
        (tmp_path / "empty").mkdir()
        assert error_of(tmp_path / "empty").endswith(
            "empty: neither data.yaml nor classes.txt in it, which name the classes"
        )
        a_yaml(root, f"train: empty\n{NAMES}")
        assert error_of(root / "data.yaml").startswith("data.yaml: no image in ")

    def test_no_labels_at_all_is_a_wrong_folder(self, tmp_path):
        add(tmp_path, "images/train/a.jpg", labels=None)
        a_yaml(tmp_path, f"train: images/train\n{NAMES}")
        assert error_of(tmp_path / "data.yaml") == (
            "data.yaml: no image of 'train' has labels, such as labels/train/a.txt"
        )
        assert len(load_yolo(tmp_path, "train", unannotated_empty=True)) == 1


class TestNames:
    @pytest.mark.parametrize(
        "text",
        [
            "names: {0: ant, 1: bee}",
            "names:\n  1: bee\n  0: ant",
            "names:\n- ant\n- bee\nnc: 2",
            "names: ['ant', \"bee\"]",
            "names: names.txt",
            "names: elsewhere/names.txt",
        ],
    )
    def test_as_a_list_or_a_dictionary(self, root, text):
        (root / "names.txt").write_text("ant\nbee\n")
        a_yaml(root, f"train: images/train\n{text}")
        assert load_yolo(root, "train").classes == ("ant", "bee")

    def test_words_that_yaml_takes_for_something_else(self, root):
        a_yaml(root, "train: images/train\nnames: [no, 1, 1.50, null, 2020-01-01]")
        assert load_yolo(root, "train").classes == ("no", "1", "1.50", "null", "2020-01-01")

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("nc: 2", "not YOLO's (no names of classes in it)"),
            ("- a\n- b", "not YOLO's (no names of classes in it)"),
            ("names: ant", "not YOLO's (no names of classes in it)"),
            ("names: []", "not YOLO's (no names of classes in it)"),
            ("names: [ant, [bee]]", "names: 1: ['bee'] is not the number and the name of a class"),
            ("names: {a: ant}", "names: 'a': 'ant' is not the number and the name of a class"),
            ("names: [ant, '']", "names: 1: '' is not the number and the name of a class"),
            ("names: [ant, bee]\nnc: 3", "nc is 3, but there are 2 names"),
            ("names: [ant, bee", "not YAML ("),
            ("names: \x01", "not YAML ("),
            ("names: !!python/object/apply:os.system ['true']", "no split"),
        ],
    )
    def test_a_file_that_is_none(self, root, text, fault):
        a_yaml(root, text)
        assert error_of(root / "data.yaml").startswith(f"data.yaml: {fault}")

    def test_a_name_that_is_there_twice(self, root):
        a_yaml(root, "train: images/train\nnames: [bee, bee]")
        assert error_of(root / "data.yaml") == "data.yaml: names: class 'bee' is there twice"

    def test_a_background_without_objects_is_dropped(self, root):
        a_yaml(root, "train: images/train\nnames: [__background__, bee]")
        assert load_yolo(root, "train").classes == ("bee",)


class TestLines:
    @pytest.mark.parametrize(
        ("line", "box"),
        [
            (BOX, BOX_XYXY),
            ("1.0 5e-1 0.5 .2 0.5", BOX_XYXY),
            ("1\t0.5  0.5 0.2 0.5  ", BOX_XYXY),
            ("1 0.4 0.25 0.6 0.25 0.6 0.75", BOX_XYXY),
            ("1 0.4 0.5 0.5 0.25 0.6 0.5 0.5 0.75", BOX_XYXY),
            ("1 0.1 0.1 0.2000001 0.2", [0, 0, 20, 16]),
        ],
    )
    def test_a_box_or_a_polygon(self, root, line, box):
        (root / "labels/train/a.txt").write_text(f"\n{line}\r\n\n")
        (record, _) = load_yolo(root, "train").records
        assert record.objects.boxes.tolist() == [pytest.approx(box, abs=1e-4)]

    def test_points_behind_the_box(self, root):
        a_yaml(root, f"train: images/train\nkpt_shape: [2, 3]\n{NAMES}")
        (root / "labels/train/a.txt").write_text(f"{BOX} 0.1 0.1 2 0.9 0.9 1\n")
        assert load_yolo(root, "train").records[0].objects.boxes.tolist() == [BOX_XYXY]

    @pytest.mark.parametrize("labels", ["", "\n \n", None])
    def test_no_object(self, root, labels):
        (root / "labels/train/a.txt").unlink()
        if labels is not None:
            (root / "labels/train/a.txt").write_text(labels)
        assert [len(record.objects) for record in load_yolo(root, "train").records] == [0, 1]

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("bee 0.5 0.5 0.2 0.5", "not numbers: 'bee 0.5 0.5 0.2 0.5'"),
            ("1 0,5 0,5 0,2 0,5", "not numbers: '1 0,5 0,5 0,2 0,5'"),
            ("2 0.5 0.5 0.2 0.5", "class 2 is none of the 2 of data.yaml"),
            ("-1 0.5 0.5 0.2 0.5", "class -1 is none of the 2 of data.yaml"),
            ("0.5 0.5 0.5 0.2 0.5", "class 0.5 is none of the 2 of data.yaml"),
            ("nan 0.5 0.5 0.2 0.5", "class nan is none of the 2 of data.yaml"),
            ("1 0.5 0.5 0.2", "3 numbers behind the class, neither 4 (a box) nor pairs (a polygon)"),
            ("1", "0 numbers behind the class, neither 4 (a box) nor pairs (a polygon)"),
            ("1 .1 .1 .2 .2 .3 .3 .4", "7 numbers behind the class, neither 4 (a box) nor pairs (a polygon)"),
            (f"{BOX} 0.9", "a sixth number: a line with a score is a detection, not an annotation"),
            ("1 50 40 20 40", "bee: looks like pixels (50 40 20 40); parts of the image's size are wanted"),
            ("1 0.5 0.5 0 0.5", "bee: box (0.5, 0.5, 0, 0.5) has no area"),
            ("1 0.5 0.5 -0.2 0.5", "bee: box (0.5, 0.5, -0.2, 0.5) is inverted"),
            ("1 nan 0.5 0.2 0.5", "bee: box (nan, 0.5, 0.2, 0.5) has a coordinate that is not a finite number"),
            ("1 0.9 0.5 0.4 0.5", "bee: box (0.9, 0.5, 0.4, 0.5) lies outside the image (100 x 80)"),
        ],
    )
    def test_a_fault_is_named_with_its_line(self, root, line, fault):
        (root / "labels/train/a.txt").write_text(f"{BOX}\n\n{line}\n")
        assert faults_of(root) == [f"labels/train/a.txt: line 3: {fault}"]
        dataset = load_yolo(root, "train", skip_faulty=True)
        assert [len(record.objects) for record in dataset.records] == [1, 1]

    def test_boxes_are_of_the_image_as_displayed(self, root):
        exif = Image.Exif()
        exif[0x0112] = 6
        add(root, "images/train/a.jpg", exif=exif)  # displayed, it is 80 wide and 100 high
        (record, _) = load_yolo(root, "train").records
        assert (record.width, record.height) == (80, 100)
        assert record.objects.boxes.tolist() == [[32, 25, 48, 75]]

    def test_given_classes(self, root):
        assert load_yolo(root, "train", classes=("bee",)).records[0].objects.labels.tolist() == [1]
        assert faults_of(root, classes=("ant",))[0] == "labels/train/a.txt: line 1: unknown class 'bee'"


def test_both_parts_at_once(root):
    assert ids_of(root, "trainval") == ["train/a", "train/b", "val/c"]


def test_a_name_of_two_files(root):
    add(root, "images/train/a.png", labels=None)
    (root / "list.txt").write_text("somewhere/train/b.png\nsomewhere/train/a\n")
    a_yaml(root, f"path: .\ntrain: list.txt\n{NAMES}")
    (root / "images").rename(root / "somewhere")
    (root / "labels").rename(root / "somewhere" / "labels")
    (fault,) = faults_of(root, unannotated_empty=True)
    assert fault.endswith("somewhere/train/a: which of somewhere/train/a.jpg, somewhere/train/a.png is it?")


def test_images_and_labels_without_each_other(root):
    (root / "images/train/a.jpg").unlink()
    (root / "labels/train/classes.txt").write_text("ant\nbee\n")
    assert faults_of(root) == ["labels/train/a.txt: no image of this name"]
    (root / "list.txt").write_text("images/train/gone.jpg\nimages/train/b.png\n")
    a_yaml(root, f"train: list.txt\n{NAMES}")
    assert faults_of(root) == ["list.txt: line 1: images/train/gone.jpg: no such image"]


def test_faults_of_files_come_together(root):
    (root / "images/train/a.jpg").write_text("text" * 9)
    (root / "labels/train/b.txt").write_bytes(b"\xff\xfe\xff")
    assert [fault.split(": ", 1)[0] for fault in faults_of(root)] == ["images/train/a.jpg", "labels/train/b.txt"]


part = st.floats(0, 1)


@given(st.tuples(part, part), st.tuples(part, part), st.integers(1, 2000), st.integers(1, 2000))
def test_boxes_survive_the_way_there_and_back(tmp_path_factory, xs, ys, width, height):
    (x1, x2), (y1, y2) = sorted(xs), sorted(ys)
    if (x2 - x1) * width < 0.01 or (y2 - y1) * height < 0.01:
        return
    root = tmp_path_factory.mktemp("yolo")
    line = f"0 {(x1 + x2) / 2!r} {(y1 + y2) / 2!r} {x2 - x1!r} {y2 - y1!r}"
    add(root, "images/a.bmp", line, size=(width, height))
    a_yaml(root, f"train: images\n{NAMES}")
    box = load_yolo(root, "train").records[0].objects.boxes[0]
    expected = (x1 * width, y1 * height, x2 * width, y2 * height)
    assert box.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-3)


def test_on_the_command_line(run_frcnn, root):
    outcome = run_frcnn("train", "--yolo", root / "data.yaml", "--val-split", "val", "--check")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{root.name} train, {root.name} val: 3 images, 3 objects, no fault\n"
    outcome = run_frcnn("eval", "--yolo", root / "data.yaml")
    assert (outcome.code, outcome.err) == (
        1,
        f"frcnn: {root}/data.yaml: no split 'test' (splits there are: train, val)\n",
    )
