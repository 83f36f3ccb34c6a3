"""From scores to detections on cases made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from frcnn_cli.core.boxes import clip, decode, iou
from frcnn_cli.core.detection import select_detections, vote

A, NEAR_A, FAR = (0.0, 0, 100, 100), (0.0, 0, 100, 90), (200.0, 200, 260, 280)
"""The IoU of A and NEAR_A is 0.9; FAR touches neither."""


def probabilities(*rows) -> Tensor:
    """Rows of class probabilities without the background, which is put in front."""
    return torch.tensor([(1 - sum(row), *row) for row in rows])


def select(scores: Tensor, boxes, deltas: Tensor | None = None, **options):
    settings = {"image_size": (400, 300), "score_threshold": 0.05, "nms_threshold": 0.3, "max_detections": 100}
    proposals = torch.tensor(boxes).view(-1, 4)
    deltas = torch.zeros(len(proposals), scores.shape[1] - 1, 4) if deltas is None else deltas
    return select_detections(scores, deltas, proposals, **{**settings, **options})


def as_rows(found) -> list[tuple]:
    boxes, scores, labels = found
    assert boxes.shape == (len(scores), 4)
    assert labels.dtype == torch.int64
    rows = zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
    return [(tuple(box), round(score, 4), label) for box, score, label in rows]


def test_threshold_is_inclusive():
    scores = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.875, 0.125]])
    found = select(scores, [A, FAR, (300.0, 0, 400, 50)], score_threshold=0.25)
    assert as_rows(found) == [(A, 0.5, 1), (FAR, 0.25, 1)]


def test_background_is_never_a_detection():
    assert as_rows(select(probabilities((0.01, 0.02)), [A])) == []


def test_nms_keeps_the_better_of_one_class():
    found = select(probabilities((0.6,), (0.9,), (0.3,)), [A, NEAR_A, FAR])
    assert as_rows(found) == [(NEAR_A, 0.9, 1), (FAR, 0.3, 1)]


def test_nms_is_only_within_a_class():
    found = select(probabilities((0.6, 0.1), (0.1, 0.8)), [A, NEAR_A])
    assert as_rows(found) == [(NEAR_A, 0.8, 2), (A, 0.6, 1)]


def test_one_roi_may_be_two_classes():
    assert as_rows(select(probabilities((0.4, 0.3)), [A])) == [(A, 0.4, 1), (A, 0.3, 2)]


@pytest.mark.parametrize(("threshold", "count"), [(0.49, 1), (0.5, 2), (0.51, 2)])
def test_nms_drops_what_overlaps_by_more_than_the_threshold(threshold, count):
    """An IoU of exactly one half is not more than one half."""
    found = select(probabilities((0.9,), (0.8,)), [A, (0.0, 0, 100, 50)], nms_threshold=threshold)
    assert len(found[1]) == count


def test_each_class_has_its_own_box():
    """dx = 1 moves class 2 by the width; dw, dh = log 2 doubles class 1 around its centre."""
    box = (100.0, 100, 140, 120)
    deltas = torch.tensor([[[0, 0, math.log(2), math.log(2)], [1, 0, 0, 0]]])
    boxes, _, labels = select(probabilities((0.5, 0.4)), [box], deltas)
    assert labels.tolist() == [1, 2]
    torch.testing.assert_close(boxes, torch.tensor([[80.0, 90, 160, 130], [140, 100, 180, 120]]))


def test_boxes_are_clipped_to_width_and_height():
    found = select(probabilities((0.9,)), [(-10.0, -20, 500, 500)], image_size=(400, 300))
    assert as_rows(found) == [((0, 0, 400, 300), 0.9, 1)]


def test_boxes_that_clip_to_nothing_are_dropped():
    """Left of, right of and below the image; the last one stays with a width of 1."""
    boxes = [(-50.0, 10, -5, 20), (400.0, 0, 450, 50), (10.0, 300, 20, 310), (399.0, 0, 450, 50)]
    found = select(probabilities((0.9,), (0.8,), (0.7,), (0.6,)), boxes)
    assert as_rows(found) == [((399, 0, 400, 50), 0.6, 1)]


def test_clipping_comes_before_nms():
    """Two boxes that differ outside the image only are one."""
    found = select(probabilities((0.9,), (0.8,)), [(0.0, 0, 400, 100), (0.0, 0, 2000, 100)])
    assert as_rows(found) == [((0, 0, 400, 100), 0.9, 1)]


def test_the_best_are_kept_over_all_classes():
    boxes = [(50.0 * i, 0, 50.0 * i + 40, 40) for i in range(6)]
    scores = probabilities((0.3, 0.1), (0.1, 0.7), (0.5, 0.1), (0.1, 0.2), (0.6, 0.1), (0.1, 0.4))
    found = select(scores, boxes, score_threshold=0.15, max_detections=3)
    assert as_rows(found) == [(boxes[1], 0.7, 2), (boxes[4], 0.6, 1), (boxes[2], 0.5, 1)]


def test_voting_by_hand():
    """NEAR_A is kept and moves towards A, 0.9 to 0.6: its end goes from 90 to (0.9 x 90 + 0.6 x 100) / 1.5."""
    boxes, scores, labels = select(probabilities((0.6,), (0.9,), (0.3,)), [A, NEAR_A, FAR], box_voting=True)
    torch.testing.assert_close(boxes, torch.tensor([(0.0, 0, 100, 94), FAR]))
    assert as_rows((boxes.round(), scores, labels)) == [((0, 0, 100, 94), 0.9, 1), (FAR, 0.3, 1)]


def test_only_the_own_class_votes_and_does_so_below_the_threshold():
    """Class 1's NEAR_A (0.8) is drawn by A's 0.04, though that is no detection; class 2's A (0.5) by NEAR_A's 0.1."""
    scores = probabilities((0.04, 0.5), (0.8, 0.1))
    boxes, _, labels = select(scores, [A, NEAR_A], score_threshold=0.2, box_voting=True)
    assert labels.tolist() == [1, 2]
    ends = [(0.8 * 90 + 0.04 * 100) / 0.84, (0.5 * 100 + 0.1 * 90) / 0.6]
    torch.testing.assert_close(boxes, torch.tensor([(0.0, 0, 100, end) for end in ends]))


@pytest.mark.parametrize(("height", "end"), [(50, 75), (49, 100)])
def test_a_voter_overlaps_by_half_or_more(height, end):
    boxes = torch.tensor([A])
    voted = vote(boxes, torch.tensor([A, (0.0, 0, 100, height)]), torch.tensor([0.25, 0.25]))
    assert voted.tolist() == [[0, 0, 100, end]]
    assert boxes.tolist() == [list(A)]  # the argument stays


def test_nobody_votes():
    """None overlaps; those that do have no weight."""
    boxes = torch.tensor([A, FAR])
    assert torch.equal(vote(boxes, torch.tensor([NEAR_A]), torch.zeros(1)), boxes)
    assert torch.equal(vote(boxes, torch.zeros(0, 4), torch.zeros(0)), boxes)
    assert vote(boxes[:0], boxes, torch.ones(2)).shape == (0, 4)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(1, 200))
def test_a_voted_box_lies_within_the_hull_of_its_voters(seed, spread):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(30, 2, generator=generator) * spread
    voters = torch.cat((corner, corner + 20 + torch.rand(30, 2, generator=generator) * 80), dim=1)
    voted = vote(voters[:8], voters, torch.rand(30, generator=generator) + 0.01)
    for box, near in zip(voted, iou(voters[:8], voters) >= 0.5, strict=True):
        assert (box >= voters[near].amin(dim=0) - 1e-3).all()
        assert (box <= voters[near].amax(dim=0) + 1e-3).all()


def test_no_roi_and_no_detection():
    for found in (select(torch.zeros(0, 3), []), select(probabilities((0.01, 0.01)), [A])):
        boxes, scores, labels = found
        assert boxes.shape == (0, 4)
        assert scores.shape == labels.shape == (0,)


@pytest.mark.parametrize("count", [40, 700])
def test_equals_nms_class_by_class(count):
    """Many random RoIs (torchvision's batched NMS takes another way above 1000 boxes) against one NMS a class."""
    generator = torch.Generator().manual_seed(count)
    scores = (torch.randn(count, 4, generator=generator) * 2).softmax(1)
    corner = torch.rand(count, 2, generator=generator) * 300
    proposals = torch.cat((corner, corner + 10 + torch.rand(count, 2, generator=generator) * 90), dim=1)
    deltas = torch.randn(count, 3, 4, generator=generator) * 0.2
    boxes, found, labels = select_detections(scores, deltas, proposals, (330, 310), 0.1, 0.3, 10_000)
    assert (found.diff() <= 0).all()
    expected = set()
    for label in (1, 2, 3):
        candidates = (scores[:, label] >= 0.1).nonzero()[:, 0]
        own = clip(decode(proposals[candidates], deltas[candidates, label - 1]), 330, 310)
        solid = (own[:, 2:] > own[:, :2]).all(dim=1)
        candidates, own = candidates[solid], own[solid]
        keep = ops.nms(own, scores[candidates, label], 0.3)
        assert 0 < len(keep) < len(candidates)
        expected |= {(label, *own[k].tolist(), scores[candidates[k], label].item()) for k in keep}
    result = {(k, *b, s) for k, b, s in zip(labels.tolist(), boxes.tolist(), found.tolist(), strict=True)}
    assert result == expected
