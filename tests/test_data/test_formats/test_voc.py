"""VOC folders: what is read, and that every fault is named, all in one go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frcnn_cli.data.checks import check_images
from frcnn_cli.data.formats.voc import VOC_CLASSES, load_voc, voc_splits, voc_to_xyxy
from frcnn_cli.errors import DataError, DatasetFaults


def an_object(name="dog", box=(11, 21, 30, 40), extra="") -> str:
    tags = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{tags}</bndbox></object>"


class Voc:
    """A VOC folder under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)
        self.ids: list[str] = []

    def annotation(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"

    def add(self, image_id: str, *objects: str, size=(100, 80), stated=None, suffix=".jpg", exif=None) -> None:
        path = self.root / "JPEGImages" / f"{image_id}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.annotation(image_id).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "gray").save(path, **({"exif": exif} if exif else {}))
        width, height = stated or size
        self.annotation(image_id).write_text(
            f"<annotation>\n<size><width>{width}</width><height>{height}</height></size>\n{''.join(objects)}</annotation>"
        )
        self.ids.append(image_id)

    def load(self, lines: str | None = None, **options):
        text = "\n".join(self.ids) + "\n" if lines is None else lines
        (self.root / "ImageSets" / "Main" / "train.txt").write_text(text)
        return load_voc(self.root, "train", **options)

    def faults(self, lines: str | None = None, **options) -> list[str]:
        """Load; return the faults without the folder's name."""
        with pytest.raises(DatasetFaults) as caught:
            self.load(lines, **options)
        return [line.replace(f"{self.root}/", "") for line in caught.value.faults]


@pytest.fixture
def voc(tmp_path) -> Voc:
    return Voc(tmp_path / "VOC2007")


def test_boxes_labels_and_flags(voc):
    voc.add("a", an_object("dog"), an_object("person", (1, 1, 100, 80), "<difficult>1</difficult>"))
    dataset = voc.load()
    (record,) = dataset.records
    assert dataset.name == "VOC2007 train"
    assert dataset.classes == VOC_CLASSES
    assert (record.id, record.width, record.height) == ("a", 100, 80)
    assert record.objects.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]
    assert record.objects.boxes.dtype == np.float32
    assert record.objects.labels.tolist() == [12, 15]
    assert record.objects.labels.dtype == np.int64
    assert record.objects.difficult.tolist() == [False, True]
    assert record.objects.crowds().shape == (0, 4)
    assert len(record.objects.without_crowds()) == 2  # fast-rcnn learns from the difficult ones
    assert dataset.skipped == ()


def test_decimal_coordinates(voc):
    voc.add("a", an_object(box=(10.5, 20.25, 30.5, 40)))
    assert voc.load().records[0].objects.boxes.tolist() == [[9.5, 19.25, 30.5, 40]]


def test_parts_are_not_objects(voc):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    voc.add("a", an_object("person", (11, 21, 30, 40), part))
    dataset = voc.load()
    assert dataset.classes == VOC_CLASSES
    assert dataset.records[0].objects.boxes.tolist() == [[10, 20, 30, 40]]


def test_image_without_objects(voc):
    voc.add("a")
    objects = voc.load().records[0].objects
    assert len(objects) == 0
    assert objects.boxes.shape == (0, 4)


def test_lists_with_flags_folders_and_byte_order_mark(voc):
    voc.add("a.1")
    voc.add("night/b", suffix=".png")
    voc.add("c", suffix=".JPG")
    dataset = voc.load("\ufeffa.1 -1\nnight/b  1\n\nc 0\n")
    assert [record.id for record in dataset.records] == ["a.1", "night/b", "c"]
    assert dataset.records[1].path == voc.root / "JPEGImages" / "night" / "b.png"


def test_other_classes_are_sorted(voc):
    voc.add("a", an_object("zebra"), an_object("dog"))
    dataset = voc.load()
    assert dataset.classes == ("dog", "zebra")
    assert dataset.records[0].objects.labels.tolist() == [2, 1]


