"""AP on cases that can be counted by hand, by its properties, and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import (
    average_precision,
    coco_average_precision,
    evaluate,
    match_detections,
    precision_recall,
)

A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (100, 100, 110, 110)


def found(*rows) -> Detections:
    """Rows of (box, score) or (box, score, label)."""
    labels = [row[2] if len(row) > 2 else 1 for row in rows]
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([row[1] for row in rows], np.float32), np.array(labels, np.int64))


def truth(*boxes, difficult=(), labels=None) -> Objects:
    flags = np.isin(np.arange(len(boxes)), difficult)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), labels, flags)


def ap_of(detections, objects, **options) -> float:
    return evaluate([detections], [objects], 1, **options).ap[0]


# --- counted by hand


@pytest.mark.parametrize("metric", ["voc", "voc07"])
def test_perfect_detections_have_ap_1(metric):
    assert ap_of(found((A, 0.9), (B, 0.8)), truth(A, B), metric=metric) == pytest.approx(1.0)


def test_second_match_of_an_object_is_a_false_positive():
    ranking = match_detections([found((A, 0.7), (A, 0.9), (B, 0.8))], [truth(A, B)], label=1)
    assert ranking.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert ranking.correct.tolist() == [True, True, False]
    # between the two hits: precision 1, 1/2, 2/3 -> area 1/2 * 1 + 1/2 * 2/3
    assert ap_of(found((A, 0.9), (A, 0.8), (B, 0.7)), truth(A, B)) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_equal_scores_keep_their_order():
    ranking = match_detections([found((FAR, 0.5), (A, 0.5)), found((A, 0.5))], [truth(A), truth(A)], label=1)
    assert ranking.correct.tolist() == [False, True, True]


def test_second_best_object_is_never_tried():
    """VOC's rule: the detection belongs to the object of highest IoU even if that one is taken. COCO's goes on."""
    detections, objects = [found((A, 0.9), ((0, 0, 10, 11), 0.8))], [truth(A, (0, 0, 10, 14))]
    assert match_detections(detections, objects, label=1).correct.tolist() == [True, False]
    assert coco_average_precision(detections, objects, 1).mean_ap50 == pytest.approx(1.0)


def test_iou_of_exactly_one_half_matches_in_coco_but_not_in_voc():
    half = (0, 0, 10, 5)
    assert box_iou(np.array([half]), np.array([A])) == 0.5
    assert ap_of(found((half, 0.9)), truth(A)) == 0
    assert ap_of(found((half, 0.9)), truth(A), iou_threshold=0.499) == 1
    assert coco_average_precision([found((half, 0.9))], [truth(A)], 1).mean_ap50 == pytest.approx(1.0)


def test_iou_equals_voc_eval_with_plus_one_areas():
    """The expression of voc_eval.py on VOC's own 1-based inclusive corners."""
    ours, theirs = np.array([[2.5, 3.0, 20.0, 31.25]]), np.array([[5.0, 1.0, 25.0, 30.0]])
    (x1, y1, x2, y2), (u1, v1, u2, v2) = ours[0] + (1, 1, 0, 0), theirs[0] + (1, 1, 0, 0)
    common = (min(x2, u2) - max(x1, u1) + 1) * (min(y2, v2) - max(y1, v1) + 1)
    union = (x2 - x1 + 1) * (y2 - y1 + 1) + (u2 - u1 + 1) * (v2 - v1 + 1) - common
    assert box_iou(ours, theirs)[0, 0] == pytest.approx(common / union, abs=1e-12)


def test_difficult_objects_count_neither_way():
    objects = truth(A, B, difficult=[1])
    result = evaluate([found((B, 0.9), (B, 0.8), (A, 0.7))], [objects], 1)
    assert result.ap[0] == 1
    assert result.num_objects.tolist() == [1]


def test_class_without_objects_is_nan_and_left_out_of_the_mean():
    objects = truth(A, B, difficult=[1], labels=[1, 3])
    result = evaluate([found((A, 0.9, 1), (A, 0.9, 2), (B, 0.9, 3))], [objects], 4)
    np.testing.assert_array_equal(result.ap, [1, np.nan, np.nan, np.nan])
    assert result.mean_ap == 1


def test_class_without_detections_is_zero():
    result = evaluate([Detections.empty()], [truth(A, labels=[2])], 2)
    np.testing.assert_array_equal(result.ap, [np.nan, 0])
    assert result.mean_ap == 0


@pytest.mark.filterwarnings("error")
def test_nothing_at_all_is_nan():
    for result in (evaluate([], [], 2), coco_average_precision([], [], 2)):
        assert np.isnan(result.mean_ap)
    assert np.isnan(coco_average_precision([found((A, 0.5))], [truth()], 2).table).all()


