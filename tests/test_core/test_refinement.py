"""A second look at the likeliest RoIs, on cases that can be counted."""

from __future__ import annotations

import torch

from frcnn_cli.core.refinement import look_again

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
    assert boxes.tolist() == [*BOXES.tolist(), [30, 20, 50, 40]]
    assert torch.equal(probabilities[:3], PROBABILITIES)
    assert probabilities[3].tolist() == [0, 0, 1]
    assert torch.equal(deltas, torch.cat((DELTAS, torch.ones(1, 2, 4))))


def test_what_leaves_the_image_is_not_looked_at_again():
    head = Head()
    boxes, _, _ = look_again(head, BOXES, PROBABILITIES, DELTAS, 2, (100, 100))
    assert head.asked.tolist() == [[30, 20, 50, 40]]
    assert len(boxes) == 4
    look_again(head, BOXES, PROBABILITIES, DELTAS, 2, (45, 35))
    assert head.asked.tolist() == [[30, 20, 45, 35]]  # clipped


def test_more_than_there_are_and_none():
    head = Head()
    assert len(look_again(head, BOXES, PROBABILITIES, DELTAS, 300, (100, 100))[0]) == 5
    empty = (BOXES[:0], PROBABILITIES[:0], DELTAS[:0])
    assert [part.shape[0] for part in look_again(head, *empty, 300, (100, 100))] == [0, 0, 0]
