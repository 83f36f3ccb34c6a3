"""`Detections` checks itself."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections

BOXES = [[0, 0, 10, 10], [5, 5, 6.5, 9]]


def test_converts_to_the_documented_types():
    found = Detections(np.array(BOXES), np.array([0.5, 1.0]), np.array([1, 20], np.int32))
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert len(found) == 2


def test_empty_has_the_documented_shapes():
    found = Detections.empty()
    assert len(found) == 0
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        ([1, 2, 3, 4], [0.5], [1], r"shape \[N, 4\]"),
        ([[1, 2, 3]], [0.5], [1], r"shape \[N, 4\]"),
        (BOXES, [0.5], [1, 2], "scores must have the shape"),
        (BOXES, [0.5, 0.5], [[1], [2]], "labels must have the shape"),
        (BOXES, [0.5, 1.5], [1, 2], r"scores must lie in \[0, 1\]"),
        (BOXES, [0.5, np.nan], [1, 2], r"scores must lie in \[0, 1\]"),
        ([[0, 0, np.inf, 1]], [0.5], [1], "finite"),
        (BOXES, [0.5, 0.5], [0, 1], "background"),
        (BOXES, [0.5, 0.5], [1.0, 2.0], "integers"),
    ],
)
def test_refuses_what_contradicts_itself(boxes, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        Detections(np.array(boxes), np.array(scores), np.array(labels))


def test_names_are_one_a_detection():
    found = Detections(np.array(BOXES), np.array([0.5, 1.0]), np.array([2, 1]))
    assert found.names == ()
    assert found.named(("cat", "dog", "cow")).names == ("dog", "cat")
    assert found.named(("cat", "dog")).boxes is found.boxes
    with pytest.raises(ValueError, match="1 names, but 2 detections"):
        Detections(found.boxes, found.scores, found.labels, ("cat",))


def test_fields_cannot_be_replaced():
    found = Detections.empty()
    with pytest.raises(AttributeError):
        found.boxes = np.zeros((1, 4))