def test_given_classes_keep_their_order_and_exclude_others(voc):
    voc.add("a", an_object("zebra"), an_object("dog"), an_object("cat"))
    assert voc.faults(classes=["zebra", "dog"]) == ["Annotations/a.xml: object 3 (cat): unknown class 'cat'"]
    dataset = voc.load(classes=["zebra", "dog"], skip_faulty=True)
    assert dataset.classes == ("zebra", "dog")
    assert dataset.records[0].objects.labels.tolist() == [1, 2]
    with pytest.raises(DataError, match="class 'dog' is listed twice"):
        voc.load(classes=["dog", "dog"])


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((30, 21, 11, 40), "box (30, 21, 11, 40) is inverted"),
        ((11, 40, 30, 21), "box (11, 40, 30, 21) is inverted"),
        ((11, 21, 10, 40), "box (11, 21, 10, 40) has no area"),
        ((50, 21, 102, 40), "box (50, 21, 102, 40) lies outside the image (100 x 80)"),
        ((50, 21, 101.25, 40), "box (50, 21, 101.25, 40) lies outside the image (100 x 80)"),
        ((-1, 21, 30, 40), "box (-1, 21, 30, 40) lies outside the image (100 x 80)"),
        ((201, 21, 230, 40), "box (201, 21, 230, 40) lies wholly outside the image (100 x 80)"),
        ((101, 21, 101, 40), "box (101, 21, 101, 40) lies wholly outside the image (100 x 80)"),
        (("nan", 21, 30, 40), "box (nan, 21, 30, 40) has a coordinate that is not a finite number"),
        ((11, 21, "inf", 40), "box (11, 21, inf, 40) has a coordinate that is not a finite number"),
        (("left", 21, 30, 40), "<xmin> is not a number: 'left'"),
        (("", 21, 30, 40), "<xmin> is not a number: ''"),
    ],
)
def test_bad_boxes_are_named(voc, box, fault):
    voc.add("a", an_object("cat"), an_object(box=box))
    assert voc.faults(strict=True) == [f"Annotations/a.xml: object 2 (dog): {fault}"]


@pytest.mark.parametrize(
    ("box", "expected"), [((0, 0, 30, 40), [0, 0, 30, 40]), ((11, 21, 101, 81), [10, 20, 100, 80])]
)
def test_one_pixel_of_overshoot_is_clipped(voc, box, expected):
    voc.add("a", an_object(box=box))
    assert voc.load().records[0].objects.boxes.tolist() == [expected]


def test_missing_tags_are_named(voc):
    whole = an_object()
    voc.add(
        "a",
        whole.replace("<ymax>40</ymax>", ""),
        "<object><name>cat</name></object>",
        whole.replace("<name>dog</name>", ""),
    )
    assert voc.faults() == [
        "Annotations/a.xml: object 1 (dog): no <ymax>",
        "Annotations/a.xml: object 2 (cat): no <bndbox>",
        "Annotations/a.xml: object 3: no <name>",
    ]


def test_faults_of_all_files_come_together_or_are_skipped(voc):
    for image_id in ("good", "no_image", "no_xml", "bad_xml", "text", "small", "html", "size"):
        voc.add(image_id, an_object(), stated=(99, 80) if image_id == "small" else None)
    voc.add("half", an_object("cat"), an_object(box=(5, 5, 1, 1)))
    voc.ids.append("good")
    (voc.root / "JPEGImages" / "no_image.jpg").unlink()
    (voc.root / "JPEGImages" / "text.jpg").write_text("text" * 9)
    voc.annotation("no_xml").unlink()
    voc.annotation("bad_xml").write_text("<annotation>\n<size>\n</annotation>")
    voc.annotation("html").write_text("<html/>")
    voc.annotation("size").write_text("<annotation><size><width>?</width></size></annotation>")
    expected = [
        "ImageSets/Main/train.txt: line 10: good is already in line 1",
        "JPEGImages/no_image.jpg: no such image (nor as .jpeg or .png)",
        "Annotations/no_xml.xml: no such annotation",
        "Annotations/bad_xml.xml: not XML (mismatched tag: line 3, column 2)",
        "JPEGImages/text.jpg: not an image that can be read (unknown format)",
        "JPEGImages/small.jpg: image is 100 x 80, its annotation says 99 x 80",
        "Annotations/html.xml: not a VOC annotation (the outer tag is <html>)",
        "Annotations/size.xml: <size> is not two whole numbers: '?', ''",
        "Annotations/half.xml: object 2 (dog): box (5, 5, 1, 1) is inverted",
    ]
    assert voc.faults() == expected
    dataset = voc.load(skip_faulty=True)
    assert [record.id for record in dataset.records] == ["good", "half"]
    assert dataset.records[1].objects.labels.tolist() == [8]
    assert [line.replace(f"{voc.root}/", "") for line in dataset.skipped] == expected