def test_eleven_points_by_hand():
    """Ranking: hit, miss, hit, of 4 objects. Recall 1/4, 1/4, 2/4; precision 1, 1/2, 2/3."""
    recall, precision = precision_recall(np.array([True, False, True]), 4)
    assert recall.tolist() == [0.25, 0.25, 0.5]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    # 0, 0.1, 0.2 have precision 1; 0.3, 0.4, 0.5 have 2/3; the other five 0.
    assert average_precision(recall, precision, "voc07") == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)
    assert average_precision(recall, precision, "voc") == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    # 0 .. 0.25 are 26 levels, 0.26 .. 0.50 are 25.
    assert average_precision(recall, precision, "coco") == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


def test_eleven_points_follow_voc_eval_to_the_last_bit():
    """np.arange's 0.3 is above 3/10, so a recall of 3/10 is not counted there."""
    recall, precision = precision_recall(np.array([True] * 3 + [False]), 10)
    assert average_precision(recall, precision, "voc07") == pytest.approx(3 / 11)


def test_coco_ignores_detections_inside_a_crowd():
    crowd = (0, 0, 100, 100)
    detections = found((FAR, 0.95), ((0, 0, 5, 5), 0.9), ((50, 50, 60, 60), 0.8), ((-10, 0, 10, 5), 0.7))
    result = coco_average_precision([detections], [truth(crowd, FAR, difficult=[0])], 1)
    assert result.mean_ap == pytest.approx(1.0)


def test_coco_counts_only_the_best_detections_of_an_image():
    rows = [(FAR, 0.9)] * 100 + [(A, 0.1)]
    assert coco_average_precision([found(*rows)], [truth(A)], 1).mean_ap == 0
    assert coco_average_precision([found(*rows)], [truth(A)], 1, max_detections=101).mean_ap > 0


# --- misuse


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 images with detections, but 1 with objects"):
        evaluate([Detections.empty()] * 2, [truth(A)], 1)


@pytest.mark.parametrize("rate", [evaluate, coco_average_precision])
def test_labels_beyond_the_classes_are_refused(rate):
    with pytest.raises(ValueError, match="image 0: label 3, but there are 2 classes"):
        rate([found((A, 0.9, 3))], [truth(A)], 2)


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match="choose from voc, voc07"):
        evaluate([], [], 1, metric="coco")
    with pytest.raises(ValueError, match="unknown metric 'x'"):
        average_precision(np.zeros(0), np.zeros(0), "x")


def test_recall_needs_an_object():
    with pytest.raises(ValueError, match="undefined"):
        precision_recall(np.array([True]), 0)


# --- properties

corner = st.integers(0, 24).map(lambda value: value / 2)
side = st.integers(1, 20).map(lambda value: value / 2)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
score = st.integers(1, 10).map(lambda value: value / 10)  # few values, so that ties are common
image = st.tuples(
    st.lists(st.tuples(box, score, st.integers(1, 2)), max_size=6),
    st.lists(st.tuples(box, st.integers(1, 2), st.booleans()), max_size=4),
)


def build(images) -> tuple[list[Detections], list[Objects]]:
    detections = [found(*rows) for rows, _ in images]
    objects = [
        truth(
            *(row[0] for row in rows),
            labels=[row[1] for row in rows],
            difficult=[index for index, row in enumerate(rows) if row[2]],
        )
        for _, rows in images
    ]
    return detections, objects


def reference_voc_match(detections, objects, label) -> list[bool]:
    """VOC's rule said in plain loops: the slow way, one detection after another."""
    ranked = [
        (-s, image, b)
        for image, d in enumerate(detections)
        for s, b, lab in zip(d.scores, d.boxes, d.labels, strict=True)
        if lab == label
    ]
    taken, correct = set(), []
    for _, image, candidate in sorted(ranked, key=lambda row: row[0]):
        best, best_iou = None, 0.5
        for index in np.flatnonzero(objects[image].labels == label):
            iou = box_iou(candidate[None], objects[image].boxes[index][None])[0, 0]
            if iou > best_iou:
                best, best_iou = index, iou
        if best is not None and objects[image].difficult[best]:
            continue
        correct.append(best is not None and (image, best) not in taken)
        taken.add((image, best))
    return correct


@settings(max_examples=60, deadline=None)
@given(st.lists(image, max_size=4))
def test_matching_equals_the_plain_loops(images):
    detections, objects = build(images)
    for label in (1, 2):
        expected = reference_voc_match(detections, objects, label)
        assert match_detections(detections, objects, label).correct.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(image, max_size=4), st.sampled_from(["voc", "voc07"]))
