"""Recall of proposals on cases that can be counted by hand, by its properties, and against torchvision and COCOeval."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

from frcnn_cli.metrics.proposal_recall import (
    COUNTS,
    ProposalRecall,
    average_recall,
    best_overlaps,
    mean_average_best_overlap,
    recall,
)

NONE = np.zeros((0, 4), np.float32)


def boxes(*rows) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 60, (count, 2))], axis=1).astype(np.float32)


# --- counted by hand


def test_best_of_the_first_n():
    """IoU with the object (0, 0, 10, 10): 1/4, 1/2, 1, 0."""
    proposals = boxes((0, 0, 5, 5), (0, 0, 10, 5), (0, 0, 10, 10), (50, 50, 60, 60))
    overlaps = best_overlaps(proposals, boxes((0, 0, 10, 10), (50, 50, 60, 60)), (0, 1, 2, 3, 4, 99))
    assert overlaps.tolist() == [[0, 0], [0.25, 0], [0.5, 0], [1, 0], [1, 1], [1, 1]]
    assert overlaps.dtype == np.float64


def test_without_proposals_and_without_objects():
    assert best_overlaps(NONE, boxes((0, 0, 1, 1))).tolist() == [[0.0]] * len(COUNTS)
    assert best_overlaps(boxes((0, 0, 1, 1)), NONE).shape == (len(COUNTS), 0)
    assert best_overlaps(NONE, NONE, (5,)).shape == (1, 0)


def test_recall_counts_an_overlap_that_equals_the_threshold():
    overlaps = np.array([[0.5, 0.49, 0.7, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert recall(overlaps, 0.5).tolist() == [0.75, 0]
    assert recall(overlaps, 0.7).tolist() == [0.5, 0]


def test_average_recall_is_the_mean_over_ten_thresholds():
    """0.62 reaches 0.50, 0.55, 0.60; 1 reaches all ten; 0.49 none; 0.5 one."""
    assert average_recall(np.array([0.62])) == pytest.approx(0.3)
    assert average_recall(np.array([1.0])) == 1
    assert average_recall(np.array([0.62, 1.0, 0.49, 0.5])) == pytest.approx((0.3 + 1 + 0 + 0.1) / 4)


def test_mabo_is_a_mean_over_classes_not_objects():
    overlaps = np.array([[1.0, 1.0, 1.0, 0.2], [0.0, 0.6, 0.0, 0.0]])
    labels = np.array([3, 3, 3, 7])
    assert mean_average_best_overlap(overlaps, labels) == pytest.approx([(1 + 0.2) / 2, (0.2 + 0) / 2])
    assert mean_average_best_overlap(overlaps[:, :3], labels[:3]) == pytest.approx([1, 0.2])


def test_images_together():
    gathered = ProposalRecall((1, 3))
    gathered.add(boxes((0, 0, 10, 5), (0, 0, 10, 10)), boxes((0, 0, 10, 10)), np.array([2]))
    gathered.add(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 10), (20, 0, 30, 10)), np.array([2, 1]))
    gathered.add(NONE, NONE, np.zeros(0, np.int64))  # an image without objects still counts its boxes
    result = gathered.result()
    assert result.counts == (1, 3)
    assert result.boxes.tolist() == pytest.approx([2 / 3, 1])
    assert result.num_objects == 3
    assert result.overlaps.tolist() == [[0.5, 1, 0], [1, 1, 0]]
    assert result.labels.tolist() == [2, 2, 1]
    assert result.recall(0.5).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert result.recall(0.7).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert result.average_recall.tolist() == pytest.approx([(0.1 + 1 + 0) / 3, 2 / 3])
    assert result.mabo.tolist() == pytest.approx([(0.75 + 0) / 2, 0.5])
    mine = result.of_class(2)
    assert mine.num_objects == 2
    assert mine.boxes is result.boxes
    assert mine.recall(0.7).tolist() == [0.5, 1]
    assert mine.mabo.tolist() == pytest.approx([0.75, 1])  # the ABO of a single class


def test_a_class_without_objects_has_no_figures():
    gathered = ProposalRecall((1,))
    gathered.add(boxes((0, 0, 1, 1)), boxes((0, 0, 1, 1)), np.array([1]))
    result = gathered.result()
    empty = result.of_class(2)
    assert empty.num_objects == 0
    for values in (empty.recall(0.5), empty.average_recall, empty.mabo):
        assert values.shape == (1,)
        assert np.isnan(values).all()
    assert result.mabo.tolist() == [1]


def test_no_image_at_all():
    result = ProposalRecall().result()
    assert result.counts == COUNTS
    assert result.num_objects == 0
    assert np.isnan(result.boxes).all()
    assert np.isnan(result.average_recall).all()


def test_one_label_an_object():
    with pytest.raises(ValueError, match="1 objects, but 2 labels"):
        ProposalRecall().add(NONE, boxes((0, 0, 1, 1)), np.array([1, 2]))


# --- oracles


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_equal_those_of_torchvision(seed):
    rng = np.random.default_rng(seed)
    proposals, objects = random_boxes(rng, 70), random_boxes(rng, 9)
    table = box_iou(torch.from_numpy(proposals).double(), torch.from_numpy(objects).double())
    expected = [table[:n].max(dim=0).values.tolist() for n in (1, 10, 50, 70)]
    np.testing.assert_allclose(best_overlaps(proposals, objects, (1, 10, 50, 1000)), expected, rtol=1e-12)


@pytest.mark.parametrize("count", [1, 10, 50, 100])
def test_average_recall_equals_that_of_cocoeval(count):
    """Objects lie apart, so that no proposal can serve two of them and COCO's one-to-one matching changes nothing."""
    rng = np.random.default_rng(count)
    gathered = ProposalRecall((count,))
    images, annotations, results = [], [], []
    for image in range(1, 9):
        images.append({"id": image})
        cells = rng.permutation(9)[: rng.integers(1, 6)]
        corners = np.stack([cells % 3, cells // 3], axis=1) * 100.0
        objects = np.concatenate([corners + rng.uniform(0, 20, corners.shape), corners + 80], axis=1)
        near = objects[rng.integers(0, len(objects), 100)]
        proposals = near + rng.normal(0, rng.uniform(2, 25, (100, 1)), near.shape)
        proposals = proposals[(proposals[:, 2:] > proposals[:, :2]).all(axis=1)]
        labels = rng.integers(1, 4, len(objects))
        gathered.add(proposals, objects, labels)
        for box, label in zip(xywh(objects), labels, strict=True):
            annotation = {"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "iscrowd": 0}
            annotations.append(annotation | {"bbox": box, "area": box[2] * box[3]})
        for rank, box in enumerate(xywh(proposals)):
            results.append({"image_id": image, "category_id": 1, "bbox": box, "score": 1 - rank / 1000})
    evaluation = coco_evaluation(images, annotations, results, count)
    expected = evaluation.eval["recall"][:, 0, 0, 0]  # by threshold
    result = gathered.result()
    assert 0 < expected.mean() < 1
    assert result.average_recall[0] == pytest.approx(expected.mean())
    assert result.recall(0.5)[0] == pytest.approx(expected[0])
    assert result.recall(0.7)[0] == pytest.approx(expected[4])


def xywh(rows: np.ndarray) -> list[list[float]]:
    return np.concatenate([rows[:, :2], rows[:, 2:] - rows[:, :2]], axis=1).tolist()


def coco_evaluation(images, annotations, results, count: int) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": i} for i in (1, 2, 3)]}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [count]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


# --- properties


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 6))
def test_more_proposals_cover_no_less(seed, num_proposals, num_objects):
    rng = np.random.default_rng(seed)
    proposals, objects = random_boxes(rng, num_proposals), random_boxes(rng, num_objects)
    labels = rng.integers(1, 4, num_objects)
    overlaps = best_overlaps(proposals, objects, range(45))
    figures = (recall(overlaps, 0.5), average_recall(overlaps), mean_average_best_overlap(overlaps, labels))
    for values in (overlaps, *figures):
        assert (np.diff(values, axis=0) >= 0).all()
        assert ((values >= 0) & (values <= 1)).all()
    assert (overlaps[0] == 0).all()
    assert (average_recall(overlaps) <= recall(overlaps, 0.5)).all()
    assert (recall(overlaps, 0.7) <= recall(overlaps, 0.5)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6))
def test_the_order_within_the_first_n_does_not_matter(seed, num_proposals, num_objects):
    rng = np.random.default_rng(seed)
    proposals, objects = random_boxes(rng, num_proposals), random_boxes(rng, num_objects)
    mixed = proposals[rng.permutation(num_proposals)]
    counts = (num_proposals,)
    np.testing.assert_array_equal(best_overlaps(mixed, objects, counts), best_overlaps(proposals, objects, counts))
    assert (best_overlaps(np.concatenate([mixed, objects]), objects, (100,)) == 1).all()