def test_no_image_left_is_a_fault_even_when_skipping(voc):
    voc.ids = ["a", "b"]
    with pytest.raises(DatasetFaults, match="VOC2007 train: no usable image: 2 faults"):
        voc.load(skip_faulty=True)


def test_missing_folder_list_and_empty_list(voc, tmp_path):
    with pytest.raises(DataError) as caught:
        load_voc(tmp_path / "nowhere", "train")
    assert str(caught.value) == f"{tmp_path}/nowhere: no such folder"
    with pytest.raises(DataError) as caught:
        voc.load(" \n\n")
    assert str(caught.value) == f"{voc.root}/ImageSets/Main/train.txt: the image list is empty"
    (voc.root / "ImageSets" / "Main" / "val.txt").touch()
    with pytest.raises(DataError) as caught:
        load_voc(voc.root, "test")
    expected = f"{voc.root}/ImageSets/Main/test.txt: no such image list (splits there are: train, val)"
    assert str(caught.value) == expected
    assert voc_splits(voc.root) == ("train", "val")
    assert voc_splits(tmp_path / "nowhere") == ()


# A box at the top left of the picture as displayed (80 wide, 100 high), seen in the stored pixels (100 x 80).
STORED_BOX = {5: (1, 1, 20, 10), 6: (1, 71, 20, 80), 7: (81, 71, 100, 80), 8: (81, 1, 100, 10)}


@pytest.mark.parametrize("orientation", STORED_BOX)
def test_annotation_of_the_unrotated_pixels_is_turned_with_the_image(voc, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    voc.add("a", an_object(box=STORED_BOX[orientation]), size=(100, 80), exif=exif)
    (record,) = voc.load().records
    assert (record.width, record.height) == (80, 100)
    assert record.objects.boxes.tolist() == [[0, 0, 10, 20]]


def test_annotation_of_the_displayed_image_is_taken_as_it_is(voc):
    exif = Image.Exif()
    exif[0x0112] = 6
    voc.add("a", an_object(box=(1, 1, 10, 20)), size=(100, 80), stated=(80, 100), exif=exif)
    assert voc.load().records[0].objects.boxes.tolist() == [[0, 0, 10, 20]]


def test_swapped_size_without_exif_is_a_fault(voc):
    voc.add("a", stated=(80, 100))
    assert voc.faults() == ["JPEGImages/a.jpg: image is 100 x 80, its annotation says 80 x 100"]


def test_check_images_decodes_every_pixel(voc):
    for image_id in ("a", "b", "c"):
        voc.add(image_id, size=(200, 200))
    dataset = voc.load()
    path = voc.root / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert len(voc.load()) == 3
    with pytest.raises(DatasetFaults) as caught:
        check_images(dataset)
    assert caught.value.faults == (f"{path}: truncated image",)
    sound = check_images(dataset, skip_faulty=True)
    assert [record.id for record in sound.records] == ["a", "c"]
    assert sound.skipped == (f"{path}: truncated image",)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
def test_voc_boxes_count_their_last_pixel(xmin, ymin, more_x, more_y):
    x1, y1, x2, y2 = voc_to_xyxy((xmin, ymin, xmin + more_x, ymin + more_y))
    assert (x2 - x1, y2 - y1) == (more_x + 1, more_y + 1)
    assert (x1, y1) == (xmin - 1, ymin - 1)
