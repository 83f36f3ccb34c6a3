"""COCO's twelve numbers: of cases that can be counted, and as pycocotools reads them from files."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import coco_average_precision
from frcnn_cli.metrics.coco import NUMBERS, coco_summary

SMALL, MEDIUM, LARGE = (0, 0, 30, 30), (100, 0, 190, 90), (200, 0, 300, 100)


def found(*rows) -> Detections:
    boxes, scores = zip(*rows, strict=True)
    return Detections(np.array(boxes, np.float32), np.array(scores), np.ones(len(boxes), np.int64))


def truth(*boxes, difficult=()) -> Objects:
    flags = np.isin(np.arange(len(boxes)), difficult)
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.int64), flags)


def test_sizes_and_numbers_of_detections_by_hand():
    """The small object is missed, the medium one found exactly, the large one with an IoU of 0.8."""
    summary = coco_summary([found((MEDIUM, 0.9), ((200, 0, 280, 100), 0.8))], [truth(SMALL, MEDIUM, LARGE)], 1)
    assert tuple(summary.numbers) == NUMBERS
    tenths = (7 * 67 + 3 * 34) / (10 * 101)  # recall 2/3 up to IoU 0.8, then 1/3: 67 or 34 of 101 levels
    assert summary.numbers["AP"] == pytest.approx(tenths)
    assert summary.numbers["AP50"] == summary.numbers["AP75"] == pytest.approx(67 / 101)
    assert (summary.numbers["APs"], summary.numbers["APm"], summary.numbers["ARm"]) == pytest.approx((0, 1, 1))
    assert summary.numbers["ARl"] == pytest.approx(0.7)
    assert summary.numbers["AR1"] == pytest.approx(1 / 3)
    assert summary.numbers["AR100"] == summary.numbers["AR10"] == pytest.approx((7 * 2 + 3) / 30)
    assert summary.classes.ap.tolist() == pytest.approx([tenths])
    assert summary.classes.num_objects.tolist() == [3]


def test_nothing_to_find_is_nan_and_difficult_objects_are_crowds():
    summary = coco_summary([found((LARGE, 0.9))], [truth(LARGE, difficult=[0])], 2)
    assert np.isnan(list(summary.numbers.values())).all()
    assert np.isnan(summary.classes.ap).all()
    assert summary.classes.num_objects.tolist() == [0, 0]
    for empty in (coco_summary([], [], 2), coco_summary([Detections.empty()], [truth()], 1)):
        assert np.isnan(empty.numbers["AP"])


def test_equal_to_pycocotools_on_files(tmp_path):
    random = np.random.default_rng(5)
    detections, objects = [], []
    truths = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    results = []
    for image in range(15):
        corners = random.integers(0, 300, (5, 2))
        boxes = np.concatenate([corners, corners + random.integers(10, 160, (5, 2))], axis=1).astype(np.float32)
        labels, crowds = random.integers(1, 3, 5), random.random(5) < 0.2
        moved = np.concatenate([boxes + random.integers(-6, 7, (5, 4)), boxes[::-1] + 40]).astype(np.float32)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        said, scores = np.append(labels, random.integers(1, 3, 5)), random.random(10).astype(np.float32)
        detections.append(Detections(moved, scores, said))
        objects.append(Objects(boxes, labels, crowds))
        truths["images"].append({"id": image, "width": 500, "height": 500})
        for (x1, y1, x2, y2), label, crowd in zip(boxes.tolist(), labels.tolist(), crowds.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"id": len(truths["annotations"]) + 1, "image_id": image, "category_id": label, "bbox": box}
            truths["annotations"].append({**entry, "area": box[2] * box[3], "iscrowd": int(crowd)})
        for (x1, y1, x2, y2), label, score in zip(moved.tolist(), said.tolist(), scores.tolist(), strict=True):
            results.append(
                {"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
    (tmp_path / "truth.json").write_text(json.dumps(truths))
    (tmp_path / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        side = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(side, side.loadRes(str(tmp_path / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    summary = coco_summary(detections, objects, 2)
    assert list(summary.numbers.values()) == pytest.approx(evaluation.stats.tolist())
    ours = coco_average_precision(detections, objects, 2)
    assert summary.classes.ap == pytest.approx(ours.per_class)
    assert summary.numbers["AP"] == pytest.approx(ours.mean_ap)
