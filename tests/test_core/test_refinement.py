"""A second look at the likeliest RoIs, on cases that can be counted."""

from __future__ import annotations

import pytest
import torch

from frcnn_cli.core.boxes import decode, encode, iou
from frcnn_cli.core.refinement import look_again, moved_rois
from frcnn_cli.core.scenes import Scene

BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]])
PROBABILITIES = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.4, 0.6, 0.0]])
DELTAS = torch.zeros(3, 2, 4)
DELTAS[1, 1, 0] = 0.5  # the second box's second class: half a width to the right
DELTAS[1, 0, 0] = -0.5
DELTAS[2, 0, 0] = 100.0  # the third box leaves the image


class Head:
    """Answers with certainty, and remembers what it was asked."""

    def __call__(self, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked = boxes
        return torch.eye(3)[torch.full((len(boxes),), 2)], torch.ones(len(boxes), 2, 4)


def test_the_likeliest_are_scored_again_where_their_own_class_moved_them():
    head = Head()
    boxes, probabilities, deltas = look_again(head, BOXES, PROBABILITIES, DELTAS, 1, (100, 100))
    assert head.asked.tolist() == [[30, 20, 50, 40]]
    rest = [2, 0]  # by falling likelihood
    assert boxes.tolist() == [*BOXES[rest].tolist(), [30, 20, 50, 40]]
    assert torch.equal(probabilities[:2], PROBABILITIES[rest])
    assert probabilities[2].tolist() == [0, 0, 1]
    assert torch.equal(deltas, torch.cat((DELTAS[rest], torch.ones(1, 2, 4))))


def test_what_leaves_the_image_is_not_looked_at_again():
    head = Head()
    boxes, _, _ = look_again(head, BOXES, PROBABILITIES, DELTAS, 2, (100, 100))
    assert boxes.tolist() == [BOXES[0].tolist(), [30, 20, 50, 40]]
    look_again(head, BOXES, PROBABILITIES, DELTAS, 2, (45, 35))
    assert head.asked.tolist() == [[30, 20, 45, 35]]  # clipped


def test_more_than_there_are_and_none():
    head = Head()
    assert look_again(head, BOXES, PROBABILITIES, DELTAS, 300, (100, 100))[0].tolist() == head.asked.tolist()
    empty = (BOXES[:0], PROBABILITIES[:0], DELTAS[:0])
    assert [part.shape[0] for part in look_again(head, *empty, 300, (100, 100))] == [0, 0, 0]


NOTHING = torch.zeros(0, 4)
OBJECT = Scene(0, (100, 80), torch.tensor([[10.0, 10, 50, 50]]), torch.tensor([2]), NOTHING)


def towards(roi: list[float], goal: list[float]) -> torch.Tensor:
    return encode(torch.tensor([roi]), torch.tensor([goal]))[0]


def moved(rois: list[list[float]], goals: list[list[float]], *scenes: Scene):
    """RoIs (image, x1, y1, x2, y2), each moved to its goal by its likeliest class, the second, and not by the first."""
    deltas = torch.zeros(len(rois), 2, 4)
    for place, (roi, goal) in enumerate(zip(rois, goals, strict=True)):
        deltas[place, 0] = 3
        deltas[place, 1] = towards(roi[1:], goal)
    logits = torch.tensor([[9.0, 1, 2]]).expand(len(rois), 3)  # background's own score does not count
    return moved_rois(torch.tensor(rois), logits, deltas, scenes, 0.5)


def test_moved_rois_are_labelled_where_they_are_now():
    onto, away = [0.0, 30, 30, 70, 70], [0.0, 12, 12, 52, 52]
    found, images = moved([onto, away], [[10, 10, 50, 50], [60, 30, 90, 70]], OBJECT)
    assert found.labels.tolist() == [2, 0]
    assert images.tolist() == [0, 0]
    assert torch.allclose(found.rois, torch.tensor([[10.0, 10, 50, 50], [60, 30, 90, 70]]), atol=1e-3)
    assert found.deltas.abs().max() < 1e-4  # it lies on its object, and background has no target


def test_a_moved_roi_s_target_leads_onto_its_object():
    found, _ = moved([[0.0, 30, 30, 70, 70]], [[14, 12, 50, 56]], OBJECT)
    assert torch.allclose(decode(found.rois, found.deltas), OBJECT.boxes, atol=1e-3)


def test_moved_rois_of_a_crowd_or_outside_are_left_out_and_each_image_has_its_own():
    crowded = Scene(1, (60, 60), NOTHING, torch.zeros(0, dtype=torch.int64), torch.tensor([[0.0, 0, 30, 60]]))
    rois = [[1.0, 5, 5, 20, 20], [1.0, 30, 30, 50, 50], [0.0, 30, 30, 70, 70], [1.0, 10, 10, 30, 30]]
    goals = [[5, 5, 25, 25], [40, 30, 58, 50], [10, 10, 50, 50], [200, 10, 240, 50]]
    found, images = moved(rois, goals, OBJECT, crowded)
    assert images.tolist() == [0, 1]
    assert found.labels.tolist() == [2, 0]
    assert torch.allclose(found.rois, torch.tensor([[10.0, 10, 50, 50], [40, 30, 58, 50]]), atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_moved_rois_against_one_by_one(seed):
    generator = torch.Generator().manual_seed(seed)

    def boxes(count: int) -> torch.Tensor:
        corner = torch.rand(count, 2, generator=generator) * 60
        return torch.cat((corner, corner + 8 + torch.rand(count, 2, generator=generator) * 30), dim=1)

    scenes = [Scene(i, (100, 100), boxes(3), torch.tensor([1, 2, 3]), NOTHING) for i in range(2)]
    rois = torch.cat((torch.tensor([0.0] * 20 + [1.0] * 20)[:, None], boxes(40)), dim=1)
    logits, deltas = torch.randn(40, 4, generator=generator), torch.randn(40, 3, 4, generator=generator) * 0.1
    found, images = moved_rois(rois, logits, deltas, scenes, 0.3)
    assert len(found) == 40
    assert 0 < int((found.labels > 0).sum()) < 40
    for place in range(40):
        box = decode(rois[place, 1:], deltas[place, logits[place, 1:].argmax()]).clamp(0, 100)
        assert torch.allclose(found.rois[place], box, atol=1e-4)
        scene = scenes[int(images[place])]
        overlaps = iou(box[None], scene.boxes)[0]
        expected = int(scene.labels[overlaps.argmax()]) if overlaps.max() >= 0.3 else 0
        assert found.labels[place] == expected
