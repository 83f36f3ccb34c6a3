"""The confusion matrix, counted by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from labelled import CAT, DOG, FAR, A, B, found, truth
from sklearn.metrics import confusion_matrix as sklearn_matrix

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.confusion import confusion_matrix


def matrix(detections, objects, thresholds=(0.5, 0.5)) -> list[list[int]]:
    return confusion_matrix([detections], [objects], np.array(thresholds)).tolist()


def test_found_confused_missed_and_on_nothing():
    objects = truth((A, CAT), (B, CAT), (FAR, DOG))
    said = found((A, 0.9, CAT), (B, 0.8, DOG), ((200, 0, 210, 9), 0.7, DOG), (FAR, 0.4, DOG))
    assert matrix(said, objects) == [[0, 0, 1], [0, 1, 1], [1, 0, 0]]


def test_thresholds_are_each_class_s_own():
    objects, said = truth((A, CAT), (B, DOG)), found((A, 0.4, CAT), (B, 0.4, DOG))
    assert matrix(said, objects, (0.3, 0.5)) == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert matrix(said, objects, (0.4, 0.4)) == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_object_that_is_found_is_not_confused():
    """The dog's box is surer, but the cat is found; the dog is then on nothing."""
    assert matrix(found((A, 0.9, DOG), (A, 0.6, CAT)), truth((A, CAT))) == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_second_box_is_on_nothing():
    assert matrix(found((A, 0.9, CAT), (A, 0.8, CAT)), truth((A, CAT))) == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_difficult_objects_count_neither_way():
    objects = truth((A, CAT), (B, DOG), difficult=[1])
    assert matrix(found((A, 0.9, CAT), (B, 0.9, DOG)), objects) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert matrix(found((B, 0.9, CAT)), objects) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_images_without_anything():
    assert matrix(found(), truth()) == [[0] * 3] * 3
    assert matrix(found((A, 0.9, CAT)), truth()) == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert matrix(found(), truth((A, CAT))) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=30))
def test_scikit_learn_where_every_object_has_one_box(pairs):
    there, said = np.array(pairs).T
    boxes = np.array([(20 * i, 0, 20 * i + 10, 10) for i in range(len(pairs))], np.float32)
    ours = confusion_matrix(
        [Detections(boxes, np.full(len(boxes), 0.9), said)], [Objects(boxes, there, np.zeros(len(boxes), bool))],
        np.full(4, 0.5),
    )  # fmt: skip
    assert not ours[0].any()
    assert not ours[:, 0].any()
    np.testing.assert_array_equal(ours[1:, 1:], sklearn_matrix(there, said, labels=[1, 2, 3, 4]))
