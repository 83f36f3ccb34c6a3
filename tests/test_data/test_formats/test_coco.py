"""COCO annotation files: what is read, and that every fault is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.errors import DataError, DatasetFaults


@pytest.fixture
def content(tmp_path) -> dict[str, list[dict[str, Any]]]:
    """A sound annotation file of two images in tmp_path/images, for a test to spoil."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.jpg")
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "sub" / "b.v2.png")
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 100, "height": 80},
            {"id": 3, "file_name": "sub/b.v2.png"},
        ],
        "categories": [{"id": 90, "name": "ant"}, {"id": 2, "name": "bee"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 20.5, 30, 40], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 100, 80], "iscrowd": 1},
        ],
    }


def load(tmp_path: Path, content: Any, **options):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_coco(path, tmp_path / "images", **options)


def faults_of(tmp_path: Path, content: Any, **options) -> list[str]:
    with pytest.raises(DatasetFaults) as caught:
        load(tmp_path, content, **options)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.faults]


def error_of(tmp_path: Path, content: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(tmp_path, content)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def test_what_is_read(tmp_path, content):
    dataset = load(tmp_path, content)
    assert dataset.name == "instances"
    assert dataset.classes == ("bee", "ant")
    first, second = dataset.records
    assert (first.id, first.width, first.height) == ("a", 100, 80)
    assert first.objects.boxes.tolist() == [[10, 20.5, 40, 60.5], [0, 0, 100, 80]]
    assert first.objects.boxes.dtype == np.float32
    assert first.objects.labels.tolist() == [2, 1]
    assert first.objects.difficult.tolist() == [False, True]
    assert first.objects.crowd.tolist() == [False, True]
    assert first.objects.crowds().tolist() == [[0, 0, 100, 80]]
    assert first.objects.without_crowds().labels.tolist() == [2]
    assert (second.id, second.width, second.height) == ("sub/b.v2", 60, 40)
    assert second.path == tmp_path / "images" / "sub" / "b.v2.png"
    assert len(second.objects) == 0


def test_given_classes(tmp_path, content):
    dataset = load(tmp_path, content, classes=["ant", "bee"])
    assert dataset.classes == ("ant", "bee")
    assert dataset.records[0].objects.labels.tolist() == [1, 2]
    assert faults_of(tmp_path, content, classes=["ant"]) == [
        "instances.json: annotation 2: image a: unknown class 'bee'"
    ]


@pytest.mark.parametrize(
    ("bbox", "fault"),
    [
        ([10, 20, -5, 4], "image a (ant): box (10, 20, -5, 4) is inverted"),
        ([10, 20, 0, 4], "image a (ant): box (10, 20, 0, 4) has no area"),
        ([90, 20, 30, 4], "image a (ant): box (90, 20, 30, 4) lies outside the image (100 x 80)"),
        ([10, 200, 3, 4], "image a (ant): box (10, 200, 3, 4) lies wholly outside the image (100 x 80)"),
        (
            [float("nan"), 2, 3, 4],
            "image a (ant): box (nan, 2, 3, 4) has a coordinate that is not a finite number",
        ),
        ([1, 2, 3], "image a (ant): bbox is not four numbers: [1, 2, 3]"),
        (["1x", 2, 3, 4], "image a (ant): bbox is not four numbers: ['1x', 2, 3, 4]"),
        ([True, 2, 3, 4], "image a (ant): bbox is not four numbers: [True, 2, 3, 4]"),
        ({"x": 1}, "image a (ant): bbox is not four numbers: {'x': 1}"),
        (None, "image a (ant): no 'bbox'"),
        ([10**400, 2, 3, 4], "image a (ant): bbox has a number beyond all bounds"),
    ],
)
def test_bad_boxes_are_named_and_skipped(tmp_path, content, bbox, fault):
    content["annotations"][0]["bbox"] = bbox
    assert faults_of(tmp_path, content) == [f"instances.json: annotation 1: {fault}"]
    dataset = load(tmp_path, content, skip_faulty=True)
    assert dataset.records[0].objects.labels.tolist() == [1]
    assert len(dataset.skipped) == 1


def test_one_pixel_of_overshoot_is_clipped(tmp_path, content):
    content["annotations"][0]["bbox"] = [-1, 20, 102, 30]
    assert load(tmp_path, content).records[0].objects.boxes[0].tolist() == [0, 20, 100, 50]


def test_faults_come_together_or_are_skipped(tmp_path, content):
    content["images"] += [
        {"id": 8, "file_name": "missing.jpg"},
        {"id": 7, "file_name": "again.jpg"},
        {"id": 9, "file_name": "a.jpg"},
        {"id": 10},
    ]
    content["images"][1].update(width=61, height=40)
    content["annotations"] += [
        {"id": 11, "image_id": 8, "category_id": 2, "bbox": [0, 0, 5, 5]},
        {"id": 12, "image_id": 99, "category_id": 2, "bbox": [0, 0, 5, 5]},
        {"id": 13, "image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 5]},
        {"id": 14, "image_id": 7, "category_id": 2},
    ]
    expected = [
        "images/sub/b.v2.png: image is 60 x 40, its annotation says 61 x 40",
        "images/missing.jpg: no such file",
        "instances.json: image 7 (again.jpg): its id or file name is there twice",
        "instances.json: image 9 (a.jpg): its id or file name is there twice",
        "instances.json: image 6 of the list lacks its id or file_name",
        "instances.json: annotation 12: image_id 99 is not in the list of images",
        "instances.json: annotation 13: image a: category_id 5 is not in the list of categories",
        "instances.json: annotation 14: image a (bee): no 'bbox'",
    ]
    assert faults_of(tmp_path, content) == expected
    dataset = load(tmp_path, content, skip_faulty=True)
    assert [record.id for record in dataset.records] == ["a"]
    assert len(dataset.records[0].objects) == 2
    assert [line.replace(f"{tmp_path}/", "") for line in dataset.skipped] == expected


def test_files_that_are_no_coco_files(tmp_path, content):
    assert error_of(tmp_path, '{"images": [').startswith("instances.json: not JSON (")
    assert error_of(tmp_path, "[1]") == "instances.json: not a COCO annotation file (no list 'images')"
    assert error_of(tmp_path, {**content, "annotations": None}) == (
        "instances.json: not a COCO annotation file (no list 'annotations')"
    )
    assert error_of(tmp_path, {**content, "images": []}) == "instances.json: lists no image"
    assert error_of(tmp_path, {**content, "categories": [{"id": 1}]}) == (
        "instances.json: a category lacks its id or name: {'id': 1}"
    )
    assert error_of(tmp_path, {**content, "categories": [{"id": 1, "name": " "}]}) == (
        "instances.json: category 1 has no name"
    )
    twice = [{"id": 1, "name": "ant"}, {"id": 2, "name": "ant"}]
    assert error_of(tmp_path, {**content, "categories": twice}) == (
        "instances.json: category 2 (ant): its id or name is there twice"
    )


def test_missing_paths(tmp_path, content):
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        load_coco(tmp_path / "nowhere.json", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a folder; name the JSON file, such as .*/a\.json$"):
        load_coco(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"images: a folder; name the JSON file$"):
        load_coco(tmp_path / "images", tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load_coco(tmp_path / "a.json", tmp_path / "nowhere")


class TestAsToolsWriteIt:
    @pytest.mark.parametrize(
        "name",
        ["sub\\b.v2.png", "./sub/b.v2.png", "SUB/B.V2.PNG", "D:\\images\\sub\\b.v2.png", "/x/sub/b.v2.png", "b.v2.png"],
    )
    def test_a_file_by_a_name_that_is_not_quite_its_own(self, tmp_path, content, name):
        content["images"][1]["file_name"] = name
        record = load(tmp_path, content).records[1]
        assert (record.id, record.path) == ("sub/b.v2", tmp_path / "images" / "sub" / "b.v2.png")

    def test_two_files_that_differ_in_the_suffix_are_told_apart(self, tmp_path, content):
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
        content["images"].append({"id": 5, "file_name": "a.png"})
        assert [record.id for record in load(tmp_path, content).records] == ["a.jpg", "sub/b.v2", "a.png"]

    def test_a_name_without_a_suffix_that_two_files_have(self, tmp_path, content):
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
        content["images"][0]["file_name"] = "a"
        assert faults_of(tmp_path, content) == ["images/a: which of a.jpg, a.png is it?"]
        (tmp_path / "images" / "a.png").unlink()
        assert load(tmp_path, content).records[0].id == "a"

    @pytest.mark.parametrize(
        ("width", "height"),
        [("100", "80"), (100.0, 80.0), (" 100 ", "80.0"), (0, 0), (None, None), ("", ""), (0, 80), ("0", 80), (-1, -1)],
    )
    def test_a_size_in_any_spelling_or_none(self, tmp_path, content, width, height):
        content["images"][0].update(width=width, height=height)
        assert load(tmp_path, content).records[0].width == 100

    @pytest.mark.parametrize(("width", "fault"), [("wide", "'wide'"), (99.5, "99.5"), ([100], "[100]"), ({}, "{}")])
    def test_a_size_that_is_none(self, tmp_path, content, width, fault):
        content["images"][0].update(width=width, height=80)
        assert faults_of(tmp_path, content) == [
            f"instances.json: image 7 (a.jpg): its size is not two whole numbers: {fault}, 80"
        ]

    @pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
    @pytest.mark.parametrize(
        ("value", "is_set"),
        [(1, True), (0, False), ("1", True), ("0", False), (True, True), (None, False), (1.0, True)],
    )
    def test_what_is_not_to_be_counted_is_difficult(self, tmp_path, content, flag, value, is_set):
        content["annotations"][0][flag] = value
        assert load(tmp_path, content).records[0].objects.difficult.tolist() == [is_set, True]

    def test_a_category_above_the_others_is_left_out_and_said(self, tmp_path, content):
        for category in content["categories"]:
            category["supercategory"] = "insects"
        content["categories"].insert(0, {"id": 0, "name": "insects", "supercategory": "none"})
        dataset = load(tmp_path, content)
        assert dataset.classes == ("bee", "ant")
        assert dataset.notes == ("category 0 (insects), above others and without objects, is left out",)
        content["annotations"][0]["category_id"] = 0
        assert load(tmp_path, content).classes == ("insects", "bee", "ant")

    def test_such_a_category_may_have_the_name_of_the_only_one(self, tmp_path, content):
        content["categories"] = [
            {"id": 0, "name": "ant", "supercategory": "none"},
            {"id": 90, "name": "ant", "supercategory": "ant"},
        ]
        content["annotations"] = content["annotations"][:1]
        assert load(tmp_path, content).classes == ("ant",)

    def test_a_category_above_itself_is_none_of_them(self, tmp_path, content):
        content["categories"][1]["supercategory"] = "bee"
        assert load(tmp_path, content).classes == ("bee", "ant")

    def test_the_images_keep_their_numbers(self, tmp_path, content):
        assert [record.coco_id for record in load(tmp_path, content).records] == [7, 3]

    @pytest.mark.parametrize("spelling", [float, str, lambda number: f" {number} "])
    @pytest.mark.parametrize(
        ("key", "name"),
        [("images", "id"), ("categories", "id"), ("annotations", "image_id"), ("annotations", "category_id")],
    )
    def test_an_id_is_the_same_however_it_is_written(self, tmp_path, content, key, name, spelling):
        for item in content[key]:
            item[name] = spelling(item[name])
        dataset = load(tmp_path, content)
        assert dataset.classes == ("bee", "ant")
        assert dataset.records[0].objects.labels.tolist() == [2, 1]

    def test_an_id_that_is_a_text_stays_the_image_s(self, tmp_path, content):
        for item in content["images"]:
            item["id"] = f"{item['id']:03}"
        assert [record.coco_id for record in load(tmp_path, content).records] == ["007", "003"]
        content["images"][0]["id"] = content["annotations"][0]["image_id"] = "x7"
        del content["annotations"][1]
        assert load(tmp_path, content).records[0].coco_id == "x7"

    def test_categories_by_texts_and_with_numbers_for_names(self, tmp_path, content):
        content["categories"] = [{"id": "b", "name": 7}, {"id": "a", "name": "ant"}]
        for item in content["annotations"]:
            item["category_id"] = "b"
        assert load(tmp_path, content).classes == ("ant", "7")

    def test_numbers_of_a_box_may_be_texts(self, tmp_path, content):
        content["annotations"][0]["bbox"] = ["10", "20.5", 30, " 40 "]
        assert load(tmp_path, content).records[0].objects.boxes[0].tolist() == [10, 20.5, 40, 60.5]

    @pytest.mark.parametrize(
        "outline",
        [
            [[10, 20, 40, 20, 40, 60]],
            [10, 20, 40, 20, 40, 60],
            [[10, 20, 11, 20, 11, 21], [30, 50, "40", 60, 30, 60]],
        ],
    )
    @pytest.mark.parametrize("bbox", [{}, {"bbox": None}, {"bbox": []}])
    def test_without_a_box_it_is_that_around_the_polygons(self, tmp_path, content, outline, bbox):
        del content["annotations"][0]["bbox"]
        content["annotations"][0].update(bbox, segmentation=outline)
        assert load(tmp_path, content).records[0].objects.boxes[0].tolist() == [10, 20, 40, 60]

    @pytest.mark.parametrize(
        ("outline", "fault"),
        [
            ({"counts": [1, 2], "size": [80, 100]}, "no 'bbox', and its segmentation is a mask, not polygons"),
            ([[1, 2, 3, 4]], "no 'bbox', and its segmentation has no polygon of three corners"),
            ([[1, 2, 3, 4, 5, None]], "no 'bbox', and its segmentation is not polygons: [1, 2, 3, 4, 5, None]"),
            ([], "no 'bbox'"),
        ],
    )
    def test_an_outline_that_gives_no_box(self, tmp_path, content, outline, fault):
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = outline
        assert faults_of(tmp_path, content) == [f"instances.json: annotation 1: image a (ant): {fault}"]

    def test_objects_of_an_image_that_cannot_be_used_are_no_further_faults(self, tmp_path, content):
        del content["images"][0]["file_name"]
        assert faults_of(tmp_path, content) == ["instances.json: image 1 of the list lacks its id or file_name"]

    @pytest.mark.parametrize("bbox", [[0.1, 0.2, 0.5, 0.25], [0, 0, 0.5, 1]])
    def test_fractions_are_said_to_be_such(self, tmp_path, content, bbox):
        content["annotations"][0]["bbox"] = bbox
        (fault,) = faults_of(tmp_path, content)
        assert "looks like fractions of the image's size; pixels are wanted" in fault

    def test_a_box_that_is_nearly_inside_is_clipped_and_counted(self, tmp_path, content):
        content["annotations"][0]["bbox"] = [-3, 20, 60, 30]
        dataset = load(tmp_path, content)
        assert dataset.records[0].objects.boxes[0].tolist() == [0, 20, 57, 50]
        assert dataset.notes == ("1 box leaves its image by a little and is clipped",)
        assert len(faults_of(tmp_path, content, strict=True)) == 1

    def test_the_background_is_no_class(self, tmp_path, content):
        content["categories"].append({"id": 0, "name": "__background__"})
        assert load(tmp_path, content).classes == ("bee", "ant")
        content["annotations"][0]["category_id"] = 0
        assert faults_of(tmp_path, content) == [
            "instances.json: annotation 1: image a: class '__background__': the background is no class of objects"
        ]