def test_ap_lies_between_0_and_1(images, metric):
    ap = evaluate(*build(images), 2, metric=metric).ap
    assert ((ap >= 0) & (ap <= 1 + 1e-12) | np.isnan(ap)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(image, min_size=1, max_size=4), st.sampled_from(["voc", "voc07"]))
def test_a_false_positive_at_the_end_of_the_ranking_never_changes_ap(images, metric):
    before = evaluate(*build(images), 2, metric=metric).ap
    images[-1] = ([*images[-1][0], (FAR, 0.05, 1)], images[-1][1])
    np.testing.assert_array_equal(evaluate(*build(images), 2, metric=metric).ap, before)


@settings(max_examples=60, deadline=None)
@given(st.lists(image, min_size=1, max_size=4), score)
def test_a_false_positive_anywhere_never_raises_ap(images, value):
    before = evaluate(*build(images), 2).ap
    images[0] = ([*images[0][0], (FAR, value, 1)], images[0][1])
    after = evaluate(*build(images), 2).ap
    assert (np.isnan(before) | (after <= before + 1e-12)).all()


# --- COCO: equal to pycocotools


def pycocotools_table(detections, objects, num_classes) -> np.ndarray:
    """COCOeval's AP [10, C]: area range "all", 100 detections; nan for classes without objects."""
    annotations, results = [], []
    for image_id, (d, o) in enumerate(zip(detections, objects, strict=True), start=1):
        for b, label, crowd in zip(o.boxes.astype(float), o.labels, o.difficult, strict=True):
            bbox = [b[0], b[1], b[2] - b[0], b[3] - b[1]]
            common = {"image_id": image_id, "category_id": int(label), "bbox": bbox, "area": bbox[2] * bbox[3]}
            annotations.append({"id": len(annotations) + 1, "iscrowd": int(crowd), **common})
        for b, s, label in zip(d.boxes.astype(float), d.scores, d.labels, strict=True):
            bbox = [b[0], b[1], b[2] - b[0], b[3] - b[1]]
            results.append({"image_id": image_id, "category_id": int(label), "bbox": bbox, "score": float(s)})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "info": {},
            "images": [{"id": index + 1} for index in range(len(objects))],
            "annotations": annotations,
            "categories": [{"id": label} for label in range(1, num_classes + 1)],
        }
        gt.createIndex()
        dt = gt.loadRes(results) if results else COCO()
        evaluation = COCOeval(gt, dt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return np.where(precision.min(axis=1) < 0, np.nan, precision.mean(axis=1))


@settings(max_examples=80, deadline=None)
@given(st.lists(image, min_size=1, max_size=4))
def test_coco_equals_pycocotools(images):
    detections, objects = build(images)
    np.testing.assert_allclose(
        coco_average_precision(detections, objects, 2).table, pycocotools_table(detections, objects, 2), atol=1e-9
    )


def random_case(rng, num_images, num_classes, per_image) -> tuple[list[Detections], list[Objects]]:
    detections, objects = [], []
    for _ in range(num_images):
        num = int(rng.integers(0, 8))
        corners = rng.uniform(0, 200, (num, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 120, (num, 2))], axis=1).astype(np.float32)
        labels = rng.integers(1, num_classes + 1, num)
        objects.append(Objects(boxes, labels, rng.random(num) < 0.2))
        source = rng.integers(0, max(num, 1), per_image)
        near = boxes[source] if num else np.tile(np.float32([0, 0, 50, 50]), (per_image, 1))
        moved = near + rng.normal(0, 6, (per_image, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guess = labels[source] if num else np.ones(per_image, np.int64)
        wrong = rng.random(per_image) < 0.2
        guess = np.where(wrong, rng.integers(1, num_classes + 1, per_image), guess)
        detections.append(Detections(moved, rng.random(per_image).round(2), guess))
    return detections, objects


@pytest.mark.parametrize("seed", range(3))
def test_coco_equals_pycocotools_on_larger_cases(seed):
    """Up to 250 detections an image, so that COCO's limit of 100 takes effect."""
    detections, objects = random_case(np.random.default_rng(seed), num_images=12, num_classes=3, per_image=250)
    ours = coco_average_precision(detections, objects, 3)
    theirs = pycocotools_table(detections, objects, 3)
    np.testing.assert_allclose(ours.table, theirs, atol=1e-9)
    assert ours.mean_ap == pytest.approx(np.nanmean(theirs), abs=1e-9)
    assert ours.mean_ap50 == pytest.approx(np.nanmean(theirs[0]), abs=1e-9)


def test_a_few_hundred_images_take_seconds_at_most():
    detections, objects = random_case(np.random.default_rng(0), num_images=300, num_classes=20, per_image=100)
    start = time.process_time()
    evaluate(detections, objects, 20)
    coco_average_precision(detections, objects, 20)
    assert time.process_time() - start < 10  # about 1 s; the rest is for a busy machine
