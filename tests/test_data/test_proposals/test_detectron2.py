"""detectron2's .pkl: both box modes, both generations of names, hostile files."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import types
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frcnn_cli.data.proposals.detectron2 import Detectron2Proposals, coco_number, write_detectron2
from frcnn_cli.data.proposals.npz import ImageProposals

BOXES = np.array([[2, 1, 5, 4], [0, 0, 20, 9]], np.float32)
LOGITS = np.array([-1.5, 3], np.float32)


@pytest.fixture
def opened(tmp_path):
    """Pickle a dict of what is given and sound defaults (None: without it), and open it."""

    def run(protocol: int = 4, **content) -> Detectron2Proposals:
        whole = {"ids": ["a"], "boxes": [BOXES], "objectness_logits": [LOGITS], "bbox_mode": 0, **content}
        path = tmp_path / "p.pkl"
        path.write_bytes(pickle.dumps({key: value for key, value in whole.items() if value is not None}, protocol))
        return Detectron2Proposals(path)

    return run


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_boxes_come_by_falling_objectness(opened, protocol):
    file = opened(protocol)
    assert file.ids == ("a",)
    assert "a" in file
    assert "b" not in file
    assert len(file) == 1
    assert file.meta == {}
    assert file.get("a", 20, 9).tolist() == [[0, 0, 20, 9], [2, 1, 5, 4]]


def test_equal_logits_keep_the_order(opened):
    boxes = np.array([[x, 0, x + 1, 1] for x in range(50)], np.float64)
    logits = np.repeat([1.0, 2.0], 25)
    found = opened(boxes=[boxes], objectness_logits=[logits]).get("a", 60, 9)
    assert found[:, 0].tolist() == [*range(25, 50), *range(25)]


def test_mode_1_is_width_and_height(opened):
    sides = np.array([[2, 1, 3, 3], [0, 0, 20, 9]], np.float32)
    assert opened(boxes=[sides], bbox_mode=1).get("a", 20, 9).tolist() == [[0, 0, 20, 9], [2, 1, 5, 4]]
    both = opened(ids=["a", "b"], boxes=[sides, BOXES], objectness_logits=[LOGITS] * 2, bbox_mode=[1, 0])
    assert both.get("a", 20, 9).tolist() == both.get("b", 20, 9).tolist() == [[0, 0, 20, 9], [2, 1, 5, 4]]
    assert opened(bbox_mode=np.int64(0)).get("a", 20, 9)[1].tolist() == [2, 1, 5, 4]
    assert opened(bbox_mode=None).get("a", 20, 9)[1].tolist() == [2, 1, 5, 4]


def test_a_sum_that_ends_a_hair_outside_is_rounding(opened, fault_of):
    sides = np.array([[0.3, 0, 499.7, 9]], np.float32)
    assert float(sides[0, 0]) + float(sides[0, 2]) > 500
    found = opened(boxes=[sides], objectness_logits=[LOGITS[:1]], bbox_mode=1).get("a", 500, 9)
    assert found[0, 2] == 500
    outside = opened(boxes=[BOXES + np.float32(0.02)])
    assert "lies outside the image (20 x 9)" in fault_of(outside.get, "a", 20, 9)


def test_the_mode_as_detectron2_s_enumeration(opened, monkeypatch, fault_of):
    class BoxMode(IntEnum):
        XYXY_ABS = 0
        XYWH_ABS = 1
        XYWHA_ABS = 4

    module = types.ModuleType("detectron2.structures.boxes")
    module.BoxMode = BoxMode
    BoxMode.__module__, BoxMode.__qualname__ = module.__name__, "BoxMode"
    for name in ("detectron2", "detectron2.structures", "detectron2.structures.boxes"):
        monkeypatch.setitem(sys.modules, name, module)
    for protocol in (2, 4):
        file = opened(protocol, bbox_mode=BoxMode.XYWH_ABS, boxes=[np.array([[2, 1, 3, 3], [0, 0, 20, 9]])])
        assert file.get("a", 20, 9).tolist() == [[0, 0, 20, 9], [2, 1, 5, 4]]
    assert "bbox_mode is 4; read are 0 (x1 y1 x2 y2) and 1 (x y w h)" in fault_of(lambda: opened(bbox_mode=BoxMode(4)))


def test_the_names_of_the_first_detectron(opened):
    file = opened(2, ids=None, objectness_logits=None, indexes=[139, 285], scores=[LOGITS] * 2, boxes=[BOXES] * 2)
    assert file.ids == ("139", "285")
    assert file.get("285", 20, 9).tolist() == [[0, 0, 20, 9], [2, 1, 5, 4]]


def test_coco_s_images_by_the_names_of_their_files(opened):
    file = opened(ids=np.array([139, 285]), boxes=[BOXES, BOXES[:1]], objectness_logits=[LOGITS, LOGITS[:1]])
    for name in ("285", "000000000285", "COCO_val2014_000000000285", "COCO_train2014_000000000285"):
        assert name in file
        assert file.get(name, 20, 9).tolist() == [[2, 1, 5, 4]]
    for name in ("0285", "000000000286", "a_000000000285", "None"):
        assert name not in file
    assert coco_number("2008_000285") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"boxes": None}, "not detectron2's (no list boxes in it)"),
        ({"boxes": BOXES}, "not detectron2's (no list boxes in it)"),
        ({"ids": None}, "not detectron2's (no list ids in it)"),
        ({"objectness_logits": None}, "not detectron2's (no list objectness_logits in it)"),
        ({"boxes": []}, "boxes of 0 images, but 1 image ids"),
        ({"objectness_logits": [LOGITS] * 2}, "logits of 2 images, but 1 image ids"),
        ({"bbox_mode": [0, 0]}, "box modes of 2 images, but 1 image ids"),
        ({"bbox_mode": 2}, "bbox_mode is 2; read are 0 (x1 y1 x2 y2) and 1 (x y w h)"),
        ({"bbox_mode": "XYXY_ABS"}, "bbox_mode is a str; read are"),
        ({"bbox_mode": [[0]]}, "bbox_mode is a list; read are"),
        ({"bbox_mode": 10**5000}, "bbox_mode is a int; read are"),
        ({"ids": [None]}, "ids: a NoneType that is not the id of an image"),
        ({"ids": [10**5000]}, "ids: a int that is not the id of an image"),
        ({"ids": [3, "3"], "boxes": [BOXES] * 2, "objectness_logits": [LOGITS] * 2}, "image 3 is there twice"),
    ],
)
def test_files_of_another_kind(opened, tmp_path, content, fault, fault_of):
    message = fault_of(lambda: opened(**content))
    assert message.startswith(f"{tmp_path / 'p.pkl'}: ")
    assert fault in message


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"boxes": [BOXES[:, :3]]}, "boxes are float32 [2, 3], not numbers [N, 4]"),
        ({"boxes": [BOXES.tolist()]}, "boxes are list, not numbers [N, 4]"),
        ({"boxes": [np.array([["a"] * 4] * 2)]}, "boxes are <U1, not numbers [N, 4]"),
        ({"objectness_logits": [LOGITS[:1]]}, "2 boxes without as many numbers for their objectness"),
        ({"objectness_logits": [[1, 2]]}, "2 boxes without as many numbers for their objectness"),
        ({"boxes": [BOXES + 1]}, "box 0 (1, 1, 21, 10) lies outside the image (20 x 9)"),
        ({"boxes": [BOXES[:, ::-1]]}, "is inverted or has no area"),
        ({"boxes": [np.full((2, 4), 1e300)]}, "has a coordinate that is not a finite number"),
        ({"boxes": [np.full((2, 4), np.inf)], "bbox_mode": 1}, "has a coordinate that is not a finite number"),
    ],
)
def test_boxes_that_do_not_fit(opened, tmp_path, content, fault, fault_of):
    file = opened(**content)
    message = fault_of(file.get, "a", 20, 9)
    assert message.startswith(f"{tmp_path / 'p.pkl'}: image a: ")
    assert fault in message
    assert message.endswith("; read as x1 y1 x2 y2 or x y w h as its bbox_mode says, continuous pixels from 0")
    assert fault_of(file.get, "b", 20, 9) == f"{tmp_path / 'p.pkl'}: no proposals for image b"


def test_not_a_dict_and_not_whole(tmp_path, fault_of):
    path = tmp_path / "p.pkl"
    assert fault_of(Detectron2Proposals, path) == f"{path}: no such file"
    path.write_bytes(pickle.dumps([BOXES]))
    assert fault_of(Detectron2Proposals, path) == f"{path}: not detectron2's (a list, not a dict)"
    write_detectron2(path, [ImageProposals("a", BOXES, 20, 9)], {})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert f"{path}: not a pickle, or a damaged one (" in fault_of(Detectron2Proposals, path)


def test_a_hostile_file_runs_nothing(tmp_path, monkeypatch, fault_of):
    class Attack:
        def __reduce__(self):
            return os.system, ("touch marker",)

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps({"ids": ["a"], "boxes": [BOXES], "objectness_logits": [Attack()]}))
    assert "system', which is neither an array nor a plain container" in fault_of(Detectron2Proposals, path)
    assert os.listdir(tmp_path) == ["p.pkl"]


def test_detectron2_finds_what_it_looks_for(tmp_path):
    """What ``load_proposals_into_dataset`` does, by its documentation: look an image up, sort by falling logits."""
    path = tmp_path / "p.pkl"
    many = np.array([[x, 0, x + 1, 1] for x in range(300)], np.float32)
    empty = np.zeros((0, 4), np.float32)
    images = [("2008_000008", BOXES), ("COCO_val2014_000000000139", many), ("000000000285", empty)]
    write_detectron2(path, [ImageProposals(name, boxes, 301, 9) for name, boxes in images], {"mode": "fast"})
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    assert content["ids"] == ["2008_000008", 139, 285]
    assert content["bbox_mode"] == 0
    for place, (_, boxes) in enumerate(images):
        found, logits = content["boxes"][place], content["objectness_logits"][place]
        assert type(found) is type(logits) is np.ndarray
        assert found.dtype == logits.dtype == np.float32
        assert found[logits.argsort()[::-1]].tolist() == boxes.tolist()
    assert content["objectness_logits"][0].tolist() == [0, -1]
    assert b"_core" not in path.read_bytes()  # a name only some versions of NumPy know


def test_writing_is_reproducible_and_checked(tmp_path, fault_of):
    for name in ("a.pkl", "b.pkl"):
        write_detectron2(tmp_path / name, [ImageProposals("a", BOXES, 20, 9)], {})
    assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "b.pkl").read_bytes()
    outside = fault_of(write_detectron2, tmp_path / "c.pkl", [ImageProposals("a", BOXES, 19, 9)], {})
    assert outside == f"{tmp_path / 'c.pkl'}: image a: box 1 (0, 0, 20, 9) lies outside the image (19 x 9)"
    names = ("COCO_val2014_000000000139", "COCO_train2014_000000000139")
    twins = [ImageProposals(name, BOXES, 20, 9) for name in names]
    same_number = fault_of(write_detectron2, tmp_path / "c.pkl", twins, {})
    assert same_number == f"{tmp_path / 'c.pkl'}: two images have the same COCO number"
    assert sorted(os.listdir(tmp_path)) == ["a.pkl", "b.pkl"]


corners = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(0, 200, width=32))
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, corners, max_size=4))
def test_what_is_written_is_read_to_the_bit(drawn):
    images = []
    for image_id, array in drawn.items():
        low, high = np.minimum(array[:, :2], array[:, 2:]), np.maximum(array[:, :2], array[:, 2:])
        images.append(ImageProposals(image_id, np.hstack([low, high])[(low < high).all(axis=1)], 200, 200))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.pkl")
        write_detectron2(path, images, {})
        file = Detectron2Proposals(path)
        assert file.ids == tuple(image.id for image in images)
        for image in images:
            assert file.get(image.id, 200, 200).tobytes() == image.boxes.tobytes()


def test_images_of_a_coco_file_go_by_its_numbers(tmp_path, opened, fault_of):
    """Names are no numbers, even where they look like one: 7.jpg is not the image 7."""
    opened(ids=[7, 5], boxes=[BOXES, BOXES[:1]], objectness_logits=[LOGITS, LOGITS[:1]])
    file = Detectron2Proposals(tmp_path / "p.pkl", {"a": 7, "7": 5, "5": 9})
    assert len(file.get("a", 20, 9)) == 2
    assert len(file.get("7", 20, 9)) == 1
    assert "5" not in file
    assert "no proposals for image 5" in fault_of(file.get, "5", 20, 9)


def test_files_that_go_by_names_are_read_all_the_same(tmp_path, opened):
    opened(ids=["a", "7"], boxes=[BOXES, BOXES[:1]], objectness_logits=[LOGITS, LOGITS[:1]])
    file = Detectron2Proposals(tmp_path / "p.pkl", {"a": 101, "7": 102})
    assert len(file.get("a", 20, 9)) == 2
    assert len(file.get("7", 20, 9)) == 1


def test_coco_s_numbers_are_written(tmp_path, fault_of):
    images = [ImageProposals("a", BOXES, 20, 9, 101), ImageProposals("b", BOXES[:1], 20, 9, "x7")]
    write_detectron2(tmp_path / "p.pkl", images, {})
    assert pickle.loads((tmp_path / "p.pkl").read_bytes())["ids"] == [101, "x7"]
    file = Detectron2Proposals(tmp_path / "p.pkl", {"a": 101, "b": "x7"})
    assert len(file.get("b", 20, 9)) == 1
    twice = [image._replace(coco_id=1) for image in images]
    assert "two images have the same COCO number" in fault_of(write_detectron2, tmp_path / "q.pkl", twice, {})
